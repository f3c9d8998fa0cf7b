"""radllm-label: an interrupted run gives the same file as one that was not, whatever interrupts it;
other settings are refused; the disk may be full."""
import csv
import fcntl
import io
import math
import pty
import random
import resource
import struct
import tempfile
import termios
import time

from e2e import *

MODEL = embedded_model()
FORMAT = []
if MODEL is None:
    MODEL = shared("models/stories260K/stories260K.gguf")
    FORMAT = ["--raw"]
if MODEL is None:
    tap.skip("radllm-label", "no model file at hand")
    finish()

ROWS = 24 if sanitized() else 60
seed = random.SystemRandom().randrange(1 << 32)
print(f"# random seed {seed}")
randomness = random.Random(seed)

# Doubled ids, quotes, line breaks, an empty report, and one that no context holds.
FINDINGS = ["No pleural effusion.", "Small left pleural effusion,\nunchanged.", "",
            'The liver is "coarse", in keeping with cirrhosis.', "Größe 3 µm.", "Normal chest."]
table = io.StringIO()
writer = csv.writer(table)
writer.writerow(["id", "report", "note"])
for number in range(ROWS):
    text = FINDINGS[number % len(FINDINGS)]
    if number == 7:
        text = "word " * 20000
    writer.writerow([f"R{number // 2}", text, f"n{number}, x"])
INPUT = write("in.csv", table.getvalue())
QUESTION = "Does the report say that there is a pleural effusion?\n{report}"


def arguments(output, *more):
    return ["-m", MODEL, "--input", INPUT, "--output", output, "--prompt", QUESTION, "--id-column",
            "id", "--keep", "note", "-t", "1", *FORMAT, *more]


def label(output, *more, **keys):
    return run("radllm-label", *arguments(output, *more), **keys)


def fresh(name):
    for path in folder.glob(name + "*"):
        path.unlink()
    return folder / name


KINDS = {
    "yes.csv": ["--choices", "yes,no"],
    "yes.jsonl": ["--choices", "yes,no"],
    "text.csv": ["-n", "6"],
    "text.jsonl": ["-n", "6"],
}
WHOLE = {}

# ---- what a run writes ----

for name, more in KINDS.items():
    result = label(fresh(name), *more)
    expect(result, 3, f"{name}: a row that is too long gives exit code 3", "1 rows could not")
    check("temperature 0," in result.err and "seed" in result.err, f"{name}: settings are told",
          result)
    check(result.out == b"", f"{name}: nothing on standard output", result)
    WHOLE[name] = (folder / name).read_bytes()

records = list(csv.DictReader(io.StringIO(WHOLE["yes.csv"].decode(), newline="")))
check([record["row"] for record in records] == [str(i + 1) for i in range(ROWS)], "rows in order")
check([record["id"] for record in records] == [f"R{i // 2}" for i in range(ROWS)],
      "doubled ids are kept")
check(all(record["note"] == f"n{i}, x" for i, record in enumerate(records)), "kept column")
good = [record for record in records if not record["error"]]
bad = [record for record in records if record["error"]]
check(len(bad) == 1 and bad[0]["row"] == "8" and bad[0]["answer"] == "", "one row failed", None)
check(all(record["answer"] in ("yes", "no") for record in good), "answers are choices")
check(all(abs(float(record["probability_yes"]) + float(record["probability_no"]) - 1) < 1e-6
          for record in good), "probabilities add up")
check(all(record["probability"] == record["probability_" + record["answer"]] ==
          max(record["probability_yes"], record["probability_no"], key=float) for record in good),
      "the answer is the most probable choice")
check(all(len(record["model_hash"]) == 64 for record in records), "hash of the model")
free = list(csv.DictReader(io.StringIO(WHOLE["text.csv"].decode(), newline="")))
check(all(0 < float(record["probability"]) <= 1 and float(record["logprob"]) <= 0 and
          abs(math.exp(float(record["logprob"])) - float(record["probability"])) < 1e-6
          for record in free if not record["error"]), "free text has its probability")
first = run("radllm-generate", "-m", MODEL, "-p", QUESTION.format(report=FINDINGS[0]), "-n", 6,
            "--json", "--logprobs", 1, *(FORMAT or ["--chat"]))
wanted = sum(entry["logprob"] for entry in json.loads(first.out)["logprobs"])
check(abs(wanted - float(free[0]["logprob"])) < 1e-5, "it is the product over its tokens", first)
settings = json.loads(records[0]["settings"])
check(settings["temperature"] == 0 and "seed" in settings and settings["numeric_version"] >= 1,
      "settings in each row")
lines = [json.loads(line) for line in WHOLE["yes.jsonl"].decode().splitlines()]
check([line["row"] for line in lines] == list(range(1, ROWS + 1)), "JSONL: rows in order")
check(all(line["answer"] == (record["answer"] or None) for line, record in zip(lines, records)),
      "JSONL and CSV agree")
check(lines[7]["error"] and lines[7]["answer"] is None, "JSONL: the failed row")
state = json.loads((folder / "yes.csv.state").read_text())
check(state["settings"]["temperature"] == 0 and state["input"]["rows"] == ROWS, "state file")

result = label(folder / "yes.csv", *KINDS["yes.csv"])
expect(result, 0, "a complete output is left alone", f"all {ROWS} rows")
check((folder / "yes.csv").read_bytes() == WHOLE["yes.csv"], "not a byte was changed")
result = label(fresh("threads.csv"), *KINDS["yes.csv"], "-t", "2", "--isa", "scalar")
check((folder / "threads.csv").read_bytes() == WHOLE["yes.csv"],
      "two threads and scalar kernels give the same file", result)
result = label(fresh("alone.csv"), *KINDS["yes.csv"], "--option", "sessions=1",
               "--option", "prefix_cache=off")
check((folder / "alone.csv").read_bytes() == WHOLE["yes.csv"],
      "one row at a time, each computed whole, gives the same file", result)
if FORMAT == []: # the embedded model with one session takes 17.4 MB, with eight 32.2
    result = label(fresh("small.csv"), *KINDS["yes.csv"], "--option", "memory_budget=20000000")
    check((folder / "small.csv").read_bytes() == WHOLE["yes.csv"],
          "fewer rows at a time, where the memory budget is small, give the same file", result)
    result = label(fresh("small.csv"), *KINDS["yes.csv"], "--option", "memory_budget=9000000")
    check(result.code == 1 and "largest context" in result.err, "no budget for one", result)
result = label(fresh("summary.csv"), *KINDS["yes.csv"], "--json")
summary = json.loads(result.out)
check(summary["rows"] == ROWS and summary["complete"] and summary["reused_tokens"] > 0,
      "JSON summary; the shared beginning was computed once", result)
result = label(fresh("table.csv"), *KINDS["yes.csv"], "--table")
check(len(result.out.splitlines()) == ROWS + 1, "table on standard output", result)
result = label(fresh("sampled.csv"), "-n", "4", "--temp", "0.7", "-s", "5", "--option", "top_p=0.9")
check("temperature 0.7, seed 5, top_p 0.9," in result.err, "other sampler settings are told", result)
result = label("-", *KINDS["yes.csv"])
check(result.out == WHOLE["yes.csv"], "output - is standard output", result)
rows_only = run("radllm-label", "-m", MODEL, "--input", "-", "--output", fresh("stdin.csv"),
                "--prompt", "{a}?", "--choices", "yes,no", *FORMAT, stdin=b"a\nx\ny\n")
expect(rows_only, 0, "input - is standard input")

# A model may answer with a NUL byte, which no table can hold.
nul = run("radllm-tokenize", "-m", MODEL, "--no-special", stdin=b"\0").text().split()
FORCED = ["-n", "3", "--option", f"logit_bias={nul[-1]}:1000", "--option", "ignore_end=1"]
result = label(fresh("nul.csv"), *FORCED)
data = (folder / "nul.csv").read_bytes()
check(b"\0" not in data and ",\ufffd\ufffd\ufffd,".encode() in data, "NUL in an answer, CSV", result)
(folder / "nul.csv").write_bytes(data[:-40])
label(folder / "nul.csv", *FORCED)
check((folder / "nul.csv").read_bytes() == data, "and it can be gone on with")
result = label(fresh("nul.jsonl"), *FORCED)
check(json.loads((folder / "nul.jsonl").read_text().split("\n")[0])["answer"] == "\0\0\0",
      "NUL in an answer, JSONL", result)
path = write("names.csv", "probability_yes,row,report\na,b,c\n")
result = label(fresh("names-out.csv"), *KINDS["yes.csv"], "--input", path, "--id-column", "row",
               "--keep", "probability_yes,report")
names = (folder / "names-out.csv").read_text().split("\n")[0].split(",")
check(names[:4] == ["row", "input_row", "input_probability_yes", "report"] and
      len(set(names)) == len(names), "input columns named like ours get other names", result)

# ---- many rows ----


def peak_memory(rows):
    """Bytes that a run over so many rows takes at most."""
    data = "id,report\n" + "".join(f"{i},{FINDINGS[0]} {i}\n" for i in range(rows))
    process = start("radllm-label", *arguments(fresh("many.csv"), *KINDS["yes.csv"], "--input",
                                               write("many-in.csv", data), "--keep", "id"))
    process.stderr.read()
    usage = os.wait4(process.pid, 0)[2]
    process.returncode = 0
    written = (folder / "many.csv").read_bytes().count(b"\n")
    return usage.ru_maxrss * 1024 if written == rows + 1 else 0


if sanitized():
    tap.skip("memory of many rows", "sanitizers take memory of their own")
else:
    few, many = peak_memory(100), peak_memory(2000)
    check(0 < many < few + (1 << 20), f"100 rows take {few} bytes, 2000 rows {many}")

# ---- on a terminal ----


def on_terminal(columns, *more):
    """What a run shows on a terminal of so many columns."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen([program("radllm-label"), *map(str, arguments(*more))],
                               stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    seen = b""
    while True:
        try:
            piece = os.read(master, 65536)
        except OSError:
            break
        if not piece:
            break
        seen += piece
    os.close(master)
    process.wait()
    return seen.decode()


try:
    os.close(pty.openpty()[1])
except OSError as problem:  # a root without /dev/pts
    tap.skip("the progress bar", f"this system gives no terminal: {problem}")
else:
    for columns in (100, 64, 40):
        shown = on_terminal(columns, fresh("bar.csv"), "-n", "24", "--option", "ignore_end=1")
        bars = [piece.split("\r")[0] for piece in shown.split("\r\x1b[K")[1:]]
        bars = [bar for bar in bars if bar.startswith("label ")]
        check(bars and all(len(bar) < columns and f" of {ROWS} rows," in bar for bar in bars) and
              (columns < 60 or all("[" in bar and bar.endswith(" left") for bar in bars)) and
              all("a second" in bar or "each" in bar for bar in bars[1:] if columns > 60),
              f"a progress bar that fits {columns} columns", Result(0, b"", shown.encode()))

# ---- what is refused ----

other_input = write("in2.csv", INPUT.read_text() + "R,x,y\n")
OTHER = {
    "another input": ["--input", other_input],
    "another prompt": ["--prompt", "Is there an effusion? {report}"],
    "temperature was 0.0 and is 0.5": ["--temp", "0.5"],
    "seed": ["-s", "7"],
    "choices": ["--choices", "yes,no,maybe"],
    "keep": ["--keep", "id"],
    "system": ["--system", "x"] if not FORMAT else ["--choices", "no,yes"],
}
for words, more in OTHER.items():
    result = label(folder / "yes.csv", *KINDS["yes.csv"], *more)
    expect(result, 1, f"refused: {words}", words, "--overwrite")
result = label(folder / "yes.csv", *KINDS["yes.csv"], "--option", "fast=blas")
with_blas = (EXAMPLES.parent / "lib" / "libradllm-blas.so").exists()
check(result.code == 1 and ('fast was "none"' if with_blas else "blas") in result.err,
      "refused: fast=blas", result)
# What stands among the settings only where it is set: here, and with a GPU or an adapter.
label(fresh("keys.csv"), *KINDS["yes.csv"], "--option", "cache_keys=f16")
result = label(folder / "keys.csv", *KINDS["yes.csv"])
expect(result, 1, "refused: a setting that is not set any more", 'cache_keys was "f16" and is not set')
copied = write("model.gguf", MODEL.read_bytes() + b"\0")
result = label(folder / "yes.csv", *KINDS["yes.csv"], "-m", copied)
check(result.code == 1 and ("another model" in result.err or "model.gguf" in result.err),
      "refused: another model", result)
check((folder / "yes.csv").read_bytes() == WHOLE["yes.csv"], "refusals change nothing")
result = label(folder / "yes.csv", *KINDS["yes.csv"], "--fresh")
expect(result, 1, "--fresh does not touch an output", "exists")
write("foreign.csv", "row,answer\n1,yes\n")
result = label(folder / "foreign.csv", *KINDS["yes.csv"])
expect(result, 1, "an output without state is refused", "foreign.csv.state", "--overwrite")
result = label(folder / "foreign.csv", *KINDS["yes.csv"], "--overwrite")
check(result.code == 3 and (folder / "foreign.csv").read_bytes() == WHOLE["yes.csv"],
      "--overwrite starts again", result)
edited = WHOLE["yes.csv"].replace(b"\n3,", b"\n4,", 1)
(folder / "foreign.csv").write_bytes(edited)
result = label(folder / "foreign.csv", *KINDS["yes.csv"])
expect(result, 1, "an edited output is refused", "row number")
(folder / "foreign.csv.state").write_text("{")
result = label(folder / "foreign.csv", *KINDS["yes.csv"])
expect(result, 1, "a damaged state is refused", "foreign.csv.state", "damaged")
with open(folder / "yes.csv", "r+b") as held:
    fcntl.flock(held, fcntl.LOCK_EX)
    expect(label(folder / "yes.csv", *KINDS["yes.csv"]), 1, "two runs on one output",
           "another run")

# ---- interruptions ----


def cut_and_resume(name, length, tail=b""):
    """The file as a kill in mid-write leaves it."""
    path = folder / name
    path.write_bytes(WHOLE[name][:length] + tail)
    result = label(path, *KINDS[name])
    return path.read_bytes() == WHOLE[name], result


for name in KINDS:
    size = len(WHOLE[name])
    failures = []
    for length in [0, 1, size - 1] + [randomness.randrange(size) for _ in range(4)]:
        same, result = cut_and_resume(name, length)
        if not same:
            failures += [f"cut at {length}"] + result.lines()
    tap.check(not failures, f"{name}: cut within a record and gone on with", failures)
same, result = cut_and_resume("text.csv", len(WHOLE["text.csv"]) // 2, b"\0" * 5000)
check(same, "zeros at the end, as after a power failure", result)


def size_of(path):
    return path.stat().st_size if path.exists() else 0


def interrupt_once(path, more, chosen):
    """Starts a run and sends the signal while it starts or as the file grows past some byte."""
    process = start("radllm-label", *arguments(path, *more))
    if randomness.random() < 0.3:
        time.sleep(randomness.uniform(0, 0.05))
    else:
        goal = size_of(path) + randomness.randrange(1, 2000)
        while process.poll() is None and size_of(path) < goal:
            time.sleep(0.001)
    if process.poll() is None:
        process.send_signal(chosen)
    out, err = process.communicate(timeout=120)
    return Result(process.returncode, out, err)


def interrupt_often(name, more, signals, wanted):
    """Interrupts runs until `wanted` of them were; each file that becomes complete must be the one
    of a run that was not interrupted."""
    whole = folder / ("whole-" + name)
    label(whole, *more)
    path, kills, files = fresh(name), 0, 0
    while kills < wanted or files == 0:
        chosen = randomness.choice(signals)
        result = interrupt_once(path, more, chosen) if kills < wanted else label(path, *more)
        if "Sanitizer" in result.err or result.code not in (0, 3, 130, -chosen):
            return kills, files, result
        if result.code in (0, 3):
            if path.read_bytes() != whole.read_bytes():
                return kills, files, result
            files += 1
            path = fresh(name)
            continue
        kills += 1
        data = path.read_bytes() if path.exists() else b""
        if not whole.read_bytes().startswith(data):
            return kills, files, result
        if chosen == signal.SIGKILL and data and randomness.random() < 0.4:
            # As if it had come in the middle of the last write.
            last = data.rfind(b"\n", 0, len(data) - 1) + 1
            os.truncate(path, randomness.randrange(last, len(data)))
    return kills, files, None


SLOW = ["-n", "24", "--option", "ignore_end=1"]
for name, signals in (("killed.csv", [signal.SIGKILL]), ("killed.jsonl", [signal.SIGKILL]),
                      ("stopped.csv", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])):
    wanted = 6 if sanitized() else 24
    kills, files, result = interrupt_often(name, SLOW, signals, wanted)
    check(result is None and kills >= wanted and files >= 1,
          f"{name}: {kills} interruptions, {files} files, all as without interruption", result)

# Answers that do not end by themselves: whole files are else done before the signal comes.
process = start("radllm-label",
                *arguments(fresh("stop.csv"), "-n", "200", "--option", "ignore_end=1"))
for _ in range(20000):
    if (folder / "stop.csv").exists() and (folder / "stop.csv").read_bytes().count(b"\n") > 2:
        break
    time.sleep(0.001)
process.send_signal(signal.SIGINT)
out, err = process.communicate(timeout=60)
result = Result(process.returncode, out, err)
expect(result, 130, "Ctrl-C", "interrupted after row", "goes on there")
check((folder / "stop.csv").read_bytes().endswith(b"\n"), "Ctrl-C leaves whole records", result)

# ---- the sample reports ----

REPORTS = SOURCE / "examples" / "data" / "reports.csv"
if FORMAT or not REPORTS.exists():
    tap.skip("the sample reports", "they or the embedded model are not there")
else:
    result = run("radllm-label", "-m", MODEL, "--input", REPORTS, "--output", fresh("demo.csv"),
                 "--id-column", "id", "--choices", "yes,no", "--prompt",
                 "Classify if the following radiology report indicated the presence of pleural "
                 "effusion. Answer yes or no.\n\n{report}")
    expect(result, 0, "the sample reports")
    with open(REPORTS, newline="") as file:
        wanted = [row["id"] for row in csv.DictReader(file)]
    with open(folder / "demo.csv", newline="") as file:
        found = [row["id"] for row in csv.DictReader(file)]
    check(wanted and found == wanted, f"all {len(wanted)} of them", result)

# ---- speculation ----

for name in KINDS:
    path = fresh("guess-" + name)
    result = label(path, *KINDS[name], "--speculate", "lookup")
    check(path.read_bytes() == WHOLE[name], f"{name}: the same bytes with --speculate", result)

# ---- a full disk ----

result = label("/dev/full", *KINDS["yes.csv"])
expect(result, 1, "output to /dev/full", "cannot write /dev/full", "No space left")
path = fresh("limit.csv")
limit = len(WHOLE["yes.csv"]) // 2
result = label(path, *KINDS["yes.csv"],
               preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
expect(result, 1, "a file at its size limit", "cannot write", "rows are complete")
check(path.read_bytes().endswith(b"\n") and WHOLE["yes.csv"].startswith(path.read_bytes()),
      "whole records are left", result)
result = label(path, *KINDS["yes.csv"])
check(path.read_bytes() == WHOLE["yes.csv"], "and it goes on where there is room", result)

with tempfile.TemporaryDirectory() as small:
    mounted = os.geteuid() == 0 and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", small],
        stderr=subprocess.DEVNULL).returncode == 0
    if mounted:
        try:
            path = pathlib.Path(small) / "out.csv"
            result = label(path, *KINDS["yes.csv"])
            expect(result, 1, "a full file system", "cannot write", "No space left")
            kept = path.read_bytes() if path.exists() else b""
            check(WHOLE["yes.csv"].startswith(kept), "whole records are left there", result)
        finally:
            subprocess.run(["umount", small], check=True)
    else:
        tap.skip("a full file system", "no small file system can be mounted here")

result = label(fresh("template.csv"), *KINDS["yes.csv"], "--template", "no-such")
if not FORMAT:
    expect(result, 1, "an unknown template is no affair of a row", "no-such")
result = label(folder / "none" / "out.csv", *KINDS["yes.csv"])
expect(result, 1, "a folder that is not there", "No such file")

finish()
