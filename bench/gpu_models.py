#!/usr/bin/env python3
"""Memory and speed on a GPU of models of given shapes, by radllm-bench, as a table.

    bench/gpu_models.py --bench BUILD/bench/radllm-bench [--type Q4_0,F16] [--folder /tmp]
                        [--tokens 64] [--prompt 512] [--repetitions 2] [--limit 60] [--split]
                        [--keep] [--llama LLAMA-BENCH] SHAPE...

SHAPE: a config.json (examples/shapes) or a shape of tools/oracle/make_bench_model.py. The files are
made with holes for matrices (bench/gpu_holes.py), used and removed: their weights are zeros, which
changes nothing in memory and in the bytes that are read. Options for radllm-bench follow behind --.
All layers are on GPUs: a model that has no room there is told with the reason; --split: as many
layers as have room, and the CPU computes the others. --keep: files stay, and are used where they are
there. --limit: seconds for each program. --llama:
llama.cpp's llama-bench with the same file, in a line of its own. A program that fails or takes too
long is told in its line, and the others go on. Exit codes: 0, 1 when one did, 2 for a wrong command
line.
"""

import argparse
import json
import pathlib
import re
import signal
import subprocess
import sys

import gpu_holes

NO_ROOM = "no room: "


def run(command, limit):
    """What a program printed; or why it is of no use."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=limit)
    except subprocess.TimeoutExpired:
        return None, f"FAILED: no result after {limit} s"
    except OSError as error:
        return None, f"FAILED: {command[0]}: {error.strerror}"
    if done.returncode == 0:
        return done.stdout, None
    last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
    no_room = re.search(r"more than the \d+ there are", last)
    return None, (NO_ROOM if no_room else f"FAILED: status {done.returncode}: ") + last


def measure(options, path, layers):
    """Rows of radllm-bench; or why there are none."""
    command = [options.bench, "-m", path, "--device", "cuda", "--no-cold", "-o", "json",
               "-r", str(options.repetitions),
               "-p", str(options.prompt), "-n", str(options.tokens)]
    if not options.split:
        command += ["--option", f"gpu_layers={layers + 1}"]
    printed, why = run(command + options.more, options.limit)
    try:
        return (json.loads(printed), None) if why is None else (None, why)
    except ValueError:
        return None, "FAILED: radllm-bench printed no JSON"


def measure_llama(options, path):
    """The same by llama-bench: tokens/s of the prompt and of generation."""
    printed, why = run([options.llama, "-m", path, "-ngl", "99", "-fa", "1", "-o", "json", "-r",
                        str(options.repetitions), "-p", str(options.prompt), "-n",
                        str(options.tokens)], options.limit)
    try:
        return (json.loads(printed), None) if why is None else (None, why)
    except ValueError:
        return None, "FAILED: llama-bench printed no JSON"


def llama_line(name, kind, rows):
    speeds = {bool(row["n_gen"]): row["avg_ts"] for row in rows}
    return (f"| {name} | {kind} | - | - | - | {speeds.get(False, 0):,.0f} |"
            f" {speeds.get(True, 0):.1f} | - | - | llama.cpp |")


def line(name, kind, rows):
    prompt = next((row for row in rows if row["n_prompt"]), {})
    generation = next((row for row in rows if row["n_gen"]), prompt)
    planned, used = (generation[key] / 2 ** 30 for key in ("gpu_bytes_planned", "gpu_bytes_used"))
    share = generation.get("share_of_bandwidth")
    joules = generation.get("gpu_joules_per_token")
    return (f"| {name} | {kind} | {generation['gpu_bytes_weights'] / 2 ** 30:.1f} | {planned:.2f} |"
            f" {used:.2f} | {prompt.get('avg_ts', 0):,.0f} | {generation['avg_ts']:.1f} |"
            f" {'-' if share is None else f'{100 * share:.0f} %'} |"
            f" {'-' if joules is None else f'{joules:.2f}'} | {generation['placement']} |")


def measure_all(options, shape, kind):
    """Prints a model's lines; False when a program failed."""
    name = shape if not shape.endswith(".json") else pathlib.Path(shape).stem
    path = pathlib.Path(options.folder) / f"holes-{name}-{kind.lower()}.gguf"
    good = True
    try:
        if not (options.keep and path.exists()):
            gpu_holes.write(path, shape, kind)
        layers = gpu_holes.find_shape(shape)["layers"]
        rows, why = measure(options, path, layers)
        print(line(name, kind, rows) if rows else f"| {name} | {kind} | {why} |", flush=True)
        good = bool(rows) or why.startswith(NO_ROOM)
        if options.llama is not None:
            rows, why = measure_llama(options, path)
            print(llama_line(name, kind, rows) if rows else f"| {name} | {kind} | llama.cpp {why} |",
                  flush=True)
    except (OSError, KeyError, ValueError) as error:
        print(f"| {name} | {kind} | FAILED: {error} |", flush=True)
        good = False
    finally:
        if not options.keep:
            path.unlink(missing_ok=True)
    return good


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shapes", nargs="+", metavar="SHAPE")
    parser.add_argument("--bench", required=True)
    parser.add_argument("--type", default="Q4_0", help="with commas; Q4_0")
    parser.add_argument("--folder", default="/tmp", help="where files with holes can be (/tmp)")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--repetitions", type=int, default=2)
    parser.add_argument("--limit", type=float, default=60)
    parser.add_argument("--split", action="store_true")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--llama", metavar="LLAMA-BENCH")
    own = sys.argv[1:sys.argv.index("--")] if "--" in sys.argv else sys.argv[1:]
    options = parser.parse_args(own)
    options.more = sys.argv[sys.argv.index("--") + 1:] if "--" in sys.argv else []
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # who ends it leaves no file behind
    print("| model | weights | weights GiB | planned GiB | taken GiB | prompt tokens/s |"
          " tokens/s | of bandwidth | J/token | placement |\n|" + " --- |" * 10, flush=True)
    good = True
    for shape in options.shapes:
        for kind in options.type.split(","):
            good = measure_all(options, shape, kind) and good
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
