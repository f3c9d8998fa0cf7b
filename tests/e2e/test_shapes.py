"""radllm-inspect --plan: docs/memory.md is what the configurations say; base, instruct and chat."""
from e2e import *

inspect = program("radllm-inspect")
done = subprocess.run([sys.executable, SOURCE / "tools" / "memory_table.py", inspect, "--check"],
                      capture_output=True)
expect(Result(done.returncode, done.stdout, done.stderr), 0, "docs/memory.md is up to date")


def plan(config, *arguments):
    return run("radllm-inspect", "--plan", write("shape.json", json.dumps(config)), *arguments)


shape = json.loads((SOURCE / "examples" / "shapes" / "llama-3.1-8b.json").read_text())
found = json.loads(plan(shape, "--json").out)
# Layers, widths and vocabulary as published.
check(found["parameters"] == 8030261248, "parameters of Llama 3.1 8B")
for entry in found["plans"]:
    check(entry["cache"] >= 131072 * entry["context"] and
          entry["total"] >= entry["weights"] + entry["cache"], f"{entry['type']} {entry['context']}")
check(abs(found["plans"][3]["weights"] - 4912898048) < 49128980, "Q4_K_M within 1%")
result = plan(shape)
check(result.code == 0 and "BF16" in result.text() and "131072" in result.text(), "as text", result)
short = json.loads(plan(dict(shape, max_position_embeddings=2048), "--json").out)
check([entry["context"] for entry in short["plans"]] == [2048, 2048], "no longer than the model's own")
# Keys that are left out are as in transformers: Qwen3 0.6B has heads of 128. MiniLM has no output.
qwen = {"model_type": "qwen3", "hidden_size": 1024, "num_hidden_layers": 28, "num_attention_heads": 16,
        "num_key_value_heads": 8, "intermediate_size": 3072, "vocab_size": 151936,
        "tie_word_embeddings": True}
check(json.loads(plan(qwen, "--json").out)["parameters"] == 596049920, "parameters of Qwen3 0.6B")
bert = {"model_type": "bert", "hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12,
        "intermediate_size": 1536, "vocab_size": 30522, "max_position_embeddings": 512}
check(abs(json.loads(plan(bert, "--json").out)["parameters"] - 22565376) < 30000, "of MiniLM-L6")
for change, text in (({"model_type": "whisper"}, "whisper"), ({"hidden_size": 0}, "hidden_size"),
                     ({"num_hidden_layers": 2147483647}, "block_count"),
                     ({"vision_config": {}}, "see or hear")):
    expect(plan(dict(shape, **change)), 1, f"refused: {change}", text)
expect(run("radllm-inspect", "--plan", folder / "none.json"), 1, "a file that is not there", "none.json")
expect(run("radllm-inspect", "--plan", SOURCE / "examples" / "models" / "radreport-q8_0.gguf"), 1,
       "a model in its place", "is a GGUF file")
expect(run("radllm-inspect", "--plan", "a", "b"), 2, "one thing at a time", "one file only")

for key in ("hidden_size", "model_type"):
    shape = json.loads((SOURCE / "examples/shapes/llama-3.1-8b.json").read_text())
    lie = folder / "lie.json"
    lie.write_text(json.dumps({**shape, key: "many"}))
    expect(run("radllm-inspect", "--plan", lie), 1, f"{key}: by the file's name", "/lie.json: ", key)

# ---- base, instruct, chat ----

folders = folder / "folders"
subprocess.run([sys.executable, SOURCE / "tests" / "golden" / "make_folder.py",
                SOURCE / "tests" / "golden", folders], check=True, stdout=subprocess.DEVNULL)


def kind(name, template=None, model="llama-mha", config=None):
    path = folder / name
    path.mkdir(parents=True)
    for file in (folders / model).iterdir():
        if file.is_file():
            (path / file.name).write_bytes(file.read_bytes())
    if template is not None:
        (path / "chat_template.jinja").write_text(template)
        (path / "tokenizer_config.json").write_text('{"eos_token": "<|endoftext|>"}')
    if config is not None:
        (path / "tokenizer_config.json").write_text(json.dumps(config))
    result = run("radllm-inspect", path, "--json")
    report = json.loads(result.out)
    return report["model_kind"], report["model_kind_reason"]


check(kind("tiny")[0] == "base" and "no chat template" in kind("tiny2")[1], "base")
check(kind("tiny-Instruct-v0.2") == ("instruct", 'general.name has the word "instruct"'), "instruct")
check(kind("gemma-2b-it")[0] == "instruct" and kind("little")[0] == "base", "words, not letters")
check(kind("Llama-2-7b-chat-hf")[0] == "chat", "chat by its name")
check(kind("medalpaca-7b")[0] == "instruct" and kind("vicuna-7b-v1.5")[0] == "chat", "by families")
check(kind("OpenHermes-2.5")[0] == kind("OLMo-2-7B-SFT")[0] == kind("bloomz-560m")[0] == "instruct" and
      kind("openchat_3.5")[0] == "chat" and kind("bloom-560m")[0] == "base", "parts of words")
named = kind("named", config={"chat_template": [{"name": "tool_use", "template": "{{ messages }}"}]})
check(named == ("chat", "it has chat templates, of which none is the default"), "named templates")
result = run("radllm-chat", "-m", folder / "named", stdin=b"hello\n")
check(result.code == 1 and "others by name" in result.err and "base model" not in result.err,
      "and they are no base model's", result)
check(kind("models--a--little-Instruct-v1/snapshots/0a1b")[0] == "instruct" and
      kind("models--a--little-pt/snapshots/it")[0] == "base", "by the name in the hub's cache")
check("general.name (string) = \"little-pt\"" in
      run("radllm-inspect", str(folder / "models--a--little-pt/snapshots/it") + "/").text(), "is named so")
check(kind("snapshots/some-it")[0] == "instruct" and kind("models--/snapshots/it-2")[0] == "instruct",
      "but not elsewhere")
check(kind("with-template", "{{ messages }}") == ("chat", "it has a chat template"), "by template")
check(kind("tiny-base", "{{ messages }}")[0] == "base", "what it says of itself counts first")
qwen = kind("little-qwen", "{{ messages }}", "qwen3-embedding")
check(qwen[0] == "base" and "<|endoftext|>" in qwen[1], "Qwen's base models have a template too")
# Files that say of themselves no more than their family.
little = (SOURCE / "tests/golden/architectures/llama-mha-q8_0.gguf").read_bytes()
for name, wanted in (("llama-2-7b-chat.Q4_K_M.gguf", "chat"), ("little-7b.Q8_0.gguf", "base")):
    report = json.loads(run("radllm-inspect", write(name, little), "--json").out)
    check(report["model_kind"] == wanted, f"by the file's name: {name}")
check("  model            base: " in run("radllm-inspect", folder / "tiny").text(), "in words")

small = shared("models/stories260K/stories260K.gguf")
if small is None:
    tap.skip("warnings", "no ../shared/data/models at hand")
else:
    result = run("radllm-chat", "-m", small, "--raw", "-n", "2", stdin=b"hello\n")
    check(result.code == 0 and "this is a base model" in result.err, "chat warns", result)
    table = write("table.csv", "report\nnormal\n")
    result = run("radllm-label", "-m", small, "--input", table, "--output", folder / "out.csv",
                 "--choices", "yes,no", "--prompt", "{report}", "--template", "chatml")
    check("this is a base model" in result.err, "label warns", result)
    result = run("radllm-label", "-m", small, "--input", table, "--output", folder / "out2.csv",
                 "--choices", "yes,no", "--prompt", "{report}", "--raw")
    check("this is a base model" not in result.err, "but not where it goes on with a text", result)
model = embedded_model()
if model is not None:
    result = run("radllm-chat", "-m", model, "-n", "2", stdin=b"hello\n")
    check("this is a base model" not in result.err, "nor of a chat model", result)
finish()
