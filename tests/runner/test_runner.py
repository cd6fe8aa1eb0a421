"""./test says what its suites came to: in a small tree whose suites are a few lines each, and whose ctest is a script."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTHING_TO_BUILD = "say() { printf '%s\\n' \"$*\" >&2; }\ninstall_packages() { :; }\nbuild() { :; }\n"
PROGRAM = '<testcase name="{name}" status="{status}">{inside}</testcase>'
PASSES = PROGRAM.format(name="good_test", status="run", inside="")
FAILS = PROGRAM.format(name="bad_test", status="fail", inside='<failure message="no"/>')


STAND_INS = [f"relay/test_{name}" for name in ("cost", "reload", "saas_a", "saas_b", "setup", "tls", "vendors")]
OTHERS = ["live/test_session", "live/test_end_to_end", "live/test_other", "relay/test_chaos"]
ALL = 1 + len(OTHERS) + len(STAND_INS)


class Tree:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for path in ("deploy", "bin", "tests/live", "tests/relay"):
            (folder / path).mkdir(parents=True)
        for name in ("test", "deploy/count_results.py"):
            shutil.copy(ROOT / name, folder / name)
        (folder / "deploy" / "prepare.sh").write_text(NOTHING_TO_BUILD)
        self.programs(PASSES)
        for suite in (*OTHERS, *STAND_INS):
            self.suite(suite, "pass")

    def suite(self, name: str, body: str) -> None:
        """One test; when it ran goes into a file."""
        file = self.folder / "tests" / f"{name}.py"
        moment = f"open({str(self.folder / 'moments')!r}, 'a').write(f'{name} {{time.monotonic()}}\\n')"
        file.write_text(f"import os, time\ndef test_it():\n    {moment}\n    {body}\n    {moment}\n")

    def programs(self, *cases: str, then: str = "") -> None:
        ctest = self.folder / "bin" / "ctest"
        report = f"<testsuite>{''.join(cases)}</testsuite>"
        ctest.write_text(f"#!/bin/sh\necho a line of ctest\nwhile [ \"$1\" != --output-junit ]; do shift; done\necho '{report}' >\"$2\"\n{then}\n")
        ctest.chmod(0o755)

    def start(self, *options: str) -> subprocess.Popen[str]:
        environment = {**os.environ, "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}"}
        return subprocess.Popen([self.folder / "test", *options], env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def run(self, *options: str) -> tuple[int, list[str]]:
        process = self.start(*options)
        output, _ = process.communicate(timeout=60)
        return process.returncode, output.splitlines()

    def moments(self, suite: str) -> list[float]:
        lines = (self.folder / "moments").read_text().split("\n")
        return [float(line.split()[1]) for line in lines if line.startswith(f"{suite} ")]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def test_the_last_line_counts_every_suite(tree: Tree) -> None:
    tree.suite("relay/test_chaos", "import pytest; pytest.skip('no server')")
    status, output = tree.run()
    assert (status, output[-1]) == (0, f"{ALL - 1} passed, 0 failed, 1 skipped")


@pytest.mark.parametrize(("option", "passed"), [("--unit", 1), ("--live", 3), ("--relay", 1 + len(STAND_INS))])
def test_an_option_runs_its_suite_alone(tree: Tree, option: str, passed: int) -> None:
    status, output = tree.run(option)
    assert (status, output[-1]) == (0, f"{passed} passed, 0 failed, 0 skipped")


@pytest.mark.parametrize(
    ("suite", "body"),
    [
        ("live/test_session", "os.kill(os.getpid(), 9)"),
        ("live/test_other", "os._exit(0)"),
        ("relay/test_chaos", "assert False"),
        ("relay/test_vendors", "import pytest; pytest.exit('enough', 3)"),
    ],
)
def test_a_suite_that_fails_or_ends_early_is_a_failure(tree: Tree, suite: str, body: str) -> None:
    tree.suite(suite, body)
    status, output = tree.run()
    assert status == 1
    assert output[-1].endswith(" passed, 1 failed, 0 skipped"), output[-1]


def test_a_program_that_fails_is_a_failure_and_is_counted_once(tree: Tree) -> None:
    tree.programs(PASSES, FAILS, then="exit 8")
    status, output = tree.run("--unit")
    assert (status, output[-1]) == (1, "1 passed, 1 failed, 0 skipped")
    assert "failed: bad_test" in output


@pytest.mark.parametrize("then", ["exit 8", "kill -9 $$"])
def test_a_ctest_that_ends_badly_after_a_good_report_is_a_failure(tree: Tree, then: str) -> None:
    tree.programs(PASSES, then=then)
    status, output = tree.run("--unit")
    assert (status, output[-1]) == (1, "1 passed, 1 failed, 0 skipped")


def test_a_ctest_that_leaves_no_report_is_a_failure(tree: Tree) -> None:
    tree.programs(PASSES, then='rm "$2"')
    status, output = tree.run("--unit")
    assert (status, output[-1]) == (1, "0 passed, 1 failed, 0 skipped")


def test_nothing_runs_beside_what_is_timed_and_the_others_run_side_by_side(tree: Tree) -> None:
    meet = "\n    ".join([
        "here, there = (name for name in (('live', 'relay') if 'live' in __file__ else ('relay', 'live')))",
        f"open(os.path.join({str(tree.folder)!r}, here), 'w').close()",
        "end = time.monotonic() + 20",
        f"while not os.path.exists(os.path.join({str(tree.folder)!r}, there)): assert time.monotonic() < end; time.sleep(0.01)",
    ])  # fmt: skip
    for suite in ("live/test_other", "relay/test_chaos"):
        tree.suite(suite, meet)
    tree.suite("live/test_session", "time.sleep(0.5)")
    status, output = tree.run()
    assert (status, output[-1]) == (0, f"{ALL} passed, 0 failed, 0 skipped")
    timed = tree.moments("live/test_session") + tree.moments("live/test_end_to_end")
    assert max(timed) < min(tree.moments("live/test_other") + tree.moments("relay/test_chaos"))


def test_the_output_of_each_suite_is_in_one_piece(tree: Tree) -> None:
    for suite in ("live/test_other", "relay/test_chaos"):
        tree.suite(suite, "\n    ".join(["for i in range(20): os.write(2, f'{__file__} {i}\\n'.encode()); time.sleep(0.01)", "assert False"]))
    _, output = tree.run()
    order = [Path(line.split()[0]).name for line in output if line.startswith(str(tree.folder)) and line.split()[-1].isdigit()]
    assert order == ["test_other.py"] * 20 + ["test_chaos.py"] * 20


def test_ended_in_the_middle_it_ends_what_it_started(tree: Tree) -> None:
    tree.suite("live/test_session", f"open({str(tree.folder / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(60)")
    process = tree.start("--live")
    pid = tree.folder / "pid"
    end = time.monotonic() + 20
    while not (pid.exists() and pid.read_text()):
        assert time.monotonic() < end
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode != 0
    while Path(f"/proc/{pid.read_text()}").exists() and "Z" not in Path(f"/proc/{pid.read_text()}/stat").read_text().split()[2]:
        assert time.monotonic() < end, "it goes on"
        time.sleep(0.01)
