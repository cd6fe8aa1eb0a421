"""Plain HTTP requests to a server under test: every status is an answer, no proxies, no redirects."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]  # keys in lower case
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def expect(self, *statuses: int) -> Answer:
        """This, if its status is one of these."""
        if self.status not in statuses:
            raise AssertionError(
                f"answered {self.status} instead of {' or '.join(map(str, statuses))}: {self.body[:1000].decode(errors='replace')}"
            )
        return self


class Rest:
    def __init__(self, url: str, *, headers: Mapping[str, str] | None = None, ca_file: Path | None = None, timeout: float = 120) -> None:
        self.url = url.rstrip("/")
        self._parts = urllib.parse.urlsplit(self.url)
        self._headers = dict(headers or {})
        self._tls = ssl.create_default_context(cafile=str(ca_file)) if ca_file else None
        self._timeout = timeout

    def with_headers(self, headers: Mapping[str, str]) -> Rest:
        other = Rest(self.url, headers={**self._headers, **headers}, timeout=self._timeout)
        other._tls = self._tls
        return other

    def request(self, method: str, path: str, body: bytes | str | list[Any] | dict[str, Any] | None = None,
                headers: Mapping[str, str] | None = None) -> Answer:  # fmt: skip
        """Lists and dictionaries are sent as JSON. Raises OSError when there is no answer."""
        sent = {**self._headers}
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
            sent["Content-Type"] = "application/json"
        if isinstance(body, str):
            body = body.encode()
        sent.update(headers or {})
        assert self._parts.hostname is not None
        connection: http.client.HTTPConnection
        if self._parts.scheme == "https":
            connection = http.client.HTTPSConnection(self._parts.hostname, self._parts.port, timeout=self._timeout, context=self._tls)
        else:
            connection = http.client.HTTPConnection(self._parts.hostname, self._parts.port, timeout=self._timeout)
        try:
            connection.request(method, self._parts.path + path, body, sent)
            answer = connection.getresponse()
            return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        except http.client.HTTPException as error:  # cut off in mid-answer
            raise ConnectionError(f"{method} {self.url}{path}: {error!r}") from error
        finally:
            connection.close()

    def get(self, path: str) -> Answer:
        return self.request("GET", path)

    def post(
        self, path: str, body: bytes | str | list[Any] | dict[str, Any] | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        return self.request("POST", path, body, headers)

    def put(self, path: str, body: bytes | str | list[Any] | dict[str, Any] | None = None) -> Answer:
        return self.request("PUT", path, body)


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}
