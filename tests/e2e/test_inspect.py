"""radllm-inspect: shows what can be run, refuses the rest with exit code 1 and a message."""
import sys
import tempfile

from e2e import *

MODEL = embedded_model()
GOLDEN = sorted((SOURCE / "tests" / "golden").glob("architectures/*-q8_0.gguf"))


def inspect(*arguments, **keys):
    return run("radllm-inspect", *arguments, timeout=60, **keys)


for path in GOLDEN + ([MODEL] if MODEL else []):
    result = inspect(path)
    expect(result, 0, f"{path.name}")
    report = inspect("-m", path, "--json", "-c", "64")
    data = json.loads(report.out)
    check(data["kind"] == "model" and data["n_tensors"] == len(data["tensors"]) and
          data["n_metadata"] == len(data["metadata"]) and data["bytes"] == path.stat().st_size,
          f"{path.name}: JSON", report)
    plan = data["plan"]
    parts = [plan[key] for key in ("weights", "cache", "activations", "vocabulary", "overhead")]
    check(plan["context"] == 64 and plan["total"] == sum(parts) and plan["weights"] > 0,
          f"{path.name}: memory plan", report)
    check(0 < plan["prefixes"] < plan["cache"], f"{path.name}: what finding beginnings takes")
    # 200,000 positions of any model; learned positions end with their table, but for a window that
    # is computed anew.
    long = inspect(path, "--json", "-c", "200000", "--context-limit", "ignore")
    if "plan" not in json.loads(long.out):
        check("attention=recompute" in long.err, f"{path.name}: why 200000 positions cannot be", long)
        long = inspect(path, "--json", "-c", "200000", "--attention", "recompute", "--window", "64")
    plan = json.loads(long.out)["plan"]
    check(plan["context"] == 200000 and plan["total"] > 0, f"{path.name}: 200000 positions", long)

path = GOLDEN[0]
keys = {entry["key"]: entry for entry in json.loads(inspect(path, "--json").out)["metadata"]}
check(isinstance(keys["general.architecture"]["value"], str), "values have their types")
full = {entry["key"]: entry for entry in json.loads(inspect(path, "--json", "--all").out)["metadata"]}
long = [key for key, entry in keys.items() if entry.get("shortened")]
check(all(len(full[key]["value"]) == full[key]["count"] for key in long), "--all shortens nothing")
check(len(inspect(path, "--all").out) >= len(inspect(path).out), "--all as text")
with open("/dev/full", "wb") as out:
    expect(inspect(path, stdout=out), 1, "output to a full disk", "No space left")
alone = json.loads(inspect(path, "--json").out)["plan"]
guessed = json.loads(inspect(path, "--json", "--draft-model", path).out)["plan"]
check(alone["draft"] == 0 and guessed["total"] == alone["total"] + guessed["draft"] > alone["total"],
      "a plan with a draft model")
expect(inspect(path, "--draft-model", folder / "none.gguf"), 1, "no draft model", "none.gguf")
tight = inspect(path, "--memory-budget", "1000")
check("exceeds the memory budget" in tight.text(), "a budget that cannot be met", tight)

# ---- what is refused ----

expect(inspect(), 2, "no file", "name a file")
expect(inspect(path, path), 2, "two files", "one file only")
expect(inspect(folder / "none.gguf"), 1, "no such file", "none.gguf")
expect(inspect(folder), 1, "a folder")
expect(inspect(write("empty.gguf", "")), 1, "an empty file", "empty.gguf")
expect(inspect(write("text.gguf", "hello, this is text\n" * 10)), 1, "text")
expect(inspect("/dev/null"), 1, "a device")
data = path.read_bytes()
bad = []
for length in list(range(0, 64)) + list(range(64, 4096, 211)) + [len(data) // 2, len(data) - 1]:
    result = inspect(write("cut.gguf", data[:length]))
    if result.code != 1 or not result.err.startswith("radllm-inspect: ") or result.out:
        bad += [f"cut at {length}"] + result.lines()
tap.check(not bad, "truncated files", bad)
bad = []
for at in range(0, 400, 3):
    changed = bytearray(data)
    changed[at] ^= 0xFF
    result = inspect(write("changed.gguf", bytes(changed)))
    if result.code not in (0, 1) or (result.code == 1) != bool(result.err):
        bad += [f"byte {at} changed"] + result.lines()
tap.check(not bad, "changed bytes: an answer, never a crash", bad)

crafted = shared("malformed/crafted/expectations.json")
if crafted is None:
    tap.skip("malformed files", "the shared data is not there")
else:
    ACCEPT = {"accept": [0], "accept-container": [0, 1], "reject": [1], "reject-as-model": [1],
              "implementation-defined": [0, 1]}
    for case in json.loads(crafted.read_text())["cases"]:
        if not case["file"].startswith("gguf/"):
            continue
        result = inspect(crafted.parent / case["file"])
        good = result.code in ACCEPT[case["expect"]] and (result.code == 1) == bool(result.err)
        check(good, f"{case['file']}: {case['expect']}, {case['why']}", result)
    for file in sorted(shared("malformed/old-formats").iterdir()):
        result = inspect(file)
        good = result.code in (0, 1) and (result.code == 1) == bool(result.err)
        check(good, f"{file.name}: exit {result.code}", result)
    for file in sorted(shared("malformed/gguf-tokenizer-stubs").rglob("*.gguf")):
        expect(inspect(file), 1, f"{file.name}: hyper-parameters without a vocabulary")
    bad = []
    fuzz = sorted((SHARED / "malformed" / "gguf-fuzz").rglob("*"))
    for file in [file for file in fuzz if file.is_file()]:
        result = inspect(file)
        if result.code not in (0, 1) or (result.code == 1) != bool(result.err):
            bad += [file.name] + result.lines()
    tap.check(not bad, "fuzzing seeds", bad)

# A folder as Hugging Face has them, and one that lies about its shape.
sys.path.insert(0, str(SOURCE / "tests" / "golden"))
from make_folder import make  # noqa: E402
with tempfile.TemporaryDirectory() as folder:
    golden = SOURCE / "tests" / "golden" / "architectures"
    config = json.loads((golden / "gpt2.config.json").read_text())
    make(golden / "gpt2-f32.gguf", config, folder)
    report = inspect(folder, "--json", "-c", "64")
    data = json.loads(report.out)
    check(data["kind"] == "model" and data["plan"]["weights"] > 0, "a folder: JSON", report)
    check(b"safetensors" in inspect(folder).out, "a folder: its format")
    make(golden / "gpt2-f32.gguf", {**config, "n_embd": 128}, folder)
    expect(inspect(folder), 1, "a folder of another shape")

# ---- adapters ----

golden = SOURCE / "tests" / "golden"
base = golden / "architectures" / "llama-mha-q8_0.gguf"
adapter = golden / "adapters" / "llama-all"
plans = [json.loads(inspect(base, "--json", "-c", "64", *more).out)["plan"]
         for more in ((), ("--lora", adapter, "--lora", f"{adapter}.gguf=0.5"))]
check(plans[0]["weights"] + 50000 < plans[1]["weights"], "the plan counts adapters")
for path in (adapter, f"{adapter}.gguf"):
    result = inspect(path)
    expect(result, 0, "an adapter is listed")
    check("an adapter (LoRA)" in result.text(), "as what it is", result)
wrong = inspect(golden / "architectures" / "qwen2-q8_0.gguf", "--lora", adapter)
expect(wrong, 1, "an adapter of another model", "lora_", "the model needs")
texts = [run("radllm-generate", "-m", base, "-p", "abc", "-n", "12", "--temp", "0",
             "--option", "ignore_end=1", *more).out
         for more in ((), ("--lora", adapter), ("--lora", f"{adapter}=0"))]
check(texts[0] != texts[1] and texts[0] == texts[2], "--lora changes an answer, a scale of 0 none")

finish()
