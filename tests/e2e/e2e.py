"""What the end-to-end tests share: where the programs and models are, how to run them, results as
TAP. The environment names the places: RADLLM_EXAMPLES and RADLLM_BENCH (folders of the built
programs), RADLLM_SOURCE (the source tree), RADLLM_SHARED (test data, beside the tree otherwise)."""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile

SOURCE = pathlib.Path(os.environ["RADLLM_SOURCE"])
sys.path.insert(0, str(SOURCE / "tests" / "abi"))
from tap import Tap  # noqa: E402

EXAMPLES = pathlib.Path(os.environ["RADLLM_EXAMPLES"])
BENCH = pathlib.Path(os.environ["RADLLM_BENCH"])
SHARED = pathlib.Path(os.environ.get("RADLLM_SHARED", SOURCE / ".." / "shared")) / "data"
PROGRAMS = ["radllm-convert", "radllm-embed", "radllm-generate", "radllm-chat", "radllm-inspect",
            "radllm-label", "radllm-quantize", "radllm-tokenize", "radllm-bench"]

tap = Tap()
folder = pathlib.Path(tempfile.mkdtemp(prefix="radllm-e2e-"))


def program(name):
    return str((BENCH if name == "radllm-bench" else EXAMPLES) / name)


class Result:
    def __init__(self, code, out, err):
        self.code = code
        self.out = out
        self.err = err.decode("utf-8", "replace")

    def text(self):
        return self.out.decode("utf-8", "replace")

    def lines(self):
        return [f"exit {self.code}"] + [line[:300] for line in
                                        (self.text()[:2000] + "\n" + self.err[-3000:]).split("\n")]


def run(name, *arguments, stdin=b"", timeout=300, **more):
    """Runs a program to its end. stdin: bytes, or a file."""
    given = {"input": stdin} if isinstance(stdin, bytes) else {"stdin": stdin}
    if "stdout" not in more:
        more["stdout"] = subprocess.PIPE
    done = subprocess.run([program(name), *map(str, arguments)], stderr=subprocess.PIPE,
                          timeout=timeout, **given, **more)
    return Result(done.returncode, done.stdout or b"", done.stderr or b"")


def start(name, *arguments, **more):
    """Starts a program; Ctrl-C reaches it alone."""
    return subprocess.Popen([program(name), *map(str, arguments)], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, start_new_session=True, **more)


def check(good, what, result=None):
    return tap.check(bool(good), what, result.lines() if result is not None else ())


def expect(result, code, what, *texts):
    """The exit code, texts that standard error must hold, and no crash."""
    good = result.code == code and all(text in result.err for text in texts)
    good = good and "Sanitizer" not in result.err and "runtime error" not in result.err
    return check(good, what, result)


def write(name, data):
    path = folder / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def embedded_model():
    path = SOURCE / "examples" / "models" / "radreport-q8_0.gguf"
    return path if path.exists() else None


def shared(relative):
    path = SHARED / relative
    return path if path.exists() else None


def finish():
    shutil.rmtree(folder, ignore_errors=True)
    tap.end()


def sanitized():
    """Sanitizers make programs slow and answer some things differently."""
    with open(program("radllm-generate"), "rb") as file:
        return b"__asan_init" in file.read() or b"__tsan_init" in file.read()


__all__ = ["BENCH", "EXAMPLES", "PROGRAMS", "SHARED", "SOURCE", "Result", "check",
           "embedded_model", "expect", "finish", "folder", "json", "os", "pathlib", "program",
           "run", "sanitized", "shared", "signal", "start", "subprocess", "sys", "tap", "write"]
