"""radllm-bench: all figures of each form, and perplexity by the protocol."""
import csv
import hashlib
import io
import math
import struct

from e2e import *

MODEL = embedded_model() or shared("models/stories260K/stories260K.gguf")
if MODEL is None:
    tap.skip("radllm-bench", "no model file at hand")
    finish()


def bench(*arguments, **keys):
    return run("radllm-bench", *arguments, **keys)


SMALL = ["-p", "32", "-n", "4", "-r", "2", "--limit-ms", "4"]
result = bench("-m", MODEL, "-t", "1,2", *SMALL, "-o", "json")
expect(result, 0, "JSON")
rows = json.loads(result.out)
check([(row["n_threads"], row["n_prompt"], row["n_gen"]) for row in rows] ==
      [(1, 32, 0), (1, 0, 4), (2, 32, 0), (2, 0, 4)], "a row per threads and test", result)
check(all(row["avg_ts"] > 0 and row["stddev_ts"] >= 0 and len(row["samples_ts"]) == 2 and
          row["model_filename"] == str(MODEL) and row["model_size"] == MODEL.stat().st_size and
          row["model_n_params"] > 0 and row["peak_memory_bytes"] > 0 and
          row["load_cold_seconds"] > 0 and row["load_warm_seconds"] > 0 for row in rows),
      "the names of llama-bench", result)
check(all((row["first_token_seconds"] or 0) > 0 for row in rows if row["n_prompt"]) and
      all(row["between_tokens_p99_seconds"] >= row["between_tokens_median_seconds"] > 0
          for row in rows if row["n_gen"]), "times to the first and between tokens", result)
check(all(row["machine_read_bytes_per_second"] > 1e8 and row["machine_int8_macs_per_second"] > 1e8
          and row["machine_float_macs_per_second"] > 1e8 for row in rows), "the machine's limits",
      result)
check(all(row["share_of_int8"] > 0 for row in rows) and
      all(row["share_of_bandwidth"] > 0 for row in rows if row["n_gen"]), "shares", result)
result = bench("-m", f"{MODEL},{MODEL}", "-t", "1", *SMALL, "-o", "csv", "--no-limits")
lines = list(csv.DictReader(io.StringIO(result.text())))
check(len(lines) == 4 and all(float(line["avg_ts"]) > 0 for line in lines), "CSV, two models",
      result)
result = bench("-m", MODEL, "-t", "1", "-p", "16,32", "-n", "0", "-u", "8,16", "-r", "1",
               "--no-limits")
check(result.code == 0 and result.text().count("pp16") == 2 and result.text().count("pp32") == 2,
      "table, lists of lengths and batches", result)
result = bench("-m", MODEL, "-t", "2", "-p", "16", "-n", "4", "-b", "1,3", "-r", "2", "-o", "json",
               "--limit-ms", "4")
rows = json.loads(result.out)
check([(row["n_prompt"], row["n_gen"], row["n_sequences"]) for row in rows] ==
      [(16, 0, 1), (0, 4, 1), (0, 4, 3)], "sequences generated together", result)
check(all(abs(rows[2]["samples_ts"][i] * rows[2]["samples_ns"][i] / 1e9 - 12) < 0.01
          for i in range(2)) and rows[2]["between_tokens_median_seconds"] > 0,
      "their speed counts the tokens of all", result)
check(all(row["start_seconds"] > row["load_warm_seconds"] and row["file_read_seconds"] > 0
          for row in rows), "from nothing to the first token", result)
check(all(abs(row["share_of_limit"] - max(row["share_of_arithmetic"],
                                           row["share_of_bandwidth"] or 0)) < 1e-9
          for row in rows), "the nearer limit", result)
row = rows[1]
expected = (row["weight_bytes_per_token"] + 2.5 * row["cache_bytes_per_position"]) \
    * row["avg_ts"] / row["machine_read_bytes_per_second"]
check(abs(row["share_of_bandwidth"] / expected - 1) < 1e-9 and
      row["machine_read_kernel"] in ("in order", "in order, ahead", "4 streams"),
      "bandwidth: weights and cache over the best way to read", result)
result = bench("-m", MODEL, "-t", "1", "-p", "16", "-n", "4", "-b", "1,2", "-d", "0,100", "-r", "1",
               "-o", "json", "--limit-ms", "4")
rows = json.loads(result.out)
check([(row["n_depth"], row["n_prompt"], row["n_gen"], row["n_sequences"]) for row in rows] ==
      [(0, 16, 0, 1), (0, 0, 4, 1), (100, 16, 0, 1), (100, 0, 4, 1), (0, 0, 4, 2), (100, 0, 4, 2)],
      "behind other positions", result)
expected = (rows[3]["weight_bytes_per_token"] + 102.5 * rows[3]["cache_bytes_per_position"]) \
    * rows[3]["avg_ts"] / rows[3]["machine_read_bytes_per_second"]
check(abs(rows[3]["share_of_bandwidth"] / expected - 1) < 1e-9 and
      rows[2]["attention_macs_per_token"] > 10 * rows[0]["attention_macs_per_token"] > 0,
      "the cache is read as far as it is filled", result)


def attention_share(kind):
    """What attention takes of the arithmetic share, in units of its speed in floats."""
    found = bench("-m", MODEL, "-t", "1", "-p", "16", "-n", "0", "-d", "100", "-r", "1", "-o", "json",
                  "--limit-ms", "4",
                  "--cache", kind)
    one = json.loads(found.out)[0]
    rate, floats = one["avg_ts"], one["machine_float_macs_per_second"]
    weights = one["share_of_int8"]  # the embedded model's weights are all quantized
    return ((one["share_of_arithmetic"] - weights) / rate * floats / one["attention_macs_per_token"],
            floats / one["machine_int8_macs_per_second"], found)


share, _, result = attention_share("f16")
check(abs(share - 1) < 1e-6, "attention at the peak of floats", result)
share, ratio, result = attention_share("q8_0")
check(abs(share - 1.5 * ratio) < 1e-6, "attention to integers: bytes and words", result)
expect(bench("-m", MODEL, "-d", "x"), 2, "no depth", "-d")
expect(bench("-m", MODEL, "-p", "0", "-n", "0"), 2, "nothing to measure")
expect(bench("-m", MODEL, "-b", "0"), 2, "no sequence", "-b")
expect(bench("-m", MODEL, "-t", "0"), 2, "no threads", "-t")
expect(bench("-m", MODEL, "-t", "1,x"), 2, "no number", "-t")
expect(bench("-m", MODEL, "-o", "xml"), 2, "unknown form", "-o")
expect(bench("-m", MODEL, "-p", "1000000", "-n", "0", "-r", "1", "--no-limits"), 1,
       "longer than the model's context")

# ---- speculation ----

result = bench("speculation", "-m", MODEL, "-n", "40", "-r", "2", "--acceptance", "0,60,100", "--json")
expect(result, 0, "speculation by shares")
rows = {row["guesses"]: row for row in json.loads(result.out)}
check(list(rows) == ["off", "0 % right", "60 % right", "100 % right"] and
      all(row["answer_tokens"] == 40 and row["tokens_per_second"] > 0 for row in rows.values()) and
      rows["off"]["drafted_tokens"] == 0 and rows["0 % right"]["accepted_tokens"] == 0 and
      0 < rows["60 % right"]["accepted_tokens"] < rows["60 % right"]["drafted_tokens"] and
      rows["100 % right"]["accepted_tokens"] == rows["100 % right"]["drafted_tokens"] > 20,
      "guessed and right", result)
path = write("repeat.txt", "The lungs are clear. " * 8)
result = bench("--speculation", "-m", MODEL, "-n", "24", "-r", "1", "-f", path, "--raw",
               "--draft-model", MODEL, "--option", "ignore_end=1")
expect(result, 0, "speculation on a text")
check([line.split("|")[1].strip() for line in result.text().splitlines()[2:]] ==
      ["off", "lookup", "draft"], "a table of the ways", result)
expect(bench("speculation", "-m", MODEL, "--acceptance", "101"), 2, "more than all", "0 to 100")

# ---- reports behind one instruction ----

SHARED = ["--instruction", "100", "--report", "20", "--reports", "12", "-n", "3", "-b", "3"]
result = bench("shared", "-m", MODEL, *SHARED, "--json")
expect(result, 0, "a shared instruction")
row = json.loads(result.out)
check(row["reports"] == 12 and row["prompt_tokens_all"] - row["prompt_tokens_needed"] == 1100 and
      row["prompt_tokens_computed"] + row["prompt_tokens_reused"] == row["prompt_tokens_all"] and
      row["prompt_tokens_computed"] >= row["prompt_tokens_needed"] and
      row["reports_per_second"] > 0, "computed and reused are all tokens", result)
result = bench("shared", "-m", MODEL, *SHARED)
check(result.code == 0 and f"{row['prompt_tokens_all']} without a cache" in result.text(),
      "in words", result)
expect(bench("shared", "-m", MODEL, "-b", "0"), 2, "no session")

# ---- reading memory and generating in turns ----

TURNS = ["--turns", "3", "-n", "2", "-t", "1"]
result = bench("bandwidth", "-m", MODEL, *TURNS, "--json")
expect(result, 0, "share of the bandwidth")
found = json.loads(result.out)
share = found["bytes_per_token"] * found["tokens_per_second"] / found["read_bytes_per_second"]
check(0 < found["share_lower_quartile"] <= found["share_of_bandwidth"]
      <= found["share_upper_quartile"] and found["turns"] == 3
      and 0.2 < share / found["share_of_bandwidth"] < 5, "its figures", result)
result = bench("bandwidth", "-m", MODEL, *TURNS)
check(result.code == 0 and "GB/s" in result.text(), "in words", result)
expect(bench("bandwidth", "-m", MODEL, "--turns", "0"), 2, "no turn")

# ---- perplexity, computed again from the logits of radllm-generate ----

TEXT = " ".join(f"Report {i}: there is no pleural effusion, and the heart has a normal size."
                for i in range(40))
path = write("text.txt", TEXT)
CONTEXT = 64
result = bench("perplexity", "-m", MODEL, "-f", path, "-c", CONTEXT, "--chunks", "3", "--json")
expect(result, 0, "perplexity")
report = json.loads(result.out)
listed = run("radllm-tokenize", "-m", MODEL, "-f", path, "--json")
tokens = json.loads(listed.out)["tokens"]
check(report["chunks"] == 3 and report["tokens_scored"] == 3 * (CONTEXT - 1 - CONTEXT // 2),
      "three chunks, the second half of each", result)
metadata = {entry["key"]: entry["value"] for entry in
            json.loads(run("radllm-inspect", MODEL, "--json").out)["metadata"]}
bos = metadata.get("tokenizer.ggml.bos_token_id")
text_ids = json.loads(run("radllm-tokenize", "-m", MODEL, "-f", path, "--json",
                          "--no-special").out)["tokens"]
adds_bos = len(tokens) > len(text_ids) and tokens[0] == bos
first = tokens[:CONTEXT]
if adds_bos:
    # The first chunk is what generate makes of the text that its tokens stand for.
    chunk_text = run("radllm-tokenize", "-m", MODEL, "--decode", "-p",
                     " ".join(map(str, first[1:]))).out
    logits_path = folder / "l.f32"
    made = run("radllm-generate", "-m", MODEL, "-f", "-", "-n", "0", "--logits-out", logits_path,
               "--json", stdin=chunk_text)
    same = json.loads(made.out)["prompt_tokens"] == first
    data = logits_path.read_bytes()
    width = len(data) // 4 // CONTEXT
    total = 0.0
    for position in range(CONTEXT // 2, CONTEXT - 1):
        row = struct.unpack_from(f"<{width}f", data, 4 * width * position)
        top = max(row)
        total += math.log(sum(math.exp(x - top) for x in row)) - (row[first[position + 1]] - top)
    expected = math.exp(total / (CONTEXT - 1 - CONTEXT // 2))
    one = bench("perplexity", "-m", MODEL, "-f", path, "-c", CONTEXT, "--chunks", "1")
    value = float(one.text().split("PPL = ")[1].split()[0])
    if same:
        check(abs(value - expected) < 1e-3 * expected, f"perplexity {expected:.4f} by hand", one)
    else:
        tap.skip("perplexity by hand", "the chunk's text does not give its tokens back")
else:
    tap.skip("perplexity by hand", "the model adds no BOS")

# ---- a text as one sequence ----

each = write("each.txt", "")


def stream(*options):
    done = bench("perplexity", "-m", MODEL, "-f", path, "--stream", "-n", "300", "--each", each, "--json",
                 *options)
    expect(done, 0, f"--stream {options}")
    scores = [float(line) for line in each.read_text().split()]
    total = json.loads(done.out)
    check(total["tokens_scored"] == len(scores) and
          abs(total["perplexity"] / math.exp(sum(scores) / len(scores)) - 1) < 1e-4,
          f"--each and the sum agree {options}", done)
    return scores


whole = stream("-c", "300")
check(len(whole) == 299, "every token is scored but the first")
check(stream("--attention", "sinks", "--window", "296", "--sinks", "32")[:299] == whole,
      "sinks change nothing where nothing is forgotten")
short = stream("--attention", "sinks", "--window", "60")
check(short[:50] != whole[50:100] and short[200:] != whole[200:], "and something where it is")
check(stream("--attention", "recompute", "--window", "100", "--recompute-period", "100")[:99] ==
      stream("--cut", "100")[:99] == whole[:99], "a text that is cut begins in the same way")
expect(bench("perplexity", "-m", MODEL, "-f", path, "--cut", "5"), 2, "--cut without --stream",
       "go with --stream")

result = bench("perplexity", "-m", MODEL, "-f", path, "-c", CONTEXT, "--chunks", "3")
check("Final estimate: PPL = " in result.text() and " +/- " in result.text() and
      "[1]" in result.err and "[3]" in result.err, "the final line", result)
golden = json.loads((SOURCE / "tests/golden/greedy/greedy.json").read_text())
if hashlib.sha256(MODEL.read_bytes()).hexdigest() != golden["model_sha256"]:
    tap.skip("llama.cpp's perplexity", "it was recorded with another model")
else:
    recorded = golden["types"]["Q8_0"]["perplexity"]["value"]
    result = bench("perplexity", "-m", MODEL, "-f", SOURCE / "tests/golden/greedy/perplexity.txt",
                   "-c", "256", "--chunks", "16", "--json")
    check(abs(json.loads(result.out)["perplexity"] / recorded - 1) < 0.002,
          f"llama.cpp's perplexity {recorded} within 0.2 %", result)
expect(bench("perplexity", "-m", MODEL, "-p", "short", "-c", "64"), 1, "a text that is too short",
       "64")
expect(bench("perplexity", "-m", MODEL), 2, "no text", "-f")

finish()
