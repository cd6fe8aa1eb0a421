"""A search server with what outlier-relay installs and the documents of documents.py."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime, timezone

import documents
from pictures import Context
from project import Json, read_json
from servers.search import SearchServer

# A time that no other test writes documents of: the servers are shared.
END = datetime(2026, 3, 1, 12, 30, tzinfo=timezone.utc)
CONTEXT = Context(END - documents.SPAN, END, ({"terms": {"host.name": ["web-1", "web-2", "db-1"]}},))


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
        assert not answer["timed_out"] and answer["_shards"]["failed"] == 0, answer["_shards"]
        return answer


def fill(server: SearchServer) -> Indexed:
    server.rest.request("DELETE", f"/{documents.CURRENT}").expect(200, 404)  # another test's, of other templates
    namespace = f"views{uuid.uuid4().hex[:8]}"
    installed = install(server)
    answer = server.bulk(documents.actions(END, namespace), "/_bulk?refresh=true").expect(200).json()
    refused = [item for item in answer["items"] if next(iter(item.values()))["status"] >= 300]
    assert not refused, refused[:3]
    return Indexed(server, namespace, installed)
