#!/usr/bin/env python3
"""Writes docs/memory.md: the memory of the review article's models, planned by radllm-inspect from
the configurations in examples/shapes, beside the article's figures (tools/memory_rows.json).

Usage: memory_table.py RADLLM_INSPECT [--check]

--check: compares with the file that stands there instead; exit code 1 where they differ, in figures
by more than 1% (what a step needs changes a little with the kernels)."""
import json
import os
import re
import subprocess
import sys

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
TARGET = os.path.join(ROOT, "docs", "memory.md")
TOLERANCE = 0.05

HEAD = """# Memory of the review article's models

What the models of the table in Savage et al., "Open-Source Large Language Models in Radiology" (Radiology 2025;314(1):e241073), take in this library. Written by `tools/memory_table.py` from `radllm-inspect --plan` and the configurations in `examples/shapes`; a test compares.

    radllm-inspect --plan examples/shapes/llama-3.1-8b.json

GB are 10^9 bytes. 16 bits is BF16, 4 bits Q4_K_M (about 4.85 bits for each weight, some matrices have 6). Totals are weights, the cache of keys and values in F16, and what a step of 8 threads needs; a context that is longer than the model's own counts as the model's. The vocabulary (some MiB) and biases are left out. Of models that see, the text part is planned.

"""

ARTICLE = """
## Beside the article

**The article's figures are missing here, for all models but one.** It gives video RAM for the weights at 16 and at 4 bits, in a table that is not freely to be had; one row of it is known (LLaVA-Med's), and that several of its figures at 4 bits are those of 8 bits, which are half of those at 16. So how far the others are from the plans is not known: "-" stands for a figure that is to be entered in `tools/memory_rows.json` by who has the article. Where one differs from the weights above by more than 5%, the script demands a reason.

| model | 16 bits: planned | article | 4 bits: planned | article | reason for more than 5% |
| --- | --- | --- | --- | --- | --- |
"""


def plans_of(inspect, shape):
    path = os.path.join(ROOT, "examples", "shapes", shape + ".json")
    done = subprocess.run([inspect, "--plan", path, "--json"], capture_output=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{shape}: {done.stderr.decode()}")
    return json.loads(done.stdout)


def gb(value):
    return f"{value / 1e9:.1f}" if value < 1e12 else f"{value / 1e9:,.0f}"


def cells(found, kind):
    plans = [plan for plan in found["plans"] if plan["type"] == kind]

    def total(context):
        longest = max(plan["context"] for plan in plans)
        return next(gb(plan["total"]) for plan in plans
                    if plan["context"] == min(context, longest))

    return [gb(plans[0]["weights"]), total(4096), total(32768), total(1 << 40)]


def article_row(row, found):
    out, far = [], False
    for kind, key in (("BF16", "article_16"), ("Q4_K_M", "article_4")):
        weights = next(plan["weights"] for plan in found["plans"] if plan["type"] == kind)
        given = row[key]
        far = far or (given is not None and abs(given * 1e9 - weights) > TOLERANCE * weights)
        out += [gb(weights), "-" if given is None else f"{given:g}"]
    if far and "reason" not in row:
        sys.exit(f"{row['name']}: the article's figure differs by more than 5% and has no reason")
    return out + [row["reason"] if far else ""]


def make(inspect):
    with open(os.path.join(ROOT, "tools", "memory_rows.json")) as file:
        rows = json.load(file)
    text = HEAD
    text += ("| model | parameters | longest context | 16 bits: weights | total at 4k | at 32k | "
             "at the longest | 4 bits: weights | total at 4k | at 32k | at the longest |\n"
             "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n")
    beside, parts = ARTICLE, ""
    for row in rows:
        found = plans_of(inspect, row["shape"])
        line = [row["name"], f"{found['parameters']:,}", f"{found['longest_context']:,}"]
        line += cells(found, "BF16") + cells(found, "Q4_K_M")
        text += "| " + " | ".join(line) + " |\n"
        beside += "| " + " | ".join([row["name"]] + article_row(row, found)) + " |\n"
        if "left_out" in row:
            parts += f"- {row['name']}: {row['left_out']}.\n"
    return (text + "\nNot planned, since this version does not compute it (2 bytes for each parameter "
            "at 16 bits):\n\n" + parts + beside)


NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")


def agree(ours, theirs):
    def value(text):
        return float(text.replace(",", ""))

    pairs = zip(NUMBER.findall(ours), NUMBER.findall(theirs))
    return (NUMBER.sub("#", ours) == NUMBER.sub("#", theirs) and
            all(abs(value(a) - value(b)) <= max(0.11, 0.01 * value(b)) for a, b in pairs))


def main():
    if len(sys.argv) < 2 or (len(sys.argv) > 2 and sys.argv[2] != "--check"):
        sys.exit(__doc__)
    text = make(sys.argv[1])
    if len(sys.argv) > 2:
        with open(TARGET) as file:
            if not agree(text, file.read()):
                sys.exit("docs/memory.md is not what tools/memory_table.py writes: run it again")
        return
    with open(TARGET, "w") as file:
        file.write(text)


if __name__ == "__main__":
    main()
