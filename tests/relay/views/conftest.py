"""Fixtures of what is looked at: packages of Node.js, search servers that hold documents."""

from __future__ import annotations

import os
import sys
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import documents  # noqa: E402
import node  # noqa: E402
from pictures import Context  # noqa: E402
from project import Json, read_json  # noqa: E402
from servers.cache import Unavailable  # noqa: E402
from servers.pool import Pool  # noqa: E402
from servers.search import SearchServer  # noqa: E402

# A time that no other test writes documents of: the servers are shared.
END = datetime(2026, 3, 1, 12, 30, tzinfo=timezone.utc)
CONTEXT = Context(END - documents.SPAN, END, ({"terms": {"host.name": ["web-1", "web-2", "db-1"]}},))


@pytest.fixture(scope="session")
def node_modules() -> Path:
    try:
        return node.packages()
    except Unavailable as error:
        if os.environ.get("CI"):
            pytest.fail(f"packages of Node.js: {error}", pytrace=False)
        pytest.skip(f"packages of Node.js: {error}")


def install(server: SearchServer) -> dict[str, int]:
    """Does what `outlier-relay setup` does: each request of the manifest in order. Path -> status."""
    statuses = {}
    for entry in read_json(f"search/{server.name}/manifest.json"):
        answer = server.rest.request(entry["method"], entry["path"], read_json(f"search/{server.name}/{entry['file']}"))
        statuses[entry["path"]] = answer.expect(*((200, 400) if entry["optional"] else (200,))).status
    return statuses


@dataclass
class Indexed:
    server: SearchServer
    namespace: str
    installed: dict[str, int]  # path -> status of what was installed

    @property
    def dialect(self) -> str:
        return self.server.name

    def search(self, index: str, body: Json) -> Json:
        answer: Json = self.server.rest.post(f"/{index}/_search", body).expect(200).json()
        assert not answer["timed_out"] and answer["_shards"]["failed"] == 0, answer
        return answer


_indexed: dict[type[SearchServer], Indexed] = {}


@pytest.fixture
def indexed(pool: Pool, search_kind: type[SearchServer]) -> Indexed:
    """Elasticsearch and OpenSearch, one after the other, with the templates and the documents of documents.py."""
    server = pool.running(search_kind)
    if search_kind not in _indexed:
        server.rest.request("DELETE", f"/{documents.CURRENT}").expect(200, 404)  # another test's, of other templates
        namespace = f"views{uuid.uuid4().hex[:8]}"
        installed = install(server)
        answer = server.bulk(documents.actions(END, namespace), "/_bulk?refresh=true").expect(200).json()
        refused = [item for item in answer["items"] if next(iter(item.values()))["status"] >= 300]
        assert not refused, refused[:3]
        _indexed[search_kind] = Indexed(server, namespace, installed)
    return _indexed[search_kind]
