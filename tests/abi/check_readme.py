#!/usr/bin/env python3
"""Compiles the C example of README.md against the library, runs it with the embedded model, and
checks that what the documentation links to is there.
Usage: check_readme.py SOURCE_ROOT LIBRARY_DIRECTORY"""
import glob
import os
import re
import subprocess
import sys
import tempfile

from tap import Tap


def check_links(tap, root):
    broken = []
    for path in [os.path.join(root, "README.md")] + sorted(glob.glob(os.path.join(root, "docs", "*.md"))):
        with open(path, encoding="utf-8") as file:
            for target in re.findall(r"\]\(([^)#:]+)\)", file.read()):
                if not os.path.exists(os.path.join(os.path.dirname(path), target)):
                    broken.append(f"{os.path.relpath(path, root)} links to {target}")
    tap.check(not broken, "links inside the documentation lead somewhere", broken)


def main():
    tap = Tap()
    root, library = map(os.path.abspath, sys.argv[1:])
    with open(os.path.join(root, "README.md"), encoding="utf-8") as file:
        source = re.search(r"```c\n(.*?)```", file.read(), re.DOTALL).group(1)
    with tempfile.TemporaryDirectory() as directory:
        program = os.path.join(directory, "example")
        with open(program + ".c", "w", encoding="utf-8") as file:
            file.write(source)
        done = subprocess.run(["gcc", "-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror",
                               "-I" + os.path.join(root, "include"), program + ".c", "-L" + library,
                               "-lradllm", "-Wl,-rpath," + library, "-o", program],
                              capture_output=True, text=True)
        if tap.check(done.returncode == 0, "README.md: the C example compiles",
                     done.stderr.splitlines()):
            done = subprocess.run([program], cwd=root, capture_output=True, text=True)
            tap.check(done.returncode == 0 and done.stdout.strip() and not done.stderr,
                      "README.md: the C example answers", (done.stdout + done.stderr).splitlines())
            if done.stdout:
                tap.note(done.stdout.strip())
            done = subprocess.run([program, "/nonexistent.gguf"], capture_output=True, text=True)
            tap.check(done.returncode == 1 and "/nonexistent.gguf" in done.stderr,
                      "README.md: the C example reports errors", done.stderr.splitlines())
    check_links(tap, root)
    tap.end()


if __name__ == "__main__":
    main()
