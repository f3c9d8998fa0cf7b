#!/usr/bin/env python3
"""Compares the ABI with the committed one of the last release: a removal or a change fails, an
addition is reported. Usage: check_baseline.py SOURCE_ROOT LIBRARY BASELINE
       check_baseline.py --values SOURCE_ROOT    prints what BASELINE's .values.json holds

Compared is an object that is made from the header alone (tools/abi/public_view.py); that the library
has the same ABI is checked too where it was built with debug information. After a deliberate
addition run tools/abi/update_baseline.sh and say why in the commit message; a member that was added
at the end of a structure shows as a change as well."""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

from tap import Tap

FAULT, CHANGE, INCOMPATIBLE = 1 | 2, 4, 8


def compare(old, new, *options):
    """(removed or changed, added, lines) between two objects."""
    done = subprocess.run(["abidiff", *options, old, new], capture_output=True, text=True)
    lines = (done.stdout + done.stderr).splitlines()
    harmless = re.compile(r"((Functions|Variables) changes summary: 0 Removed, 0 Changed\b"
                          r"|(Function|Variable) symbols changes summary: 0 Removed\b)")
    summaries = [line for line in lines if "changes summary" in line]
    bad = done.returncode < 0 or done.returncode & (FAULT | INCOMPATIBLE) or \
        not all(harmless.match(line) for line in summaries) or \
        (done.returncode & CHANGE and not summaries)
    return bool(bad), bool(done.returncode & CHANGE), lines


def values(description):
    """Constants and values of enumerations, which no function's type mentions."""
    result = {entry["name"]: entry["value"] for entry in description["constants"]
              if not entry["name"].startswith("RADLLM_VERSION_")}
    for group in description["enums"]:
        result.update((entry["name"], entry["value"]) for entry in group["values"])
    return result


def main():
    tap = Tap()
    if sys.argv[1] == "--values":
        sys.path.insert(0, os.path.join(sys.argv[2], "tools", "abi"))
        import describe
        header = os.path.join(sys.argv[2], "include", "radllm", "radllm.h")
        print(json.dumps(values(describe.describe(header)), indent=1))
        return
    root, library, baseline = map(os.path.abspath, sys.argv[1:])
    sys.path.insert(0, os.path.join(root, "tools", "abi"))
    import describe
    import public_view
    with open(baseline.replace(".abi", ".values.json"), encoding="utf-8") as file:
        old = json.load(file)
    new = values(describe.describe(os.path.join(root, "include", "radllm", "radllm.h")))
    lost = [f"{name} was {value}, is {new.get(name, 'gone')}" for name, value in old.items()
            if new.get(name) != value]
    tap.check(not lost, f"all {len(old)} constants have the values they had", lost)
    for name in sorted(new.keys() - old.keys()):
        tap.note(f"added: {name} = {new[name]}")
    what = "the header's ABI is the committed one, or larger"
    same = "the library's ABI is the header's"
    if shutil.which("abidiff") is None:
        tap.skip(what, "abidiff (Debian package abigail-tools) is not installed")
        tap.end()
    with tempfile.TemporaryDirectory() as directory:
        view = os.path.join(directory, "view.so")
        public_view.build(root, view)
        bad, changed, lines = compare(baseline, view)
        tap.check(not bad, what, lines[:80])
        if changed and not bad:
            for line in lines:
                tap.note(line)
        sections = subprocess.run(["readelf", "-S", "-W", library], capture_output=True,
                                  text=True).stdout
        if ".debug_info" not in sections:
            tap.skip(same, "the library was built without debug information (meson -Ddebug=true)")
        else:
            public_view.build(root, view, experimental=True)
            headers = os.path.join(root, "include")
            _, changed, lines = compare(view, library, "--headers-dir1", headers, "--headers-dir2",
                                        headers, "--drop-private-types")
            tap.check(not changed, same, lines[:80])
    tap.end()


if __name__ == "__main__":
    main()
