#!/usr/bin/env python3
"""Reads nextest's JUnit file: prints what a person must see, then `passed failed` as the last line.

Usage: tier_report.py JUNIT_XML NOT_RUN_FILE FAILURES_FILE
Kept for the end of `make test`: lines `not run: WHAT` that a test printed, and what failed tests said last.
"""
import sys
import xml.etree.ElementTree as ET


def outputs(case):
    """Everything the test printed, also in a first try that failed."""
    for element in case.iter():
        if element.tag in ("system-out", "system-err") and element.text:
            yield element.text


LINES_OF_A_FAILURE = 60


def main(junit_path, not_run_path, failures_path):
    passed = failed = 0
    not_run, failures = [], []
    for case in ET.parse(junit_path).getroot().iter("testcase"):
        name = f'{case.get("classname")} {case.get("name")}'
        if case.find("failure") is not None or case.find("error") is not None:
            failed += 1
            print(f"FAILED: {name}")
            said = "\n".join(outputs(case)).splitlines()[-LINES_OF_A_FAILURE:]
            failures += [f"--- failed: {name}", *said]
        else:
            passed += 1
            if case.find("flakyFailure") is not None or case.find("flakyError") is not None:
                print(f"flaky, passed on the 2nd try: {name}")
        for text in outputs(case):
            not_run += [line for line in text.splitlines() if line.startswith("not run: ")]
    with open(not_run_path, "a", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in dict.fromkeys(not_run))
    with open(failures_path, "a", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in failures)
    print(passed, failed)


main(*sys.argv[1:])
