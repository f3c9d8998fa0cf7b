#!/usr/bin/env python3
"""Runs the tests of the suite 'contract' of a build (--suite: those of them that are in another suite
too) over a larger cover than `meson test` does, one model after the other, and remembers what passed:
after Ctrl-C the next call goes on where this one stopped, as long as the programs, the models and the
committed hashes are the same.

  contract.py BUILD --cover full --journal FILE --results FILE
"""
import argparse
import ast
import concurrent.futures
import configparser
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time

COVERS = ("full", "kernels", "pairs", "values", "sample")


def files_of(model):
    """A model is a file or a folder of files."""
    if not os.path.isdir(model):
        return [model]
    return sorted(os.path.join(folder, name)
                  for folder, _, names in os.walk(model) for name in names)


def file_hash(path, known={}):
    """Of a folder: of its files, one after the other."""
    if path not in known:
        whole = hashlib.sha256()
        for name in files_of(path):
            with open(name, "rb") as file:
                whole.update(hashlib.sha256(file.read()).digest())
        known[path] = whole.hexdigest()
    return known[path]


def wrapper_of(cross_file):
    """The words that run a program of another machine."""
    if not cross_file:
        return []
    parser = configparser.ConfigParser()
    with open(cross_file, encoding="utf-8") as file:
        parser.read_file(file)
    return ast.literal_eval(parser["binaries"]["exe_wrapper"])


class Subject:
    """One model, under one policy and with one number format of keys and values."""

    def __init__(self, test, words, model, cover, environment, wrapper):
        program, hashes = test["cmd"][:2]
        self.test = test["name"]
        self.name = " ".join([os.path.basename(model)] + [word[2:] for word in words])
        self.command = wrapper + [program, hashes] + words + [model]
        self.environment = environment
        self.size = sum(os.path.getsize(name) for name in files_of(model))
        with open(hashes, encoding="utf-8") as file:
            known = json.load(file)
        stem = os.path.basename(model)
        committed = sorted((key, value) for key, value in known.items() if key.startswith(stem))
        self.key = hashlib.sha256(json.dumps(
            [file_hash(program), file_hash(model), committed, words, cover,
             environment.get("RADLLM_CONTRACT_ISA", "")]).encode()).hexdigest()[:24]


def read_subjects(options):
    listed = subprocess.run(["meson", "introspect", options.build, "--tests"], check=True,
                            capture_output=True, text=True)
    environment = {"RADLLM_CONTRACT": options.cover}
    if options.isa:
        environment["RADLLM_CONTRACT_ISA"] = options.isa
    wrapper = wrapper_of(options.cross)
    subjects = {}
    for test in json.loads(listed.stdout):
        # Other suites hold programs of other kinds as well, which take no models.
        if not {options.suite, "contract"} <= {name.split(":")[-1] for name in test["suite"]}:
            continue
        words = {}
        for word in test["cmd"][2:]:
            if word.startswith("--"):
                words[word.split("=")[0]] = word
                continue
            model = os.path.join(os.path.abspath(options.build), word)
            subject = Subject(test, list(words.values()), model, options.cover, environment, wrapper)
            if options.match.lower() in f"{subject.test} {subject.name}".lower():
                subjects.setdefault(subject.key, subject)
    return sorted(subjects.values(), key=lambda subject: subject.size)  # the quick ones first


def read_journal(path):
    try:
        with open(path, encoding="utf-8") as file:
            return {line.split(" ", 1)[0]: line.rstrip("\n").split(" ", 1)[1] for line in file
                    if " " in line}
    except FileNotFoundError:
        return {}


class Run:
    """Subjects under way, and what came out."""

    def __init__(self, options, subjects):
        self.options = options
        self.left = len(subjects)
        self.total = len(subjects)
        self.seconds = 0.0
        self.failed = 0
        self.lock = threading.Lock()
        self.children = set()
        self.stopped = False

    def note(self, subject, output, code, seconds):
        """Prints a line, and writes the result down."""
        good = code == 0
        self.left -= 1
        self.seconds += seconds
        self.failed += not good
        mean = self.seconds / (self.total - self.left)
        ahead = mean * self.left / self.options.jobs / 60
        verdict = output.strip().splitlines()[-1] if output.strip() else f"status {code}"
        ways = verdict.rsplit(": ", 1)[-1] if good else verdict
        print(f"   {self.total - self.left}/{self.total} {'ok' if good else 'FAILED'}: "
              f"{subject.name}, {ways}, {seconds:.0f} s; {ahead:.0f} min more", flush=True)
        for line in output.splitlines() if not good else []:
            print(f"      {line}", flush=True)
        record = {"name": subject.name, "result": "OK" if good else "FAIL", "stdout": output,
                  "stderr": "", "duration": seconds, "command": subject.command}
        with open(self.options.results, "a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        if good:
            with open(self.options.journal, "a", encoding="utf-8") as file:
                file.write(f"{subject.key} {subject.name}, {ways}\n")

    def run(self, subject):
        with self.lock:
            if self.stopped:
                return
            child = subprocess.Popen(subject.command, stdout=subprocess.PIPE, text=True,
                                     stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                     env={**os.environ, **subject.environment})
            self.children.add(child)
        started = time.monotonic()
        output = child.communicate()[0]
        with self.lock:
            self.children.discard(child)
            # A terminal's Ctrl-C reaches the children as well, perhaps first.
            if not self.stopped and child.returncode != -signal.SIGINT:
                self.note(subject, output, child.returncode, time.monotonic() - started)

    def stop(self):
        with self.lock:
            self.stopped = True
            for child in self.children:
                child.kill()


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build")
    parser.add_argument("--cover", choices=COVERS, default="full")
    parser.add_argument("--suite", default="contract")
    parser.add_argument("--match", default="", help="only models or tests whose name contains this, whatever the case")
    parser.add_argument("--isa", default="", help="only this instruction set")
    parser.add_argument("--cross", help="meson's cross file, for a build for another machine")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--journal", required=True, help="what passed")
    parser.add_argument("--results", required=True, help="for tools/test/summary.py")
    options = parser.parse_args()
    subjects = read_subjects(options)
    if not subjects:
        print("   nothing matches")
        return 0
    done = read_journal(options.journal)
    waiting = [subject for subject in subjects if subject.key not in done]
    with open(options.results, "w", encoding="utf-8") as file:
        for subject in subjects:
            if subject.key in done:
                record = {"name": subject.name, "result": "OK", "stdout": "", "stderr": "",
                          "duration": 0, "command": subject.command}
                file.write(json.dumps(record) + "\n")
    if len(waiting) < len(subjects):
        print(f"   {len(subjects) - len(waiting)} of {len(subjects)} passed in an earlier run")
    run = Run(options, waiting)
    with concurrent.futures.ThreadPoolExecutor(max_workers=max(options.jobs, 1)) as pool:
        pending = [pool.submit(run.run, subject) for subject in waiting]
        try:
            for future in pending:
                future.result()
        except KeyboardInterrupt:
            run.stop()
            print(f"   stopped; {run.total - run.left - run.failed} more have passed, and the same "
                  "command goes on from there", flush=True)
            return 130
    return 1 if run.failed or run.left else 0


if __name__ == "__main__":
    sys.exit(main())
