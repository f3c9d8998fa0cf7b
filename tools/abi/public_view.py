#!/usr/bin/env python3
"""Compiles a shared object that has the public ABI of libradllm and nothing inside, from the header
and the version script: what abidw and abidiff look at, so that neither private structures nor the
library's debug information play a part.

  public_view.py SOURCE_ROOT OUTPUT.so

Experimental functions are no part of it, unless build() is asked for them.
"""
import os
import subprocess
import sys
import tempfile

import describe


def source_text(header, experimental):
    description = describe.describe(header)
    lines = ["#define RADLLM_EXPERIMENTAL"] if experimental else []
    lines.append("#include <radllm/radllm.h>")
    for function in description["functions"]:
        if function.get("experimental") and not experimental:
            continue
        parameters = ", ".join(f"{p['type']}{'' if p['type'].endswith('*') else ' '}{p['name']}"
                               for p in function["parameters"]) or "void"
        body = "".join(f"(void){p['name']}; " for p in function["parameters"])
        if function["returns"] != "void":
            body += "return 0; "
        returns = function["returns"]
        lines.append(f"{returns} {function['name']}({parameters}) {{ {body}}}")
    # Structures and values that no function mentions belong to the ABI as well.
    for number, structure in enumerate(description["structs"]):
        if structure.get("experimental") and not experimental:
            continue
        lines.append(f"extern const {structure['name']} *radllm_view_{number};")
    return "\n".join(lines) + "\n"


def build(root, output, experimental=False):
    header = os.path.join(root, "include", "radllm", "radllm.h")
    with tempfile.TemporaryDirectory() as directory:
        # Always the same name, which ends up in the debug information.
        with open(os.path.join(directory, "view.c"), "w", encoding="utf-8") as file:
            file.write(source_text(header, experimental))
        subprocess.run(["gcc", "-std=c11", "-g", "-O0", "-shared", "-fPIC", "-w",
                        "-I" + os.path.join(root, "include"), "-Wl,-soname,libradllm.so.0",
                        "-Wl,--version-script=" + os.path.join(root, "lib", "radllm.map"),
                        "-fdebug-prefix-map=" + directory + "=.", "view.c",
                        "-o", os.path.abspath(output)], check=True, cwd=directory)


def main():
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    build(os.path.abspath(sys.argv[1]), sys.argv[2])
    return 0


if __name__ == "__main__":
    sys.exit(main())
