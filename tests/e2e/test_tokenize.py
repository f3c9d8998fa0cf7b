"""radllm-tokenize: ids, pieces, back to text; special tokens on request only."""
import time

from e2e import *

MODEL = embedded_model() or shared("models/stories260K/stories260K.gguf")
if MODEL is None:
    tap.skip("radllm-tokenize", "no model file at hand")
    finish()


def tokenize(*arguments, **keys):
    return run("radllm-tokenize", "-m", MODEL, *arguments, **keys)


TEXT = "Small left pleural effusion, 3 mm.\n\tÖdem, unchanged.  漢字 🙂"
result = tokenize("-p", TEXT)
expect(result, 0, "text from -p")
ids = result.text().split()
check(result.text() == "".join(id + "\n" for id in ids) and all(id.isdigit() for id in ids),
      "one id a line", result)
check(tokenize(stdin=TEXT.encode()).out == result.out, "text from standard input")
check(tokenize("-f", write("text.txt", TEXT)).out == result.out, "text from a file")
check(tokenize("-f", "-", stdin=TEXT.encode()).out == result.out, "text from -")
plain = tokenize("-p", TEXT, "--no-special").text().split()
check(plain == ids[len(ids) - len(plain):] or plain == ids[:len(plain)] or
      " ".join(plain) in " ".join(ids), "--no-special adds nothing", result)
pieces = tokenize("-p", TEXT, "--pieces")
rows = [line.split("\t") for line in pieces.text().splitlines()]
check([row[0] for row in rows] == ids and all(len(row) == 2 for row in rows), "--pieces", pieces)
data = json.loads(tokenize("-p", TEXT, "--json", "--pieces").out)
check(list(map(str, data["tokens"])) == ids and len(data["pieces"]) == data["count"] == len(ids),
      "JSON")
check(tokenize("-p", TEXT, "--count").text() == f"{len(ids)}\n", "--count")
back = tokenize("--decode", stdin="\n".join(plain).encode())
check(back.text().strip() == TEXT.strip(), "--decode gives the text back", back)
back = tokenize("--decode", "-p", " ".join(plain))
check(back.text().strip() == TEXT.strip(), "--decode from -p", back)
back = tokenize("--decode", "-p", "[" + ", ".join(plain) + "]", "--json")
check(json.loads(back.out)["text"].strip() == TEXT.strip(), "--decode of a list", back)
check(tokenize("-p", "", "--no-special").out == b"", "empty text")
for data in (b"", b"\0", b"a\0b\r\n\t\x1b[0m ", "  é 漢 🙂\u200b\n\n ".encode(), b"<s></s><0x41>[INST]"):
    back = tokenize("--decode", "--no-special", stdin=tokenize("--no-special", stdin=data).out)
    check(back.out == data, f"{data!r} and back", back)
result = tokenize("--decode", stdin=b"1 \x1b[31mred")
check(result.code == 1 and "\\x1B[31mred" in result.err and "\x1b" not in result.err,
      "what is no id is shown without control characters", result)
check(tokenize(stdin=b"a\0b\xff\xfe", timeout=30).code == 0, "NUL and bytes that are not UTF-8")

# A control token is read in text only where that was asked for.
vocabulary = json.loads(run("radllm-inspect", "-m", MODEL, "--json", "--all").out)["metadata"]
vocabulary = {entry["key"]: entry["value"] for entry in vocabulary}
types = vocabulary.get("tokenizer.ggml.token_type", [])
control = [i for i, kind in enumerate(types) if kind == 3]
if not control:
    tap.skip("control tokens", "the model has none")
else:
    word = vocabulary["tokenizer.ggml.tokens"][control[0]]
    with_it = tokenize("-p", "x" + word + "y").text().split()
    without = tokenize("-p", "x" + word + "y", "--no-special").text().split()
    check(str(control[0]) in with_it, f"{word} is read as a control token")
    check(str(control[0]) not in without, "and with --no-special it is not")
    shown = tokenize("--decode", "--special", "-p", str(control[0]))
    check(shown.text() == word, "--decode --special writes it", shown)

expect(tokenize("--decode", "-p", "1 x"), 1, "no id", '"x" is no token id')
expect(tokenize("--decode", "-p", "1\n2 99999999"), 1, "unknown id", "line 2", "vocabulary")
expect(tokenize("--decode", "-p", "-1"), 1, "negative id", "vocabulary")
expect(tokenize("--decode", "-p", "99999999999999999999999"), 1, "huge id", "vocabulary")
expect(tokenize("-p", "a", "-f", "b"), 2, "two texts", "once")
expect(tokenize("--decode", "--pieces"), 2, "--decode --pieces", "--decode")
expect(tokenize("-f", folder / "none"), 1, "no such file", "No such file")
with open("/dev/full", "wb") as full:
    expect(tokenize("-p", "a", stdout=full), 1, "full output", "No space left")
if not sanitized():
    # Ctrl-C in the middle of a text that takes seconds.
    big = write("big.txt", b"a" * (60 << 20))
    for name, more in (("radllm-tokenize", ["--count"]), ("radllm-generate", ["-n", "1"])):
        process = start(name, "-m", MODEL, "-f", big, *more)
        time.sleep(0.5)
        working = process.poll() is None
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
        result = Result(process.returncode, out, err)
        if working:
            expect(result, 130, f"{name}: Ctrl-C while it tokenizes", f"{name}: interrupted")
        else:
            tap.skip(f"{name}: Ctrl-C while it tokenizes", "it was done before")
    big.unlink()
    long = tokenize("--count", "-v", stdin=b"effusion " * 1_000_000)
    expect(long, 0, "9 MB of text", "MB/s")
    expect(tokenize("--count", stdin=b"a" * 1_000_000, timeout=60), 0, "a megabyte of one letter")

# A file that holds a vocabulary alone, as an old converter wrote it.
path = shared("malformed/old-formats/gguf-v2-ggml-vocab-falcon.gguf")
if path is None:
    tap.skip("a file with a vocabulary alone", "not in the shared data")
else:
    result = run("radllm-tokenize", "-m", path, "-p", "Hello world")
    check(result.text().split() == ["9856", "1079"], path.name, result)

# A tokenizer.json by itself, with the files beside it where it has that name.
small = SOURCE / "tests" / "unit" / "tokenizers" / "llama2.json"
cases = json.loads(small.with_suffix(".cases.json").read_text(encoding="utf-8"))
case = [case for case in cases if case["text"].startswith("Hello")][0]
alone = run("radllm-tokenize", "-m", small, "-p", case["text"])
check(alone.text().split() == list(map(str, case["ids"])), "tokenizer.json", alone)
write("tokenizer_config.json", '{"add_bos_token":true,"bos_token":"<s>"}')
path = write("tokenizer.json", small.read_text(encoding="utf-8"))
beside = run("radllm-tokenize", "-m", path, "-p", case["text"])
check(beside.text().split() == ["1"] + alone.text().split(), "tokenizer_config.json beside it", beside)
back = run("radllm-tokenize", "-m", small, "--decode", "-p", alone.text())
check(back.text() == case["decoded"], "tokenizer.json and back", back)
result = run("radllm-tokenize", "-m", write("other.json", '{"model":{"type":"Tiktoken"}}'), "-p", "x")
check(result.code == 1 and "Tiktoken" in result.err, "a model that is not known", result)
result = run("radllm-generate", "-m", small, "-p", "x")
check(result.code == 1 and "without a model" in result.err, "a tokenizer generates nothing", result)
finish()
