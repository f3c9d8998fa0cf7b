#!/usr/bin/env python3
"""Compares the library's ABI with the committed one of the last release: a removal or a change
fails, an addition is reported. Usage: check_baseline.py LIBRARY HEADERS BASELINE

After a deliberate change run tools/abi/update_baseline.sh and say why in the commit message."""
import shutil
import subprocess
import sys

from tap import Tap

ABI_CHANGE, INCOMPATIBLE_CHANGE, FAULT = 4, 8, 1 | 2


def main():
    tap = Tap()
    library, headers, baseline = sys.argv[1:]
    what = "the ABI is the committed one, or larger"
    sections = subprocess.run(["readelf", "-S", "-W", library], capture_output=True, text=True).stdout
    if shutil.which("abidiff") is None:
        tap.skip(what, "abidiff (Debian package abigail-tools) is not installed")
        tap.end()
    if ".debug_info" not in sections:
        tap.skip(what, "the library was built without debug information (meson -Ddebug=true)")
        tap.end()
    done = subprocess.run(["abidiff", "--headers-dir1", headers, "--headers-dir2", headers,
                           "--drop-private-types", "--no-unreferenced-symbols", baseline, library],
                          capture_output=True, text=True)
    lines = (done.stdout + done.stderr).splitlines()
    removed_or_changed = done.returncode & (INCOMPATIBLE_CHANGE | FAULT)
    summary = next((line for line in lines if line.startswith("Functions changes summary")), "")
    if done.returncode & ABI_CHANGE and not removed_or_changed and "0 Removed, 0 Changed" not in summary:
        removed_or_changed = True
    tap.check(not removed_or_changed, what, lines[:80])
    if done.returncode & ABI_CHANGE and not removed_or_changed:
        for line in lines:
            tap.note(line)
    tap.end()


if __name__ == "__main__":
    main()
