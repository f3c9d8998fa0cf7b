#!/usr/bin/env python3
"""Speed behind so many positions, for number formats of keys and values or policies of attention.

    bench/sweep.py --bench build/bench/radllm-bench -m MODEL.gguf -t 2 -d 1024,4096,16384,32768 \\
        --variant "f16=" --variant "q8_0=--cache q8_0" --out bench/formats

Runs radllm-bench once for each variant, prints a table, and writes OUT-prompt.svg and
OUT-generation.svg. Exit codes: 0, 1 when a run failed, 2 for a wrong command line.
"""

import argparse
import json
import shlex
import subprocess
import sys

import charts


def measure(options, extra):
    """{depth: (prompt, generation)} in tokens a second."""
    command = [*options.prefix, options.bench, "-m", options.model, "-t", str(options.threads),
               "-p", str(options.prompt), "-n", str(options.gen), "-d", options.depths,
               "-r", str(options.repeats), "--context-limit", "ignore", "--no-cold", "--no-limits",
               "-o", "json", *extra]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"sweep.py: {shlex.join(command)}: {done.stderr.strip()}")
    found = {}
    for row in json.loads(done.stdout):
        found.setdefault(row["n_depth"], {})["pp" if row["n_prompt"] else "tg"] = row["avg_ts"]
    return found


def parse():
    parser = argparse.ArgumentParser(description=__doc__, prog="sweep.py",
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--bench", required=True, metavar="PATH", help="radllm-bench")
    add("-m", "--model", required=True, metavar="FILE")
    add("-t", "--threads", type=int, default=2, metavar="N")
    add("-p", "--prompt", type=int, default=256, metavar="N", help="tokens of the prompt (256)")
    add("-n", "--gen", type=int, default=32, metavar="N", help="tokens that are generated (32)")
    add("-r", "--repeats", type=int, default=3, metavar="N", help="of each test (3)")
    add("-d", "--depths", default="1024,4096,16384,32768", metavar="N,N", help="positions before")
    add("--variant", action="append", required=True, metavar="NAME=OPTIONS", help="repeat")
    add("--prefix", type=shlex.split, default=[], metavar="COMMAND", help="stands before each run")
    add("--title", default="", metavar="TEXT", help="in the charts' titles")
    add("--out", required=True, metavar="PATH", help="the charts' names begin with it")
    return parser.parse_args()


def main():
    options = parse()
    results = {}
    for variant in options.variant:
        name, _, extra = variant.partition("=")
        results[name] = measure(options, shlex.split(extra))
    depths = [int(word) for word in options.depths.split(",")]
    print("| positions before | " + " | ".join(results) + " |")
    print("| ---: |" + " ---: |" * len(results))
    for depth in depths:
        print(f"| {depth} | " + " | ".join("{pp:.0f}, {tg:.0f}".format(**found[depth])
                                           for found in results.values()) + " |")
    for key, what in (("pp", "prompt"), ("tg", "generation")):
        series = {name: [(depth, found[depth][key]) for depth in depths]
                  for name, found in results.items()}
        charts.write_lines(f"{options.out}-{what}.svg",
                           f"{what.capitalize()} behind so many positions{options.title}",
                           "position", "tokens per second", series, log_x=True)


if __name__ == "__main__":
    main()
