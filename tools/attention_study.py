#!/usr/bin/env python3
"""What policies of attention make of a text that is much longer than their window: perplexity for
dense attention (over everything, beyond what the model was trained for), dense attention to a text
cut into pieces, a window alone, a window with recomputed keys, and sinks; as a table and a chart.

    tools/attention_study.py BUILD --model MODEL --text FILE --window 256
    tools/attention_study.py BUILD ... --reference 600      compares the first 600 tokens with a plain
                                                            implementation in NumPy (llama models)

Sinks and window together are as many positions as the window of the others."""

import argparse
import math
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "bench"), str(ROOT / "tools" / "oracle")]
import charts  # noqa: E402


def policies(arguments):
    window = arguments.window
    whole = str(arguments.reference or window * arguments.windows)
    found = [("dense", "dense", 0, ["--attention", "full", "-c", whole, "--context-limit", "ignore"]),
             ("dense, truncated", "truncated", 0, ["--cut", str(window), "-c", str(window)]),
             ("window", "window", 0, ["--attention", "window", "--window", str(window)])]
    for period in arguments.periods:
        found.append((f"window, recomputed every {period}" if period > 1 else "window, recomputed",
                      "recompute", period, ["--attention", "recompute", "--window", str(window),
                                            "--recompute-period", str(period)]))
    for sinks in arguments.sinks:
        found.append((f"{sinks} sinks", "sinks", sinks, ["--attention", "sinks", "--sinks", str(sinks),
                                                         "--window", str(window - sinks)]))
    return found


def measure(arguments, count, options):
    with tempfile.TemporaryDirectory() as directory:
        each = Path(directory) / "each"
        command = [Path(arguments.build) / "bench" / "radllm-bench", "perplexity", "-m", arguments.model,
                   "-f", arguments.text, "--stream", "-n", str(count), "--each", each,
                   "--option", "special=1", *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"{options}: {done.stderr.strip()}")
        return [float(line) for line in each.read_text(encoding="utf-8").split()]


def perplexity(values):
    return math.exp(sum(values) / len(values))


def compare(arguments, name, values):
    """Mean difference from the reference, and the perplexities."""
    import numpy as np

    import attention_reference as reference
    kind, number = next((k, n) for label, k, n, _ in policies(arguments) if label == name)
    model, tokens = reference.Model(arguments.model), token_ids(arguments)
    sinks = number if kind == "sinks" else 0
    expected = reference.scores(model, tokens, kind, arguments.window - sinks, sinks, number or 1)
    own = np.array(values[:len(expected)])
    return perplexity(own.tolist()), perplexity(expected.tolist()), float(abs(own - expected).max())


def token_ids(arguments):
    command = [Path(arguments.build) / "examples" / "radllm-tokenize", "-m", arguments.model, "-f",
               arguments.text]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [int(word) for word in done.stdout.split()][:arguments.reference]


def table(arguments, results):
    parts = 4
    last = results[next(n for n in results if n.startswith("window, recomputed"))]
    lines = ["| policy | perplexity | " + " | ".join(f"part {i + 1}" for i in range(parts))
             + " | against recomputed |", "| --- |" + " ---: |" * (parts + 2)]
    for name, values in results.items():
        size = len(values) // parts
        cells = [f"{perplexity(values[i * size:(i + 1) * size]):.2f}" for i in range(parts)]
        ratio = perplexity(values) / perplexity(last) - 1
        lines.append(f"| {name} | {perplexity(values):.2f} | " + " | ".join(cells)
                     + f" | {100 * ratio:+.1f} % |")
    return "\n".join(lines)


def chart(arguments, results):
    window, series = arguments.window, {}
    for name, values in results.items():
        series[name] = [(i + window, perplexity(values[i:i + window]))
                        for i in range(0, len(values) - window + 1, window)]
    shown = sorted(y for line in series.values() for _, y in line)
    charts.write_lines(arguments.svg, f"Perplexity along a text, window of {window}", "position",
                       "perplexity of a window of tokens", series,
                       y_most=2 * shown[len(shown) // 2])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("build")
    parser.add_argument("--model", required=True)
    parser.add_argument("--text", required=True)
    parser.add_argument("--window", type=int, default=256)
    parser.add_argument("--windows", type=int, default=20, help="length of the text, in windows (20)")
    parser.add_argument("--sinks", type=lambda s: [int(w) for w in s.split(",")], default=[1, 4, 16])
    parser.add_argument("--periods", type=lambda s: [int(w) for w in s.split(",")], default=[1, 16])
    parser.add_argument("--reference", type=int, metavar="TOKENS",
                        help="compare so many tokens with the plain implementation")
    parser.add_argument("--svg", help="write a chart")
    arguments = parser.parse_args()
    count = arguments.reference or arguments.window * arguments.windows
    results = {name: measure(arguments, count, options)
               for name, _, _, options in policies(arguments)}
    if arguments.reference:
        for name, values in results.items():
            own, expected, most = compare(arguments, name, values)
            print(f"{name}: perplexity {own:.5f}, reference {expected:.5f}, greatest difference of a"
                  f" log-probability {most:.6f}", flush=True)
        return
    print(table(arguments, results))
    if arguments.svg:
        chart(arguments, results)


if __name__ == "__main__":
    main()
