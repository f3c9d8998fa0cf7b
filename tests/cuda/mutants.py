#!/usr/bin/env python3
"""Proves that the tests of the GPU's kernels find faults: puts one into a kernel's source, compiles it
for the CPU, and fails where the kernel's tests still pass.

usage: mutants.py BUILD [--all | --list] [--jobs N] [SOURCE[:KIND[:NUMBER]]...]

Kinds of faults, each numbered by where it stands in a source (NAME.cu or a header of kernels):
  barrier   a rad_barrier() or rad_warp_barrier() is removed
  lane      a shuffle takes another lane's value, or a lane takes its neighbour for itself
  last      what lets the last of several blocks go on (last_block.h, and the number of them): a fence
            is gone, a counter stays as it is, a block too few or too many is waited for
  copy      a load, store or asynchronous copy of 16 bytes is 16 bytes off, or a loop ends one early
  part      a part of a row begins one number late
  narrow    a rad_barrier() is but a rad_warp_barrier()
  arrival   asynchronous copies are not waited for, or for a group less; a group is not ended
  early     what an earlier kernel writes is not waited for before it is read
  edge      a comparison (not one that ends a loop) takes in its bound, or leaves it out; made where
            it is named alone, since many of these change nothing
Without arguments: the sample below, two or more of each kind, which continuous integration runs.
--all: every one of the sources that stand in TESTS. Before them the unchanged sources must pass.
BUILD is a configured build directory whose tests of the suite cuda are compiled.
"""
import argparse
import concurrent.futures
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import threading

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
KERNELS = Path("kernels/cuda")
SECONDS = 300  # for a test program

# What of the build tests a file: (the sources that are compiled, the test programs).
TESTS = {
    "adapt.cu": ("adapt", "adapt"),
    "add.cu": ("add", "add"),
    "products_float.cu": ("products_float", "products_float"),
    "products_half.cu": ("products_half", "products_float"),
    "products_half.h": ("products_half", "products_float"),
    "products_half_many.h": ("products_half_small", "products_float"),
    "products_scaled.cu": ("products_scaled", "products_float"),
    "products_scaled.h": ("products_scaled", "products_float"),
    "products_scaled_many.h": ("products_scaled_many", "products_float"),
    "products_half_small.cu": ("products_half_small", "products_float"),
    "quantize.cu": ("quantize", "products"),
    "quantize.h": ("quantize", "products"),
    "pack.cu": ("pack", "products"),
    "products_few.h": ("products_few_plain", "products behind"),
    "products_fragment.h": ("products_some_block products_some_super", "products"),
    "products_some.h": ("products_some_block products_some_super", "products"),
    "products_many.h": ("products_many_block products_many_super", "products"),
    "products_behind.h": ("products_few_plain", "behind"),
    "last_block.h": ("products_few_plain", "behind"),
    "products_normed.h": ("products_few_plain", "behind"),
    "products_heads.h": ("products_few_plain", "behind"),
    "norm.cu": ("norm", "layer products"),
    "norm.h": ("norm", "layer products"),
    "layer.cu": ("layer", "layer products"),
    "elements.h": ("layer", "layer"),
    "rotary.cu": ("rotary", "layer"),
    "rotary.h": ("rotary", "layer"),
    "cache.cu": ("cache", "attention"),
    "cache_device.h": ("cache", "attention"),
    "attention.cu": ("attention", "attention"),
    "attend_tile.h": ("attention", "attention"),
    "attend_parts.h": ("attention", "attention"),
    "attend_merge.h": ("attention attend_merge", "attention"),
    "attend_merge.cu": ("attend_merge", "attention"),
    "attention_bytes.cu": ("attention_bytes", "attention"),
    "attend_matrix.h": ("attention_bytes", "attention"),
    "attend_many.h": ("attention_bytes", "attention"),
    "attend_few.h": ("attention_bytes", "attention"),
    "attention_halves.cu": ("attention_halves", "attention"),
    "attend_halves.h": ("attention_halves", "attention"),
    "attend_prompt.h": ("attention_halves", "attention"),
    "experts.cu": ("experts", "experts"),
    "sample.cu": ("sample", "experts"),
    "candidates.cu": ("candidates", "experts"),
    "draw.cu": ("draw", "draw"),
    "block_sums.h": ("draw", "draw"),
}

SAMPLE = ["last_block.h:last", "products_behind.h:last", "products_normed.h:barrier:0",
          "products_normed.h:copy:1", "products_heads.h:lane", "norm.cu:barrier:0",
          "products_scaled_many.h:barrier:0",
          "experts.cu:barrier:4", "norm.h:lane:0", "experts.cu:lane:1", "norm.cu:copy:0",
          "experts.cu:copy:0", "draw.cu:part", "products_some.h:arrival:1", "products_some.h:early:0",
          "products_some.h:narrow:0"]

# Faults in what other sources than a file's are compiled of: (sources, tests).
ELSEWHERE = {
    "products_some.h:copy:7": ("products_some_affine", "products"),
    "products_some.h:copy:8": ("products_some_affine", "products"),
    "products_many.h:copy:6": ("products_many_affine", "products"),
    "quantize.h:lane:7": ("norm", "layer products"),
    "quantize.h:copy:3": ("norm", "layer products"),
    "quantize.h:copy:4": ("norm", "layer products"),
    "layer.cu:copy:5": ("layer", "experts"),
    "layer.cu:copy:6": ("layer", "experts"),
    "layer.cu:copy:7": ("layer", "experts"),
}

# Faults that change nothing: file:kind:number, and why.
HARMLESS = {
    "pack.cu:lane:0": "a lane's row, from where and to where",
    "pack.cu:copy:2": "sections have 2 bytes or more",
    "products_few.h:lane:1": "lanes below the number of a block's rows, which is even",
    "products_few.h:lane:2": "lanes below the number of a block's rows, which is even",
    "products_few.h:lane:3": "lanes below the number of a block's rows, which is even",
    "products_few.h:copy:14": "weights that are asked for early, not those that are read",
    "products_few.h:copy:15": "weights that are asked for early, not those that are read",
    "attention.cu:barrier:0": "nobody reads queries before the first tiles, and each round of them "
                              "ends at another barrier",
    "attend_tile.h:barrier:2": "ranges are read so late where queries see different slots alone: "
                               "in rounds that end at a rad_barrier(), or in the last one",
    "attend_many.h:barrier:0": "nobody reads queries before the first tile, and each ends at another "
                               "barrier",
    "attend_many.h:barrier:1": "tiles begin with another barrier",
    "attend_prompt.h:barrier:1": "a rad_barrier() comes before totals are read again",
    "attend_prompt.h:barrier:4": "pages are last read before another barrier, at which values of the "
                                 "last tiles are there",
    "attention.cu:narrow:0": "as without it",
    "attend_many.h:narrow:0": "as without it",
    "attend_many.h:narrow:1": "as without it",
    "attend_prompt.h:narrow:2": "as without it",
    "attend_merge.h:barrier:1": "another one comes before the first output is written",
    "attend_few.h:arrival:11": "merge_units() ends the group, and waits for it",
    "attend_few.h:arrival:12": "merge_units() waits for all groups",
    "attend_few.h:arrival:13": "merge_units() waits for all groups",
    "attend_few.h:early:1": "of a block without rows: nothing is read behind it",
    "attend_few.h:early:2": "of a block without keys: nothing is read behind it",
    "products_float.cu:lane:2": "which of the four lanes of a row writes: all have the sum",
    "adapt.cu:lane:2": "which of the four lanes of a row writes: all have the sum",
    "adapt.cu:lane:3": "the lanes of a row in pairs that are added as well",
    "adapt.cu:lane:4": "which of the four lanes of a row writes: all have the sum",
    "adapt.cu:lane:5": "which of the four lanes of a row writes: all have the sum",
    "quantize.cu:lane:2": "columns for the greatest of all, in another order",
    "quantize.cu:lane:4": "which lane of a warp writes: all have the greatest magnitude",
    "quantize.cu:copy:6": "steps of powers of two",
    "products_half.cu:lane:0": "half of a warp",
    "products_half.cu:lane:1": "a lane's group of eight",
    "products_half.cu:lane:2": "what a lane copies, from where and to where",
    "products_half.cu:lane:3": "a lane's group of eight",
    "products_half.cu:lane:4": "half of a warp",
    "products_half.cu:lane:5": "a piece of the same 32 columns",
    "products_half.cu:lane:6": "a lane's group of four",
    "products_half.h:lane:0": "a lane's group of eight",
    "products_half_many.h:lane:0": "a lane's group of four",
    "products_half_many.h:lane:2": "a lane's group of four",
    "products_scaled.cu:copy:1": "steps of powers of two",
    "products_scaled.cu:copy:3": "eight columns at a time",
    "products_scaled_many.h:lane:0": "a lane's group of four",
    "products_scaled_many.h:lane:1": "a lane's group of four",
    "products_scaled.cu:lane:1": "which lane of a warp writes: all have the greatest magnitude",
    "products_scaled.cu:lane:3": "a lane's group of four",
    "products_scaled.cu:lane:5": "a lane's group of four",
    "candidates.cu:copy:3": "steps of powers of two",
    "block_sums.h:barrier:2": "draw.cu has thread 0 alone read the sum",
    "block_sums.h:copy:0": "steps of powers of two",
    "norm.cu:lane:0": "which lane of the first warp writes: all have the sum",
    "products_normed.h:lane:2": "a lane of the first half of a warp",
    "products_normed.h:lane:3": "which lane of the first warp writes: all have the sum",
    "products_normed.h:copy:7": "four columns at a time",
    "experts.cu:lane:3": "which lane of a warp writes: all have the best",
    "experts.cu:lane:4": "which lane of a warp writes: all have the best",
    "experts.cu:lane:6": "which lane of a warp writes: all have the sum",
    "experts.cu:lane:7": "which lane of a warp writes: all have the ballot",
    "sample.cu:lane:3": "which lane of a warp writes: all have the best",
    "experts.cu:barrier:0": "each lane has read its own elements alone",
    "experts.cu:barrier:6": "each lane goes on with its own elements",
    "experts.cu:barrier:7": "each lane goes on with its own elements",
    "experts.cu:barrier:8": "each lane goes on with its own elements",
    "experts.cu:barrier:11": "each lane goes on with its own elements",
    "experts.cu:barrier:13": "each lane goes on with its own elements",
    "products_some.h:lane:0": "a lane's group of four",
    "products_some.h:lane:1": "a lane's group of four",
    "products_some.h:lane:6": "a lane's group of four",
    "products_some.h:lane:8": "a lane's group of four",
    "products_some.h:lane:11": "a lane's group of four",
    "products_some.h:lane:12": "a lane's group of four",
    "products_many.h:lane:2": "a lane's group of four",
    "products_many.h:lane:6": "a lane's group of four",
    "products_many.h:lane:7": "a lane's group of four",
    "attend_many.h:lane:1": "a lane's group of four",
    "attend_many.h:lane:2": "a lane's group of four",
    "attend_many.h:lane:5": "a lane's group of four",
    "attend_few.h:lane:1": "a lane's group of four",
    "products_some.h:lane:4": "a lane's group of eight",
    "products_some.h:lane:2": "what a lane copies, from where and to where",
    "attend_few.h:lane:4": "what a lane copies, from where and to where",
    "attend_few.h:lane:5": "what a lane copies, from where and to where",
    "attend_few.h:lane:7": "what a lane copies, from where and to where",
    "attend_few.h:lane:8": "what a lane copies, from where and to where",
    "products_some.h:lane:3": "whose numbers a lane makes, from where and to where",
    "products_some.h:lane:5": "which of the four lanes of a row writes: all have its header",
    "products_some.h:lane:10": "columns of both operands alike, of a sum of integers",
    "products_some.h:copy:0": "64 bytes at a time",
    "products_some.h:copy:11": "weights that are asked for early, not those that are read",
    "attend_merge.h:lane:0": "which lane of a warp writes: all have the same",
    "attend_merge.h:lane:13": "which lane of a warp writes: all have the same",
    "attend_many.h:lane:0": "which lane of a warp writes: all have the same",
    "attend_merge.h:lane:7": "outputs of a lane, from where and to where",
    "attend_merge.h:lane:8": "all lanes of a query have the same",
    "attend_merge.h:lane:9": "all lanes of a query have the same",
    "attend_merge.h:copy:1": "steps of powers of two",
    "attend_matrix.h:copy:6": "steps of powers of two",
    "attend_merge.h:copy:3": "32 numbers at a time",
    "attend_many.h:copy:1": "128 dimensions at a time",
    "attend_few.h:copy:6": "128 dimensions at a time",
    "attend_many.h:copy:2": "zeros to fill up a batch, which nobody reads",
    "attend_many.h:copy:3": "zeros to fill up a batch, which nobody reads",
    "attend_many.h:copy:7": "two at a time",
    "attend_few.h:copy:2": "two at a time",
    "attend_few.h:copy:1": "16 dimensions at a time",
    "attention_halves.cu:copy:0": "16 dimensions at a time",
    "attend_few.h:copy:16": "four numbers at a time",
    "attend_few.h:copy:22": "padding behind a total, which has no steps",
    "attention_halves.cu:copy:3": "a copy of each thread at a time",
    "attention_halves.cu:copy:8": "two slots or four at a time",
    "quantize.h:lane:1": "which of two lanes writes: both have the sum",
    "quantize.h:lane:2": "a pair of lanes",
    "quantize.h:lane:4": "two lanes beside each other have the same already",
    "quantize.h:lane:5": "two lanes beside each other have the same already",
    "attend_halves.h:lane:1": "two lanes beside each other have the same already",
    "quantize.h:lane:6": "columns are whole blocks of 32",
    "quantize.h:copy:2": "steps of powers of two",
    "attention_bytes.cu:copy:16": "steps of powers of two",
    "attention.cu:lane:2": "a lane's group of four",
    "attention_bytes.cu:lane:0": "a lane's group of four",
    "attention_bytes.cu:lane:4": "a lane's group of four",
    "attention_bytes.cu:lane:7": "a lane's group of four",
    "attend_matrix.h:lane:0": "a lane's group of four",
    "attend_prompt.h:lane:0": "a lane's group of four",
    "attention.cu:lane:4": "which lane of a warp writes: all have the same",
    "attention.cu:lane:8": "which lane of a warp writes: all have the same",
    "attention_bytes.cu:lane:3": "which lane of a warp writes: all have the same",
    "attend_prompt.h:lane:3": "which lane of a warp writes: all have the same",
    "attend_prompt.h:lane:7": "which of the four lanes of a query writes",
    "attend_prompt.h:lane:1": "the first lane's query has the least position of its warp",
    "attend_tile.h:lane:1": "dimensions of a lane, from where and to where",
    "attend_tile.h:copy:0": "four at a time",
    "attend_tile.h:copy:20": "128 dimensions at a time",
    "attention_bytes.cu:lane:1": "columns of both operands alike, of a sum of integers",
    "attention_bytes.cu:copy:0": "a copy of each thread at a time",
    "attention_bytes.cu:copy:11": "32 dimensions at a time",
    "attend_prompt.h:copy:4": "32 dimensions at a time",
    "attend_prompt.h:copy:7": "eight slots at a time",
    "attend_prompt.h:copy:13": "16 dimensions at a time",
    "attend_prompt.h:copy:21": "two at a time",
    "attend_prompt.h:copy:36": "zeros to fill up a batch, which nobody reads",
    "attend_prompt.h:copy:37": "zeros to fill up a batch, which nobody reads",
}

PREAMBLE = """
template <typename T> static inline T rad_mutant_shuffle_xor(T value, uint32_t mask)
{ return rad_shuffle_xor(value, mask ^ 1u); }
template <typename T> static inline T rad_mutant_shuffle_down(T value, uint32_t n)
{ return rad_shuffle_down(value, n ^ 1u); }
template <typename T> static inline T rad_mutant_shuffle(T value, uint32_t lane)
{ return rad_shuffle(value, lane ^ 1u); }
static inline void rad_mutant_copy_async16(void *to, const void *from)
{ rad_copy_async16(to, (const char *)from + 16); }
static inline rad_u4 rad_mutant_load16(const void *from)
{ return rad_load16((const char *)from + 16); }
static inline rad_u4 rad_mutant_load16_once(const void *from)
{ return rad_load16_once((const char *)from + 16); }
static inline void rad_mutant_store16(void *to, rad_u4 value)
{ rad_store16((char *)to + 16, value); }
"""

EDGES = {"<": "<=", "<=": "<", ">": ">=", ">=": ">"}
PATTERNS = {
    "barrier": [(re.compile(r"\brad_(?:warp_)?barrier\(\);"), lambda m: ";")],
    "lane": [(re.compile(r"\brad_(shuffle(?:_xor|_down)?)\("), lambda m: f"rad_mutant_{m[1]}("),
             # Not where a loop begins: all elements have their turn then.
             (re.compile(r"(?<!uint32_t [a-z] = )\brad_lane\(\)(?!;)"),
              lambda m: "(rad_lane() ^ 1u)")],
    "last": [(re.compile(r"\brad_fence\(\);"), lambda m: ";"),
             (re.compile(r"\*counter = 0;"), lambda m: ";"),
             (re.compile(r"\+ 1 == n;"), lambda m: "== n;"),
             (re.compile(r">> a\.rows_log2\) \* a\.n_parts;"),
              lambda m: m[0].replace("a.n_parts", "a.n_parts - 1"))],
    "copy": [(re.compile(r"\brad_(copy_async16|load16_once|load16|store16)\("),
              lambda m: f"rad_mutant_{m[1]}("),
             (re.compile(r"(for \([^;]*;[^;<]*<\s)([^;&]+);"), lambda m: f"{m[1]}{m[2]} - 1;")],
    "narrow": [(re.compile(r"\brad_barrier\(\);"), lambda m: "rad_warp_barrier();")],
    "arrival": [(re.compile(r"\brad_copy_async_wait\(([^();]+)\);"), lambda m: ";"),
                (re.compile(r"\brad_copy_async_wait\(([^();]+)\);"),
                 lambda m: f"rad_copy_async_wait({m[1]} + 1);"),
                (re.compile(r"\brad_copy_async_commit\(\);"), lambda m: ";")],
    "early": [(re.compile(r"\brad_wait_for_earlier\(\);"),
               lambda m: "rad_host_wait_at_write();")],
    "edge": [(re.compile(r"(?<=[\w\])]) (<|>|<=|>=) (?=[\w(])"),
              lambda m: f" {EDGES[m[1]]} ")],
    "part": [(re.compile(r"= (part|rad_block_x\(\)) \* size,"), lambda m: f"{m[0][:-1]} + 1u,")],
}


def blank(match):
    return re.sub(r"[^\n]", " ", match[0])


def code_of(text):
    """A source's text with blanks in the place of comments and directives."""
    return re.sub(r"/\*.*?\*/|^#[^\n]*", blank, text, flags=re.DOTALL | re.MULTILINE)


def without_loops(text):
    """The same with blanks in the place of what stands in a loop's parentheses."""
    out = text
    for match in re.finditer(r"\bfor \(", text):
        depth, end = 1, match.end()
        while depth > 0:
            depth += {"(": 1, ")": -1}.get(text[end], 0)
            end += 1
        out = out[:match.end()] + re.sub(r"[^\n]", " ", text[match.end():end]) + out[end:]
    return out


def mutants_of(name):
    """[(kind, number, line, changed text)] of a file."""
    text = (ROOT / KERNELS / name).read_text(encoding="utf-8")
    code = code_of(text)
    found = []
    for kind, patterns in PATTERNS.items():
        searched = without_loops(code) if kind == "edge" else code
        places = sorted(((match.start(), match, change) for pattern, change in patterns
                         for match in pattern.finditer(searched)), key=lambda place: place[0])
        for number, (start, match, change) in enumerate(places):
            changed = text[:start] + change(match) + text[match.end():]
            found.append((kind, number, text.count("\n", 0, start) + 1, changed))
    return found


class Build:
    """How the build compiles a source and links a test."""

    def __init__(self, folder):
        self.folder = Path(folder).resolve()
        with open(self.folder / "compile_commands.json", encoding="utf-8") as file:
            self.compiles = {os.path.basename(entry["file"]): entry for entry in json.load(file)}

    def compile(self, source, overlay, output):
        entry = self.compiles[f"host_{source}.cpp"]
        words = shlex.split(entry["command"])
        kept, skip = [], False
        for word in words:
            if skip or word in ("-MD",):
                skip = False
            elif word in ("-MQ", "-MF", "-o"):
                skip = True
            elif not word.startswith(("-O", "-g", "-Werror")) and word != "ccache":
                kept.append(word)
        first = next(i for i, word in enumerate(kept) if word.startswith("-I"))
        command = kept[:first] + [f"-I{overlay}", "-O1"] + kept[first:] + ["-w", "-o", str(output)]
        return subprocess.run(command, cwd=entry["directory"], capture_output=True, text=True,
                              check=False)

    def link(self, test, objects, output):
        """The test program with changed objects before the libraries."""
        target = f"tests/cuda/test_cuda_{test}"
        lines = subprocess.run(["ninja", "-t", "commands", "-s", target], cwd=self.folder,
                               capture_output=True, text=True, check=True).stdout.splitlines()
        words = shlex.split(lines[-1])
        words[words.index("-o") + 1] = str(output)
        at = words.index("-o") + 2
        words[at:at] = [str(changed) for changed in objects]
        return subprocess.run(words, cwd=self.folder, capture_output=True, text=True, check=False)


def run_tests(build, name, text, mutant):
    """"passed", "failed", or what went wrong before."""
    sources, tests = ELSEWHERE.get(mutant, TESTS[name])
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        overlay = Path(folder)
        (overlay / KERNELS).mkdir(parents=True)
        include = '#include "kernels/cuda/device.h"\n'
        # Behind the includes: the first line that is neither comment nor directive begins the code.
        at = list(re.finditer(r"^#include .*\n", text, re.MULTILINE))[-1].end()
        (overlay / KERNELS / name).write_text(text[:at] + (include if name.endswith(".h") else "") +
                                              PREAMBLE + text[at:], encoding="utf-8")
        objects = [overlay / f"{source}.o" for source in sources.split()]
        for source, changed in zip(sources.split(), objects):
            done = build.compile(source, overlay, changed)
            if done.returncode != 0:
                return "cannot be built: " + (done.stderr.strip().splitlines() or ["?"])[0]
        for test in tests.split():
            done = build.link(test, objects, overlay / "test")
            if done.returncode != 0:
                return "cannot be built: " + (done.stderr.strip().splitlines() or ["?"])[0]
            result = first_failure(overlay)
            if result != "passed":
                return result
        return "passed"


def first_failure(folder):
    """Runs the test program of a folder as far as its first failure, which is told; "passed" without
    one."""
    # Check tells each test as it ends, on standard output. When it is terminated it ends the group
    # of processes of the test that runs, or its own.
    environment = {**os.environ, "CK_FORK": "yes", "CK_LOG_FILE_NAME": "-", "TMPDIR": str(folder)}
    with subprocess.Popen([folder / "test"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, errors="replace", env=environment,
                          start_new_session=True) as test:
        timer = threading.Timer(SECONDS, test.terminate)
        timer.start()
        try:
            for line in test.stdout:
                words = line.strip().split(":", 6)
                if len(words) == 7 and words[2] in ("F", "E"):
                    test.terminate()
                    return f"failed: {words[4]}: {words[6].strip()[:150]}"
            timer.cancel()
            test.wait()
            return "passed" if test.returncode == 0 else f"failed: it ended with {test.returncode}"
        finally:
            timer.cancel()


def is_chosen(wanted, name, kind, number):
    words = wanted.split(":")
    return words[0] == name and (kind != "edge" if len(words) < 2 else words[1] == kind) and \
        (len(words) < 3 or words[2] == str(number))


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--jobs", type=int, default=min(os.cpu_count() or 1, 4))
    parser.add_argument("mutants", nargs="*")
    options = parser.parse_intermixed_args()
    wanted = options.mutants or SAMPLE
    chosen = [(name, *mutant) for name in TESTS for mutant in mutants_of(name)
              if options.list or (options.all and mutant[0] != "edge") or
              any(is_chosen(words, name, mutant[0], mutant[1]) for words in wanted)]
    if options.list:
        for name, kind, number, line, _ in chosen:
            print(f"{name}:{kind}:{number}  line {line}")
        return 0
    names = sorted({name for name, *_ in chosen})
    once = {TESTS[name]: name for name in reversed(names)}  # files that the same tests are for
    jobs = [(name, "unchanged", 0, 0, (ROOT / KERNELS / name).read_text(encoding="utf-8"))
            for name in sorted(once.values())] + chosen
    print(f"1..{len(jobs) + 1}")
    kinds = {kind for _, kind, *_ in chosen}
    missing = [words for words in wanted if not options.all and
               not any(is_chosen(words, *mutant[:3]) for mutant in chosen)]
    print(f"{'not ok' if missing else 'ok'} 1 - {len(chosen)} faults of {len(kinds)} kinds in "
          f"{len(names)} files; not found: {missing or 'none'}")
    wrong = bool(missing)
    build = Build(options.build)
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        results = pool.map(lambda job: run_tests(build, job[0], job[4], f"{job[0]}:{job[1]}:{job[2]}"),
                           jobs)
        for i, ((name, kind, number, line, _), result) in enumerate(zip(jobs, results)):
            mutant = f"{name}:{kind}:{number}"
            if kind == "unchanged":
                good = result == "passed"
            else:
                good = result.startswith("failed") != (mutant in HARMLESS)
            wrong = wrong or not good
            print(f"{'ok' if good else 'not ok'} {i + 2} - {mutant} (line {line}): {result}",
                  flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
