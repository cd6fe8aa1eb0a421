"""The relay's tests talk to real servers: see README.md in this folder."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from programs import Source, Street  # noqa: E402
from servers.alertmanager import Alertmanager  # noqa: E402
from servers.cloudwatch import CloudWatch  # noqa: E402
from servers.collector import Collector  # noqa: E402
from servers.elasticsearch import Elasticsearch  # noqa: E402
from servers.opensearch import OpenSearch  # noqa: E402
from servers.pool import Pool  # noqa: E402
from servers.prometheus import Prometheus  # noqa: E402
from servers.search import CONSTRAINED, SearchServer  # noqa: E402

POOL = Pool()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "constrained(turn): with a search server that takes little at once; turn 1 makes it so, 2 finds it so")


# A search server takes half a minute of a processor to start: what wants one that takes little at once comes last, one after the other.
@pytest.hookimpl(trylast=True)  # after pytest has grouped them by server
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> tuple[int, str, int]:
        marker = item.get_closest_marker("constrained")
        return (0, "", 0) if marker is None else (1, item.callspec.params["search_kind"].name, marker.args[0])  # type: ignore[attr-defined]

    items.sort(key=place)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if POOL.report:
        terminalreporter.section("servers")
        for line in POOL.report:
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def pool() -> Iterator[Pool]:
    """For tests that stop, kill or configure servers; what they leave stopped is started again for the next test that wants it."""
    yield POOL
    POOL.close()


@pytest.fixture
def elasticsearch(pool: Pool) -> Elasticsearch:
    return pool.running(Elasticsearch)


@pytest.fixture
def opensearch(pool: Pool) -> OpenSearch:
    return pool.running(OpenSearch)


@pytest.fixture(scope="session", params=[Elasticsearch, OpenSearch], ids=lambda kind: kind.name)
def search_kind(request: pytest.FixtureRequest) -> type[SearchServer]:
    """Of session scope, so that tests are grouped: all with Elasticsearch, then all with OpenSearch."""
    kind: type[SearchServer] = request.param
    return kind


@pytest.fixture
def search(request: pytest.FixtureRequest, pool: Pool, search_kind: type[SearchServer]) -> SearchServer:
    """Both, one after the other."""
    return pool.running(search_kind, CONSTRAINED if request.node.get_closest_marker("constrained") else None)


@pytest.fixture
def collector(pool: Pool) -> Collector:
    return pool.running(Collector)


@pytest.fixture
def prometheus(pool: Pool) -> Prometheus:
    return pool.running(Prometheus)


@pytest.fixture
def alertmanager(pool: Pool) -> Alertmanager:
    return pool.running(Alertmanager)


@pytest.fixture
def cloudwatch(pool: Pool) -> CloudWatch:
    return pool.running(CloudWatch)


@pytest.fixture
def unique() -> str:
    """A name that no other test uses: servers are shared, and what one test writes stays."""
    return f"t{uuid.uuid4().hex[:12]}"


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Source]:
    source = Source(tmp_path / "source").start()
    yield source
    source.stop()


@pytest.fixture
def street(source: Source, tmp_path: Path) -> Iterator[Street]:
    street = Street(source, tmp_path)
    yield street
    if street.relay is not None:
        street.relay.stop()
