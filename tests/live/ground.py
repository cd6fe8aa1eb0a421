"""The ground a live test stands on: a folder, memory cgroups, mounts and child processes, all gone once the test is, even when it
was killed. Children die with their parent (PR_SET_PDEATHSIG); a reaper process outlives a killed test for the rest."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

PREFIX = "outlier-live-"


@dataclass(frozen=True)
class MemoryCgroups:
    """Where memory cgroups are made on this host, version 1 or 2, and what their limit is called."""

    root: Path
    limit: str

    def make(self, name: str, limit_bytes: int) -> Path:
        """`name` may be a path: what is missing above it is made."""
        cgroup = self.root / name
        for above in reversed(Path(name).parents):
            (self.root / above).mkdir(exist_ok=True)
            if self.limit == "memory.max":
                (self.root / above / "cgroup.subtree_control").write_text("+memory")
        cgroup.mkdir()
        (cgroup / self.limit).write_text(str(limit_bytes))
        if (cgroup / "memory.swap.max").exists():
            (cgroup / "memory.swap.max").write_text("0")  # swapping is slower than any limit of these tests
        return cgroup


def find_memory_cgroups() -> MemoryCgroups | None:
    """The controller is in one hierarchy only: where version 2 has it, version 2 is what these tests run on."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, mount_point, kind, options, *_ = line.split()
        root = Path(mount_point)
        if kind == "cgroup2" and "memory" in (root / "cgroup.controllers").read_text().split():
            return MemoryCgroups(root, "memory.max")
        if kind == "cgroup" and "memory" in options.split(","):
            return MemoryCgroups(root, "memory.limit_in_bytes")
    return None


MEMORY_CGROUPS = find_memory_cgroups()

_libc = ctypes.CDLL(None, use_errno=True)
T = TypeVar("T")


def die_with_parent() -> None:
    """For preexec_fn. The signal comes when the *thread* that started the child ends: start children in the main thread."""
    pr_set_pdeathsig = 1
    _libc.prctl(pr_set_pdeathsig, signal.SIGKILL)


def start(command: list[str | Path], **options: Any) -> subprocess.Popen[Any]:
    return subprocess.Popen([os.fspath(word) for word in command], preexec_fn=die_with_parent, **options)


def wait_for(what: str, condition: Callable[[], T | None], timeout: float, poll: float = 0.2) -> T:
    """The first true answer of `condition`."""
    end = time.monotonic() + timeout
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {timeout:g} s")
        time.sleep(poll)


def remove_traces(folder: Path) -> None:
    """Processes that run out of the folder, mounts below it, cgroups named after it, the folder."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if os.readlink(entry / "exe").startswith(f"{folder}/"):
                    os.kill(int(entry.name), signal.SIGKILL)
            except OSError:
                pass  # ended meanwhile, or a kernel thread
    for line in Path("/proc/self/mounts").read_text().splitlines():
        mount_point = line.split()[1]
        if mount_point.startswith(f"{folder}/"):
            subprocess.run(["umount", "--lazy", mount_point], check=False)
    for cgroup in MEMORY_CGROUPS.root.glob(f"{folder.name}*") if MEMORY_CGROUPS else ():
        try:
            for pid in (cgroup / "cgroup.procs").read_text().split():
                os.kill(int(pid), signal.SIGKILL)
        except OSError:
            pass
        for _ in range(100):
            try:
                cgroup.rmdir()
                break
            except FileNotFoundError:
                break
            except OSError:
                time.sleep(0.05)  # its processes are still ending
    shutil.rmtree(folder, ignore_errors=True)


def remove_leftovers() -> None:
    """Of test runs that not even a reaper outlived. A folder names the process that made it."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        if not Path(f"/proc/{folder.name.removeprefix(PREFIX).split('-')[0]}").exists():
            remove_traces(folder)


class Ground:
    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
        self.folder.chmod(0o755)
        # Its end of the pipe closes when this process ends in whatever way; the reaper is in a session of its own so that a
        # signal to the process group spares it.
        self._reaper = subprocess.Popen(
            [sys.executable, __file__, str(self.folder)], stdin=subprocess.PIPE, start_new_session=True
        )

    def memory_cgroup(self, name: str, limit_bytes: int) -> Path:
        assert MEMORY_CGROUPS is not None, "this kernel has no memory cgroups"
        return MEMORY_CGROUPS.make(f"{self.folder.name}-{name}", limit_bytes)

    def clear(self) -> None:
        self._reaper.communicate()


if __name__ == "__main__":
    sys.stdin.buffer.read()
    remove_traces(Path(sys.argv[1]))
