#!/usr/bin/env python3
"""Memory and speed on a GPU of models of given shapes, by radllm-bench, as a table.

    bench/gpu_models.py --bench BUILD/bench/radllm-bench [--type Q4_0,F16] [--folder /tmp]
                        [--tokens 64] [--prompt 512] [--repetitions 2] SHAPE...

SHAPE: a config.json (examples/shapes) or a shape of tools/oracle/make_bench_model.py. The files are
made with holes for matrices, used and removed: their weights are zeros, which changes nothing in
memory and in the bytes that are read. Options for radllm-bench follow behind --. A model that has
no room on the GPU, whole, is told with the reason. Exit codes: 0, 1 when a program failed, 2 for a
wrong command line.
"""

import argparse
import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
MAKE = ROOT / "tools/oracle/make_bench_model.py"


def make(path, shape, kind):
    subprocess.run([sys.executable, MAKE, path, "--shape", shape, "--type", kind, "--sparse",
                    "--vocabulary", "none"], check=True, stdout=subprocess.DEVNULL)


def measure(options, path):
    """Rows of radllm-bench; or why there are none."""
    command = [options.bench, "-m", path, "--device", "cuda", "--no-cold", "-o", "json",
               "-r", str(options.repetitions),
               "-p", str(options.prompt), "-n", str(options.tokens), *options.more]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return None, (done.stderr.strip().splitlines() or ["it failed"])[-1]
    return json.loads(done.stdout), None


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
    own = sys.argv[1:sys.argv.index("--")] if "--" in sys.argv else sys.argv[1:]
    options = parser.parse_args(own)
    options.more = sys.argv[sys.argv.index("--") + 1:] if "--" in sys.argv else []
    print("| model | weights | weights GiB | planned GiB | taken GiB | prompt tokens/s |"
          " tokens/s | of bandwidth | J/token | placement |\n|" + " --- |" * 10)
    for shape in options.shapes:
        for kind in options.type.split(","):
            name = pathlib.Path(shape).stem
            path = pathlib.Path(options.folder) / f"holes-{name}-{kind.lower()}.gguf"
            try:
                make(path, shape, kind)
                rows, why = measure(options, path)
            except (OSError, subprocess.CalledProcessError) as error:
                print(f"{name} {kind}: {error}", file=sys.stderr)
                return 1
            finally:
                path.unlink(missing_ok=True)
            print(line(name, kind, rows) if rows else f"| {name} | {kind} | {why} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
