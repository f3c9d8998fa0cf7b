#!/usr/bin/env python3
"""Checks that the library stays small: under 3,000,000 bytes without debugging symbols.
Usage: check_size.py LIBRARY"""
import os
import subprocess
import sys
import tempfile

from tap import Tap

LIMIT = 3_000_000


def main():
    tap = Tap()
    with tempfile.TemporaryDirectory() as directory:
        stripped = os.path.join(directory, "stripped")
        done = subprocess.run(["strip", "-o", stripped, sys.argv[1]], capture_output=True,
                              text=True, check=False)
        if tap.check(done.returncode == 0, "strip", done.stderr.splitlines()):
            size = os.path.getsize(stripped)
            tap.note(f"{size} bytes")
            tap.check(size < LIMIT, f"the stripped library takes less than {LIMIT} bytes",
                      [f"it takes {size}"])
    tap.end()


if __name__ == "__main__":
    main()
