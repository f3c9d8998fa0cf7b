"""Runs a program for another script."""

import subprocess


def call(command, text=None):
    """Gives standard output, with `text` on standard input; RuntimeError with the last line of its
    messages."""
    done = subprocess.run([str(word) for word in command], input=text, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, errors="replace")
    if done.returncode != 0:
        said = done.stderr.strip().split("\n")[-1]
        raise RuntimeError(f"{command[0]}: exit code {done.returncode}: {said}")
    return done.stdout
