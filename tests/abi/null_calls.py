#!/usr/bin/env python3
"""Writes a C program that calls every function of the header with nothing but NULL and 0: each must
come back, those that return a status with an error (they are given no place for a result).
Usage: null_calls.py DESCRIPTION OUTPUT.c"""
import json
import sys


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        functions = json.load(file)["functions"]
    lines = ["/* Written by null_calls.py. */", "#define RADLLM_EXPERIMENTAL",
             "#include <radllm/radllm.h>", "#include <stdio.h>", "",
             "int main(void)", "{", "    int failed = 0, count = 0;",
             "    setvbuf(stdout, NULL, _IONBF, 0);"]
    for function in functions:
        arguments = ", ".join("NULL" if p["type"].endswith("*") or p["type"].endswith("_fn") else "0"
                              for p in function["parameters"])
        call = f"{function['name']}({arguments})"
        lines.append("    count++;")
        if function["returns"] == "radllm_status" and function["name"] != "radllm_error_status":
            lines.append(f"    if ({call} == RADLLM_OK && ++failed)")
            lines.append(f'        printf("not ok %d - {call} succeeds\\n", count);')
            lines.append("    else")
            lines.append(f'        printf("ok %d - {call} is refused\\n", count);')
        else:
            lines.append(f"    (void){call};")
            lines.append(f'    printf("ok %d - {call} returns\\n", count);')
    lines += ['    printf("1..%d\\n", count);', "    return failed != 0;", "}", ""]
    with open(sys.argv[2], "w", encoding="utf-8") as file:
        file.write("\n".join(lines))


if __name__ == "__main__":
    main()
