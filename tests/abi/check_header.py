#!/usr/bin/env python3
"""Compiles the public header alone as C99, C11, C++11 and C++17, without a warning, with each compiler
that is installed. Usage: check_header.py INCLUDE_DIRECTORY"""
import shutil
import subprocess
import sys
import tempfile

from tap import Tap

STANDARDS = [("gcc", "c", "c99"), ("gcc", "c", "c11"), ("clang", "c", "c99"), ("clang", "c", "c11"),
             ("g++", "c++", "c++11"), ("g++", "c++", "c++17"), ("clang++", "c++", "c++11"),
             ("clang++", "c++", "c++17")]
# Twice: the include guard works.
SOURCE = "#include <radllm/radllm.h>\n#include <radllm/radllm.h>\nint main(void) { return RADLLM_OK; }\n"


def main():
    tap = Tap()
    include = sys.argv[1]
    for compiler, language, standard in STANDARDS:
        what = f"{compiler} -std={standard} takes the header"
        if shutil.which(compiler) is None:
            tap.skip(what, f"{compiler} is not installed")
            continue
        with tempfile.NamedTemporaryFile("w", suffix=".c") as source:
            source.write(SOURCE)
            source.flush()
            for more in ([], ["-DRADLLM_EXPERIMENTAL"]):
                done = subprocess.run([compiler, "-x", language, "-std=" + standard, "-Wall",
                                       "-Wextra", "-pedantic-errors", "-Werror", "-Wconversion",
                                       "-fsyntax-only", "-I" + include, *more, source.name],
                                      capture_output=True, text=True)
                if done.returncode != 0:
                    break
        tap.check(done.returncode == 0, what, done.stderr.splitlines()[:20])
    done = subprocess.run(["gcc", "-std=c99", "-M", "-I" + include, "-x", "c", "-"], input=SOURCE,
                          capture_output=True, text=True)
    own = [word for word in done.stdout.split() if "radllm/" in word]
    tap.check(done.returncode == 0 and len(own) == 1, "the header needs no other header of ours", own)
    tap.end()


if __name__ == "__main__":
    main()
