"""`./run --demo` as a person runs it: it follows in the terminal, the first incident comes by itself, and Ctrl-C leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ground import Ground, wait_for

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def demo(ground: Ground) -> Iterator[subprocess.Popen[bytes]]:
    """In a session of its own, as a terminal gives it; what it says is in demo.out."""
    with (ground.folder / "demo.out").open("wb") as out:
        run = subprocess.Popen(
            [ROOT / "run", "--demo"], stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True, env={**os.environ, "TMPDIR": str(ground.folder)})  # fmt: skip
    yield run
    if run.poll() is None:
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()


def living(session: int) -> list[str]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            head, _, fields = stat.read_text().rpartition(")")
        except OSError:
            continue
        state, _parent, _group, of_session = fields.split()[:4]
        if int(of_session) == session and state != "Z":
            found.append(head)
    return found


def test_the_demo_tells_its_first_incident_by_itself_and_ctrl_c_leaves_nothing(ground: Ground, demo: subprocess.Popen[bytes]) -> None:
    out = ground.folder / "demo.out"

    def told() -> bool:
        assert demo.poll() is None, out.read_text(errors="replace")
        return any("misbehaving_service" in line and "expected" in line for line in out.read_text(errors="replace").splitlines())

    wait_for("an incident of the demo's service", told, timeout=240, poll=1)
    text = out.read_text(errors="replace")
    assert "watched" in text or "watches" in text, text
    os.killpg(demo.pid, signal.SIGINT)
    assert demo.wait(20) == 0
    wait_for("everything that it started is gone", lambda: not living(demo.pid), timeout=10)
    assert not list(ground.folder.glob("outlierd-demo.*"))
