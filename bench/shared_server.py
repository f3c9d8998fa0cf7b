#!/usr/bin/env python3
"""The work of `radllm-bench shared` done by llama.cpp's server, for comparison.

    bench/shared_server.py --server LLAMA/bin/llama-server -m MODEL.gguf -t 2 [--reports 1000]

Starts the server with as many slots as there are sessions and its prompt cache on, sends one request
to warm it up, then the prompts, as token ids, so many at a time, and prints the time of all as JSON.
Lengths are those of radllm-bench: reports of half to one and a half of the average. Options for the
server follow behind --. With --bench radllm-bench does the same work when the server has ended, and
--svg draws both. Exit codes: 0, 1 when a program failed, 2 for a wrong command line.
"""

import argparse
import concurrent.futures
import json
import random
import shlex
import socket
import subprocess
import sys
import time
import urllib.request

import charts


class Failure(Exception):
    """A program gave no answer; its text says why."""


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def ask(port, prompt, n_answer):
    body = json.dumps({"prompt": prompt, "n_predict": n_answer, "cache_prompt": True,
                       "temperature": 0, "ignore_eos": True}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/completion", body,
                                     {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=600) as answer:
        return json.load(answer)


def wait_until_ready(port, server):
    for _ in range(600):
        if server.poll() is not None:
            raise Failure(f"the server ended with exit code {server.returncode}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.2)
    raise Failure("the server is not ready after two minutes")


def make_prompts(options):
    numbers = random.Random(1)
    half = options.report // 2
    instruction = [numbers.randrange(3, options.vocabulary) for _ in range(options.instruction)]
    for _ in range(options.reports):
        length = options.report + numbers.randint(-half, half)
        yield instruction + [numbers.randrange(3, options.vocabulary) for _ in range(length)]


def measure(options, port):
    prompts = list(make_prompts(options))
    ask(port, [5, 6, 7], 1)
    start = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(options.together) as pool:
        answers = list(pool.map(lambda prompt: ask(port, prompt, options.answer), prompts))
    seconds = time.monotonic() - start
    computed = sum(answer.get("timings", {}).get("prompt_n", 0) for answer in answers)
    needed = sum(map(len, prompts)) - (len(prompts) - 1) * options.instruction
    return {"reports": len(prompts), "seconds": seconds,
            "reports_per_second": len(prompts) / seconds, "prompt_tokens_computed": computed,
            "prompt_tokens_needed": needed, "computed_to_needed": computed / needed}


def measure_server(options):
    port = free_port()
    context = options.together * (options.instruction + 2 * options.report + options.answer + 64)
    command = options.server + ["-m", options.model, "-t", str(options.threads), "-np",
                                str(options.together), "-c", str(context), "--port", str(port),
                                *options.others]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until_ready(port, server)
        return measure(options, port)
    finally:
        server.terminate()
        server.wait()


def measure_library(options):
    command = options.bench + ["shared", "-m", options.model, "-t", str(options.threads), "--json",
                               "-b", str(options.together), "--reports", str(options.reports),
                               "--instruction", str(options.instruction),
                               "--report", str(options.report), "-n", str(options.answer)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise Failure(f"radllm-bench: {done.stderr.strip()[-300:]}")
    return json.loads(done.stdout)


def draw(options, results):
    """Bars: reports a second, and prompt tokens computed beside the least that would do."""
    groups = []
    for label, key, form in (("reports a second", "reports_per_second", "{:.2f}"),
                             ("prompt tokens computed / needed", "computed_to_needed", "{:.3f}")):
        values = [result[key] for result in results.values()]
        groups.append((label, max(values), [(value, form.format(value)) for value in values]))
    charts.write_bars(options.svg, f"{options.reports} reports of {options.report} tokens behind one "
                      f"instruction of {options.instruction}", list(results), groups)


def parse():
    parser = argparse.ArgumentParser(description=__doc__, prog="shared_server.py",
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--server", required=True, type=shlex.split, metavar="PATH", help="llama-server")
    add("-m", "--model", required=True, metavar="FILE")
    add("-t", "--threads", type=int, default=2, metavar="N")
    add("-b", "--together", type=int, default=8, metavar="N", help="slots and requests (8)")
    add("--reports", type=int, default=1000, metavar="N", help="prompts (1000)")
    add("--instruction", type=int, default=600, metavar="N", help="shared tokens (600)")
    add("--report", type=int, default=60, metavar="N", help="own tokens on average (60)")
    add("-n", "--answer", type=int, default=4, metavar="N", help="tokens of an answer (4)")
    add("--vocabulary", type=int, default=32000, metavar="N", help="ids below this (32000)")
    add("--bench", type=shlex.split, metavar="PATH", help="radllm-bench, for the same work")
    add("--svg", metavar="FILE", help="draws both; needs --bench")
    add("others", nargs="*", metavar="-- OPTION", help="for the server")
    options = parser.parse_args()
    if options.svg and not options.bench:
        parser.error("--svg needs --bench")
    return options


def main():
    options = parse()
    try:
        result = measure_server(options)
        if options.bench:
            result = {"libradllm": measure_library(options), "llama-server": result}
            if options.svg:
                draw(options, result)
        print(json.dumps(result, indent=2))
    except (Failure, OSError, ValueError) as error:
        print(f"shared_server.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
