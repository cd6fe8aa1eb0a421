"""A test that is killed leaves nothing behind."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ground import MEMORY_CGROUPS, start, wait_for

STAGE = """
import sys, time
sys.path.insert(0, {folder!r})
from ground import Ground
from services import Service, SlowFileSystem, Script
ground = Ground()
kept = [SlowFileSystem(ground), Service(ground, "supervised", supervised=True), Script(ground, "storm.sh"),
        Service(ground, "caged", memory_limit=64 << 20)]
print(ground.folder, flush=True)
time.sleep(600)
"""


def traces(folder: Path) -> list[str]:
    found = [line for line in Path("/proc/self/mounts").read_text().splitlines() if str(folder) in line]
    assert MEMORY_CGROUPS is not None
    found += [str(cgroup) for cgroup in MEMORY_CGROUPS.root.glob(f"{folder.name}*")]
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and str(folder) in _command_line(entry):
            found.append(_command_line(entry))
    return found + ([str(folder)] if folder.exists() else [])


def _command_line(process: Path) -> str:
    try:
        return (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def test_a_killed_test_leaves_no_process_cgroup_mount_or_folder_behind() -> None:
    if MEMORY_CGROUPS is None or not Path("/dev/fuse").exists():
        pytest.skip("needs memory cgroups and FUSE")
    stage = start([sys.executable, "-c", STAGE.format(folder=str(Path(__file__).parent))], stdout=subprocess.PIPE, text=True)
    assert stage.stdout is not None
    folder = Path(stage.stdout.readline().strip())
    assert len(traces(folder)) > 5, "there is something to clear away"
    stage.send_signal(signal.SIGKILL)
    stage.wait()
    wait_for("all of it gone", lambda: not traces(folder), timeout=15)
