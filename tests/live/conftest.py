"""Live tests need root, this kernel's probes and the built programs; without them they are skipped and say why."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from ground import Ground, remove_leftovers  # noqa: E402
from host import FAULT_PROGRAMS, OUTLIERCTL, OUTLIERD  # noqa: E402

# The long session comes first: it wants a host that nothing has disturbed yet.
ORDER = ["test_session", "test_nothing_lost"]
REPORT: list[str] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        module = item.path.stem
        return ORDER.index(module) if module in ORDER else len(ORDER)

    items.sort(key=place)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if REPORT:
        terminalreporter.section("what was measured")
        for line in REPORT:
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def report() -> list[str]:
    return REPORT


@pytest.fixture(scope="session", autouse=True)
def host_allows_live_tests() -> None:
    if os.geteuid() != 0:
        pytest.skip("live tests load BPF programs and make cgroups: they need root")
    for program in (OUTLIERD, OUTLIERCTL, FAULT_PROGRAMS / "faulty", FAULT_PROGRAMS / "fork_storm"):
        if not program.exists():
            pytest.skip(f"{program} is not built")
    remove_leftovers()


@pytest.fixture(scope="module")
def ground() -> Iterator[Ground]:
    ground = Ground()
    yield ground
    ground.clear()
