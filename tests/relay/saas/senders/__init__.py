"""The vendors' own published clients, at fixed versions, as senders to the stand-in.

They are installed once into a folder beside the tree (OUTLIER_TEST_CACHE, or ~/.cache/outlierd-tests). One that cannot be had is a failure
where CI is set and a skip elsewhere.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
CACHE = Path(os.environ.get("OUTLIER_TEST_CACHE") or Path.home() / ".cache" / "outlierd-tests")
PYTHON = "/usr/bin/python3"


class Missing(Exception):
    """A client is not here and cannot be installed."""


def _installed(name: str, lists: list[str], *steps: list[str]) -> Path:
    """A folder made by the steps ({} is the folder) from the lists of wanted packages, once for each content of those."""
    wanted = [HERE / file for file in lists]
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in wanted) + repr(steps).encode()).hexdigest()[:12]
    folder = CACHE / f"saas-{name}-{digest}"
    done = folder / "complete"
    if done.exists():
        return folder
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / f"saas-{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if done.exists():
            return folder
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for file in wanted:
            shutil.copy(file, folder)
        for step in steps:
            command = [part.replace("{}", str(folder)) for part in step]
            try:
                result = subprocess.run(command, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=420)
            except (OSError, subprocess.TimeoutExpired) as error:
                raise Missing(f"{' '.join(command)}: {error}") from error
            if result.returncode:
                raise Missing(f"{' '.join(command)} exited {result.returncode}: {(result.stderr or result.stdout).strip()[-400:]}")
        done.touch()
    return folder


def python_clients() -> Path:
    pip = ["{}/venv/bin/pip", "install", "--quiet", "--disable-pip-version-check", "--requirement", "requirements.txt"]
    return _installed("python", ["requirements.txt"], [PYTHON, "-m", "venv", "{}/venv"], pip) / "venv" / "bin" / "python"


def node_clients() -> Path:
    npm = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", "{}"]
    return _installed("node", ["package.json", "package-lock.json"], npm) / "node_modules"


def alertmanager() -> Path:
    found = shutil.which("prometheus-alertmanager")
    if found is None:
        raise Missing("prometheus-alertmanager is not installed: apt-get install --no-install-recommends prometheus-alertmanager")
    return Path(found)


def had(get: Callable[[], Path]) -> Path:
    """What `get` gives, or the right way to do without."""
    try:
        return get()
    except Missing as error:
        reason = f"a client cannot be had: {error}"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def run(command: list[str | Path], question: dict[str, Any], environment: dict[str, str] | None = None) -> Any:
    """A sender script reads one JSON object and writes one JSON value: what the client gave back, call by call."""
    clean = {
        name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy") and not name.startswith(("DD_", "OTEL_"))
    }
    result = subprocess.run(
        [str(part) for part in command],
        input=json.dumps(question),
        capture_output=True,
        text=True,
        timeout=60,
        env=clean | (environment or {}),
    )
    if result.returncode:
        raise AssertionError(f"{Path(str(command[1])).name} exited {result.returncode}:\n{result.stderr[-3000:]}")
    return json.loads(result.stdout)


def run_python(script: str, **question: Any) -> Any:
    return run([had(python_clients), HERE / script], question)


def run_node(script: str, certificate: Path | None = None, **question: Any) -> Any:
    environment = {"NODE_PATH": str(had(node_clients)), "NODE_NO_WARNINGS": "1"}
    if certificate is not None:
        environment["NODE_EXTRA_CA_CERTS"] = str(certificate)
    return run(["node", HERE / script], question, environment)
