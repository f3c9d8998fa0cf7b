#!/usr/bin/env python3
"""Writes quant/codebooks.c: the tables of the codebook formats (IQ1, IQ2, IQ3), which define these
formats as much as their block layouts do. The numbers come from the `gguf` package (0.19.0); the form
is ours: an entry is one 16-bit word that holds the index of each value's level, lowest bits first (2
bits for each of 8 values in IQ1 and IQ2, 4 bits for each of 4 values in IQ3).

Usage: make_codebooks.py [OUTPUT_FILE]
"""
import argparse
import pathlib

import gguf.quants

TABLES = [
    ("iq2_xxs", gguf.quants.IQ2_XXS, "values 8, 25, 43"),
    ("iq2_xs", gguf.quants.IQ2_XS, "values 8, 25, 43"),
    ("iq2_s", gguf.quants.IQ2_S, "values 8, 25, 43"),
    ("iq3_xxs", gguf.quants.IQ3_XXS, "values 4, 12, 20, 28, 36, 44, 52, 62"),
    ("iq3_s", gguf.quants.IQ3_S, "values 1, 3, 5, ... 15"),
    ("iq1", gguf.quants.IQ1_S, "values -1, 0, 1"),
]
HEAD = """/* Written by tools/quant/make_codebooks.py; do not edit. The codebooks of the formats IQ1, IQ2 and
 * IQ3: for each entry the level of each of its values, lowest bits first. */
#include "quant/codebooks.h"
"""


def words(kind):
    kind.init_grid()
    entries, values = kind.grid_shape
    levels = list(kind.grid_map)
    bits = 16 // values
    for entry in kind.grid.reshape(entries, values):
        yield sum(levels.index(int(value)) << bits * i for i, value in enumerate(entry))


def table(name, kind, values):
    lines, line = [], "   "
    for word in words(kind):
        item = f" 0x{word:04x},"
        if len(line) + len(item) > 100:
            lines.append(line)
            line = "   "
        line += item
    lines.append(line.rstrip(","))
    return (f"\n/* {kind.grid_shape[0]} entries of {kind.grid_shape[1]}: {values}. */\n"
            f"const uint16_t rad_codebook_{name}[{kind.grid_shape[0]}] = {{\n" + "\n".join(lines) +
            "};\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    default = pathlib.Path(__file__).resolve().parents[2] / "quant" / "codebooks.c"
    parser.add_argument("out", nargs="?", type=pathlib.Path, default=default, metavar="OUTPUT_FILE")
    parser.parse_args().out.write_text(HEAD + "".join(table(*entry) for entry in TABLES))


if __name__ == "__main__":
    main()
