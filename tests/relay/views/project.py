"""Where things are in the tree, and the generators of deploy/ as modules."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

Json = dict[str, Any]

ROOT = Path(__file__).resolve().parents[3]
DEPLOY = ROOT / "deploy"


def load(room: str, module: str = "generate") -> ModuleType:
    """deploy/ROOM/MODULE.py, which imports its neighbours: three of them are called generate."""
    name = f"deploy_{room}_{module}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, DEPLOY / room / f"{module}.py")
        assert spec is not None and spec.loader is not None
        if str(DEPLOY / room) not in sys.path:
            sys.path.append(str(DEPLOY / room))
        loaded = importlib.util.module_from_spec(spec)
        sys.modules[name] = loaded
        spec.loader.exec_module(loaded)
    return sys.modules[name]


def read_json(path: str) -> Any:
    return json.loads((DEPLOY / path).read_text())


def read_objects(path: str) -> list[Json]:
    return [json.loads(line) for line in (DEPLOY / path).read_text().splitlines()]


def mapped(dialect: str) -> dict[str, str]:
    """Path -> type of every field that documents have in this dialect."""
    body = read_json(f"search/{dialect}/outlier@mappings.json")
    flat: dict[str, str] = load("search").flat_fields(body["template"]["mappings"]["properties"])
    return flat
