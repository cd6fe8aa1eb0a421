"""What docs/adding.md shows is true: its code, put into a copy of the tree, builds and passes the conformance suites.

A fenced block whose opening line names a path is a new file; one in `diff` is lines at the end of an existing file.
Run by ctest, which says in OUTLIER_ADDING where copy and build lie; they are kept, so that the next run builds little.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PLACE = Path(os.environ["OUTLIER_ADDING"])
TREE = PLACE / "tree"
BUILD = TREE / "build"  # as in the tree itself: seen from it, sources have the same names, and ccache knows all but what is added
COPIED = [
    "CMakeLists.txt", "bpf", "models", "proto", "userspace", "tests/CMakeLists.txt", "tests/models", "tests/features", "tests/kernel",
]  # fmt: skip
SUITES = ["models_conformance_test", "features_conformance_test", "kernel_probe_conformance_test"]
BLOCK = re.compile(r"^```(\w+) (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

sys.path.insert(0, str(ROOT / "tests" / "layering"))
import test_layering as layering  # noqa: E402


class Section:
    """One `## ` section of the page: new files and added lines."""

    def __init__(self, text: str) -> None:
        self.files: dict[str, str] = {}
        self.lines: list[tuple[str, str]] = []
        for language, path, body in BLOCK.findall(text):
            if language != "diff":
                self.files[path] = body
                continue
            for line in body.splitlines():
                assert line.startswith("+"), f"only additions are promised: {line}"
                self.lines.append((path, line[1:]))


def sections() -> dict[str, Section]:
    parts = re.split(r"^## (.*)\n", (ROOT / "docs" / "adding.md").read_text(), flags=re.MULTILINE)
    return {title: Section(text) for title, text in zip(parts[1::2], parts[2::2], strict=True)}


def wanted_files() -> dict[str, bytes]:
    """The copied part of the tree with what the page adds."""
    wanted: dict[str, bytes] = {}
    for name in COPIED:
        top = ROOT / name
        for path in [top] if top.is_file() else sorted(top.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                wanted[str(path.relative_to(ROOT))] = path.read_bytes()
    for section in sections().values():
        for path, text in section.files.items():
            assert path not in wanted, f"{path} is no new file"
            wanted[path] = text.encode()
        for path, line in section.lines:
            wanted[path] += f"{line}\n".encode()
    return wanted


def run(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    # The suites below are this test's own matter: their results must not replace those of the tree's.
    inherited = {name: value for name, value in os.environ.items() if name != "GTEST_OUTPUT"}
    inherited |= {"CCACHE_BASEDIR": str(TREE), "CCACHE_NOHASHDIR": "1"}
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, errors="replace", env={**inherited, **environment})


@pytest.fixture(scope="session")
def build() -> Path:
    wanted = wanted_files()
    for path in [path for path in TREE.rglob("*") if path.is_file() and not path.is_relative_to(BUILD)] if TREE.exists() else []:
        if str(path.relative_to(TREE)) not in wanted:
            path.unlink()
    for name, content in wanted.items():  # what did not change keeps its time, and is not built again
        path = TREE / name
        if not path.exists() or path.read_bytes() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    for command in (["cmake", "-G", "Ninja", "-S", TREE, "-B", BUILD], ["cmake", "--build", BUILD, "--target", *SUITES]):
        done = run(*command)
        assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    return BUILD / "tests"


def conforms(program: Path, case: str) -> None:
    listed = run(program, "--gtest_list_tests").stdout
    assert f"/{case}" in listed, f"the suite does not know {case}"
    done = run(program, f"--gtest_filter=*/{case}")  # the others are the tree's own matter
    assert done.returncode == 0, done.stdout[-6000:]
    ran = re.findall(rf"^\[ +OK \] \S+/{case} ", done.stdout, re.MULTILINE)
    if not ran:
        pytest.skip(next(iter(re.findall(r"Skipped\n(.*)", done.stdout)), "every case was skipped"))


def test_the_page_has_the_three_sections() -> None:
    assert list(sections()) == ["A feature", "A model", "A probe"]


@pytest.mark.parametrize(("title", "files"), [("A feature", 0), ("A model", 2), ("A probe", 2)])
def test_each_costs_one_pair_of_files_at_most_and_one_line(title: str, files: int) -> None:
    section = sections()[title]
    assert len(section.files) == files
    assert len(section.lines) == 1
    assert section.lines[0][0].endswith(".def")


def test_what_is_added_keeps_to_the_layers() -> None:
    for section in sections().values():
        for path, text in section.files.items():
            assert layering.room_of(path) is not None
            wrong = [layering.complaint(path, quote, included) for quote, included in layering.INCLUDE.findall(text)]
            assert [line for line in wrong if line] == []


def test_the_feature_conforms(build: Path) -> None:
    conforms(build / "features_conformance_test", "process_memory_per_process")


def test_the_model_conforms(build: Path) -> None:
    conforms(build / "models_conformance_test", "normal_level")


def test_the_probe_loads_and_conforms(build: Path) -> None:
    conforms(build / "kernel_probe_conformance_test", "io_uring")
