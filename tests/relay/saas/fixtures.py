"""For tests: `from saas.fixtures import saas` (one server for a file, emptied before each test), `authority` (certificates)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .certificates import Authority
from .client import Saas


@pytest.fixture(scope="module")
def saas_server() -> Iterator[Saas]:
    with Saas() as server:
        yield server


@pytest.fixture
def saas(saas_server: Saas) -> Saas:
    saas_server.reset()
    saas_server.clock()
    return saas_server


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))
