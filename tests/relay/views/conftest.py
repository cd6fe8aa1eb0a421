"""Fixtures of what is looked at: packages of Node.js, search servers that hold documents."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import node  # noqa: E402
from servers.cache import Unavailable  # noqa: E402
from servers.pool import Pool  # noqa: E402
from servers.search import SearchServer  # noqa: E402
from store import Indexed, fill  # noqa: E402


@pytest.fixture(scope="session")
def pool() -> Iterator[Pool]:
    """Servers of their own: what views show is compared with all documents there are, and other tests write some, too."""
    own = Pool()
    yield own
    own.close()


_indexed: dict[type[SearchServer], Indexed] = {}


@pytest.fixture(scope="session")
def node_modules() -> Path:
    try:
        return node.packages()
    except Unavailable as error:
        if os.environ.get("CI"):
            pytest.fail(f"packages of Node.js: {error}", pytrace=False)
        pytest.skip(f"packages of Node.js: {error}")


@pytest.fixture
def indexed(pool: Pool, search_kind: type[SearchServer]) -> Indexed:
    """Elasticsearch and OpenSearch, one after the other, with the templates and the documents of documents.py."""
    server = pool.running(search_kind)
    if search_kind not in _indexed:
        _indexed[search_kind] = fill(server)
    return _indexed[search_kind]
