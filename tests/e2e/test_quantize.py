"""radllm-quantize: files that load and answer, sizes as --dry-run says, nothing left by failures."""
import struct
import time

from e2e import *

MODEL = embedded_model() or shared("models/stories260K/stories260K.gguf")
if MODEL is None:
    tap.skip("radllm-quantize", "no model file at hand")
    finish()


def quantize(*arguments, **keys):
    return run("radllm-quantize", *arguments, **keys)


def answer(path):
    return run("radllm-generate", "-m", path, "-p", "The liver", "-n", "8", "--option", "ignore_end=1")


plain = folder / "f32.gguf"
expect(quantize(MODEL, plain, "f32"), 0, "F32 from a quantized file needs no permission")
TYPES = ["F16", "BF16", "Q8_0", "Q6_K", "Q5_K_M", "Q5_K_S", "Q5_1", "Q5_0", "Q4_K_M", "Q4_K_S",
         "IQ4_NL", "IQ4_XS", "MXFP4", "MXFP4_MOE", "NVFP4", "Q4_1", "Q4_0", "Q3_K_L", "Q3_K_M",
         "Q3_K_S", "Q2_K", "Q2_K_S", "TQ2_0", "TQ1_0", "Q2_0", "Q1_0", "COPY"]
for kind in TYPES:
    path = folder / "out.gguf"
    planned = json.loads(quantize("--dry-run", plain, kind, "--json").out)
    result = quantize(plain, path, kind, "--json", "--force")
    expect(result, 0, kind)
    report = json.loads(result.out)
    check(planned["bytes"] == report["bytes"] == path.stat().st_size and
          planned["tensors"] == report["tensors"] and planned["type"] == kind,
          f"{kind}: the size is what --dry-run said", result)
    if kind in ("BF16", "Q5_K_M", "IQ4_XS", "MXFP4", "Q3_K_L", "Q2_K"):
        result = answer(path)
        check(result.code == 0 and result.text() != "", f"{kind}: the file answers", result)
check(answer(plain).out == answer(folder / "out.gguf").out, "COPY answers the same")

result = quantize(plain, "q.gguf", "q4_k", "--dry-run", "--tensor-type", "blk.*.ffn_up=Q8_0",
                  "--tensor-type", "blk.1.*=Q5_0")
check("Q8_0    blk.0.ffn_up.weight" in result.text() and
      "Q5_0    blk.1.ffn_up.weight" in result.text(), "overrides by pattern", result)
check(not pathlib.Path("q.gguf").exists(), "--dry-run writes nothing")
result = quantize("-m", plain, folder / "verbose.gguf", "-v", "-q", "Q8_0")
check("-> Q8_0    blk.0.attn_q.weight" in result.text(), "-m, -q and -v", result)

# ---- importance ----

text = SOURCE / "tests" / "golden" / "greedy" / "perplexity.txt"
gguf, dat = folder / "importance.gguf", folder / "importance.dat"
result = quantize("--calibrate", text, "--chunks", "3", "--save-imatrix", gguf, plain)
expect(result, 0, "--calibrate and --save-imatrix")
check("3 pieces" in result.text(), "what was measured", result)
expect(quantize("--imatrix", gguf, "--save-imatrix", dat, plain), 0, "the older form")
check(gguf.read_bytes()[:4] == b"GGUF" and dat.read_bytes()[:4] != b"GGUF", "both forms")
weighted, direct, other = (folder / f"{name}.gguf" for name in ("weighted", "direct", "other"))
result = quantize("--imatrix", gguf, plain, weighted, "Q4_0", "-v")
check(result.code == 0 and "attn_q.weight, weighted" in result.text(), "--imatrix", result)
expect(quantize("--calibrate", text, "--chunks", "3", "-t", "1", plain, direct, "Q4_0"), 0,
       "--calibrate without a file")
check(direct.read_bytes() == weighted.read_bytes(), "the same bytes")
expect(quantize(plain, other, "Q4_0"), 0, "without importance")
check(other.read_bytes() != weighted.read_bytes(), "importance changes something")
none = folder / "none.gguf"
expect(quantize("--imatrix", gguf, "--calibrate", text, plain, none), 2, "both", "exclude")
expect(quantize("--save-imatrix", gguf, plain, none), 2, "nothing to save", "goes with")
expect(quantize("--imatrix", text, plain, none), 1, "text as a matrix of importance",
       "no matrix of importance")
expect(quantize("--imatrix", plain, plain, none), 1, "a model as one", "no matrix of importance")
expect(quantize("--calibrate", write("short.txt", "short"), plain, none), 1, "a short text",
       "longer text")
expect(quantize("--calibrate", folder / "none.txt", plain, none), 1, "no text", "none.txt")
result = quantize("--calibrate", text, plain, folder / "no" / "such.gguf")
expect(result, 1, "nowhere to write to", "such.gguf: the folder cannot be written to")
check("calibrate" not in result.err, "is told before anything is measured", result)
expect(quantize("--imatrix", gguf, "--save-imatrix", "/dev/full", plain), 1,
       "importance to a full disk", "No space left")

# ---- what is refused, and what failures leave ----

out = none
expect(quantize(), 2, "no file", "name the model file")
expect(quantize(plain), 2, "no output", "name the file to write")
expect(quantize(plain, "Q8_0"), 2, "a type and no output", "name the file to write")
expect(quantize(plain, out, "Q9_9"), 2, "an unknown type", "Q9_9")
expect(quantize(plain, out, "-q", "Q9_9"), 2, "an unknown type by option", "Q9_9")
expect(quantize(plain, out, "Q4_0", "Q8_0"), 2, "two types", "Q4_0", "second type")
expect(quantize("--calibrate", text, "--chunks", "0", "--save-imatrix", out, plain), 1,
       "importance of nothing", "calibrate_chunks is 0")
expect(quantize(plain, plain, "Q8_0", "--force"), 1, "reading and writing one file", "name another one")
expect(quantize(folder / "missing.gguf", out), 1, "no such file", "missing.gguf")
expect(quantize(plain, out, "--tensor-type", "nothing=Q8_0"), 1, "a pattern without a tensor",
       "no matrix that is quantized has a name")
expect(quantize(plain, folder / "all.gguf", "Q8_0", "--tensor-type", "*=Q4_0"), 0, "a pattern for all")
check(answer(folder / "all.gguf").code == 0, "leaves a model that answers")
eight = folder / "q8_0.gguf"
expect(quantize(plain, eight, "Q8_0"), 0, "Q8_0")
expect(quantize(eight, out, "Q4_0"), 1, "a quantized file", "--allow-requantize")
expect(quantize(eight, folder / "again.gguf", "Q4_0", "--allow-requantize"), 0, "asked for")
expect(quantize(plain, "/dev/full", "Q8_0"), 1, "a full disk", "No space left")
expect(quantize(plain, folder / "no" / "such.gguf"), 1, "no such folder", "such.gguf")
check(not out.exists() and not list(folder.glob("*.partial")), "failures leave nothing")

# What stands there stays, and so does what is read.
before = eight.read_bytes()
for more in ([], ["--dry-run"]):
    expect(quantize(plain, eight, "Q4_0", *more), 1, "a file is not overwritten", "exists", "--force")
expect(quantize("--imatrix", gguf, "--save-imatrix", eight, plain), 1, "nor by importance", "exists")
expect(quantize("--calibrate", text, "--save-imatrix", eight, eight, "--force"), 1,
       "importance in the model's place", "name another one")
expect(quantize("--imatrix", gguf, plain, gguf, "--force"), 1, "the model in its place", "another one")
expect(quantize("--imatrix", gguf, "--save-imatrix", out, plain, out), 2, "both in one", "another one")
expect(quantize(eight, folder, "COPY", "--force"), 1, "a folder is no file", "is a folder")
check(eight.read_bytes() == before and gguf.read_bytes()[:4] == b"GGUF", "all of it stays")
kept = folder / "kept.gguf.partial"  # as one that is another user's
kept.symlink_to("nowhere")
for name in ("radllm-quantize", "radllm-convert"):
    said = [run(name, plain, folder / "kept.gguf", *more).err for more in ([], ["--dry-run"])]
    check(said[0] == said[1] and "cannot create the file" in said[0],
          f"{name}: --dry-run says of the output what writing says {said}")
kept.unlink()
link = folder / "link.gguf"
link.symlink_to(eight.name)
expect(quantize(plain, link, "Q4_0"), 1, "nor behind a link", "exists")
expect(quantize(plain, link, "Q8_0", "--force"), 0, "but with --force")
check(link.is_symlink() and eight.read_bytes() == before, "which replaces what is behind the link")
waiting = folder / "waiting.gguf.partial"
waiting.write_bytes(before)
for name in ("radllm-quantize", "radllm-convert"):
    expect(run(name, waiting, folder / "waiting.gguf"), 1, f"{name}: read where it would be written",
           "which is the file to read")
check(waiting.read_bytes() == before, "and is left alone")
waiting.unlink()
expect(quantize("--dry-run", "--imatrix", gguf, "--save-imatrix", out, plain), 0, "--dry-run")
check(not out.exists(), "writes no importance either")

# Standard output that holds the file holds nothing else; what it leads to is replaced, not itself.
stdout = folder / "stdout"  # as /dev/stdout is
stdout.symlink_to("/proc/self/fd/1")
result = quantize(plain, stdout, "Q8_0")
check(result.code == 0 and result.out == before, "into a pipe")
with open(out, "wb") as file:
    result = quantize(plain, stdout, "Q8_0", stdout=file)
check(result.code == 0 and out.read_bytes() == before and stdout.is_symlink(),
      "into a file", result)
out.unlink()

# Files of which the one to write is another part.
for n in (1, 2):
    (folder / f"split-0000{n}-of-00002.gguf").write_bytes(before)
expect(quantize(folder / "split-00001-of-00002.gguf", folder / "split-00002-of-00002.gguf", "--force"),
       1, "a later part of what is read", "one of the files to read")



def number(value, size=8):
    return value.to_bytes(size, "little")


def single(path, rows, columns, data=None):
    """A file of one F32 matrix; of zeros, which take no room on the disk."""
    name = b"blk.0.ffn_up.weight"
    head = (b"GGUF" + number(3, 4) + number(1) + number(1) + number(20) + b"general.architecture" +
            number(8, 4) + number(5) + b"llama" + number(len(name)) + name + number(2, 4) +
            number(columns) + number(rows) + number(0, 4) + number(0))
    head += bytes(-len(head) % 32)
    with open(path, "wb") as file:
        file.write(head + (data or b""))
        file.truncate(len(head) + rows * columns * 4)
    return path


# Numbers that are none, or too large for a type.
for value, good, bad, text in ((float("nan"), ("F32", "F16", "BF16"), ("Q4_0", "Q4_K", "Q8_0"), "not finite"),
                               (float("-inf"), ("F32", "BF16"), ("Q6_K", "TQ2_0", "IQ4_XS"), "not finite"),
                               (1e30, ("F32", "BF16"), ("F16", "Q8_0", "Q4_K"), "too large for"),
                               (65519.0, ("F16", "Q8_0", "BF16"), (), "")):
    wrong = single(folder / "wrong.gguf", 4, 256,
                   struct.pack("<256f", *[value if i == 77 else 0.5 for i in range(256)]))
    for kind in (*good, *bad):
        result = quantize(wrong, folder / "number.gguf", kind, "--pure", "--force")
        expect(result, 1 if kind in bad else 0, f"{value}: {kind}", *([text] if kind in bad else []))
    check(not (folder / "number.gguf.partial").exists(), "nothing is left")

# Ctrl-C in the middle: a large file of zeros is long enough.
large = single(folder / "large.gguf", 16384, 4096)
process = start("radllm-quantize", "-t", "1", large, out, "Q4_K_M", "--pure")
for _ in range(500):
    if (folder / "none.gguf.partial").exists():
        break
    time.sleep(0.01)
process.send_signal(signal.SIGINT)
said = process.communicate(timeout=60)[1].decode()
check(process.returncode == 130, f"Ctrl-C ends with 130, not {process.returncode}", None)
check(not out.exists() and not (folder / "none.gguf.partial").exists(), "Ctrl-C leaves no file")
finish()
