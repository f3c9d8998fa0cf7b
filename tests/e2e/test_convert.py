"""radllm-convert: a folder becomes the GGUF file that was made from the same weights by other means,
and back; tokenizers keep their tokens; nothing is left by failures; memory stays small."""
import fcntl
import importlib.util
import resource
import shutil
import struct
import time

from e2e import *

GOLDEN = SOURCE / "tests" / "golden"
sys.path.insert(0, str(GOLDEN))
import make_folder  # noqa: E402
import make_packed  # noqa: E402

make_folder_script = GOLDEN / "make_folder.py"
folders = folder / "folders"
subprocess.run([sys.executable, make_folder_script, GOLDEN, folders], check=True,
               stdout=subprocess.DEVNULL)


def convert(*arguments, **keys):
    result = run("radllm-convert", *arguments, **keys)
    result.arguments = arguments
    return result


def refused(result, name, *texts):
    """What writing refuses before it writes, --dry-run refuses in the same words."""
    expect(result, 1, name, *texts)
    dry = run("radllm-convert", "--dry-run", *result.arguments)
    check(dry.code == 1 and dry.err == result.err, f"{name}: --dry-run says the same", dry)


def weights(path):
    """Tensors of all safetensors files of a folder: shape, dtype, bytes."""
    found = {}
    for file in sorted(path.glob("*.safetensors")):
        data = file.read_bytes()
        size = struct.unpack_from("<Q", data)[0]
        for name, entry in json.loads(data[8:8 + size]).items():
            if name != "__metadata__":
                begin, end = entry["data_offsets"]
                found[name] = (entry["dtype"], entry["shape"], data[8 + size + begin:8 + size + end])
    return found


def tensors(path):
    return {name: (tensor.dtype, [n for n in tensor.shape if n != 1], tensor.data)
            for name, tensor in make_folder.read_gguf(path).items()}


def differing(ours, theirs):
    return sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))


# ---- weights, bit for bit ----

made = folder / "made"
made.mkdir()
# Files of other tools hold the short vectors' product in one tensor. RoBERTa comes back as BERT, whose
# positions begin with the first row, and the end of an answer that its config.json names does not.
OTHERWISE = {"deepseek2-lite": "attn_k"}
AS_BERT = {"xlm-roberta"}
for path in sorted([*(GOLDEN / "architectures").glob("*-f32.gguf"),
                     *(GOLDEN / "encoders").glob("*-f32.gguf")]):
    name = path.name[:-len("-f32.gguf")]
    if not (folders / name).exists():
        continue
    gguf = made / (name + ".gguf")
    result = convert(folders / name, gguf)
    expect(result, 0, f"{name}: to GGUF")
    if name not in OTHERWISE:
        wrong = differing(tensors(gguf), tensors(path))
        check(not wrong, f"{name}: the tensors of the GGUF file from elsewhere", result)
    back = made / name
    result = convert(gguf, back)
    expect(result, 0, f"{name}: and back")
    # A folder without an output matrix may name tensors without "model." in front.
    given = {key if key.startswith("model.") or name != "qwen3-embedding" else "model." + key: value
             for key, value in weights(folders / name).items()}
    wrong = differing(weights(back), given)
    check(not wrong or name in AS_BERT and wrong == ["embeddings.position_embeddings.weight"],
          f"{name}: the same weights {wrong[:4]}", result)
    again = run("radllm-inspect", back)
    check(again.code == 0 and "can run" in again.text(), f"{name}: the folder is a model", again)
    if name not in OTHERWISE and name not in AS_BERT:
        expect(convert(back, made / "again.gguf", "--force"), 0, f"{name}: and to GGUF again")
        check((made / "again.gguf").read_bytes() == gguf.read_bytes(), f"{name}: byte for byte")


def metadata(path):
    entries = json.loads(run("radllm-inspect", path, "--json", "--all").out)["metadata"]
    return {entry["key"]: entry["value"] for entry in entries}


def differing_words(one, other):
    """Keys of two GGUF files that say different things; names are of folders."""
    one, other = metadata(one), metadata(other)
    return [key for key in one.keys() | other.keys()
            if key != "general.name" and one.get(key) != other.get(key)]


def is_same(one, other):
    if isinstance(one, list):
        return len(one) == len(other) and all(map(is_same, one, other))
    return one == other or isinstance(one, float) and abs(one - other) < 1e-6 * abs(one)


# What a reader takes for granted where config.json does not say it; and the names of folders.
IMPLIED = {"general.name", "attention.sliding_window_pattern", "expert_group_count",
           "expert_group_used_count", "attention.key_length", "attention.value_length"}
NO_WINDOW = ("attention.sliding_window", 0)


def compare_words(name, given, ours):
    """What config.json says, as the programs read it."""
    given, ours = metadata(given), metadata(ours)
    wrong = [key for key in given if key != "general.name" and not key.startswith("tokenizer.ggml.")
             and (key in ours and not is_same(given[key], ours[key]) or
                  key not in ours and key.split(".", 1)[1] not in IMPLIED and
                  (key.split(".", 1)[1], given[key]) != NO_WINDOW)]
    check(not wrong, f"{name}: config.json says the same {wrong}")


for path in sorted(made.iterdir()):
    if path.is_dir():
        compare_words(path.name, folders / path.name, path)

# ---- forms of other families, and round twice ----

for name in ("gemma3", "phi3-longrope-long", "phi3-partial", "phi", "ministral", "gpt-oss-mxfp4",
             "qwen2moe-sparse", "bert", "deepseek2-v3", "gpt-oss", "mpt",
             "ministral-full", "qwen2-later", "qwen2moe-turns", "qwen3moe-window", "mixtral-window",
             "gemma2-left-out", "gemma3-cap", "phi-left-out", "gpt-oss-left-out", "gpt-oss-plain",
             "llama3-left-out", "deepseek2-length"):
    gguf, back, again = made / (name + "-one.gguf"), made / (name + "-two"), made / (name + "-three.gguf")
    expect(convert(folders / name, gguf), 0, f"{name}: to GGUF")
    expect(convert(gguf, back), 0, f"{name}: and back")
    wrong = differing(weights(back), weights(folders / name))
    check(not wrong, f"{name}: the same weights {wrong[:4]}")
    compare_words(name, folders / name, back)
    expect(convert(back, again), 0, f"{name}: and to GGUF again")
    check(not differing(tensors(again), tensors(gguf)) and len(tensors(gguf)) > 3,
          f"{name}: the same tensors")
    wrong = differing_words(gguf, again)
    check(not wrong, f"{name}: the same keys {wrong}")

# What transformers needs to know blocks by; and their numbers where floats are asked for.
config = json.loads((made / "gpt-oss-mxfp4-two" / "config.json").read_text())
check(config["quantization_config"]["quant_method"] == "mxfp4", "gpt-oss: blocks are named")
expect(convert(made / "gpt-oss-mxfp4-one.gguf", made / "oss-wide", "--type", "F32"), 0,
       "gpt-oss: blocks decoded")
expect(convert(made / "oss-wide", made / "oss-wide.gguf"), 0, "and to GGUF again")
expect(run("radllm-quantize", made / "gpt-oss-mxfp4-one.gguf", made / "oss-f32.gguf", "F32",
           "--allow-requantize"), 0, "the same in GGUF")
check(not differing(tensors(made / "oss-wide.gguf"), tensors(made / "oss-f32.gguf")),
      "gpt-oss: the numbers of the blocks")

# From folder to folder: turned matrices are turned twice, and what GGUF has no words for stays.
for name in ("gpt2", "gpt-oss", "gpt-oss-mxfp4", "bloom", "deepseek2-v3", "llama-dynamic",
             "deepseek2-halves"):
    expect(convert(folders / name, made / (name + "-four")), 0, f"{name}: from folder to folder")
    check(not differing(weights(made / (name + "-four")), weights(folders / name)),
          f"{name}: the same weights")
    compare_words(name, folders / name, made / (name + "-four"))
for name, text in (("llama-dynamic", "dynamic"), ("deepseek2-halves", "rope_interleave")):
    refused(convert(folders / name, made / "no.gguf"), f"{name}: GGUF has no words", text,
            "has no form in GGUF")
for name in ("xlm-roberta", "bert"):
    expect(convert(folders / name, made / (name + "-four")), 0, f"{name}: from folder to folder")
    check(all((made / (name + "-four") / file.name).read_bytes() == file.read_bytes()
              for file in (folders / name).glob("tokenizer*.json")),
          f"{name}: the tokenizer's files are those of the folder")
# A file may say it all the same.
expect(convert(folders / "llama-dynamic.gguf", made / "dynamic-back"), 0, "dynamic: from GGUF")
check(not differing(weights(made / "dynamic-back"), weights(folders / "llama-dynamic")),
      "dynamic: the same weights")
compare_words("dynamic", folders / "llama-dynamic", made / "dynamic-back")

# The length of YaRN's rotations under the key of other converters.
expect(convert(folders / "llama-yarn-whole.gguf", made / "yarn-back"), 0, "yarn: from GGUF")
compare_words("yarn", folders / "llama-yarn-whole", made / "yarn-back")

# Encoders: the same tokens, and what is behind the model.
lines = write("sentences", "A small nodule\nGr\u00f6\u00dfe 3 cm, unver\u00e4ndert\n\u80ba\u7ed3\u8282 lung")
for name in ("bert", "nomic-bert", "qwen3-embedding"):
    vectors = [run("radllm-embed", "-m", model, "-f", lines)
               for model in (folders / name, made / (name + ".gguf"), made / name)]
    check(vectors[0].code == 0 and vectors[0].out == vectors[1].out == vectors[2].out != b"",
          f"{name}: the same embeddings", vectors[2])
# RoBERTa goes on as BERT, whose positions begin with the first row.
vectors = [run("radllm-embed", "-m", model, "-f", lines)
           for model in (folders / "xlm-roberta", made / "xlm-roberta-four")]
check(vectors[0].out == vectors[1].out != b"", "xlm-roberta: the same embeddings", vectors[1])
expect(convert(made / "bert.gguf", made / "bert", "--force"), 0, "its folder may be replaced")
(made / "bert" / "1_Pooling" / "notes.odt").write_text("years of work")
expect(convert(made / "bert.gguf", made / "bert", "--force"), 1, "not with other files", "1_Pooling")
check((made / "bert" / "1_Pooling" / "notes.odt").exists() and
      (made / "bert" / "config.json").exists(), "which stay")

shutil.copytree(folders / "qwen3-embedding", folder / "both-ways")
config = json.loads((folder / "both-ways" / "config.json").read_text())
(folder / "both-ways" / "config.json").write_text(json.dumps(dict(config, is_causal=False)))
expect(convert(folder / "both-ways", made / "both-ways.gguf"), 0, "a decoder that sees both ways")
vectors = [run("radllm-embed", "-m", model, "-f", lines).out
           for model in (folders / "qwen3-embedding", folder / "both-ways", made / "both-ways.gguf")]
check(vectors[0] != vectors[1] == vectors[2] != b"", "computes so, from both")

# ---- types, shards ----

source = folders / "mixtral"
result = convert(source, made / "typed.gguf", "--type", "BF16")
check(result.code == 0 and tensors(made / "typed.gguf")["token_embd.weight"][0] == "BF16",
      "--type BF16", result)
expect(run("radllm-quantize", source, made / "q.gguf", "Q8_0"), 0, "quantizing a folder")
expect(run("radllm-quantize", made / "mixtral.gguf", made / "r.gguf", "Q8_0"), 0, "and its file")
check(tensors(made / "q.gguf") == tensors(made / "r.gguf"), "give the same numbers")
refused(convert(made / "q.gguf", made / "no"), "folders hold no Q8_0", "is Q8_0", "--type")
refused(convert(folders / "mixtral", made / "no", "--type", "Q8_0"), "folders hold no Q8_0",
        "is Q8_0", "--type")
check(not (made / "no").exists() and not list(made.glob("*.partial")), "nothing is left")
result = convert(made / "q.gguf", made / "wide", "--type", "F16", "--shard-size", "200K")
expect(result, 0, "Q8_0 decoded to F16, in several files")
index = json.loads((made / "wide" / "model.safetensors.index.json").read_text())
check(len(set(index["weight_map"].values())) > 2 and
      index["weight_map"].keys() == weights(made / "wide").keys(), "the index names all")
check(run("radllm-inspect", made / "wide").code == 0, "the files are read")
check(all(file.stat().st_size < 300000 for file in (made / "wide").glob("*.safetensors")),
      "no file is larger than asked for")

# ---- adapters, merged ----
# Their numbers: tests/golden/test_golden_adapters.c, tools/oracle/compare_merged.py.

adapters = GOLDEN / "adapters"
both = ("--lora", f"{adapters / 'llama-all'}=0.5", "--lora", f"{adapters / 'llama-attention'}=-1.25")
result = convert(folders / "llama-mha", made / "lora-folder", *both)
expect(result, 0, "two adapters merged from folder to folder")
check("adapters merged into 14 tensors" in result.text(), "which is said", result)
expect(convert(GOLDEN / "architectures/llama-mha-f32.gguf", made / "lora-back", *both), 0,
       "the same from GGUF")
check(not differing(weights(made / "lora-folder"), weights(made / "lora-back")) and
      len(differing(weights(made / "lora-folder"), weights(folders / "llama-mha"))) == 14,
      "gives the same weights, others than the model's")
expect(convert(folders / "llama-mha", made / "lora.gguf", *both, "-t", "2"), 0, "to GGUF")
expect(convert(made / "lora.gguf", made / "lora-two"), 0, "and to a folder")
check(not differing(weights(made / "lora-folder"), weights(made / "lora-two")), "the same again")
expect(convert(folders / "gpt2", made / "lora-gpt2", "--lora", adapters / "gpt2-all"), 0,
       "into matrices that folders have turned")
check(len(differing(weights(made / "lora-gpt2"), weights(folders / "gpt2"))) == 8, "eight of these")
one = ("--lora", adapters / "llama-all")
result = convert(GOLDEN / "architectures/llama-mha-q8_0.gguf", made / "lora-q.gguf", *one)
expect(result, 0, "into quantized weights", "rounded a second time")
check(tensors(made / "lora-q.gguf")["blk.0.attn_q.weight"][0] == "F32" and
      (made / "lora-q.gguf").stat().st_size < 1.1 * (
          GOLDEN / "architectures/llama-mha-q8_0.gguf").stat().st_size, "which keep their type")
expect(convert(GOLDEN / "architectures/llama-mha-q8_0.gguf", made / "lora-wide.gguf", *one,
               "--type", "BF16"), 0, "or get the one that is asked for")
check(tensors(made / "lora-wide.gguf")["blk.0.attn_q.weight"][0] == "BF16", "BF16 for one")
expect(convert(GOLDEN / "architectures/llama-mha-q8_0.gguf", made / "no.gguf", *one, "--type", "Q4_0"),
       1, "quantized weights to another quantized type", "--allow-requantize")
expect(run("radllm-quantize", folders / "llama-mha", made / "lora-q4.gguf", "Q4_0", *one), 0,
       "radllm-quantize does it on the way")
expect(convert(folders / "qwen2", made / "no.gguf", *one), 1, "an adapter of another model",
       "layers.0.self_attn.k_proj.lora_B.weight' (of blk.0.attn_k.weight) is 64 x 4; the model needs 32 x 4",
       "belongs to another model")
refused(convert(folders / "mixtral", made / "no", *one), "the same for a folder",
        "tensor 'base_model.model.model.layers.0", "another model")
expect(convert(folders / "llama3-gqa-tied", made / "untied", "--lora", adapters / "llama-grouped"), 0,
       "an embedding that is the output as well")
check(json.loads((made / "untied/config.json").read_text())["tie_word_embeddings"] is False,
      "becomes two matrices")
expect(convert(made / "untied", made / "untied.gguf"), 0, "and so in GGUF")
check("output.weight" in tensors(made / "untied.gguf"), "which has both")
expect(convert(folders / "llama-mha", made / "no.gguf", "--lora",
               f"{adapters / 'llama-whole'}=0.5"), 1, "whole tensors have no scale", "scale 1")
expect(convert(folders / "llama-mha", made / "no.gguf", "--lora", folder / "nowhere"), 1,
       "no adapter", "nowhere")
expect(convert(GOLDEN / "types/iq2_s.gguf", made / "no.gguf", "--lora", adapters / "llama-all"), 1,
       "another shape", "belongs to another model")
check(not [path for path in made.iterdir() if path.stem == "no"], "failures leave nothing")

# ---- quantized folders, decoded ----

packed = folder / "packed"
subprocess.run([sys.executable, GOLDEN / "make_packed.py", packed], check=True)
for name in ("gptq-4-order", "awq", "exl2", "gptq-experts", "integers-4", "gptq-4-wide", "bitnet",
             "bitnet-divided", "nvfp4", "mxfp4"):
    result = convert(packed / name, made / "packed.gguf", "--type", "F32", "--force")
    expect(result, 0, f"{name}: decoded")
    expect(convert(packed / (name + "-f32"), made / "float.gguf", "--force"), 0, "and what it stands for")
    check(not differing(tensors(made / "packed.gguf"), tensors(made / "float.gguf")),
          f"{name}: bit for bit", result)
for name in ("awq", "bitnet"):
    refused(convert(packed / name, made / "no.gguf"), f"{name}: quants that GGUF has not",
            "not converted as it is", "--type")
expect(convert(GOLDEN / "types/i2_s.gguf", made / "ternary", "--type", "F32"), 0, "I2_S to a folder")
for name in ("no.gguf", "no"):
    refused(convert(packed / "exl2-apart", made / name, "--type", "F16"), "Phi-3 of ExLlamaV2",
            "stand apart, as ExLlamaV2 writes them")
refused(convert(packed / "awq", made / "no.gguf", "--type", "Q4_0"), "quantized once already",
        "quantized already")

# A matrix of one row, which is a vector in GGUF.
gate = "model.layers.0.mlp.shared_expert_gate"
settings = json.loads((folders / "qwen2moe/config.json").read_text())
given = weights(folders / "qwen2moe")
n = given[gate + ".weight"][1][1]
given.update({gate + ".weight": ("F8_E4M3", [1, n], bytes([0x38, 0xB8] * (n // 2))),
              gate + ".weight_scale": ("F32", [1], struct.pack("<f", 0.5))})
make_packed.write(made / "gate", {**settings, "quantization_config": {"quant_method": "fp8"}}, given)
expect(convert(made / "gate", made / "gate.gguf", "--type", "F32"), 0, "one row of FP8")
check(tensors(made / "gate.gguf")["blk.0.ffn_gate_inp_shexp.weight"][1:] ==
      ([n], struct.pack(f"<{n}f", *[0.5, -0.5] * (n // 2))), "is decoded")

# Matrices of NVFP4 with scales in tensors beside them: a folder holds the products.
source = GOLDEN / "types/nvfp4.gguf"
refused(convert(source, made / "no"), "NVFP4 stays nothing in a folder", "is NVFP4", "--type")
expect(convert(source, made / "scaled", "--type", "F32"), 0, "but floats")
expect(run("radllm-quantize", source, made / "unscaled.gguf", "F32"), 0, "and in GGUF")
plain, scaled = tensors(made / "unscaled.gguf"), weights(made / "scaled")
floats = {key: struct.unpack(f"<{len(data) // 4}f", data)
          for key, (_, _, data) in (*plain.items(), *scaled.items())}
factor = floats["blk.0.ffn_up.scale"][0]
check(factor != 1 and [struct.unpack("<f", struct.pack("<f", x * factor))[0]
                       for x in floats["blk.0.ffn_up.weight"]] ==
      list(floats["model.layers.0.mlp.up_proj.weight"]), "the numbers times their scale")
check(run("radllm-inspect", made / "scaled").code == 0 and not any("scale" in key for key in scaled),
      "which stands nowhere else")
source = folders / "mixtral"

# ---- what stands there ----

target = made / "mixtral.gguf"
before = target.read_bytes()
refused(convert(source, target), "a file is not overwritten", "exists", "--force")
check(target.read_bytes() == before, "and stays")
expect(convert(source, target, "--force"), 0, "but with --force")
check(target.read_bytes() == before, "equal input, equal bytes")
refused(convert(target, made / "wide"), "neither is a folder", "exists")
expect(convert(target, made / "wide", "--force"), 0, "but with --force")
check(sorted(p.name for p in (made / "wide").iterdir()) ==
      ["config.json", "generation_config.json", "model.safetensors"],
      "what was replaced is gone")
(made / "wide" / "thesis.odt").write_text("years of work")
refused(convert(target, made / "wide", "--force"), "a folder with other files", "thesis.odt")
check((made / "wide" / "thesis.odt").exists() and (made / "wide" / "config.json").exists(), "stays")
expect(convert(source, source / "model.safetensors", "--to", "gguf", "--force"), 1,
       "onto a file that is read", "one of the files to read")
(made / "taken.partial").mkdir()
with_lock = os.open(made / "taken.partial", os.O_RDONLY)
fcntl.flock(with_lock, fcntl.LOCK_EX)
expect(convert(target, made / "taken"), 1, "two that write one folder", "another program")
os.close(with_lock)
for left in ("taken.partial", "taken.replaced"):
    (made / left).mkdir(exist_ok=True)
    (made / left / "chat_template.jinja.partial").write_text("left by a killed attempt")
expect(convert(target, made / "taken"), 0, "what a killed attempt left")
(made / "taken.replaced").mkdir()
(made / "taken.replaced" / "config.json").write_text("left by another one")
expect(convert(target, made / "taken", "--force"), 0, "and one that replaced a folder")
check(not list(made.glob("taken.*")), "is gone")
(made / "taken.replaced").mkdir()
(made / "taken.replaced" / "thesis.odt").write_text("years of work")
refused(convert(target, made / "taken", "--force"), "not what is no model's", "taken.replaced")
shutil.rmtree(made / "taken.replaced")
refused(convert(target, f"{made}/taken/.", "--force"), "a folder by another name", "own name")
(made / "nowhere.gguf").symlink_to("there/is/none.gguf")
refused(convert(source, made / "nowhere.gguf", "--force"), "a link to nothing", "leads to no file")
check((made / "nowhere.gguf").is_symlink(), "which stays")
refused(convert(source, source, "--force"), "onto itself", "is the file to read and the one to write")
result = convert("--dry-run", source, made / "dry.gguf", "--json")
report = json.loads(result.out)
check(result.code == 0 and not (made / "dry.gguf").exists() and
      report["bytes"] == len(before), "--dry-run tells the size and writes nothing", result)
for arguments, text in ((("--type", "Q9"), "no type"), (("--shard-size", "x"), "no size"),
                        (("--to", "zip"), "neither gguf nor folder")):
    expect(convert(source, made / "u", *arguments), 2, " ".join(arguments), text)
expect(convert(), 2, "without names", "name the folder")
refused(convert(source, made / "no" / "where.gguf"), "a folder that is not there", "make the folder")
refused(convert(target, made / "no" / "where"), "the same for folders", "No such file")
check("/dev/full" if not os.path.exists("/dev/full") else
      convert(source, "/dev/full", "--to", "gguf", "--force").code == 1, "a full disk")

# ---- malformed folders ----


def spoiled(name, change, *texts):
    path = folder / "spoiled" / name
    shutil_copy(folders / "llama-mha", path)
    change(path)
    result = convert(path, made / "spoiled.gguf")
    check(result.code == 1 and result.err.startswith("radllm-convert: ") and
          not list(made.glob("spoiled*")), f"{name}: a message, nothing left", result)
    refused(result, name, *texts)


def shutil_copy(source, target):
    target.mkdir(parents=True)
    for file in source.iterdir():
        (target / file.name).write_bytes(file.read_bytes())


def edit(key, value):
    def change(path):
        config = json.loads((path / "config.json").read_text())
        config[key] = value
        (path / "config.json").write_text(json.dumps(config))
    return change


def cut(path):
    data = (path / "model.safetensors").read_bytes()
    (path / "model.safetensors").write_bytes(data[:len(data) // 2])


def drop_last(path):
    data = (path / "model.safetensors").read_bytes()
    size = struct.unpack_from("<Q", data)[0]
    header = json.loads(data[8:8 + size])
    header.pop("__metadata__", None)
    begin, name = max((entry["data_offsets"][0], name) for name, entry in header.items())
    del header[name]
    text = json.dumps(header).encode()
    (path / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text +
                                             data[8 + size:8 + size + begin])


spoiled("a tensor that is not there", drop_last, "is missing", "no complete llama model")
spoiled("no configuration", lambda path: (path / "config.json").unlink())
spoiled("half the weights", cut)
spoiled("another family", edit("model_type", "whisper"))
spoiled("three heads", edit("num_attention_heads", 3))
spoiled("heads beyond measure", edit("num_attention_heads", 2147483647))
spoiled("a part of each head, scaled", lambda path: [
    edit("partial_rotary_factor", 0.5)(path),
    edit("rope_parameters", None)(path),
    edit("rope_scaling", {"rope_type": "linear", "factor": 2.0})(path)], "partial_rotary_factor")
spoiled("tokenizer that is none", lambda path: (path / "tokenizer.json").write_text("{"))
spoiled("an index that leads out", lambda path: [
    (path / "model.safetensors").unlink(),
    (path / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../x.safetensors"}}')])

# Llama rotates whole heads, whatever this key says; what a GGUF file says of them counts.
path = folder / "spoiled" / "whole heads"
shutil_copy(folders / "llama-mha", path)
edit("partial_rotary_factor", 0.5)(path)
expect(convert(path, made / "whole.gguf"), 0, "partial_rotary_factor of a llama")
rotated = metadata(made / "whole.gguf")["llama.rope.dimension_count"]
check(rotated == metadata(made / "llama-mha.gguf")["llama.rope.dimension_count"] > 2,
      "says nothing")
data = (made / "whole.gguf").read_bytes()
key = b"llama.rope.dimension_count" + struct.pack("<I", 4)
(made / "half.gguf").write_bytes(data.replace(key + struct.pack("<I", rotated),
                                              key + struct.pack("<I", rotated // 2)))
refused(convert(made / "half.gguf", made / "no"), "half of each head", "values", "rotate")

# ---- tokenizers ----

TEXTS = ["The chest X-ray shows no acute abnormality.", "  Gr\u00f6\u00dfe 3\u00d74 cm,  12345\n\n\t",
         "\u80ba\u7ed3\u8282 \U0001f600 it's WE'LL"]


def ids(path, text):
    return run("radllm-tokenize", "-m", path, "-p", text).out


def with_tokenizer(name, found, size, extra=()):
    """A model of one layer with a vocabulary from elsewhere."""
    path = folder / "tokenizers" / name
    path.mkdir(parents=True)
    base = json.loads((folders / "llama-mha" / "config.json").read_text())
    base.update(vocab_size=size, hidden_size=16, intermediate_size=32, num_hidden_layers=1,
                num_attention_heads=2, num_key_value_heads=2, head_dim=8, tie_word_embeddings=True)
    (path / "config.json").write_text(json.dumps(base))
    shapes = {"model.embed_tokens.weight": [size, 16], "model.norm.weight": [16]}
    for part, shape in (("self_attn.q_proj", [16, 16]), ("self_attn.k_proj", [16, 16]),
                        ("self_attn.v_proj", [16, 16]), ("self_attn.o_proj", [16, 16]),
                        ("mlp.gate_proj", [32, 16]), ("mlp.up_proj", [32, 16]),
                        ("mlp.down_proj", [16, 32]), ("input_layernorm", [16]),
                        ("post_attention_layernorm", [16])):
        shapes[f"model.layers.0.{part}.weight"] = shape
    at, header = 0, {}
    for key, shape in shapes.items():
        end = at + 4 * shape[0] * (shape[1] if len(shape) > 1 else 1)
        header[key] = {"dtype": "F32", "shape": shape, "data_offsets": [at, end]}
        at = end
    text = json.dumps(header).encode()
    with open(path / "model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + at)
    for file in found.iterdir():
        if file.suffix == ".json":
            (path / file.name).write_bytes(file.read_bytes())
    for key, value in extra:
        config = json.loads((path / "tokenizer_config.json").read_text())
        config[key] = value
        (path / "tokenizer_config.json").write_text(json.dumps(config))
    return path


for name, size in (("llama2", 32000), ("phi-3", 32064)):
    found = shared("tokenizers/onnxruntime-extensions/" + name)
    if found is None:
        tap.skip(name, "no ../shared/data/tokenizers at hand")
        continue
    template = "{% for m in messages %}<|{{ m.role }}|>\n{{ m['content'] }}{% endfor %}\u00e4"
    path = with_tokenizer(name, found, size, [("chat_template", template)])
    gguf, back = made / (name + ".gguf"), made / (name + "-back")
    expect(convert(path, gguf), 0, f"{name}: to GGUF with its tokenizer")
    expect(convert(gguf, back), 0, f"{name}: and back")
    check(all(ids(path, text) == ids(gguf, text) == ids(back, text) != b"" for text in TEXTS),
          f"{name}: the same tokens everywhere")
    check(metadata(gguf)["tokenizer.chat_template"] == template ==
          metadata(back)["tokenizer.chat_template"], f"{name}: the template came along")
    keys = metadata(gguf)
    check(keys["tokenizer.ggml.model"] == "llama" and keys["tokenizer.ggml.bos_token_id"] == 1 and
          len(keys["tokenizer.ggml.tokens"]) == size ==
          len(keys["tokenizer.ggml.token_type"]) == len(keys["tokenizer.ggml.scores"]),
          f"{name}: the keys that readers look for")

# Readers know Phi-3 by its name and its tokens for ones that swallow spaces, which these do not. And
# merges become the scores that SentencePiece's trainer gives, once and for all.
ends = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
for name in ("phi-3-other", "llama2-small"):
    path = with_tokenizer(name, folder, 700)
    (path / "tokenizer.json").write_bytes((SOURCE / "tests/unit/tokenizers/llama2.json").read_bytes())
    (path / "tokenizer_config.json").write_text(json.dumps(ends))
    gguf, back, again = made / (name + ".gguf"), made / (name + "-back"), made / (name + "-again.gguf")
    expect(convert(path, gguf), 0, f"{name}: to GGUF")
    expect(convert(gguf, back), 0, f"{name}: and back")
    expect(convert(back, again), 0, f"{name}: and to GGUF again")
    check(all(ids(path, text) == ids(gguf, text) == ids(back, text) == ids(again, text) != b""
              for text in ("a</s>  b</s>\n", " </s> a")), f"{name}: the same tokens everywhere")
    wrong = differing_words(gguf, again)
    check(not wrong, f"{name}: the same keys {wrong}")
    keys = metadata(gguf)
    numbers = [score for score, kind in zip(keys["tokenizer.ggml.scores"],
                                            keys["tokenizer.ggml.token_type"]) if kind == 1]
    check(sorted(numbers) == [-n for n in range(len(numbers))][::-1],
          f"{name}: scores count the pieces")

# Added tokens of a WordPiece are no words, which GGUF marks.
words = json.loads((SOURCE / "tests/unit/tokenizers/bert.json").read_text())
size = 1 + max(*words["model"]["vocab"].values(), *(token["id"] for token in words["added_tokens"]))
for n, special in enumerate((True, False)):
    words["added_tokens"].append(dict(id=size + n, content=f"<e{n}>", special=special, lstrip=False,
                                      rstrip=False, single_word=False, normalized=False))
path = with_tokenizer("words", folder, size + 2)
(path / "tokenizer.json").write_text(json.dumps(words))
gguf, back, again = made / "words.gguf", made / "words-back", made / "words-again.gguf"
expect(convert(path, gguf), 0, "WordPiece with added tokens: to GGUF")
expect(convert(gguf, back), 0, "WordPiece with added tokens: and back")
expect(convert(back, again), 0, "WordPiece with added tokens: and to GGUF again")
spelled = [ids(one, "the<e0>chest <e1>. e1") for one in (path, gguf, back, again)]
check(len(set(spelled)) == 1 and str(size + 1).encode() in spelled[0].split() and
      str(size).encode() in spelled[0].split(), f"the same tokens everywhere {spelled}")
wrong = differing_words(gguf, again)
check(not wrong, f"the same keys {wrong}")
plain = json.loads((SOURCE / "tests/unit/tokenizers/gpt2.json").read_text())
path = with_tokenizer("normalized", folder, 512)

# What GGUF's own keys do not say of a tokenizer.json stands in a key more, which readers follow: the
# tokens are those of the folder, there and back.
SHOWING = ["  Gro\u0308\u00dfe \u2026 3\u00d74 cm\u00b2 \uff21\u017f  WE'LL <n>x <N> 12 ", "\u2581a \u00e9 e\u0301 ``b''"]
NORMALIZERS = {
    "NFC": {"type": "NFC"}, "NFD": {"type": "NFD"}, "NFKC": {"type": "NFKC"}, "NFKD": {"type": "NFKD"},
    "Lowercase": {"type": "Lowercase"}, "StripAccents": {"type": "StripAccents"}, "Nmt": {"type": "Nmt"},
    "Strip": {"type": "Strip", "strip_left": True, "strip_right": False},
    "Prepend": {"type": "Prepend", "prepend": "a"}, "ByteLevel": {"type": "ByteLevel"},
    "Replace": {"type": "Replace", "pattern": {"String": "\u2026"}, "content": "..."},
    "Replace of an expression": {"type": "Replace", "pattern": {"Regex": "[0-9]+ ?"}, "content": "#"},
    "BertNormalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": False,
                       "strip_accents": None, "lowercase": True},
    "Sequence": {"type": "Sequence", "normalizers": [{"type": "NFD"}, {"type": "StripAccents"},
                                                     {"type": "Lowercase"}]}}
COMPOSED = {"qwen2 with NFC": {"type": "NFC"}, "qwen2 without": None}


def same_everywhere(name, tokenizer, size, plain=False, texts=SHOWING, extra=()):
    """Folder, GGUF, folder and GGUF have the same tokens, and the GGUF files the same keys."""
    label = "parts-" + name.replace(" ", "-")
    path = with_tokenizer(label, folder, size)
    (path / "tokenizer.json").write_text(json.dumps(tokenizer))
    for file, text in extra:
        (path / file).write_text(json.dumps(text))
    gguf, back, again = made / (label + ".gguf"), made / (label + "-back"), made / (label + "-2.gguf")
    expect(convert(path, gguf), 0, f"{name}: to GGUF")
    expect(convert(gguf, back), 0, f"{name}: and back")
    expect(convert(back, again), 0, f"{name}: and to GGUF again")
    wrong = differing_words(gguf, again)
    check(not wrong, f"{name}: the same keys {wrong}")
    found = [[ids(one, text) for text in texts] for one in (path, gguf, back, again)]
    check(all(one == found[0] for one in found) and any(found[0]), f"{name}: the same tokens")
    check(("radllm.tokenizer.json" in metadata(gguf)) != plain, f"{name}: a key more {not plain}")
    return gguf, back


qwen = json.loads((SOURCE / "tests/unit/tokenizers/qwen2.json").read_text())
plain["added_tokens"].append(dict(id=511, content="<N>", special=False, normalized=True, lstrip=False,
                                  rstrip=True, single_word=False))
for name, normalizer in NORMALIZERS.items():
    same_everywhere(name, dict(plain, normalizer=normalizer), 512)
for name, normalizer in COMPOSED.items():
    gguf, back = same_everywhere(name, dict(qwen, normalizer=normalizer), 512, normalizer is None)
    check(json.loads((back / "tokenizer.json").read_text())["normalizer"] == normalizer,
          f"{name}: the same normalizer")
# Those of tests/unit, of which GGUF's own keys suffice some, and has no kind of model for others.
PLAIN = {"bert", "gpt2", "llama3"}
NO_KIND = {"continuing", "ends", "repeats", "splits", "suffix", "words"}
for file in sorted((SOURCE / "tests/unit/tokenizers").glob("*.json")):
    name = file.name.split(".")[0]
    if file.name.endswith(".cases.json"):
        continue
    given = json.loads(file.read_text())
    size = len(given["model"]["vocab"]) + len(given["added_tokens"]) + 40
    if name in NO_KIND:
        path = with_tokenizer("kind-" + name, folder, size)
        (path / "tokenizer.json").write_text(json.dumps(given))
        refused(convert(path, made / "no.gguf"), f"{name}: GGUF has no such model", "its model is")
        continue
    cases = json.loads((file.parent / f"{name}.cases.json").read_text())
    texts = [case["text"] for case in cases if case["text"] and "\0" not in case["text"]]
    same_everywhere(name, given, size, name in PLAIN, SHOWING + texts[3::7])
lowered = json.loads((SOURCE / "tests/unit/tokenizers/bert.json").read_text())
same_everywhere("do_lower_case beside a tokenizer.json", lowered, 700, extra=[
    ("tokenizer_config.json", {"tokenizer_class": "BertTokenizer", "do_lower_case": False,
                               "tokenize_chinese_chars": False})])

# How added tokens are found goes to GGUF and back, and counts there.
path = with_tokenizer("added", folder, 512)
added = json.loads((SOURCE / "tests/unit/tokenizers/gpt2.json").read_text())
for n, (content, marks, special) in enumerate((("<l>", {"lstrip"}, True), ("<r>", {"rstrip"}, True),
                                               ("<w>", {"single_word"}, False),
                                               ("<n>", {"normalized", "lstrip", "rstrip"}, False))):
    added["added_tokens"].append(dict(
        {key: key in marks for key in ("lstrip", "rstrip", "single_word", "normalized")},
        id=500 + n, content=content, special=special))
(path / "tokenizer.json").write_text(json.dumps(added))
gguf, back = made / "added.gguf", made / "added-back"
expect(convert(path, gguf), 0, "added tokens of every kind: to GGUF")
expect(convert(gguf, back), 0, "and back")
check(all(ids(path, text) == ids(gguf, text) == ids(back, text) != b"" for text in (
    "a \u3000<l> b", "a <r>\t\u00a0 b<r>", "<w> a<w> <w>b <w>", "a <n> b", "a  <l>  <r>  <l>")),
      "the same tokens everywhere", run("radllm-tokenize", "-m", gguf, "-p", "a \u3000<l> b"))
returned = json.loads((back / "tokenizer.json").read_text())["added_tokens"]
again = made / "added-again.gguf"
expect(convert(back, again), 0, "and to GGUF again")
wrong = differing_words(gguf, again)
check(not wrong, f"the same keys {wrong}")
check([{key: token[key] for key in ("id", "content", "lstrip", "rstrip", "single_word", "normalized",
                                    "special")} for token in returned][-4:] ==
      [{key: token[key] for key in ("id", "content", "lstrip", "rstrip", "single_word", "normalized",
                                    "special")} for token in added["added_tokens"]][-4:],
      "the same properties")

# Chat templates with names: GGUF's keys for them, and a list in tokenizer_config.json.
def templates(path):
    return {key[len("tokenizer.chat_template"):]: value for key, value in metadata(path).items()
            if key.startswith("tokenizer.chat_template")}


(path / "tokenizer_config.json").write_text(json.dumps({"chat_template": [
    {"name": "tool-use", "template": "old"}, {"name": "default", "template": "D"}, {"name": "x"},
    {"name": "rag", "template": "R\"\u00e4\\\n"}, {"name": "tool-use", "template": "T"}]}))
named = {"": "D", ".tool_use": "T", ".rag": "R\"\u00e4\\\n", "s": ["tool_use", "rag"]}
expect(convert(path, gguf, "--force"), 0, "templates with names: to GGUF")
expect(convert(gguf, back, "--force"), 0, "templates with names: and back")
check(templates(path) == templates(gguf) == templates(back) == named,
      f"templates with names: all come along {templates(back)}")
config = json.loads((back / "tokenizer_config.json").read_text())
check({entry["name"]: entry["template"] for entry in config["chat_template"]} ==
      {"default": "D", "tool_use": "T", "rag": named[".rag"]}, "templates with names: a list of all")
check("bos_token" not in config and "eos_token" not in config and
      json.loads((back / "config.json").read_text())["bos_token_id"] is None and
      json.loads((back / "generation_config.json").read_text())["eos_token_id"] == [318],
      "no piece of text is named as the beginning or the end")
(path / "additional_chat_templates").mkdir()
(path / "additional_chat_templates" / "tool_use.jinja").write_text("file")
(path / "additional_chat_templates" / "notes.txt").write_text("no template")
expect(convert(path, back, "--force"), 0, "templates in files: from folder to folder")
expect(convert(path, back, "--force"), 0, "templates in files: once more")
expect(convert(path, gguf, "--force"), 0, "templates in files: to GGUF")
check(templates(path) == templates(gguf) == templates(back) ==
      {"": "D", ".tool_use": "file", "s": ["tool_use"]} and
      [file.name for file in (back / "additional_chat_templates").iterdir()] == ["tool_use.jinja"],
      f"templates in files: these count {templates(gguf)}")
shutil.rmtree(path / "additional_chat_templates")

# What fills batches up, and what stands for words that training took out.
(path / "tokenizer_config.json").write_text('{"pad_token": "<w>", "mask_token": {"content": "<r>"}}')
expect(convert(path, gguf, "--force"), 0, "padding and mask: to GGUF")
check([metadata(gguf).get(f"tokenizer.ggml.{key}_token_id") for key in ("padding", "mask")] ==
      [502, 501], "padding and mask: the keys that readers look for")
expect(convert(gguf, back, "--force"), 0, "padding and mask: and back")
returned = json.loads((back / "tokenizer_config.json").read_text())
check(returned.get("pad_token") == "<w>" and returned.get("mask_token") == "<r>" and
      json.loads((back / "config.json").read_text())["pad_token_id"] == 502,
      "padding and mask: they are named again")
(path / "tokenizer_config.json").unlink()

# Padding behind the embedding's rows is no token; others there belong to another model.
for content, named in (("<pad>", {}), ("<fill>", {"pad_token": {"content": "<fill>"}}), ("<z>", {})):
    outer = folder / "tokenizers" / ("outer" + str(len(content)) + str(len(named)))
    shutil.copytree(path, outer)
    outside = dict(added, added_tokens=added["added_tokens"] + [
        dict(added["added_tokens"][-1], id=512, content=content, special=True)])
    (outer / "tokenizer.json").write_text(json.dumps(outside))
    (outer / "tokenizer_config.json").write_text(json.dumps(named))
    if content == "<z>":
        refused(convert(outer, made / "no"), f"{content}: refused", "the tokenizer has 513 tokens")
        continue
    file = made / (outer.name + ".gguf")
    expect(convert(outer, file), 0, f"{content} behind the last row: to GGUF")
    spelled = [ids(one, f"a{content}b") for one in (outer, file, path)]
    check(spelled[0] == spelled[1] == spelled[2] != b"", f"{content}: is text")

# What ends answers: two tokens that readers would not know by their texts have keys, and where no file
# names the end, a control token takes its place.
for ends in ([502, 503], [501, 502, 503], [500, 501, 502, 503]):
    (path / "generation_config.json").write_text(json.dumps({"eos_token_id": ends, "top_k": 7}))
    name = f"ends{len(ends)}"
    expect(convert(path, made / (name + "-folder")), 0, f"{name}: from folder to folder")
    check(json.loads((made / (name + "-folder/generation_config.json")).read_text())["top_k"] == 7,
          f"{name}: how to sample is kept")
    if len(ends) > 3:
        refused(convert(path, made / (name + ".gguf")), f"{name}: refused", "eos_token_id")
        continue
    expect(convert(path, made / (name + ".gguf")), 0, f"{name}: to GGUF")
    expect(convert(made / (name + ".gguf"), made / (name + "-back")), 0, f"{name}: and back")
    again = json.loads((made / (name + "-back/generation_config.json")).read_text())["eos_token_id"]
    check(set(ends) <= set(again), f"{name}: all of them end answers {again}")
    eos = metadata(made / (name + ".gguf")).get("tokenizer.ggml.eos_token_id")
    check(eos == (501 if len(ends) == 3 else None), f"{name}: the end {eos}")

# tokenizer.model alone: what GGUF follows, piece by piece and score by score.
for name, file in (("bpe-bytes", SOURCE / "tests/unit/tokenizers/bpe-bytes.model"),
                   ("unigram-user", SOURCE / "tests/unit/tokenizers/unigram-user.model"),
                   ("llama2", shared("tokenizers/onnxruntime-extensions/llama2/tokenizer.model"))):
    if file is None:
        tap.skip(name + ".model", "no ../shared/data/tokenizers at hand")
        continue
    path = with_tokenizer(name + "-model", made, 32000)
    (path / "tokenizer.model").write_bytes(file.read_bytes())
    if name != "unigram-user":  # behind the last row, as some copies of Llama 2 have it
        (path / "added_tokens.json").write_text('{"<pad>": 32000}')
    gguf, back = made / (name + "-model.gguf"), made / (name + "-model-back")
    expect(convert(path, gguf), 0, f"{name}.model: to GGUF")
    expect(convert(gguf, back), 0, f"{name}.model: and back")
    same = made / (name + "-model-same")
    expect(convert(path, same), 0, f"{name}.model: from folder to folder")
    check((same / "tokenizer.model").read_bytes() == file.read_bytes() and
          not (same / "tokenizer.json").exists(), f"{name}.model: is copied")
    check(all(ids(path, text) == ids(gguf, text) == ids(back, text) != b"" for text in TEXTS),
          f"{name}.model: the same tokens everywhere")
    check(metadata(gguf)["tokenizer.ggml.model"] == ("t5" if name.startswith("unigram") else "llama"),
          f"{name}.model: the key that readers look for")

# Pieces of letters that are none themselves, which merges have no words for.
data = (made / "bpe-bytes-model.gguf").read_bytes()
letter = (1).to_bytes(8, "little") + b"e"
check(data.count(letter) == 1, "a file with the piece e")
(made / "lacking.gguf").write_bytes(data.replace(letter, letter[:8] + b"\x7f"))
refused(convert(made / "lacking.gguf", made / "no"), "a vocabulary without letters: refused",
        "would be others in tokenizer.json")
check(not (made / "no").exists(), "leaves nothing")

# What sentence-transformers does to texts is kept.
path = folder / "lower-case"
shutil.copytree(folders / "xlm-roberta", path)
(path / "modules.json").write_text("[]")
(path / "sentence_bert_config.json").write_text('{"do_lower_case": true}')
expect(convert(path, made / "lower-case"), 0, "do_lower_case: from folder to folder")
tokens = [run("radllm-tokenize", "-m", model, "-p", text).out for model, text in
          ((path, "THE Lungs"), (made / "lower-case", "THE Lungs"),
           (folders / "xlm-roberta", "the lungs"), (folders / "xlm-roberta", "THE Lungs"))]
check(tokens[0] == tokens[1] == tokens[2] != tokens[3], "do_lower_case: the same tokens")
expect(convert(path, made / "lower-case.gguf"), 0, "do_lower_case: to GGUF")
expect(convert(made / "lower-case.gguf", made / "lower-case-back"), 0, "do_lower_case: and back")
found = [run("radllm-tokenize", "-m", model, "-p", "THE Lungs").out
         for model in (made / "lower-case.gguf", made / "lower-case-back")]
check(found == tokens[:2], "do_lower_case: the same tokens there")

# Unigram beside an encoder: the same vectors from the file.
path = folder / "tokenizers" / "xlm"
shutil.copytree(folders / "xlm-roberta", path)
(path / "tokenizer.json").unlink()
(path / "tokenizer.model").write_bytes(
    (SOURCE / "tests/unit/tokenizers/unigram-user.model").read_bytes())
expect(convert(path, made / "xlm.gguf"), 0, "xlm-roberta with a tokenizer.model: to GGUF")
(folder / "lines").write_text("\n".join(text.replace("\n", " ") for text in TEXTS))
vectors = [run("radllm-embed", "-m", model, "-f", folder / "lines") for model in
           (path, made / "xlm.gguf")]
check(vectors[0].code == 0 and vectors[0].out == vectors[1].out != b"", "the same embeddings",
      vectors[1])

# ---- memory, interruption ----

big = folder / "big"
big.mkdir()
config = json.loads((folders / "llama-mha" / "config.json").read_text())
config.update(hidden_size=2048, intermediate_size=5632, num_hidden_layers=2, vocab_size=8000,
              num_attention_heads=16, num_key_value_heads=16, head_dim=128)
(big / "config.json").write_text(json.dumps(config))
header, at = {}, 0
shapes = {"model.embed_tokens.weight": [8000, 2048], "lm_head.weight": [8000, 2048],
          "model.norm.weight": [2048]}
for layer in range(2):
    for part, shape in (("self_attn.q_proj", [2048, 2048]), ("self_attn.k_proj", [2048, 2048]),
                        ("self_attn.v_proj", [2048, 2048]), ("self_attn.o_proj", [2048, 2048]),
                        ("mlp.gate_proj", [5632, 2048]), ("mlp.up_proj", [5632, 2048]),
                        ("mlp.down_proj", [2048, 5632]), ("input_layernorm", [2048]),
                        ("post_attention_layernorm", [2048])):
        shapes[f"model.layers.{layer}.{part}.weight"] = shape
for key, shape in shapes.items():
    end = at + 4 * shape[0] * (shape[1] if len(shape) > 1 else 1)
    header[key] = {"dtype": "F32", "shape": shape, "data_offsets": [at, end]}
    at = end
text = json.dumps(header).encode()
with open(big / "model.safetensors", "wb") as file:
    file.write(struct.pack("<Q", len(text)) + text)
    file.truncate(8 + len(text) + at)  # zeros, which take no room on the disk
limited = {} if sanitized() else {"preexec_fn": lambda: resource.setrlimit(
    resource.RLIMIT_AS, (400 << 20, 400 << 20))}
result = convert(big, made / "big.gguf", "--type", "TQ1_0", "-t", "2", **limited)
check(result.code == 0 and at > 500 << 20, f"{at >> 20} MiB of weights in 400 MiB of address space",
      result)

# With an adapter on the way, whose matrices alone are in memory.
(folder / "lora-big").mkdir()
(folder / "lora-big" / "adapter_config.json").write_text(
    json.dumps({"peft_type": "LORA", "r": 8, "lora_alpha": 8}))
header, at = {}, 0
for part, shape in (("A", [8, 2048]), ("B", [5632, 8])):
    header[f"base_model.model.model.layers.1.mlp.up_proj.lora_{part}.weight"] = {
        "dtype": "F32", "shape": shape, "data_offsets": [at, at + 4 * shape[0] * shape[1]]}
    at += 4 * shape[0] * shape[1]
text = json.dumps(header).encode()
(folder / "lora-big" / "adapter_model.safetensors").write_bytes(
    struct.pack("<Q", len(text)) + text + struct.pack("<f", 0.5) * (at // 4))
result = convert(big, made / "big-lora.gguf", "--type", "TQ1_0", "-t", "2", "--lora",
                 folder / "lora-big", **limited)
check(result.code == 0 and "merged into 1 tensors" in result.text(), "the same with an adapter", result)
plain, merged = ((made / name).read_bytes() for name in ("big.gguf", "big-lora.gguf"))
check(len(plain) == len(merged) and plain != merged, "which is in the weights")
(made / "big-lora.gguf").unlink()

running = start("radllm-convert", big, made / "stopped.gguf", "-t", "1")
deadline = time.monotonic() + 60
while not (made / "stopped.gguf.partial").exists() and time.monotonic() < deadline:
    time.sleep(0.01)
running.send_signal(signal.SIGINT)
running.communicate(timeout=60)
check(running.returncode == 130 and not list(made.glob("stopped*")), "Ctrl-C leaves nothing")
running = start("radllm-convert", made / "big.gguf", made / "stopped", "--type", "F32", "-t", "1")
while not (made / "stopped.partial").exists() and time.monotonic() < deadline:
    time.sleep(0.01)
running.send_signal(signal.SIGINT)
running.communicate(timeout=60)
check(running.returncode == 130 and not list(made.glob("stopped*")), "nor of a folder")

# ---- what others make of it ----

if importlib.util.find_spec("gguf") and importlib.util.find_spec("numpy"):
    from gguf import GGUFReader
    check(len(GGUFReader(made / "qwen3moe.gguf").tensors) == len(tensors(made / "qwen3moe.gguf")),
          "the gguf package reads the file")
else:
    tap.skip("the gguf package", "it is not installed")
if importlib.util.find_spec("transformers") and importlib.util.find_spec("torch"):
    import torch
    import transformers
    for name in ("llama3-gqa-tied", "mixtral", "gemma2", "gpt2"):  # all: compare_converted.py
        logits = []
        for path in (folders / name, made / name):
            model = transformers.AutoModelForCausalLM.from_pretrained(
                path, dtype=torch.float32, attn_implementation="eager").eval()
            with torch.no_grad():
                logits.append(model(torch.arange(5, 45)[None]).logits)
        check(torch.equal(*logits), f"{name}: transformers computes the same logits")
else:
    tap.skip("transformers", "it is not installed")
perplexity = os.environ.get("RADLLM_LLAMA_PERPLEXITY")
report = write("report.txt", "The liver is normal in size. No focal lesion is seen. " * 40)
if perplexity and (made / "llama2.gguf").exists():
    done = subprocess.run([perplexity, "-m", made / "llama2.gguf", "-f", report, "-c", "64"],
                          capture_output=True, timeout=120)
    check(b"Final estimate" in done.stdout + done.stderr, "llama.cpp runs the file",
          Result(done.returncode, done.stdout, done.stderr))
else:
    tap.skip("llama.cpp", "RADLLM_LLAMA_PERPLEXITY does not name its program")

finish()
