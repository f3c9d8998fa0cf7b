#!/usr/bin/env python3
"""Compares the speed of radllm-bench with other programs on the same model files.

    bench/compare.py --ours build/bench/radllm-bench \\
        --peer ik_llama.cpp=IK/bin/llama-bench --peer llama.cpp=LLAMA/bin/llama-bench \\
        -t 2 -p 512 -n 64 -b 8 --rounds 5 --csv out.csv --svg out.svg MODEL.gguf...

MODEL may be a folder as well, which only radllm-bench measures. tools/oracle/make_bench_model.py
writes models of any shape and type with random weights, make_bench_folder.py folders.

With -d 1024,4096,16384 each test begins behind so many positions, and --sweep draws the speed over
them.

All programs take turns, round by round and each round in another order, so that the machine's moods
meet all of them alike. Of each figure the median over the rounds is shown, and how many times the
peer's speed is ours. A share is that of the machine's limit, which radllm-bench measures in the
same runs: the nearer one of memory bandwidth and arithmetic.

A peer is llama-bench of llama.cpp or of a relative; behind its path may stand options of its own:
--peer "ik repacked=IK/bin/llama-bench -rtr 1"; --ours "radllm-bench=PATH --cache q8_0". For -b above 1 (sequences generated together) its
llama-batched-bench is taken from the same folder.

Exit codes: 0, 1 when a program failed (the others' figures are shown), 2 for a wrong command line.
"""

import argparse
import csv
import json
import os
import pathlib
import shlex
import statistics
import subprocess
import sys

import charts


class Failure(Exception):
    """A program that gave no figures; its text says why."""


class Program:
    def __init__(self, name, command, ours):
        self.name = name
        self.command = command
        self.ours = ours
        self.version = "?"
        self.depth = None  # whether it has -d, once that was asked

    def batched(self):
        return [str(pathlib.Path(self.command[0]).with_name("llama-batched-bench"))]


def test_name(prompt, generated, sequences, depth):
    name = f"tg{generated}" if generated else f"pp{prompt}"
    return name + (f"x{sequences}" if sequences > 1 else "") + (f"@{depth}" if depth else "")


# ---- running ----


def call(options, command, both=False):
    """Standard output (both: and standard error) of a command, or Failure with its last lines."""
    command = options.prefix + command
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=options.timeout)
    except subprocess.TimeoutExpired as error:
        raise Failure(f"took more than {options.timeout} s") from error
    except OSError as error:
        raise Failure(f"cannot be run: {error.strerror}") from error
    if done.returncode != 0:
        lines = (done.stderr + b"\n" + done.stdout).decode("utf-8", "replace").split("\n")
        said = " / ".join([line.strip() for line in lines if line.strip()][-2:])
        raise Failure(f"exit code {done.returncode}: {said[-300:] or 'no message'}")
    return (done.stdout + (done.stderr if both else b"")).decode("utf-8", "replace")


def rows_of_json(text):
    """The array that llama-bench and radllm-bench print, whatever stands before it."""
    at = text.find("[\n") if "[\n" in text else text.find("[")
    try:
        rows = json.loads(text[at:])
        for row in rows:
            row["samples_ts"] = [float(value) for value in row["samples_ts"]]
            prompt, generated = int(row["n_prompt"]), int(row["n_gen"])
            depth = int(row.get("n_depth", 0))
            if prompt and generated:  # ik_llama.cpp: generation behind a prompt
                prompt, depth = 0, prompt
            row["test"] = test_name(prompt, generated, int(row.get("n_sequences", 1)), depth)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Failure("its output is not the JSON of llama-bench") from error
    if not rows:
        raise Failure("it measured nothing")
    return rows


def version_of(row):
    if "build_commit" in row:
        return f"{row['build_commit']} (build {row.get('build_number', '?')})"
    return str(row.get("build_version", "?"))


def knows_depth(options, program):
    """Whether a program has -d; ik_llama.cpp has only -gp, generation behind a prompt."""
    if program.depth is None:
        try:
            program.depth = "--n-depth" in call(options, program.command + ["--help"], both=True)
        except Failure:
            program.depth = False
    return program.depth


def depth_words(options, program):
    if program.ours or knows_depth(options, program):
        return ["-d", ",".join(map(str, options.depth))]
    return [word for depth in options.depth if depth for generated in options.gen if generated
            for word in ("-gp", f"{depth},{generated}")]


def run_bench(options, program, model):
    """Figures of one run: test -> (speeds, share of the limit or None)."""
    command = program.command + ["-m", model, "-t", str(options.threads), "-r",
                                 str(options.repeats), "-o", "json"]
    command += ["-p", ",".join(map(str, options.prompt)), "-n", ",".join(map(str, options.gen))]
    if options.depth != [0]:
        command += depth_words(options, program)
    if program.ours:
        command += ["--no-cold", "-b", ",".join(map(str, options.batch))]
        command += ["--no-limits"] if options.no_limits else []
    rows = rows_of_json(call(options, command))
    program.version = version_of(rows[0])
    return {row["test"]: (row["samples_ts"], row.get("share_of_limit")) for row in rows}


def speed_of_table(output):
    """Generated tokens per second in the last row of llama-batched-bench's table, or None."""
    table = [[cell.strip() for cell in line.strip().strip("|").split("|")]
             for line in output.split("\n") if line.strip().startswith("|")]
    heads = [row for row in table if "S_TG t/s" in row]
    rows = [row for row in table if row[0].isdigit() and heads and len(row) == len(heads[0])]
    return float(rows[-1][heads[0].index("S_TG t/s")]) if rows else None


def run_batched(options, program, model, generated, sequences, depth):
    """What llama-batched-bench says of generating for several sequences, tokens of all."""
    prompt = depth or 16
    context = sequences * (prompt + generated) + 64
    command = program.batched() + [
        "-m", model, "-t", str(options.threads), "-c", str(context), "-npp", str(prompt),
        "-ntg", str(generated), "-npl", str(sequences)]
    for _ in range(2):  # now and then its last line is lost on the way out, with exit code 0
        speed = speed_of_table(call(options, command, both=True))
        if speed is not None:
            return speed
    raise Failure("its output is not the table of llama-batched-bench")


def jobs(options, program, model):
    """(test or None, function) for each run of a program in a turn."""
    yield None, lambda: run_bench(options, program, model)
    for sequences in options.batch if not program.ours else []:
        for generated in options.gen if sequences > 1 else []:
            for depth in options.depth if generated else []:
                test = test_name(0, generated, sequences, depth)
                yield test, lambda n=generated, b=sequences, d=depth, test=test: {
                    test: ([run_batched(options, program, model, n, b, d)], None)}


def run_once(options, program, model, results, failures):
    for test, job in jobs(options, program, model):
        if (program.name, model, test) in failures:
            continue
        try:
            figures = job()
        except Failure as error:
            failures[(program.name, model, test)] = str(error)
            print(f"compare.py: {program.name} with {model}: {error}", file=sys.stderr)
            continue
        for name, (speeds, share) in figures.items():
            known = results.setdefault((model, name), {}).setdefault(program.name, ([], []))
            known[0].extend(speeds)
            known[1].extend([] if share is None else [share])


def measure(options, programs):
    """results[(model, test)][program] = (speeds, shares), and what failed."""
    results, failures = {}, {}
    for turn in range(options.rounds):
        shift = turn % len(programs)
        for model in options.models:
            for program in programs[shift:] + programs[:shift]:
                if not options.quiet:
                    print(f"round {turn + 1} of {options.rounds}: {program.name},"
                          f" {pathlib.Path(model).name}", file=sys.stderr)
                run_once(options, program, model, results, failures)
    return results, failures


# ---- results ----


def summarize(options, programs, results):
    """One dictionary for each model, test and program, in the order of the table."""
    rows = []
    ours = programs[0].name
    tests = {test_name(p, 0, 1, d): d for d in options.depth for p in options.prompt if p}
    tests |= {test_name(0, n, b, d): d
              for d in options.depth for b in options.batch for n in options.gen if n}
    for model in options.models:
        for test, depth in tests.items():
            figures = results.get((model, test), {})
            own = statistics.median(figures[ours][0]) if ours in figures else None
            for program in programs:
                speeds, shares = figures.get(program.name, ([], []))
                middle = statistics.median(speeds) if speeds else None
                rows.append({
                    "model": pathlib.Path(model).name, "test": test, "depth": depth,
                    "threads": options.threads, "program": program.name, "version": program.version,
                    "tokens_per_second": middle, "lowest": min(speeds, default=None),
                    "highest": max(speeds, default=None), "samples": len(speeds),
                    "ours_to_this": own / middle if own and middle else None,
                    "share_of_limit": statistics.median(shares) if shares else None})
    return rows


def text(value, form):
    return "-" if value is None else format(value, form)


def groups_of(rows, n_programs):
    return [rows[i:i + n_programs] for i in range(0, len(rows), n_programs)]


def table_lines(rows, programs):
    ours, peers = programs[0], programs[1:]
    heads = ["model", "test", ours.name, "of limit"]
    for peer in peers:
        heads += [peer.name, "ratio"]
    if len(peers) > 1:
        heads.append("ratio to the fastest")
    lines = [heads, ["---", "---"] + ["---:"] * (len(heads) - 2)]
    for group in groups_of(rows, len(programs)):
        own = group[0]
        line = [own["model"], own["test"], text(own["tokens_per_second"], ".2f"),
                text(own["share_of_limit"], ".1%")]
        for row in group[1:]:
            line += [text(row["tokens_per_second"], ".2f"), text(row["ours_to_this"], ".2f")]
        if len(peers) > 1:
            ratios = [row["ours_to_this"] for row in group[1:] if row["ours_to_this"]]
            line.append(text(min(ratios, default=None), ".2f"))
        lines.append(line)
    return ["| " + " | ".join(line) + " |" for line in lines]


def write_csv(path, rows):
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows({key: "" if value is None else value for key, value in row.items()}
                         for row in rows)


def bar_text(row):
    label = text(row["tokens_per_second"], ".1f")
    if row["ours_to_this"] and row["share_of_limit"] is None:
        label += f" ({row['ours_to_this']:.2f}x)"
    if row["share_of_limit"] is not None:
        label += f" ({row['share_of_limit']:.0%} of limit)"
    return label


def write_bars(path, rows, programs, title):
    """Each test has a scale of its own, since prompts are so much faster."""
    most = {}
    for row in rows:
        most[row["test"]] = max(most.get(row["test"], 0), row["tokens_per_second"] or 0)
    groups = [(f"{group[0]['model']}, {group[0]['test']}", most[group[0]["test"]],
               [(row["tokens_per_second"], bar_text(row)) for row in group])
              for group in groups_of(rows, len(programs))]
    charts.write_bars(path, title, [f"{p.name} {p.version}" for p in programs], groups)


def write_sweep(path, rows, title):
    """Speed over the position where a test begins, a line for each model, test and program."""
    series = {}
    for row in rows:
        if row["tokens_per_second"]:
            name = f"{row['program']}, {row['model']}, {row['test'].partition('@')[0]}"
            series.setdefault(name, []).append((row["depth"], row["tokens_per_second"]))
    charts.write_lines(path, title, "position", "tokens per second", series, log_x=True)


def failure_line(key, reason, results):
    """What to say of a program that ended a turn without figures; it was not asked again."""
    name, model, test = key
    what = pathlib.Path(model).name + (f", {test}" if test else "")
    before = any(name in figures for (of, figures_test), figures in results.items()
                 if of == model and test in (None, figures_test))
    return (f"{name} gave figures for {what} in some turns only: {reason}" if before else
            f"{name} gave no figures for {what}: {reason}")


def report(options, programs, rows, results, failures):
    print(f"{options.threads} threads, medians of {options.rounds} rounds of {options.repeats},"
          " tokens per second; ratio: ours to the peer's")
    for program in programs:
        print(f"- {program.name}: {program.version}, {shlex.join(program.command)}")
    print()
    print("\n".join(table_lines(rows, programs)))
    for key, reason in failures.items():
        print("\n" + failure_line(key, reason, results))
    if options.csv:
        write_csv(options.csv, rows)
    if options.svg:
        write_bars(options.svg, rows, programs,
                   f"Tokens per second, {options.threads} threads, medians of {options.rounds} rounds"
                   " (in brackets: how many times as fast we are)")
    if options.sweep:
        write_sweep(options.sweep, rows, "Tokens per second behind so many positions,"
                    f" {options.threads} threads, medians of {options.rounds} rounds")


# ---- command line ----


def numbers(minimum):
    def parse(word):
        values = [int(part) for part in word.split(",")]
        if min(values) < minimum:
            raise ValueError(word)
        return values
    parse.__name__ = f"list of whole numbers from {minimum}"
    return parse


def at_least_one(word):
    value = int(word)
    if value < 1:
        raise ValueError(word)
    return value


at_least_one.__name__ = "whole number from 1"


def parse_program(parser, word, ours):
    name, equals, command = word.partition("=")
    # The = of an option behind the path names nothing.
    if not equals or "/" in name or " -" in name:
        name, command = None, word
    try:
        words = shlex.split(command)
    except ValueError as error:
        parser.error(f"{word}: {error}")
    if name is None:
        name = pathlib.Path(words[0]).name if words else ""
    if not words or not name:
        parser.error(f'"{word}" names no program: NAME=PATH')
    path = pathlib.Path(words[0])
    if not path.is_file() or not os.access(path, os.X_OK):
        parser.error(f"{words[0]} is no program that can be run")
    return Program(name, words, ours)


def parse():
    parser = argparse.ArgumentParser(description=__doc__, prog="compare.py",
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("models", nargs="+", metavar="MODEL")
    add("--ours", required=True, metavar="[NAME=]PATH", help="radllm-bench")
    add("--peer", action="append", default=[], metavar="[NAME=]PATH", help="llama-bench; repeat")
    add("-t", "--threads", type=at_least_one, default=os.cpu_count() or 1, metavar="N",
        help="threads of every program (all processors)")
    add("-p", "--prompt", type=numbers(0), default=[512], metavar="N[,N]",
        help="tokens of the prompt test (512; 0: none)")
    add("-n", "--gen", type=numbers(0), default=[64], metavar="N[,N]",
        help="tokens of the generation test (64; 0: none)")
    add("-b", "--batch", type=numbers(1), default=[1], metavar="N[,N]",
        help="sequences generated together (1)")
    add("-d", "--depth", type=numbers(0), default=[0], metavar="N[,N]",
        help="positions that stand before each test (0)")
    add("--rounds", type=at_least_one, default=3, metavar="N", help="turns of each program (3)")
    add("-r", "--repeats", type=at_least_one, default=1, metavar="N",
        help="repeats inside a turn (1)")
    add("--no-limits", action="store_true", help="do not measure the machine's limits: no shares")
    add("--csv", metavar="FILE")
    add("--svg", metavar="FILE", help="a chart of bars")
    add("--sweep", metavar="FILE", help="a chart of the speed over -d")
    add("--prefix", type=shlex.split, default=[], metavar="COMMAND",
        help="stands before every program, e.g. 'taskset -c 0,1'")
    add("--timeout", type=at_least_one, default=1800, metavar="SECONDS",
        help="for one turn of one program (1800)")
    add("--quiet", action="store_true", help="do not say what is being run")
    options = parser.parse_args()
    programs = [parse_program(parser, options.ours, True)]
    programs += [parse_program(parser, word, False) for word in options.peer]
    if len({program.name for program in programs}) != len(programs):
        parser.error("two programs have the same name: give names, NAME=PATH")
    for model in options.models:
        if not pathlib.Path(model).exists():
            parser.error(f"{model}: there is no such file or folder")
    for path in filter(None, (options.csv, options.svg, options.sweep)):
        folder = pathlib.Path(path).parent
        if pathlib.Path(path).is_dir() or not os.access(folder, os.W_OK):
            parser.error(f"{path} cannot be written")
    if not any(options.prompt) and not any(options.gen):
        parser.error("-p 0 and -n 0 leave nothing to measure")
    return options, programs


def main():
    options, programs = parse()
    results, failures = measure(options, programs)
    rows = summarize(options, programs, results)
    try:
        report(options, programs, rows, results, failures)
        sys.stdout.flush()
    except OSError as error:
        print(f"compare.py: the results cannot be written: {error}", file=sys.stderr)
        return 1
    return 1 if failures else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
