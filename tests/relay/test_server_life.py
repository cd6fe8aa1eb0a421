"""Servers are installed once and whole, are given ports of their own, and live no longer than the run that started them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from servers import base, cache
from servers.alertmanager import Alertmanager
from servers.base import NotReady, Server, wait_for
from servers.cache import Unavailable
from servers.pool import Pool, obtain
from servers.prometheus import Prometheus
from servers.rest import Rest
from servers.search import SearchServer


def test_a_port_is_given_once_to_all_processes() -> None:
    given = {base.free_port() for _ in range(20)}
    assert len(given) == 20
    ask = (
        "import sys; sys.path.insert(0, sys.argv[1]); from servers import base\n"
        "ports = iter(map(int, sys.argv[2:])); base.random.randrange = lambda *_: next(ports); print(base.free_port())"
    )
    other = base.free_port()
    base._given_ports.pop(other).close()  # given back: the only one that another may have
    folder = str(Path(__file__).parent)
    answer = subprocess.run([sys.executable, "-c", ask, folder, *map(str, [*given, other])], capture_output=True, text=True, check=True)
    assert int(answer.stdout) == other


class Sleeper(SearchServer):
    """Has options as a search server has, and starts at once."""

    name = "sleeper"
    started_with: list[dict[str, str]] = []

    @classmethod
    def install(cls) -> Path:
        return Path("/bin/sleep")

    @property
    def rest(self) -> Rest:
        return Rest(f"http://127.0.0.1:{self.port}")

    def _launch(self) -> None:
        self.started_with.append(dict(self.options))
        self._spawn([self.install(), "60"])

    def _ready(self) -> bool:
        return True


def test_options_hold_for_one_start_and_who_wants_others_gets_it_started_again() -> None:
    pool = Pool()
    try:
        server = pool.running(Sleeper)
        assert pool.running(Sleeper, {}) is server and pool.running(Sleeper, {"a": "1"}) is server and pool.running(Sleeper, {"a": "1"}) is server
        assert Sleeper.started_with == [{}, {"a": "1"}]
        server.kill()
        server.start()
        assert pool.running(Sleeper).options == {}
        server.kill()
        server.start({"b": "2"})
        pool.running(Sleeper)
        assert Sleeper.started_with == [{}, {"a": "1"}, {}, {"b": "2"}, {}]
    finally:
        pool.close()


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OUTLIER_TEST_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_an_interrupted_installation_is_done_again_and_a_finished_one_is_not(own_cache: Path) -> None:
    def interrupted(folder: Path) -> None:
        (folder / "half").touch()
        raise Unavailable("cut off")

    with pytest.raises(Unavailable, match="cut off"):
        cache.installed("thing", ["recipe"], interrupted)
    whole = cache.installed("thing", ["recipe"], lambda folder: (folder / "whole").touch())
    assert [path.name for path in whole.iterdir()] == ["whole"]
    assert cache.installed("thing", ["recipe"], interrupted) == whole
    assert cache.installed("thing", ["another recipe"], lambda folder: None) != whole


def test_two_runs_at_once_install_once(own_cache: Path) -> None:
    script = f"""
import sys, time; sys.path.insert(0, {str(Path(__file__).parent)!r})
from servers.cache import cache_folder, installed
def make(folder):
    with (cache_folder() / "made").open("a") as file: file.write("once\\n")
    time.sleep(0.3)  # an installation takes its time: the others come meanwhile
    (folder / "program").touch()
assert (installed("thing", ["recipe"], make) / "program").exists()
"""
    runs = [subprocess.Popen([sys.executable, "-c", script]) for _ in range(3)]
    assert [run.wait() for run in runs] == [0, 0, 0]
    assert (own_cache / "made").read_text() == "once\n"


def test_a_damaged_download_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "server.zip"
    file.write_bytes(b"damaged")
    with pytest.raises(Unavailable, match="server.zip: SHA-256 is .* expected 00"):
        cache.require_sha256(file, "00" * 32)


class Missing(Prometheus):
    name = "missing"

    @classmethod
    def install(cls) -> Path:
        return cache.debian_program("no-such-program", "no-such-package")


def test_a_missing_server_fails_a_test_in_continuous_integration_and_skips_it_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    said = "missing: `no-such-program` is not installed: apt-get install no-such-package"
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match=said):
        obtain(Missing)
    monkeypatch.delenv("CI")
    with pytest.raises(pytest.skip.Exception, match=said):
        Pool().running(Missing)


def test_a_server_that_cannot_start_shows_the_end_of_its_log(tmp_path: Path) -> None:
    obtain(Prometheus)
    rules = tmp_path / "rules.yml"
    rules.write_text("groups: no list\n")
    with pytest.raises(NotReady, match=r"(?s)prometheus ended with status 1 .*rules\.yml"):
        Prometheus(tmp_path / "state", rules=[rules]).start()
    server = Prometheus(rules=[rules])
    with pytest.raises(NotReady), server:
        pass
    assert not server.folder.exists()


def test_servers_end_with_the_run_that_started_them_even_if_that_is_killed(tmp_path: Path) -> None:
    obtain(Alertmanager)
    script = f"""
import sys, time; sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from servers.alertmanager import Alertmanager
server = Alertmanager(Path({str(tmp_path)!r})).start()
print(server.process.pid, flush=True)
time.sleep(60)  # lives until it is killed
"""
    run = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert run.stdout is not None
    pid = int(run.stdout.readline())
    assert Path(f"/proc/{pid}").exists()
    run.send_signal(signal.SIGKILL)
    run.wait()
    wait_for("the end of the server", lambda: not Path(f"/proc/{pid}/exe").exists() or _is_zombie(pid))


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_a_killed_server_leaves_no_process_behind(tmp_path: Path) -> None:
    obtain(Alertmanager)
    server: Server = Alertmanager(tmp_path).start()
    assert server.process is not None
    group = server.process.pid
    server.kill()
    with pytest.raises(ProcessLookupError):
        os.killpg(group, 0)
    server.close()
    assert tmp_path.exists()
