"""Writes the GGUF file that llama.cpp's converter makes of a folder, for the families of folders/: so
that both forms of a model come of the same weights. Used by make_folder.py."""

import math
import struct
from array import array

import make_folder

TYPE_U32, TYPE_F32, TYPE_BOOL, TYPE_STRING, TYPE_ARRAY = 4, 6, 7, 8, 9
ARCHITECTURES = {"phi": "phi2", "phi3": "phi3", "gemma3_text": "gemma3", "ministral": "llama",
                 "llama": "llama"}


def text(value):
    return struct.pack("<Q", len(value.encode())) + value.encode()


def entry(key, value):
    if isinstance(value, bool):
        body = struct.pack("<IB", TYPE_BOOL, value)
    elif isinstance(value, int):
        body = struct.pack("<II", TYPE_U32, value)
    elif isinstance(value, float):
        body = struct.pack("<If", TYPE_F32, value)
    elif isinstance(value, str):
        body = struct.pack("<I", TYPE_STRING) + text(value)
    else:
        body = struct.pack("<IIQ", TYPE_ARRAY, TYPE_BOOL, len(value)) + bytes(value)
    return text(key) + body


def rope_keys(config, rope):
    keys = {"rope.freq_base": float(rope["rope_theta"])}
    if rope["rope_type"] == "linear":
        keys.update({"rope.scaling.type": "linear", "rope.scaling.factor": float(rope["factor"])})
    elif rope["rope_type"] == "yarn":  # attention_factor as it is: the whole length
        keys.update({"rope.scaling.type": "yarn", "rope.scaling.factor": float(rope["factor"]),
                     "rope.scaling.original_context_length":
                         rope["original_max_position_embeddings"],
                     "rope.scaling.yarn_attn_factor": float(rope["attention_factor"])})
    elif rope["rope_type"] == "dynamic":  # the library's own: llama.cpp has no such scaling
        keys.update({"rope.scaling.type": "dynamic", "rope.scaling.factor": float(rope["factor"]),
                     "rope.scaling.original_context_length": config["max_position_embeddings"],
                     "context_length": int(config["max_position_embeddings"] * rope["factor"])})
    elif rope["rope_type"] == "longrope":
        original = config["original_max_position_embeddings"]
        growth = config["max_position_embeddings"] / original
        keys.update({"rope.scaling.attn_factor": math.sqrt(1 + math.log(growth) / math.log(original)),
                     "rope.scaling.original_context_length": original})
    return keys


def keys_of(config, architecture):
    heads = config["num_attention_heads"]
    head_dim = config.get("head_dim") or config["hidden_size"] // heads
    rope = config["rope_parameters"]
    rope = rope.get("full_attention", rope)
    keys = {"context_length": config["max_position_embeddings"],
            "embedding_length": config["hidden_size"],
            "feed_forward_length": config["intermediate_size"],
            "block_count": config["num_hidden_layers"], "attention.head_count": heads,
            "attention.head_count_kv": config.get("num_key_value_heads") or heads,
            "rope.dimension_count": int(head_dim * rope.get("partial_rotary_factor", 1.0))}
    if architecture == "phi2":
        keys["attention.layer_norm_epsilon"] = float(config["layer_norm_eps"])
    else:
        keys["attention.layer_norm_rms_epsilon"] = float(config["rms_norm_eps"])
    if architecture == "gemma3":
        keys.update({"attention.key_length": head_dim, "attention.value_length": head_dim,
                     "attention.scale": config["query_pre_attn_scalar"] ** -0.5})
        del keys["rope.dimension_count"]
    if config.get("sliding_window"):
        keys["attention.sliding_window"] = config["sliding_window"]
    if config["model_type"] == "ministral":  # the converter drops windows; other programs keep them
        keys["attention.sliding_window_pattern"] = [kind == "sliding_attention"
                                                    for kind in config["layer_types"]]
    keys.update(rope_keys(config, rope))
    return keys


def interleaved(tensor, heads):
    """Of each head the rows of both halves in turns."""
    rows = tensor.rows()
    size = len(rows) // heads
    out = []
    for head in range(heads):
        one = rows[head * size:(head + 1) * size]
        for pair in zip(one[:size // 2], one[size // 2:]):
            out += pair
    return make_folder.Tensor(tensor.dtype, tensor.shape, b"".join(out))


def plus_one(tensor):
    values = array("f", tensor.data)
    return make_folder.Tensor("F32", tensor.shape, array("f", (v + 1 for v in values)).tobytes())


def named(config, tensors):
    """The tensors by their names in GGUF."""
    family = config["model_type"]
    names = {**make_folder.USUAL, **make_folder.CHANGES.get(family, {}),
             "attn_qkv": "self_attn.qkv_proj"}
    if family == "phi3":
        names["ffn_up"] = "mlp.gate_up_proj"
    parts = {stored: part for part, stored in names.items()}
    ends = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output",
            "model.final_layernorm": "output_norm"}
    made = {}
    for name, tensor in tensors.items():
        module, kind = name.rsplit(".", 1)
        if module in ends:
            part = ends[module]
        else:
            _, _, layer, rest = module.split(".", 3)
            part = f"blk.{layer}.{parts[rest]}"
        if family == "gemma3_text" and "norm" in part:
            tensor = plus_one(tensor)
        if family in ("llama", "ministral") and part.endswith(("attn_q", "attn_k")):
            tensor = interleaved(tensor, config["num_attention_heads" if part.endswith("q")
                                                else "num_key_value_heads"])
        made[f"{part}.{kind}"] = tensor
    rope = config["rope_parameters"]
    if rope.get("rope_type") == "longrope":
        for kind in ("long", "short"):
            made[f"rope_factors_{kind}.weight"] = make_folder.Tensor(
                "F32", [len(rope[kind + "_factor"])], array("f", rope[kind + "_factor"]).tobytes())
    return made


def write(path, config, tensors, tokenizer):
    """tokenizer: the entries of another file, as bytes."""
    architecture = ARCHITECTURES[config["model_type"]]
    entries = [entry("general.architecture", architecture)]
    entries += [entry(f"{architecture}.{key}", value)
                for key, value in keys_of(config, architecture).items()]
    entries += tokenizer
    made = named(config, tensors)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(made), len(entries)) + b"".join(entries)
    at = 0
    for name, tensor in made.items():
        dims = tensor.shape[::-1]
        head += text(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, 0, at)
        at += (len(tensor.data) + 31) // 32 * 32
    with open(path, "wb") as file:
        file.write(head + bytes(-len(head) % 32))
        for tensor in made.values():
            file.write(tensor.data + bytes(-len(tensor.data) % 32))
