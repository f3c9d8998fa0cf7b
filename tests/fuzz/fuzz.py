#!/usr/bin/env python3
"""Runs a fuzzer, which libFuzzer is linked into, for some time.

  fuzz.py FUZZER [--seconds N] [--corpus FOLDER] [--findings FOLDER] [--log FILE] [--shared FOLDER]...

It begins with the inputs of corpus/TARGET beside this script. What reaches new code goes to --corpus,
by default a folder that is gone at the end. An input that breaks the target is kept in --findings and
named; status 1. Without --seconds it runs for RADLLM_FUZZ_SECONDS, or 60. Before that it gets the
files below --shared, folders of the shared test data, where these are there.
"""
import argparse
import os
import pathlib
import re
import subprocess
import sys
import tempfile

# An input takes milliseconds, with sanitizers some tens, and in `./run test` a fuzzer has an eighth of
# a processor.
LIMITS = ["-timeout=60", "-rss_limit_mb=1400", "-malloc_limit_mb=512"]


def call(options, arguments):
    """(whether all is well, what it printed); what is not well is printed here."""
    target = options.fuzzer.name.removeprefix("fuzz_")
    prefix = options.findings.resolve() / f"finding-{target}-"
    command = [options.fuzzer.resolve(), *arguments, f"-artifact_prefix={prefix}", *LIMITS]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False)
    text = done.stdout.decode(errors="replace")
    if done.returncode != 0:
        print("\n".join(text.splitlines()[-60:]))
        found = re.findall(r"Test unit written to (\S+)", text) or \
            re.findall(r"^Running: (.+)$", text, re.MULTILINE)[-1:]
        for path in found:
            print(f"the input that did it: {path}; again with: {options.fuzzer} {path}")
    return done.returncode == 0, text


def shared_files(names):
    root = pathlib.Path(__file__).resolve().parents[2] / ".." / "shared"
    data = pathlib.Path(os.environ.get("RADLLM_SHARED", root)) / "data"
    return [path for name in names for path in sorted((data / name).rglob("*")) if path.is_file()]


def run(options, corpus):
    target = options.fuzzer.name.removeprefix("fuzz_")
    seeds = pathlib.Path(__file__).resolve().parent / "corpus" / target
    files = shared_files(options.shared)
    if files and not call(options, files)[0]:
        return 1
    good, text = call(options, [corpus, seeds, f"-max_total_time={options.seconds}",
                                "-print_final_stats=1"])
    if options.log:
        options.log.write_text(text)
    executed = re.search(r"stat::number_of_executed_units:\s*(\d+)", text)
    reached = re.findall(r"\bcov: (\d+)", text)
    more = f" and {len(files)} files" if files else ""
    print(f"{target}: {executed.group(1) if executed else 'no'} inputs in {options.seconds} s{more}, "
          f"{reached[-1] if reached else 'no'} places reached")
    return 0 if good else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fuzzer", type=pathlib.Path)
    parser.add_argument("--seconds", type=int,
                        default=int(os.environ.get("RADLLM_FUZZ_SECONDS", "60")))
    parser.add_argument("--corpus", type=pathlib.Path)
    parser.add_argument("--findings", type=pathlib.Path, default=pathlib.Path("."))
    parser.add_argument("--log", type=pathlib.Path)
    parser.add_argument("--shared", action="append", default=[])
    options = parser.parse_args()
    options.findings.mkdir(parents=True, exist_ok=True)
    if options.corpus:
        options.corpus.mkdir(parents=True, exist_ok=True)
        return run(options, options.corpus)
    with tempfile.TemporaryDirectory(prefix="radllm-fuzz-") as corpus:
        return run(options, pathlib.Path(corpus))


if __name__ == "__main__":
    sys.exit(main())
