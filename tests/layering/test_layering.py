"""The street is one-way: which room may include which, read off the `#include "..."` lines of the tree.

The rule is docs/architecture.md's: bpf/, models/ and proto/ are leaves; the rooms of userspace/ stand on levels, a room may include
what is below it and nothing beside it, but for the few edges named here.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# From the bottom up.
LEVELS = [
    ["bpf", "models", "proto"],
    ["userspace/base"],
    ["userspace/stream", "userspace/delivery"],
    [
        "userspace/config", "userspace/loader", "userspace/probes", "userspace/workloads", "userspace/features",
        "userspace/detectors", "userspace/incidents", "userspace/recorder", "userspace/feed",
        "userspace/sinks", "userspace/exposition", "userspace/transport", "userspace/ledger", "userspace/sources",
    ],
    ["userspace/pipeline", "userspace/relay"],
    ["userspace/outlierd", "userspace/outlier_relay", "userspace/outlierctl"],
]  # fmt: skip
BESIDE = {("userspace/probes", "userspace/loader")}
# Leaves of the tree that only some rooms may hold on to. proto/ is known to all: its messages are the rooms' common nouns.
ONLY_FOR = {
    "models": {"userspace/detectors", "userspace/outlierctl"},
    "bpf": {"userspace/stream", "userspace/loader", "userspace/probes"},
}
# But these are no models: functions of mathematics, for whoever counts.
FOR_ALL = {"models/special.h"}
# Only the loader knows libbpf.
LIBBPF = re.compile(r"(bpf/(libbpf|bpf|btf)\.h|.*\.skel\.h)")
LIBBPF_ROOM = "userspace/loader"

INCLUDE = re.compile(r'^\s*#\s*include\s*(["<])([^">]+)[">]', re.MULTILINE)
PROTO_IMPORT = re.compile(r'^\s*import\s+(?:public\s+)?"([^"]+)"', re.MULTILINE)
SOURCES = (".h", ".cc", ".c", ".def", ".proto")


def room_of(path: str) -> str | None:
    """The room a path from the root lies in; generated protobuf headers lie in proto/."""
    if re.match(r"(outlier/|.*\.pb\.h$)", path):
        return "proto"
    rooms = (room for level in LEVELS for room in level)
    return next((room for room in rooms if path.startswith(f"{room}/")), None)


LEVEL_OF = {room: height for height, level in enumerate(LEVELS) for room in level}


def complaint(file: str, quote: str, included: str) -> str | None:
    """What is wrong with this include line in this file, or None."""
    room = room_of(file)
    if room is None:
        return None  # tests/ may include everything
    if quote == "<":
        if LIBBPF.fullmatch(included) and room.startswith("userspace/") and room != LIBBPF_ROOM:
            return f"{file}: <{included}>: only {LIBBPF_ROOM} may include libbpf"
        return None
    if LIBBPF.fullmatch(included) and room.startswith("userspace/"):
        return None if room == LIBBPF_ROOM else f'{file}: "{included}": only {LIBBPF_ROOM} may include skeletons'
    target = room_of(included)
    if target is None:
        if (ROOT / file).parent.joinpath(included).exists():
            return f'{file}: "{included}" is not a full path from the root'
        return None  # another project's header
    if target == room or (room, target) in BESIDE:
        return None
    if LEVEL_OF[target] >= LEVEL_OF[room]:
        return f'{file}: "{included}": {room} may not include {target}'
    if target in ONLY_FOR and room not in ONLY_FOR[target] and included not in FOR_ALL:
        return f'{file}: "{included}": {target} is for {", ".join(sorted(ONLY_FOR[target]))}'
    return None


def sources() -> list[str]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode == 0:
        files = listed.stdout.splitlines()
    else:  # an unpacked archive
        files = [str(path.relative_to(ROOT)) for top in ("bpf", "models", "proto", "userspace") for path in (ROOT / top).rglob("*")]
    return sorted(file for file in files if file.endswith(SOURCES) and room_of(file) is not None and (ROOT / file).is_file())


def include_lines(file: str) -> list[tuple[str, str]]:
    text = (ROOT / file).read_text()
    if file.endswith(".proto"):
        return [('"', imported) for imported in PROTO_IMPORT.findall(text) if not imported.startswith("google/")]
    return INCLUDE.findall(text)


def test_every_include_goes_down_the_street() -> None:
    files = sources()
    assert len(files) > 50, "the sources were not found"
    wrong = [complaint(file, quote, included) for file in files for quote, included in include_lines(file)]
    assert [line for line in wrong if line] == []


def test_every_room_of_the_trunk_is_in_the_table() -> None:
    rooms = {str(path.parent.relative_to(ROOT)) for path in (ROOT / "userspace").glob("*/CMakeLists.txt")}
    assert rooms <= set(LEVEL_OF)


def test_includes_against_the_street_are_noticed() -> None:
    against = [
        ("userspace/stream/a.h", '"', "userspace/feed/journal.h"),  # up
        ("userspace/features/a.cc", '"', "userspace/detectors/b.h"),  # beside
        ("userspace/loader/a.cc", '"', "userspace/probes/b.h"),  # the wrong way along an allowed edge
        ("userspace/pipeline/a.cc", '"', "userspace/outlierd/b.h"),
        ("models/a.cc", '"', "userspace/base/text.h"),  # a leaf includes nothing of the tree
        ("models/a.cc", '"', "outlier/v1/feed.pb.h"),
        ("bpf/a.bpf.c", '"', "proto/b.h"),
        ("userspace/incidents/a.cc", '"', "models/model.h"),  # models are for detectors
        ("userspace/recorder/a.cc", '"', "bpf/abi.h"),
        ("userspace/probes/a.cc", "<", "bpf/libbpf.h"),  # libbpf is for the loader
        ("userspace/probes/a.cc", '"', "tasks.skel.h"),
        ("userspace/feed/a.cc", '"', "journal.h"),  # not a full path
    ]
    assert [edge for edge in against if complaint(*edge) is None] == []


def test_includes_along_the_street_are_allowed() -> None:
    along = [
        ("userspace/feed/server.cc", '"', "userspace/feed/journal.h"),
        ("userspace/probes/a.cc", '"', "userspace/loader/b.h"),
        ("userspace/probes/a.cc", '"', "bpf/abi.h"),
        ("userspace/detectors/a.cc", '"', "models/model.h"),
        ("userspace/detectors/a.h", '"', "outlier/v1/feed.pb.h"),
        ("userspace/pipeline/a.cc", '"', "userspace/workloads/b.h"),
        ("userspace/outlierd/a.cc", '"', "userspace/base/file.h"),
        ("userspace/loader/a.cc", "<", "bpf/libbpf.h"),
        ("bpf/a.bpf.c", "<", "bpf/bpf_helpers.h"),
        ("tests/unit/a.cc", '"', "userspace/feed/journal.h"),
    ]
    assert [complaint(*edge) for edge in along if complaint(*edge)] == []
