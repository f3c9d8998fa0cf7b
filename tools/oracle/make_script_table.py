#!/usr/bin/env python3
"""Writes lib/text/script_table.c: the ranges of characters that the pre-tokenizer UnicodeScripts of the
package `tokenizers` keeps together.

    make_script_table.py > lib/text/script_table.c

The package is asked: two characters are of one script where it does not cut between them, and of none
where one alone gives no piece.
"""
from tokenizers import pre_tokenizers

CUTTER = pre_tokenizers.UnicodeScripts()


def pieces(text):
    return [piece for piece, _ in CUTTER.pre_tokenize_str(text)]


def main():
    members = []  # a character of each script
    ranges = []
    script = 0
    for code in range(0x110000):
        if 0xD800 <= code < 0xE000:
            continue
        text = chr(code)
        if not pieces(text):
            script = 0
        elif script == 0 or len(pieces(members[script - 1] + text)) != 1:
            script = next((i + 1 for i, member in enumerate(members) if len(pieces(member + text)) == 1), 0)
            if script == 0:
                members.append(text)
                script = len(members)
        if not ranges or ranges[-1] & 0xFF != script:
            ranges.append(code << 8 | script)
    assert len(members) < 256
    print("/* Written by tools/oracle/make_script_table.py. */")
    print('#include "text/script_table.h"\n')
    print("/* clang-format off */")
    print("const uint32_t rad_scripts[] = {")
    for at in range(0, len(ranges), 8):
        print("    " + " ".join(f"0x{one:X}," for one in ranges[at:at + 8]))
    print("};")
    print("/* clang-format on */")
    print("const uint32_t rad_n_scripts = sizeof rad_scripts / sizeof *rad_scripts;")


if __name__ == "__main__":
    main()
