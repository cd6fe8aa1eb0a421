"""`outlierctl probe doctor` where no daemon runs: it tries the probes itself, as whoever asks."""

from __future__ import annotations

import json
import os
import shutil
import subprocess

import pytest

from ground import Ground
from host import OUTLIERCTL, Json

NOBODY = 65534


def doctor(ground: Ground, *wrapper: str, output_format: str = "json") -> str:
    address = f"unix:{ground.folder}/nobody-listens-here"
    command = [*wrapper, OUTLIERCTL, "--address", address, "--format", output_format, "probe", "doctor"]
    done = subprocess.run(command, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return done.stdout.decode()


def probes(text: str) -> dict[str, Json]:
    return {probe["name"]: probe for probe in map(json.loads, text.splitlines())}


def test_root_is_told_what_loads(ground: Ground) -> None:
    told = probes(doctor(ground))
    assert set(told) >= {"tasks", "lifecycle", "syscall_latency"}
    for probe in told.values():
        assert probe["blind_to"]
        assert probe["state"] == "ON" or probe["reason"], probe


def test_a_person_is_told_that_no_daemon_runs(ground: Ground) -> None:
    text = doctor(ground, output_format="text")
    assert text.startswith("no daemon runs; what it could load here\n")
    assert "syscall_latency" in text


def test_an_ordinary_user_is_told_what_is_missing_and_what_is_lost(ground: Ground) -> None:
    if shutil.which("setpriv") is None:
        pytest.skip("no setpriv to become an ordinary user with")
    told = probes(doctor(ground, "setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--inh-caps=-all"))
    assert {name: probe["state"] for name, probe in told.items()} == {"tasks": "DEGRADED", "lifecycle": "DEGRADED", "syscall_latency": "FAILED"}
    for probe in told.values():
        assert probe["reason"].startswith(f"not root: user {NOBODY}") and probe["blind_to"]
    assert "starts_not_seen" in told["lifecycle"]["blind_to"]


def test_in_a_container_without_the_pids_of_the_host_it_says_so_and_watches_what_it_can_name(ground: Ground) -> None:
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("takes root and unshare to enter another PID namespace")
    told = probes(doctor(ground, "unshare", "--pid", "--fork", "--mount-proc"))
    assert {name: probe["state"] for name, probe in told.items()} == {"tasks": "DEGRADED", "lifecycle": "DEGRADED", "syscall_latency": "FAILED"}
    for probe in told.values():
        assert "in a PID namespace of its own" in probe["reason"] and "hostPID" in probe["reason"]
