"""radllm-generate: the same ids and logits as recorded, whatever the threads and chunks; prompts from
everywhere; JSON; interruption."""
import fcntl
import math
import random
import struct
import time

from e2e import *

MODEL = embedded_model()
STORIES = shared("models/stories260K/stories260K.gguf")
ANY = MODEL or STORIES
if ANY is None:
    tap.skip("radllm-generate", "no model file at hand")
    finish()


def generate(*arguments, model=ANY, **keys):
    return run("radllm-generate", "-m", model, *arguments, **keys)


def floats(path):
    data = path.read_bytes()
    return struct.unpack(f"<{len(data) // 4}f", data)


# ---- the reference model ----

if STORIES is None:
    tap.skip("stories260K", "not in the shared data")
else:
    expected = json.loads(
        (STORIES.parent / "expected_greedy.json").read_text())["tokens"]
    count = len(expected) - 1
    result = generate("-p", "", "-n", count, "--temp", "0", "--token-ids", model=STORIES)
    check(result.text().split() == [str(token) for token in expected[1:]],
          f"all {count} recorded ids", result)
    out = folder / "logits.f32"
    result = generate("-p", "", "-n", 32, "--temp", "0", "--logits-out", out, "--logits-hash",
                      model=STORIES)
    expect(result, 0, "logits are written")
    recorded = floats(STORIES.parent / "expected_logits_first32.f32")
    written = floats(out)
    check(len(written) == 32 * 512, "32 positions: BOS and 31 tokens fed")
    check(max(abs(a - b) for a, b in zip(written, recorded)) < 1e-3, "recorded logits")
    first = result.text()
    hashed = 14695981039346656037
    for byte in out.read_bytes():
        hashed = (hashed ^ byte) * 1099511628211 % (1 << 64)
    check(first == f"{hashed:016x}\n", "the hash is FNV-1a 64 of these bytes", result)

# ---- an empty prompt ----

TINY = SOURCE / "tests" / "golden" / "architectures" / "qwen2-f32.gguf"
result = generate("-p", "", "-n", 4, "--json", model=TINY)
check(result.code == 0 and json.loads(result.out)["prompt_tokens"] == [317],
      "BOS alone, also for a model that puts none before a text", result)
check(json.loads(generate("-p", "a", "-n", 4, "--json", model=TINY).out)["prompt_tokens"][0] != 317,
      "and before a text there is none")
if MODEL is not None:
    expect(generate("-p", "", "-n", 4, model=MODEL), 1, "no BOS to begin with", "no BOS")

# ---- the same bits ----

PROMPT = "The chest radiograph shows a small left pleural effusion. "
one = generate("-p", PROMPT, "-n", 24, "--temp", "0", "--json", "--logits-hash")
expect(one, 0, "JSON")
report = json.loads(one.out)
ids = " ".join(map(str, report["tokens"])) + "\n"
fed = len(report["tokens"]) - (0 if report["finish"] == "end" else 1)
check(report["finish"] in ("end", "length") and
      report["logits_positions"] == len(report["prompt_tokens"]) + fed, "every position fed", one)
VARIANTS = [["-t", "1"], ["-t", "3"], ["--option", "batch=1"], ["--option", "batch=7"],
            ["--isa", "scalar"], ["--option", "load=map"], ["--option", "layout=file"]]
for more in VARIANTS:
    result = generate("-p", PROMPT, "-n", 24, "--temp", "0", "--token-ids", "--logits-hash", *more)
    check(result.text() == ids + report["logits_hash"] + "\n",
          "the same bits with " + " ".join(more), result)
LONG = ["-p", PROMPT * 2, "-n", 48, "--option", "ignore_end=1"]
for sampler in (["--temp", "0"], ["--temp", "0.8", "--repeat-penalty", "1.2"]):
    one = generate(*LONG, *sampler, "--token-ids", "--logits-hash")
    check(len(one.text().split()) == 49, "48 ids and a hash", one)
    for guess in (["--speculate", "lookup"], ["--draft-model", str(ANY)],
                  ["--draft-model", str(ANY), "--draft-tokens", "2"]):
        result = generate(*LONG, *sampler, "--token-ids", "--logits-hash", *guess)
        check(result.text() == one.text(), "the same bits with " + " ".join(guess), result)
result = generate(*LONG, "--temp", "0", "--json", "--draft-model", ANY)
guesses = json.loads(result.out)["speculation"]
check(0 < guesses["accepted_tokens"] == guesses["drafted_tokens"] and
      "speculate" not in json.loads(result.out)["settings"],
      "a model that guesses for itself is always right; how it guessed is no setting of an answer",
      result)
expect(generate("-p", PROMPT, "--speculate", "draft"), 2, "no draft model", "--draft-model FILE")
expect(generate("-p", PROMPT, "--speculate", "lookup", "--draft-model", ANY), 2,
       "a draft model for nothing", "--speculate draft")
expect(generate("-p", PROMPT, "--draft-model", SOURCE / "tests" / "golden" / "architectures" /
                "qwen2-f32.gguf"), 1, "a draft model of another vocabulary", "another vocabulary",
       "qwen2-f32.gguf")
sampled = [generate("-p", PROMPT, "-n", 16, "--temp", "1.5", "-s", seed, "--token-ids").text()
           for seed in ("5", "5", "6")]
check(sampled[0] == sampled[1] != sampled[2], "the seed decides")
result = generate("-p", PROMPT, "-n", 16, "--temp", "1.5", "-s", "5", "--token-ids",
                  "--logits-out", folder / "l.f32")
check(result.text() == sampled[0], "--logits-out changes nothing", result)

# ---- prompts, output ----

text = generate("-p", PROMPT, "-n", 24, "--temp", "0").text()
check(text == report["text"], "streamed text is that of JSON")
path = write("prompt.txt", PROMPT)
check(generate("-f", path, "-n", 24, "--temp", "0").text() == text, "prompt from a file")
check(generate("-f", "-", "-n", 24, "--temp", "0", stdin=PROMPT.encode()).text() == text,
      "prompt from standard input")
check(generate("-", "-n", 24, "--temp", "0", stdin=PROMPT.encode()).text() == text,
      "prompt from -")
out = folder / "prompt.f32"
result = generate("-p", PROMPT, "-n", "0", "--logits-out", out)
width = len(floats(out)) // len(report["prompt_tokens"])
check(result.out == b"" and len(floats(out)) == width * len(report["prompt_tokens"]) and width > 255,
      "-n 0: the logits of the prompt alone", result)
check(all(map(math.isfinite, floats(out))), "finite logits")
result = generate("-p", PROMPT, "-n", "8", "--temp", "0", "--json", "--logprobs", "3")
positions = json.loads(result.out)["logprobs"]
out = folder / "top.f32"
top = json.loads(generate("-p", PROMPT, "-n", "5", "--temp", "0.9", "-s", "4", "--json", "--logprobs",
                          "4", "--logits-out", out, "--option", "ignore_end=1").out)
error = 0.0
for at, entry in enumerate(top["logprobs"]):
    row = floats(out)[(len(top["prompt_tokens"]) - 1 + at) * width:][:width]
    log_sum = math.log(math.fsum(math.exp(x - max(row)) for x in row)) + max(row)
    best = sorted(range(width), key=lambda token: (-row[token], token))[:4]
    if [item["token"] for item in entry["top"]] != best:
        error = math.inf
    for item in [entry, *entry["top"]]:
        error = max(error, abs(item["logprob"] - (row[item["token"]] - log_sum)))
check(len(top["logprobs"]) == 5 and error < 1e-5, "log-probabilities are those of the logits")
check(len(positions) <= 8 and all(len(p["top"]) == 3 and p["top"][0]["logprob"] == p["logprob"] and
                                  p["top"][0]["token"] == p["token"] for p in positions),
      "log-probabilities: greedy takes the best", result)
if len(text) > 8:
    stop = text[4:7]
    cut = generate("-p", PROMPT, "-n", 24, "--temp", "0", "--stop", stop)
    check(cut.text() == text[:text.index(stop)], "--stop ends before the text", cut)
# Stop strings that begin and end within tokens, several at once: nothing of them is ever shown.
longer = ["-p", PROMPT, "-n", 60, "--temp", "0", "--option", "ignore_end=1"]
whole = json.loads(generate(*longer, "--json").out)
text60, randomness, bad = whole["text"], random.Random(3), []
for number in range(3 if sanitized() else 12):
    starts = [randomness.randrange(max(1, len(text60) - 8)) for _ in range(2)]
    stops = [text60[at:at + randomness.randrange(1, 8)] for at in starts] + ["\x02never"]
    options = [word for stop in stops for word in ("--stop", stop)]
    wanted = text60[:min(text60.index(stop) for stop in stops[:2])]
    shown = generate(*longer, *options)
    asked = json.loads(generate(*longer, *options, "--json").out)
    if shown.text() != wanted or asked["text"] != wanted or asked["finish"] != "stop":
        bad += [f"{stops}: {shown.text()[-40:]!r}, not {wanted[-40:]!r}"]
tap.check(not bad, "random stop strings", bad)
for at in (1, 7):
    token = whole["tokens"][at]
    asked = json.loads(generate(*longer, "--json", "--option", f"stop_token={token}").out)
    check(asked["tokens"] == whole["tokens"][:whole["tokens"].index(token)] and
          asked["finish"] == "stop", f"stop token {token}")
four = ["-p", PROMPT, "-n", 4, "--temp", "0", "--token-ids", "--option", "ignore_end=1"]
forbidden = generate(*four).text().split()[0]
result = generate(*four, "--logit-bias", forbidden + ":-1000")
check(forbidden not in result.text().split(), "--logit-bias forbids a token", result)
result = generate("-p", PROMPT, "-n", 4, "--verbose")
check("tokens a second" in result.err and "load" in result.err, "--verbose", result)

# ---- mistakes ----

expect(generate(), 2, "no prompt", "-p")
expect(generate("-p", "a", "-f", path), 2, "two prompts", "once")
expect(generate("-f", folder / "none"), 1, "no prompt file", "No such file")
expect(generate("-p", "a", "-n", "x"), 2, "no number", "-n")
expect(generate("-p", "a", "-n", "-2"), 2, "negative number", "-n")
expect(generate("-p", "a", model=folder / "none.gguf"), 1, "no model file", "none.gguf")
expect(generate("-p", "a", model=path), 1, "a model that is none", "prompt.txt")
expect(generate("-p", "a", "--raw", "--chat"), 2, "--raw and --chat", "--raw")
expect(generate("-p", "a", "--template", "no-such"), 1, "unknown template", "no-such", "--list-templates")
expect(generate("-p", "word " * 5000, "-c", "64"), 1, "prompt longer than the context", "64")
for more in ([], ["--logits-hash"], ["--json"]):
    expect(generate("-p", "word " * 5000, "-c", "64", "-n", "0", *more), 1,
           " ".join(["prompt longer than the context, -n 0", *more]), "64")
expect(generate("-p", "a", "--logit-bias", "5:high"), 1, "a bias that is no number", "TOKEN:BIAS")
expect(generate("-p", "a", "--logit-bias", "99999999:1"), 1, "a bias for no token", "vocabulary")
expect(generate("-p", PROMPT, "-n", "4", "--logits-out", "/dev/full"), 1, "logits to a full disk",
       "cannot write /dev/full")
expect(generate("-p", PROMPT, "-n", "4", "--logits-out", folder / "no" / "x"), 1,
       "logits to a folder that is not there", "No such file")
with open("/dev/full", "wb") as full:
    expect(generate("-p", PROMPT, "-n", "4", "--option", "ignore_end=1", stdout=full), 1,
           "text to a full disk", "No space")
big = write("big.txt", b"effusion " * (100 * 1024 * 1024 // 9))
if sanitized():
    tap.skip("prompt of 100 MB", "too slow with sanitizers")
else:
    result = generate("-f", big, "-n", "1")
    check(result.code == 1 and "context" in result.err, "prompt of 100 MB", result)
    result = generate("-f", big, "-n", "1", "--special")
    check(result.code == 1 and "context" in result.err, "prompt of 100 MB, with control tokens",
          result)
big.unlink()

# ---- interruption ----

process = start("radllm-generate", "-m", ANY, "-p", PROMPT, "-n", "-1", "--temp", "1", "--option",
                "ignore_end=1", "-c", "100000" if STORIES is None and MODEL is None else "512",
                "--stop", "\x01never")
time.sleep(0.3)
process.send_signal(signal.SIGINT)
out, err = process.communicate(timeout=60)
check(process.returncode in (0, 130), "Ctrl-C ends in order", Result(process.returncode, out, err))
# While it writes to somebody who does not read, too.
reader, writer = os.pipe()
fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
os.write(writer, b"." * 4096)
process = subprocess.Popen([program("radllm-generate"), "-m", str(ANY), "-p", PROMPT, "-n", "64",
                            "--temp", "1", "--option", "ignore_end=1"], stdout=writer, stderr=subprocess.PIPE,
                           stdin=subprocess.DEVNULL)
os.close(writer)
time.sleep(1)
process.send_signal(signal.SIGINT)
time.sleep(0.1)
with open(reader, "rb") as pipe:
    pipe.read()
err = process.communicate(timeout=60)[1]
check(process.returncode == 130 and b"cannot write" not in err, "Ctrl-C while the output waits",
      Result(process.returncode, b"", err))

# ---- attention ----

def ids(*options):
    result = generate("-p", PROMPT, "--token-ids", "--option", "ignore_end=1", *options)
    expect(result, 0, " ".join(options))
    return result.text().split()


full = ids("-n", "40", "--attention", "full")
check(ids("-n", "40", "--attention", "sinks", "--window", "90", "--sinks", "32") == full and
      ids("-n", "40", "--attention", "recompute", "--window", "100") == full,
      "no policy changes what nothing is forgotten of")
count = "300" if sanitized() else "3000"
long = ids("-n", count, "-c", "64", "--attention", "sinks", "--window", "60")
check(len(long) == int(count), "sinks go on behind the context and what the model was made for")
check(ids("-n", count, "-c", "64", "--attention", "sinks", "--window", "60", "-t", "1", "--option",
          "batch=7", "--speculate", "lookup") == long, "and so in any company")
expect(generate("-p", PROMPT, "--window", "60"), 1, "--window alone", "attention is \"auto\"")
expect(generate("-p", PROMPT, "--attention", "nothing"), 2, "an unknown policy",
       "auto|full|window|sinks|recompute")

# ---- chat ----

if MODEL is None:
    tap.skip("chat", "the embedded model is not there")
else:
    result = generate("-p", "Is there an effusion?", "--chat", "-n", "8", "--temp", "0", "--json")
    expect(result, 0, "--chat")
    check(json.loads(result.out)["settings"]["template"], "the template is told", result)
    other = generate("-p", "Is there an effusion?", "--template", "alpaca", "-n", "8", "--temp",
                     "0", "--json")
    expect(other, 0, "--template NAME")
    check(json.loads(other.out)["prompt_tokens"] != json.loads(result.out)["prompt_tokens"],
          "another template gives another prompt", other)
if STORIES is not None:
    expect(generate("-p", "x", "--chat", model=STORIES), 1, "no template in the model",
           "--template NAME", "--raw")

finish()
