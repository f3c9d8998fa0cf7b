#!/usr/bin/env python3
"""Checks who includes whom: always downward through the house (docs/architecture.md).
Usage: check_layers.py SOURCE_ROOT"""
import os
import re
import sys

from tap import Tap

# What each folder may include besides itself. "api" alone sees the public structs of all; the
# public header may be included everywhere, since it defines statuses and callbacks.
BASE = {"base"}
LOW = BASE | {"io", "quant", "kernels"}
ALLOWED = {
    "base": set(),
    "quant": BASE,
    "kernels": BASE | {"quant"},
    "io": BASE | {"quant"},
    # The tokenizer is made from metadata; it knows neither weights nor sessions.
    "text": BASE | {"io"},
    "sample": BASE,
    "model": LOW | {"text"},    # a model owns its tokenizer
    "cache": LOW | {"model"},
    "backend": LOW | {"model", "cache"},    # its operations name weights and pages
    "forward": LOW | {"model", "cache", "backend"},
    "engine": LOW | {"model", "cache", "backend", "forward", "sample", "text"},
    # Calibration runs the model to see what its matrices are multiplied with.
    "quantize": LOW | {"model", "cache", "backend", "forward", "sample", "text", "engine"},
    "api": LOW | {"model", "cache", "backend", "forward", "sample", "text", "engine",
            "quantize"},
}
INCLUDE = re.compile(r'^\s*#\s*include\s*(["<])([^">]+)[">]', re.MULTILINE)


def acyclic(graph):
    """True when folders can be taken away one after the other, each including only earlier ones."""
    done = set()
    while len(done) < len(graph):
        free = [name for name in graph if name not in done and graph[name] <= done]
        if not free:
            return False
        done.update(free)
    return True


def folder_of(path):
    """The layer of a source file or an include path, or None."""
    parts = path.split("/")
    if parts[0] == "lib":
        parts = parts[1:]
    return parts[0] if len(parts) > 1 and parts[0] in ALLOWED else None


def sources(root, *folders):
    for folder in folders:
        for directory, _, names in os.walk(os.path.join(root, folder)):
            for name in sorted(names):
                if name.endswith((".c", ".h", ".inc", ".cu")):
                    path = os.path.join(directory, name)
                    with open(path, encoding="utf-8") as file:
                        yield os.path.relpath(path, root), file.read()


def main():
    tap = Tap()
    root = sys.argv[1]
    assert acyclic(ALLOWED)
    broken = {layer: [] for layer in ALLOWED}
    long_files = []
    unfinished = []
    for path, text in sources(root, "lib", "kernels", "quant"):
        layer = folder_of(path)
        here = os.path.dirname(path)
        if text.count("\n") > 1000:
            long_files.append(f"{path}: {text.count(chr(10))} lines")
        for match in INCLUDE.finditer(text):
            target = folder_of(match.group(2))
            if target is None and match.group(1) == '"':
                # Beside the file itself, or in a folder that the compiler is pointed at.
                target = layer if os.path.exists(os.path.join(root, here, match.group(2))) else None
            if target is not None and layer is not None and target != layer and \
                    target not in ALLOWED[layer]:
                broken[layer].append(f"{path} includes {match.group(2)}")
    for layer, lines in broken.items():
        allowed = ", ".join(sorted(ALLOWED[layer])) or "nothing"
        tap.check(not lines, f"{layer} includes only itself and {allowed}", lines)

    lines = []
    for path, text in sources(root, "examples", "bench"):
        for match in INCLUDE.finditer(text):
            if folder_of(match.group(2)) is not None or match.group(2).startswith("../"):
                lines.append(f"{path} includes {match.group(2)}")
    tap.check(not lines, "examples and bench include the public header alone", lines)

    lines = []
    for path, text in sources(root, "include"):
        lines += [f"{path} includes {m.group(2)}" for m in INCLUDE.finditer(text)
                  if m.group(2) not in ("stddef.h", "stdint.h")]
    tap.check(not lines, "the public header includes stddef.h and stdint.h alone", lines)

    tap.check(not long_files, "no file of the library is longer than 1000 lines", long_files)
    word = re.compile(r"\b(TODO|FIXME|XXX)\b|not (yet )?implemented|placeholder", re.IGNORECASE)
    for path, text in sources(root, "include", "lib", "kernels", "quant", "examples", "bench"):
        for number, line in enumerate(text.split("\n"), 1):
            if word.search(line):
                unfinished.append(f"{path}:{number}: {line.strip()}")
    tap.check(not unfinished, "nothing is left unfinished", unfinished)
    tap.end()


if __name__ == "__main__":
    main()
