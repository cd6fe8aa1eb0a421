"""One server of each kind for a whole run of the tests."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import TypeVar

import pytest

from .base import Server
from .cache import Unavailable
from .search import SearchServer

Kind = TypeVar("Kind", bound=Server)


def obtain(kind: type[Server]) -> None:
    """Installs the server. Where it cannot be had, the test fails in continuous integration (CI is set), and is skipped elsewhere."""
    try:
        kind.install()
    except Unavailable as error:
        if os.environ.get("CI"):
            pytest.fail(f"{kind.name}: {error}", pytrace=False)
        pytest.skip(f"{kind.name}: {error}")


class Pool:
    def __init__(self) -> None:
        self._servers: dict[type[Server], Server] = {}
        self._missing: dict[type[Server], Exception] = {}
        self.report: list[str] = []

    def running(self, kind: type[Kind], options: Mapping[str, str] | None = None) -> Kind:
        """The one of this kind, started where it is not running: because it is new, or because a test has stopped or killed it. A search
        server that runs with other options than these is started again."""
        if kind in self._missing:
            pytest.skip(str(self._missing[kind])) if not os.environ.get("CI") else pytest.fail(str(self._missing[kind]), pytrace=False)
        if kind not in self._servers:
            begin = time.monotonic()
            try:
                obtain(kind)
            except (pytest.skip.Exception, pytest.fail.Exception) as reason:  # once is enough: downloads may take long to fail
                self._missing[kind] = reason
                raise
            self.report.append(f"{kind.name}: ready to start after {time.monotonic() - begin:.1f} s")
            self._servers[kind] = kind()
        server = self._servers[kind]
        assert isinstance(server, kind)
        if isinstance(server, SearchServer) and server.running and server.options != dict(options or {}):
            server.stop()
        if not server.running:
            begin = time.monotonic()
            server.start(options) if isinstance(server, SearchServer) else server.start()
            self.report.append(f"{kind.name}: started in {time.monotonic() - begin:.1f} s")
        return server

    def close(self) -> None:
        for server in self._servers.values():
            server.close()
