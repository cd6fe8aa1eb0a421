"""What all servers share: a folder, a process, a log, a way to tell that it is ready; start, stop and SIGKILL."""

from __future__ import annotations

import abc
import atexit
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Self, TypeVar

from .rest import Rest

NOBODY = 65534
_running: set[Server] = set()
_given_ports: dict[int, socket.socket] = {}
Result = TypeVar("Result")


class NotReady(Exception):
    """A server ended, or did not answer in time; tells the end of its log."""


def free_port() -> int:
    """A loopback port that nobody listens on, below those that the kernel gives to outgoing connections: it stays free, also while a
    server that had it is down, and also from tests in other processes, which see by a socket of its name that it is given."""
    first_ephemeral = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for _ in range(1000):
        port = random.randrange(10240, max(first_ephemeral, 20480))
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0outlierd-tests-port-{port}")
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
        except OSError:
            claim.close()
            continue
        _given_ports[port] = claim
        return port
    raise NotReady("no free loopback port found in 1000 attempts")


def wait_for(what: str, condition: Callable[[], Result | None], timeout: float = 60, interval: float = 0.05) -> Result:
    """The condition's first true value."""
    deadline = time.monotonic() + timeout
    while True:
        if value := condition():
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout:.0f} s in vain for: {what}")
        time.sleep(interval)


class Server(abc.ABC):
    """Not thread-safe. A start after stop() or kill() runs on the same folder and ports, so the state is still there."""

    name: ClassVar[str]
    start_timeout: ClassVar[float] = 120
    ask_interval: ClassVar[float] = 0.05

    def __init__(self, folder: Path | None = None) -> None:
        """`folder`: keeps its state, by default a temporary one that close() removes."""
        self.install()
        self._owns_folder = folder is None
        self.folder = folder or Path(tempfile.mkdtemp(prefix=f"outlierd-{self.name}-"))
        self.folder.mkdir(parents=True, exist_ok=True)
        self.log = self.folder / "server.log"
        self.process: subprocess.Popen[bytes] | None = None

    @classmethod
    @abc.abstractmethod
    def install(cls) -> Path:
        """Makes sure that the server is there, by installing it into the cache where it can; the folder or program. Raises Unavailable."""

    @property
    @abc.abstractmethod
    def rest(self) -> Rest:
        """Sends requests to it."""

    @abc.abstractmethod
    def _launch(self) -> None:
        """Starts the process by _spawn()."""

    @abc.abstractmethod
    def _ready(self) -> bool:
        """Whether it does its work; may raise OSError while it does not."""

    @property
    def url(self) -> str:
        return self.rest.url

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self) -> Self:
        """Returns when it is ready."""
        if self.running:
            raise NotReady(f"{self.name} is running already")
        self._launch()
        _running.add(self)
        deadline = time.monotonic() + self.start_timeout
        while not self._ready_without_error():
            assert self.process is not None
            if self.process.poll() is not None:
                _running.discard(self)
                raise NotReady(
                    f"{self.name} ended with status {self.process.returncode} before it was ready; its log ends:\n{self.log_tail()}"
                )
            if time.monotonic() > deadline:
                self.kill()
                raise NotReady(f"{self.name} was not ready within {self.start_timeout:.0f} s; its log ends:\n{self.log_tail()}")
            time.sleep(self.ask_interval)
        return self

    def stop(self, timeout: float = 20) -> None:
        """SIGTERM, and SIGKILL after `timeout` seconds."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout)
            except subprocess.TimeoutExpired:
                pass
        self.kill()  # also what it started itself

    def kill(self) -> None:
        """SIGKILL to the server and all that it started; returns when it is gone."""
        _running.discard(self)
        if self.process is None:
            return
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        wait_for(f"the end of {self.name}", lambda: not _group_exists(self.process.pid if self.process else 0))
        self.process = None

    def close(self) -> None:
        """SIGKILL, and its folder is removed: for a server that is no longer wanted."""
        self.kill()
        if self._owns_folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_: object) -> None:
        self.close()

    def log_tail(self, lines: int = 25) -> str:
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        except OSError as error:
            return f"(no log: {error})"

    def _spawn(self, command: Sequence[str | Path], *, environment: Mapping[str, str] | None = None, as_nobody: bool = False) -> None:
        """`as_nobody`: gives up root, for servers that refuse it; the folder is given to nobody. Reading stays allowed everywhere, because
        the homes of users and the temporary folders of tests are closed to others."""
        words = ["setpriv"]
        if threading.current_thread() is threading.main_thread():  # the signal comes at the end of the thread that asks for it
            words += ["--pdeathsig", "KILL"]
        if as_nobody and os.geteuid() == 0:
            for path in (self.folder, *self.folder.rglob("*")):
                os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
            words += [
                f"--reuid={NOBODY}",
                f"--regid={NOBODY}",
                "--clear-groups",
                "--inh-caps=-all,+dac_read_search",
                "--ambient-caps=+dac_read_search",
            ]
            words += ["--securebits=+no_setuid_fixup"]  # else access(2) leaves the capability out of account
        with self.log.open("ab") as log:
            # Its own group, so that one signal reaches all of it, and a Ctrl-C at the terminal does not.
            self.process = subprocess.Popen([*words, *map(str, command)], cwd=self.folder, env={**os.environ, **(environment or {})},
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)  # fmt: skip

    def _ready_without_error(self) -> bool:
        try:
            return self._ready()
        except OSError:
            return False


def _group_exists(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@atexit.register
def _stop_all() -> None:
    for server in list(_running):
        server.kill()
