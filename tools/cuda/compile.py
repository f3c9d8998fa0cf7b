#!/usr/bin/env python3
"""Compiles one kernel source with nvcc, warnings as errors, for a list of architectures.

usage: compile.py --nvcc NVCC --architectures LIST --output FILE.o --resources FILE.txt
                  --depfile FILE.d SOURCE.cu [-- MORE ARGUMENTS OF NVCC]

LIST is "usual", "all", or words with commas: 90a for machine code of sm_90a, ptx75 for PTX of
compute_75, which newer devices compile when the object is loaded.
RESOURCES receives a line for each kernel and machine code: its name, the architecture, and what
ptxas says: registers, bytes of stack, of shared memory, of spills.
"""
import argparse
import re
import subprocess
import sys

LISTS = {
    "usual": "90a,ptx75",
    "all": "75,80,86,87,89,90a,120,ptx75",
}
# No contraction, IEEE division and square root: the numeric contract (docs/architecture.md).
# Without guards of statics and exceptions the object needs nothing of the C++ library.
FLAGS = ["-std=c++17", "-O3", "-Werror", "all-warnings", "-fmad=false", "-prec-div=true",
         "-prec-sqrt=true", "-ftz=false", "--compress-mode=size", "-Xptxas",
         "-v,--warning-as-error", "-Xcompiler",
         "-Wall,-Wextra,-ffp-contract=off,-fPIC,-fvisibility=hidden,-fno-exceptions,"
         "-fno-threadsafe-statics"]
ENTRY = re.compile(r"ptxas info\s*: Compiling entry function '(?:rad_cuda_entry_)?(\w+)' for '(\w+)'")
SPILLS = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
USED = re.compile(r"ptxas info\s*: Used (\d+) registers")
SHARED = re.compile(r"(\d+) bytes smem")


def code_arguments(architectures):
    """-gencode arguments of a list."""
    arguments = []
    for word in LISTS.get(architectures, architectures).split(","):
        match = re.fullmatch(r"(ptx)?(\d+[af]?)", word)
        if not match:
            raise SystemExit(f"compile.py: '{word}' is no architecture (90a, ptx75, usual, all)")
        kind = "compute" if match[1] else "sm"
        arguments += ["-gencode", f"arch=compute_{match[2]},code={kind}_{match[2]}"]
    return arguments


def read_resources(text):
    """(lines of the table, what else the compiler said)."""
    lines, rest, name, spills = [], [], None, None
    for line in text.splitlines():
        entry = ENTRY.search(line)
        if entry:
            name, spills = entry, None
        elif SPILLS.search(line):
            spills = SPILLS.search(line)
        elif USED.search(line) and name and spills:
            shared = SHARED.search(line)
            lines.append(f"{name[1]} {name[2]} {USED.search(line)[1]} {spills[1]} "
                         f"{shared[1] if shared else 0} {int(spills[2]) + int(spills[3])}")
            name = None
        elif not line.startswith("ptxas info") and "Function properties" not in line and line.strip():
            rest.append(line)
    return lines, rest


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("nvcc", "architectures", "output", "resources", "depfile"):
        parser.add_argument("--" + name, required=True)
    parser.add_argument("source")
    parser.add_argument("more", nargs="*")
    options = parser.parse_args()
    command = [options.nvcc, *FLAGS, *code_arguments(options.architectures), *options.more,
               "-MD", "-MF", options.depfile, "-MT", options.output,
               "-c", options.source, "-o", options.output]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines, rest = read_resources(done.stdout + done.stderr)
    for line in rest:
        print(line, file=sys.stderr)
    if done.returncode != 0:
        print("failed: " + " ".join(command), file=sys.stderr)
        return done.returncode
    with open(options.resources, "w", encoding="utf-8") as file:
        file.write("".join(line + "\n" for line in sorted(lines)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
