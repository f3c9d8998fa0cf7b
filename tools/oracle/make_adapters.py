"""Makes tests/golden/adapters: tiny random LoRA adapters that PEFT saves, the logits that `peft` and
`transformers` compute with them from the models of tests/golden (float64 arithmetic), and GGUF
files of the same adapters, written by the `gguf` package.

Usage: make_adapters.py GOLDEN_FOLDER SCRATCH_FOLDER [NAME...]"""

import json
import os
import shutil
import sys

import gguf
import numpy as np
import peft
import torch
import transformers
from safetensors.torch import load_file, save_file

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "tests", "golden"))
import make_folder

N_IDS, N_POSITIONS = 16, 4

# Name: base model, type of the stored numbers, configuration of PEFT.
ADAPTERS = {
    "llama-all": ("llama-mha", torch.float32, dict(
        r=4, lora_alpha=8, target_modules="all-linear")),
    "llama-attention": ("llama-mha", torch.float16, dict(
        r=2, lora_alpha=6, target_modules=["q_proj", "v_proj"])),
    "llama-grouped": ("llama3-gqa-tied", torch.float16, dict(
        r=3, lora_alpha=5, use_rslora=True, target_modules=["k_proj", "o_proj", "embed_tokens"],
        rank_pattern={"layers.1.self_attn.k_proj": 5},
        alpha_pattern={"^model.layers.0.self_attn.o_proj": 12, "k_proj": 3})),
    "qwen2-head": ("qwen2", torch.bfloat16, dict(
        r=2, lora_alpha=4, target_modules=["k_proj", "up_proj", "lm_head"])),
    "gemma2-embedding": ("gemma2", torch.bfloat16, dict(
        r=2, lora_alpha=4, target_modules=["embed_tokens", "q_proj"])),
    "mixtral-attention": ("mixtral", torch.float16, dict(
        r=2, lora_alpha=4, target_modules=["q_proj", "k_proj", "v_proj", "o_proj"])),
    "gpt2-all": ("gpt2", torch.float16, dict(
        r=2, lora_alpha=4, fan_in_fan_out=True, target_modules=["c_attn", "c_proj", "c_fc"])),
    "bloom-attention": ("bloom", torch.bfloat16, dict(
        r=2, lora_alpha=4, target_modules=["query_key_value", "dense_h_to_4h"])),
    "phi3-fused": ("phi3", torch.float16, dict(
        r=2, lora_alpha=4, target_modules=["qkv_proj", "gate_up_proj", "down_proj"])),
}
# Of latent attention: what makes keys and values of short vectors, which files have in two forms.
ADAPTERS["deepseek2-lite-all"] = ("deepseek2-lite", torch.float16, dict(
    r=3, lora_alpha=6, target_modules="all-linear", rank_pattern={"layers.0.self_attn.kv_b_proj": 5}))
ADAPTERS["deepseek2-v3-all"] = ("deepseek2-v3", torch.bfloat16, dict(
    r=2, lora_alpha=4, use_rslora=True, target_modules="all-linear",
    alpha_pattern={"kv_b_proj": 7}))
# With whole tensors in place of the model's own: only to be merged.
ADAPTERS["llama-whole"] = ("llama-mha", torch.float16, dict(
    r=2, lora_alpha=4, target_modules=["o_proj"], modules_to_save=["v_proj", "norm"]))
# The same of fused ones: queries, keys and values, gates and ups; and of biases.
ADAPTERS["phi3-whole"] = ("phi3", torch.float16, dict(
    r=2, lora_alpha=4, target_modules=["o_proj"],
    modules_to_save=["layers.0.self_attn.qkv_proj", "layers.1.mlp.gate_up_proj"]))
ADAPTERS["gpt2-whole"] = ("gpt2", torch.bfloat16, dict(
    r=2, lora_alpha=4, fan_in_fan_out=True, target_modules=["c_fc"], bias="all"))
# Of one of two that the model has tied: only to be merged into a file.
ADAPTERS["tied-head"] = ("llama3-gqa-tied", torch.float16, dict(
    r=2, lora_alpha=4, target_modules=["o_proj"], modules_to_save=["lm_head"]))
ADAPTERS["tied-embedding"] = ("gemma2", torch.bfloat16, dict(
    r=2, lora_alpha=4, target_modules=["o_proj"], modules_to_save=["embed_tokens"]))
# With lengths of rows (DoRA): only to be merged as well.
ADAPTERS["llama-dora"] = ("llama-mha", torch.float16, dict(
    r=3, lora_alpha=6, use_dora=True, target_modules=["q_proj", "k_proj", "down_proj"]))
ADAPTERS["deepseek2-lite-dora"] = ("deepseek2-lite", torch.float16, dict(
    r=2, lora_alpha=4, use_dora=True, target_modules=["kv_b_proj"]))
ADAPTERS["gpt2-dora"] = ("gpt2", torch.float32, dict(
    r=2, lora_alpha=4, use_dora=True, use_rslora=True, fan_in_fan_out=True,
    target_modules=["c_attn", "c_fc"]))
# Of experts: parameters that hold the matrices of all, as transformers 5 has them (gpt-oss: gates
# and ups in turns, [in, out]).
ADAPTERS["qwen3moe-parameters"] = ("qwen3moe", torch.bfloat16, dict(
    r=2, lora_alpha=4, target_modules=["q_proj"],
    target_parameters=["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]))
ADAPTERS["gpt-oss-parameters"] = ("gpt-oss", torch.float16, dict(
    r=2, lora_alpha=3, use_rslora=True, target_modules=[],
    target_parameters=["mlp.experts.gate_up_proj", "layers.1.mlp.experts.down_proj"],
    alpha_pattern={r".*\.gate_up_proj": 4}))
ADAPTERS["mixtral-gates"] = ("mixtral", torch.float16, dict(
    r=3, lora_alpha=6, target_modules=[], target_parameters=["mlp.experts.gate_up_proj"]))
# The same as PEFT's first versions with target_parameters had it (before 0.18).
SWAPPED = {"mixtral-gates-first": "mixtral-gates"}
# Of experts that are modules, as transformers had them up to version 4: written by hand, and loaded
# by PEFT, which turns them into parameters. Experts without a pair: by zeros there.
MODULES = {"mixtral-experts": ("mixtral", torch.float16, dict(
    r=2, lora_alpha=5, target_modules=["w1", "w2", "w3"]), {(0, 3), (1, 0), (1, 7)})}
# Of models for embeddings: their last layer's vectors.
EMBEDDINGS = {
    "bert-all": ("bert", torch.float16, dict(r=2, lora_alpha=6, target_modules="all-linear")),
    "qwen3-embedding-all": ("qwen3-embedding", torch.bfloat16, dict(
        r=2, lora_alpha=4, use_rslora=True, target_modules="all-linear")),
    # Queries, keys and values are three modules of different ranks, and one matrix in files.
    "nomic-bert-all": ("nomic-bert", torch.float16, dict(
        r=2, lora_alpha=6, target_modules="all-linear", rank_pattern={"k_proj": 3},
        alpha_pattern={"layers.1.self_attn.v_proj": 2}))}
# Two at once, with scales that PEFT is told as alphas.
PAIRS = {"llama-both": ("llama-all", 0.5, "llama-attention", -1.25)}
# From the Q8_0 file of the base, whose weights are others: `transformers` takes them widened.
QUANTIZED = ["llama-all", "gpt2-all", "mixtral-experts"]
AS_GGUF = ["llama-all", "llama-grouped", "gemma2-embedding", "bloom-attention"]


def base_of(name):
    return (ADAPTERS.get(name) or MODULES[name])[0]


def load_base(scratch, base):
    folder = os.path.join(scratch, base)
    embeds = any(base == one for one, _, _ in EMBEDDINGS.values())
    kind = transformers.AutoModel if embeds else transformers.AutoModelForCausalLM
    return kind.from_pretrained(
        folder, attn_implementation="eager", experts_implementation="eager",
        dtype=torch.float32).double().eval()


def make_adapter(scratch, folder, name):
    base, dtype, config = ADAPTERS.get(name) or EMBEDDINGS[name]
    task = "FEATURE_EXTRACTION" if name in EMBEDDINGS else "CAUSAL_LM"
    torch.manual_seed(sum(map(ord, name)))
    model = peft.get_peft_model(load_base(scratch, base),
                                peft.LoraConfig(task_type=task, **config))
    with torch.no_grad():
        for key, tensor in model.named_parameters():
            if "magnitude" in key:
                tensor.mul_(1 + torch.randn(tensor.shape) * 0.2).copy_(tensor.to(dtype))
            elif "lora_" in key:  # large enough that an adapter left out, or one row, is noticed
                tensor.copy_((torch.randn(tensor.shape) * 0.15).to(dtype))
            elif "modules_to_save" in key or (tensor.requires_grad and key.endswith("bias")):
                tensor.add_(torch.randn(tensor.shape) * 0.1).copy_(tensor.to(dtype))
    model.save_pretrained(folder, save_embedding_layers=False)
    path = os.path.join(folder, "adapter_model.safetensors")
    save_file({key: tensor.to(dtype).contiguous() for key, tensor in load_file(path).items()}, path,
              {"format": "pt"})
    os.chmod(path, 0o644)
    os.remove(os.path.join(folder, "README.md"))
    tidy_config(folder, base)


def tidy_config(folder, base):
    path = os.path.join(folder, "adapter_config.json")
    with open(path) as file:
        written = json.load(file)
    written["base_model_name_or_path"] = base
    for key in "target_modules", "target_parameters":  # PEFT writes sets
        if written[key] is not None:
            written[key] = sorted(written[key])
    with open(path, "w") as file:
        json.dump(written, file, indent=1, sort_keys=True)
        file.write("\n")


def make_swapped(golden, name):
    """A's rows become B's columns, and back."""
    source, folder = (os.path.join(golden, "adapters", n) for n in (SWAPPED[name], name))
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(source, folder)
    path = os.path.join(folder, "adapter_model.safetensors")
    with open(os.path.join(folder, "adapter_config.json")) as file:
        rank = json.load(file)["r"]
    tensors = load_file(path)
    for key in [key for key in tensors if ".lora_A." in key]:
        a, b = tensors[key], tensors[key.replace("lora_A", "lora_B")]
        experts = len(a) // rank
        tensors[key] = b.reshape(len(b), rank, experts).permute(2, 1, 0).reshape(-1, len(b))
        tensors[key.replace("lora_A", "lora_B")] = (
            a.reshape(experts, rank, -1).permute(2, 1, 0).reshape(-1, rank * experts))
    save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, path, {"format": "pt"})
    os.chmod(path, 0o644)


def make_modules(golden, scratch, name):
    """Returns a folder for PEFT, where every expert has pairs."""
    base, dtype, config, without = MODULES[name]
    with open(os.path.join(golden, "architectures", base + ".config.json")) as file:
        model = json.load(file)
    torch.manual_seed(sum(map(ord, name)))
    width, ffn, rank = model["hidden_size"], model["intermediate_size"], config["r"]
    all_tensors, some = {}, {}
    for layer in range(model["num_hidden_layers"]):
        for expert in range(model["num_local_experts"]):
            for matrix, rows, columns in ("w1", ffn, width), ("w2", width, ffn), ("w3", ffn, width):
                prefix = (f"base_model.model.model.layers.{layer}.block_sparse_moe.experts."
                          f"{expert}.{matrix}.lora_")
                pair = {prefix + "A.weight": (torch.randn(rank, columns) * 0.15).to(dtype),
                        prefix + "B.weight": (torch.randn(rows, rank) * 0.15).to(dtype)}
                if (layer, expert) in without:
                    pair = {key: tensor * 0 for key, tensor in pair.items()}
                else:
                    some.update(pair)
                all_tensors.update(pair)
    folders = os.path.join(golden, "adapters", name), os.path.join(scratch, name)
    for folder, tensors in zip(folders, (some, all_tensors)):
        shutil.rmtree(folder, ignore_errors=True)
        peft.LoraConfig(task_type="CAUSAL_LM", inference_mode=True,
                        base_model_name_or_path=base, **config).save_pretrained(folder)
        path = os.path.join(folder, "adapter_model.safetensors")
        save_file(tensors, path, {"format": "pt"})
        os.chmod(path, 0o644)
        tidy_config(folder, base)
    return folders[1]


def logits_of(golden, scratch, base, adapters):
    """adapters: folders and scales."""
    model = load_base(scratch, base)
    names = []
    for folder, scale in adapters:
        names.append(f"a{len(names)}")
        if len(names) == 1:
            model = peft.PeftModel.from_pretrained(model, folder, adapter_name=names[0])
        else:
            model.load_adapter(folder, adapter_name=names[-1])
        for module in model.modules():
            if isinstance(module, peft.tuners.lora.LoraLayer) and names[-1] in module.scaling:
                module.scaling[names[-1]] *= scale
    model.base_model.set_adapter(names)
    places = [f"architectures/{base}.ids.json", f"architectures/{base}-f32.ids.json",
              f"folders/{base}.ids.json", f"encoders/{base}-f32.ids.json"]
    with open(next(path for path in (os.path.join(golden, place) for place in places)
                   if os.path.exists(path))) as file:
        ids = json.load(file)["ids"][:N_IDS]
    model = model.double().eval()
    with torch.no_grad():
        logits = model(torch.tensor([ids]))[0][0].numpy()  # or the last layer's vectors
        with model.disable_adapter():
            without = model(torch.tensor([ids]))[0][0].numpy()
    effect = np.linalg.norm(logits - without) / np.linalg.norm(without)
    return ids, logits[-N_POSITIONS:].astype("<f4"), effect


# ---- GGUF ----------------------------------------------------------------------------------------

NAMES = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
         "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
         "mlp.down_proj": "ffn_down", "self_attention.query_key_value": "attn_qkv",
         "mlp.dense_h_to_4h": "ffn_up"}


def gguf_name(module):
    if module.endswith("embed_tokens"):
        return "token_embd.weight"
    _, _, layer, rest = module.split(".", 3)
    return f"blk.{layer}.{NAMES[rest]}.weight"


def in_gguf_order(rows, name, architecture, config):
    """Rows of B as the converter orders those of the matrix."""
    if architecture == "llama" and ("attn_q." in name or "attn_k." in name):
        heads = config["num_attention_heads" if "attn_q." in name else "num_key_value_heads"]
        return rows.reshape(heads, 2, len(rows) // heads // 2, -1).swapaxes(1, 2).reshape(rows.shape)
    if "attn_qkv." in name:
        heads = config["n_head"]
        return rows.reshape(heads, 3, len(rows) // heads // 3, -1).swapaxes(0, 1).reshape(rows.shape)
    return rows


def write_gguf(golden, folder, name):
    base = ADAPTERS[name][0]
    with open(os.path.join(golden, "architectures", base + ".config.json")) as file:
        config = json.load(file)
    with open(os.path.join(folder, "adapter_config.json")) as file:
        adapter = json.load(file)
    architecture = {"llama": "llama", "gemma2": "gemma2", "bloom": "bloom"}[config["model_type"]]
    path = os.path.join(golden, "adapters", name + ".gguf")
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", float(adapter["lora_alpha"]))
    # What GGUF has no key for (rsLoRA, patterns) goes into B.
    pattern = adapter["alpha_pattern"]
    for key, tensor in sorted(load_file(os.path.join(folder, "adapter_model.safetensors")).items()):
        module, kind = key.removeprefix("base_model.model.").split(".lora_", 1)
        target = gguf_name(module)
        data = tensor.float().numpy()
        if kind.startswith(("A", "embedding_A")):
            if kind.startswith("embedding"):
                data = data.T
            writer.add_tensor(target + ".lora_a", np.ascontiguousarray(data))
            continue
        rank = data.shape[1]
        alpha = next((value for k, value in pattern.items()
                      if ("." + module).endswith("." + k.removeprefix("^"))), adapter["lora_alpha"])
        wanted = alpha / (rank ** 0.5 if adapter["use_rslora"] else rank)
        data = data * np.float32(wanted / (adapter["lora_alpha"] / rank))
        writer.add_tensor(target + ".lora_b", np.ascontiguousarray(
            in_gguf_order(data, target, architecture, config)))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_stacks(golden, complete, name):
    """Experts as llama.cpp's converter stacks them: [in, rank, experts], [rank, out, experts]."""
    with open(os.path.join(complete, "adapter_config.json")) as file:
        alpha = json.load(file)["lora_alpha"]
    writer = gguf.GGUFWriter(os.path.join(golden, "adapters", name + ".gguf"), "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", float(alpha))
    stacks = {}
    for key, tensor in load_file(os.path.join(complete, "adapter_model.safetensors")).items():
        parts = key.split(".")
        matrix = {"w1": "gate", "w2": "down", "w3": "up"}[parts[8]]
        target = f"blk.{parts[4]}.ffn_{matrix}_exps.weight.{parts[9].lower()}"
        stacks.setdefault(target, {})[int(parts[7])] = tensor.numpy()
    for target, experts in sorted(stacks.items()):
        writer.add_tensor(target, np.stack([experts[e] for e in range(len(experts))]))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def save(folder, name, base, adapters, ids, logits):
    logits.tofile(os.path.join(folder, name + ".logits.f32"))
    with open(os.path.join(folder, name + ".json"), "w") as file:
        json.dump({"base": base, "adapters": [[a, s] for a, s in adapters], "ids": ids,
                   "n_positions": len(logits), "n_vocab": logits.shape[1],
                   "reference": f"peft {peft.__version__}, transformers "
                                f"{transformers.__version__}, eager attention, float64"}, file)
        file.write("\n")


def main():
    golden, scratch, *wanted = sys.argv[1:]
    folder = os.path.join(golden, "adapters")
    sys.argv = ["make_folder.py", golden, scratch]
    make_folder.main()
    for name, (base, _, _) in {**ADAPTERS, **EMBEDDINGS}.items():
        if wanted and name not in wanted:
            continue
        shutil.rmtree(os.path.join(folder, name), ignore_errors=True)
        make_adapter(scratch, os.path.join(folder, name), name)
        ids, logits, effect = logits_of(golden, scratch, base, [(os.path.join(folder, name), 1.0)])
        save(folder, name, base, [(name, 1.0)], ids, logits)
        print(name, f"changes logits by {effect:.2f}")
    for name in MODULES:
        if wanted and name not in wanted:
            continue
        complete = make_modules(golden, scratch, name)
        ids, logits, effect = logits_of(golden, scratch, base_of(name), [(complete, 1.0)])
        save(folder, name, base_of(name), [(name, 1.0)], ids, logits)
        print(name, f"changes logits by {effect:.2f}")
        write_stacks(golden, complete, name)
    for name, same in SWAPPED.items():
        if wanted and name not in wanted:
            continue
        make_swapped(golden, name)
        shutil.copy(os.path.join(folder, same + ".logits.f32"),
                    os.path.join(folder, name + ".logits.f32"))
        with open(os.path.join(folder, same + ".json")) as file:
            text = file.read().replace(f'"{same}"', f'"{name}"')
        with open(os.path.join(folder, name + ".json"), "w") as file:
            file.write(text)
    quantized = [name for name in QUANTIZED if not wanted or name + "-q8_0" in wanted]
    for name in quantized:
        base = base_of(name) + "-q8_0"
        architectures = os.path.join(golden, "architectures")
        make_folder.make(os.path.join(architectures, base + ".gguf"),
                         os.path.join(architectures, base_of(name) + ".config.json"),
                         os.path.join(scratch, base))
        path = (make_modules(golden, scratch, name) if name in MODULES
                else os.path.join(folder, name))
        ids, logits, effect = logits_of(golden, scratch, base, [(path, 1.0)])
        save(folder, name + "-q8_0", base, [(name, 1.0)], ids, logits)
        print(base, f"changes logits by {effect:.2f}")
    if wanted:
        return
    for name, (a, a_scale, b, b_scale) in PAIRS.items():
        base = ADAPTERS[a][0]
        ids, logits, effect = logits_of(golden, scratch, base,
                                        [(os.path.join(folder, a), a_scale),
                                         (os.path.join(folder, b), b_scale)])
        save(folder, name, base, [(a, a_scale), (b, b_scale)], ids, logits)
        print(name, f"changes logits by {effect:.2f}")
    for name in AS_GGUF:
        write_gguf(golden, os.path.join(folder, name), name)


if __name__ == "__main__":
    main()
