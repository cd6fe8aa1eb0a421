#!/usr/bin/env python3
"""Counts test cases: count_results.py FOLDER REPORT.xml ... ; the last line is `N passed, N failed, N skipped`.

A report is JUnit's XML, of ctest (one case a program) or pytest. A program that left its own cases in FOLDER/<name>.json (gtest) is
counted by these; one that failed without a failing case (a crash, a time-out) counts as one failed. REPORT.xml.status holds the exit
status of who wrote the report: a missing report, and a status that no failed case explains, are one failed. Exit status 1 if any failed.
"""
import json
import pathlib
import sys
import xml.etree.ElementTree as ElementTree


class Tally:
    def __init__(self) -> None:
        self.passed = 0
        self.failed: list[str] = []
        self.skipped: list[str] = []

    def count_gtest(self, file: pathlib.Path) -> int:
        """Counts the cases of one program; returns how many failed."""
        failed_before = len(self.failed)
        for suite in json.loads(file.read_text(errors="replace")).get("testsuites", []):
            for case in suite.get("testsuite", []):
                name = f"{suite['name']}.{case['name']}"
                if case.get("failures"):
                    self.failed.append(name)
                elif case.get("status") == "NOTRUN":
                    self.skipped.append(f"{name}: disabled")
                elif case.get("result") == "SKIPPED":
                    reasons = [message.get("message", "") for message in case.get("skipped", [])]
                    self.skipped.append(f"{name}: {' '.join(reasons).strip()}".rstrip(": "))
                else:
                    self.passed += 1
        return len(self.failed) - failed_before

    def count_case(self, case: ElementTree.Element, folder: pathlib.Path) -> None:
        name = case.get("name", "?")
        bad = case.find("failure") is not None or case.find("error") is not None or case.get("status") == "fail"
        cases = folder / f"{name}.json"
        if case.get("status") in ("run", "fail") and cases.exists():
            try:
                failing = self.count_gtest(cases)
            except ValueError:
                failing = 0
                bad = True
            if bad and failing == 0:
                self.failed.append(f"{name}: crashed or took too long")
        elif bad:
            self.failed.append(f"{case.get('classname', '')}.{name}".strip("."))
        elif (skipped := case.find("skipped")) is not None or case.get("status") in ("notrun", "disabled"):
            self.skipped.append(f"{name}: {skipped.get('message', '') if skipped is not None else ''}".rstrip(": "))
        else:
            self.passed += 1


    def count_report(self, report: pathlib.Path) -> None:
        failed_before = len(self.failed)
        try:
            cases = list(ElementTree.parse(report).getroot().iter("testcase"))
        except (OSError, ElementTree.ParseError) as error:
            self.failed.append(f"{report.name}: no report ({error})")
            return
        for case in cases:
            self.count_case(case, report.parent)
        try:
            status = report.with_name(f"{report.name}.status").read_text().strip()
        except OSError:
            status = "none: it was killed"
        if status != "0" and len(self.failed) == failed_before:
            self.failed.append(f"{report.name}: ended with status {status}, and no case says why")


def main() -> int:
    folder = pathlib.Path(sys.argv[1])
    tally = Tally()
    for report in sys.argv[2:]:
        tally.count_report(folder / report)
    for title, names in (("skipped", tally.skipped), ("failed", tally.failed)):
        for name in names:
            print(f"{title}: {' '.join(name.split())[:300]}")
    print(f"{tally.passed} passed, {len(tally.failed)} failed, {len(tally.skipped)} skipped")
    return 1 if tally.failed or not tally.passed else 0


if __name__ == "__main__":
    sys.exit(main())
