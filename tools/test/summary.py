#!/usr/bin/env python3
"""Counts test results from meson's machine-readable logs (meson-logs/testlog.json).

A program that speaks TAP counts with each of its cases, any other one as one test.

  summary.py FILE...                    prints "N passed, N failed, N skipped"; status 1 on failures
  summary.py --brief FILE               failures, one line of counts, the reasons of what was skipped
  summary.py --targets BUILD SUITE      the ninja targets that the tests of a suite need
"""
import argparse
import collections
import json
import os
import re
import subprocess
import sys

GOOD = {"OK", "EXPECTEDFAIL"}
TAP_LINE = re.compile(r"^(not )?ok\b([^#]*)(?:#\s*(skip|todo)\S*\s*(.*))?", re.IGNORECASE)


def read_results(path):
    """Yields the tests of one log, each an object."""
    try:
        with open(path, encoding="utf-8") as lines:
            for line in lines:
                if line.strip():
                    yield json.loads(line)
    except OSError as problem:
        raise SystemExit(f"summary: cannot read {path}: {problem}")


def count(test, reasons):
    """(passed, failed, skipped) of one test program."""
    passed = failed = skipped = 0
    output = test.get("stdout") or ""
    for line in output.splitlines() if re.search(r"^1\.\.\d+", output, re.MULTILINE) else []:
        match = TAP_LINE.match(line)
        if not match:
            continue
        if match.group(3) and match.group(3).lower() == "skip":
            skipped += 1
            reasons[(match.group(4) or "no reason given").strip()] += 1
        elif match.group(1):
            failed += 1
        else:
            passed += 1
    result = test["result"]
    if result in GOOD:
        return (passed, failed, skipped) if passed + failed + skipped else (1, 0, 0)
    if result == "SKIP":
        if not skipped:
            text = (output.strip() or (test.get("stderr") or "").strip() or "no reason given")
            reasons[text.splitlines()[-1][:160]] += 1
        return passed, failed, max(skipped, 1)
    return passed, max(failed, 1), skipped


def show_failure(test):
    """What a failed program said: its failed cases with their comments, and its errors' end."""
    if test["result"] in GOOD or test["result"] == "SKIP":
        return
    print(f"   {test['name']}: {test['result']} after {test['duration']:.0f} s: "
          f"{' '.join(test['command'])[:300]}")
    lines = [line for line in (test.get("stdout") or "").splitlines()
             if line.startswith(("#", "not ok"))]
    errors = (test.get("stderr") or "").splitlines()
    if not lines:
        lines = (test.get("stdout") or "").splitlines()[-20:]
    for line in lines[:60] + errors[-60:]:
        print(f"      {line[:400]}")


def introspect(build, what):
    done = subprocess.run(["meson", "introspect", build, what], check=True, capture_output=True,
                          text=True)
    return json.loads(done.stdout)


def targets_of(build, suite):
    """The files to build, relative to the build directory, for the tests of a suite."""
    files = {target["id"]: target["filename"] for target in introspect(build, "--targets")}
    wanted = set()
    for test in introspect(build, "--tests"):
        if any(name == suite or name.endswith(":" + suite) for name in test["suite"]):
            for identifier in test["depends"]:
                wanted.update(files.get(identifier, []))
    return sorted(os.path.relpath(path, os.path.abspath(build)) for path in wanted)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--brief", action="store_true")
    parser.add_argument("--targets", action="store_true")
    parser.add_argument("--stages-failed", type=int, default=0)
    parser.add_argument("arguments", nargs="*")
    options = parser.parse_args()
    if options.targets:
        print("\n".join(targets_of(*options.arguments)))
        return 0
    total = [0, 0, 0]
    reasons = collections.Counter()
    programs = failed_programs = 0
    for path in options.arguments:
        for test in read_results(path):
            programs += 1
            result = count(test, reasons)
            failed_programs += result[1] > 0
            total = [a + b for a, b in zip(total, result)]
    if options.brief:
        for path in options.arguments:
            for test in read_results(path):
                show_failure(test)
        print(f"   {total[0]} passed, {total[1]} failed, {total[2]} skipped "
              f"in {programs} test programs")
        for reason, times in reasons.most_common(8):
            print(f"   skipped{f' ({times})' if times > 1 else ''}: {reason}")
        return 1 if total[1] else 0
    total[1] = max(total[1], options.stages_failed)
    print(f"{total[0]} passed, {total[1]} failed, {total[2]} skipped")
    return 1 if total[1] else 0


if __name__ == "__main__":
    sys.exit(main())
