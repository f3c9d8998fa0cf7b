#!/usr/bin/env python3
"""Prints what the demo's runs of radllm-label wrote as one table.
Usage: demo_table.py REPORTS OUTPUT FINDING..."""
import csv
import json
import os
import shutil
import sys


def rows_of(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def shortened(text, width):
    text = " ".join(text.split())
    return text if len(text) <= width else text[:width - 3] + "..."


def main():
    reports, output, findings = sys.argv[1], sys.argv[2], sys.argv[3:]
    table = [{"id": row["id"], "modality": row["modality"]} for row in rows_of(reports)]
    for finding in findings:
        answers = rows_of(os.path.join(output, finding.replace(" ", "-") + ".csv"))
        for row, answer in zip(table, answers, strict=True):
            row[finding] = f"{answer['answer']:<3} {float(answer['probability']):.3f}"
    with open(os.path.join(output, "findings.jsonl"), encoding="utf-8") as file:
        for row, line in zip(table, file, strict=True):
            row["findings named"] = json.loads(line)["answer"]

    names = list(table[0])
    # The last column takes what the screen has left, but at least 40 characters.
    widths = [max(len(name), *(len(row[name]) for row in table)) for name in names]
    screen = shutil.get_terminal_size((120, 24)).columns if sys.stdout.isatty() else 140
    widths[-1] = max(40, min(widths[-1], screen - sum(widths[:-1]) - 2 * (len(widths) - 1)))

    def show(cells):
        print("  ".join(f"{shortened(cell, width):<{width}}"
                        for cell, width in zip(cells, widths)).rstrip())
    show(names)
    show(["-" * width for width in widths])
    for row in table:
        show([row[name] for name in names])
    positive = {finding: sum(row[finding].startswith("yes") for row in table) for finding in findings}
    print()
    print(f"{len(table)} reports; " +
          ", ".join(f"{finding}: {count} yes" for finding, count in positive.items()))


if __name__ == "__main__":
    main()
