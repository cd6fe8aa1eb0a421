"""The services that a test makes misbehave. Each is an executable (or a script) of its own, so each is a workload of its own."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from ground import Ground, start, wait_for
from host import FAULT_PROGRAMS

SCRIPTS = Path(__file__).parent / "faults"


def replace_text(path: Path, text: str) -> None:
    """At once: a reader sees the old line or the new one, never an empty file."""
    written = path.with_suffix(".new")
    written.write_text(text)
    written.replace(path)


def install(ground: Ground, program: Path, name: str) -> Path:
    target = ground.folder / "bin" / name
    target.parent.mkdir(exist_ok=True)
    shutil.copy2(program, target)
    return target


def inside(cgroup: Path, command: list[str | Path]) -> list[str | Path]:
    """The shell moves itself, so that the command is in the cgroup from its first page on."""
    return ["sh", "-c", f'echo $$ >{cgroup}/cgroup.procs && exec "$@"', "sh", *command]


class Service:
    """A copy of the program `faulty` that obeys orders; see its head for them."""

    def __init__(self, ground: Ground, name: str, *arguments: str | Path, memory_limit: int | None = None, cgroup: Path | None = None,
                 supervised: bool = False):  # fmt: skip
        """`memory_limit`: in a memory cgroup of its own, its supervisor too. `cgroup`: there, its supervisor outside, as a service
        manager is."""
        self.name = name
        executable = install(ground, FAULT_PROGRAMS / "faulty", name)
        command: list[str | Path] = [executable, *arguments]
        self._mode_file: Path | None = None
        if supervised:
            self._mode_file = ground.folder / f"{name}.mode"
            self._mode_file.write_text("healthy\n")
            command += ["--mode-file", self._mode_file]
        if cgroup is not None:
            command = inside(cgroup, command)
        if supervised:
            command = [install(ground, SCRIPTS / "supervise.sh", f"{name}-supervisor.sh"), *command]
        if memory_limit is not None:
            command = inside(ground.memory_cgroup(name, memory_limit), command)
        self.process = start(command, stdin=subprocess.PIPE, text=True)

    @property
    def pid(self) -> int:
        return self.process.pid

    def order(self, mode: str, lasting: bool = True) -> None:
        """`lasting`: a restarted instance begins in this mode too."""
        if self._mode_file is not None and lasting:
            replace_text(self._mode_file, f"{mode}\n")
        assert self.process.stdin is not None
        self.process.stdin.write(f"{mode}\n")
        self.process.stdin.flush()

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


class SlowFileSystem:
    """A FUSE mount whose reads answer as late as one says."""

    def __init__(self, ground: Ground):
        mount_point = ground.folder / "slow"
        mount_point.mkdir()
        self.file = mount_point / "file"
        self._process = start([install(ground, FAULT_PROGRAMS / "slow_fs", "slow_fs"), mount_point], stdin=subprocess.PIPE, text=True)
        wait_for("slow_fs mounted", self.file.exists, timeout=10)

    def delay(self, milliseconds: int) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{milliseconds}\n")
        self._process.stdin.flush()


class Script:
    """One of faults/*.sh, told what to do by a file that it reads between two rounds."""

    def __init__(self, ground: Ground, name: str):
        self.name = name
        self._mode_file = ground.folder / f"{name}.mode"
        self.order("healthy")
        work = ground.folder / f"{name}.work"
        work.mkdir()
        self.process = start([install(ground, SCRIPTS / name, name), self._mode_file, work], stdout=subprocess.DEVNULL)

    def order(self, mode: str) -> None:
        replace_text(self._mode_file, f"{mode}\n")

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
