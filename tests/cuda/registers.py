#!/usr/bin/env python3
"""Compares what the kernels take on a device with the committed table (registers.txt).

usage: registers.py [--update] [--show] [--only-spills] [--nvcc TEXT] TABLE RESOURCES...
       registers.py --show RESOURCES...

RESOURCES are the files that tools/cuda/compile.py wrote. Fails when a kernel of sm_90a takes other
registers, stack or shared memory than the table says, is missing there, or is there and gone; and
when a kernel spills more on any architecture than the table allows (its last column: of the
architecture, where it has a line, else of sm_90a). With another nvcc than the table's only spills
count. --update writes the table anew, spills included, and names them: the lines of sm_90a, and of
other architectures those that spill more than there (they stay where RESOURCES have none of that
architecture); --show prints all lines; without a table (NAME.txt) that is all.
"""
import argparse
import sys

COLUMNS = ("kernel", "architecture", "registers", "stack", "shared", "spilled")
COMMITTED = "sm_90a"


def read_lines(paths):
    """{(kernel, architecture): (registers, stack, shared, spilled)}"""
    found = {}
    for path in paths:
        with open(path, encoding="utf-8") as file:
            for line in file:
                words = line.split()
                if len(words) == len(COLUMNS) and not line.startswith("#"):
                    found[words[0], words[1]] = tuple(int(word) for word in words[2:])
    return found


def table_version(path):
    with open(path, encoding="utf-8") as file:
        return file.readline().strip().removeprefix("# nvcc ")


def show(found):
    widths = [max(len(str(word)) for word in column)
              for column in zip(COLUMNS, *((*key, *value) for key, value in found.items()))]
    for words in [COLUMNS] + [(*key, *value) for key, value in sorted(found.items())]:
        print("  ".join(str(word).ljust(width) for word, width in zip(words, widths)).rstrip())


def allowed_spills(table, kernel, architecture):
    """Bytes."""
    row = table.get((kernel, architecture)) or table.get((kernel, COMMITTED))
    return row[3] if row else 0


def updated(found, table):
    """The table's lines anew."""
    lines = {key: value for key, value in found.items() if key[1] == COMMITTED}
    seen = {architecture for _, architecture in found}
    for key, value in found.items():
        if key[1] != COMMITTED and value[3] > allowed_spills(lines, key[0], COMMITTED):
            lines[key] = value
    for key, value in table.items():
        if key[1] not in seen and (key[0], COMMITTED) in lines:
            lines[key] = value
    return lines


def compare(found, table, same_compiler):
    """What is wrong, in words."""
    wrong = []
    for (kernel, architecture), numbers in sorted(found.items()):
        if numbers[3] > allowed_spills(table, kernel, architecture):
            wrong.append(f"{kernel} spills {numbers[3]} bytes on {architecture}")
    if not same_compiler:
        return wrong
    ours = {key: value for key, value in found.items() if key[1] == COMMITTED}
    table = {key: value for key, value in table.items() if key[1] == COMMITTED}
    for key in sorted(set(ours) | set(table)):
        if key not in table:
            wrong.append(f"{key[0]} is not in the table")
        elif key not in ours:
            wrong.append(f"{key[0]} is in the table and no longer a kernel")
        elif ours[key] != table[key]:
            wrong.append(f"{key[0]} takes {ours[key]}, not {table[key]} {COLUMNS[2:]}")
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--update", action="store_true")
    parser.add_argument("--show", action="store_true")
    parser.add_argument("--nvcc", default="", help="the compiler's version")
    parser.add_argument("--only-spills", action="store_true")
    parser.add_argument("files", nargs="+", metavar="TABLE RESOURCES")
    options = parser.parse_args()
    options.table = options.files.pop(0) if options.files[0].endswith(".txt") else None
    found = read_lines(options.files)
    if options.show:
        show(found)
    if not options.table:
        return 0
    if options.update:
        lines = updated(found, read_lines([options.table]))
        with open(options.table, "w", encoding="utf-8") as file:
            file.write(f"# nvcc {options.nvcc}\n# {' '.join(COLUMNS)}\n")
            for key, value in sorted(lines.items()):
                file.write(" ".join(map(str, (*key, *value))) + "\n")
                if value[3] > 0:
                    print(f"now allowed: {key[0]} spills {value[3]} bytes on {key[1]}")
        return 0
    same_compiler = table_version(options.table) == options.nvcc
    if not same_compiler and not options.only_spills:
        print(f"nvcc {options.nvcc} is not the table's ({table_version(options.table)}): only spills "
              "count")
    wrong = compare(found, read_lines([options.table]), same_compiler)
    for line in wrong:
        print("wrong:", line)
    if wrong:
        print("where this is meant: ninja update-cuda-registers, and look at the difference")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
