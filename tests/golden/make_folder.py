#!/usr/bin/env python3
"""Makes folders as Hugging Face has them from the committed GGUF files, so that the repository holds
each weight once. What `transformers` itself saves is compared with these by
tools/oracle/make_folders.py. Python's own library is enough.

Usage: make_folder.py GOLDEN_FOLDER OUTPUT_FOLDER

For each architectures/NAME.config.json the folder OUTPUT_FOLDER/NAME with the weights of
NAME-f32.gguf; gpt-oss-mxfp4 with those of gpt-oss-q8_0.gguf, whose experts are MXFP4; and
types-bf16, types-f16 with those of types/; for each encoders/NAME.config.json those of
encoders/NAME-f32.gguf, with a vocabulary of tests/unit/tokenizers. For each
folders/NAME.config.json the weights of the GGUF file that it names, in the arrangement of another
family, and where make_gguf.py knows it NAME.gguf with the same (not of those that say
folder_alone). qwen3moe is cut into three files."""

import json
import os
import struct
import sys
from array import array

TYPES = {0: ("F32", 4), 1: ("F16", 2), 30: ("BF16", 2)}
Q8_0, MXFP4 = 8, 39


class Tensor:
    """Rows of bytes: rows[i] is a row of the last dimension; shape as Hugging Face writes it."""

    def __init__(self, dtype, shape, data):
        self.dtype, self.shape, self.data = dtype, list(shape), bytes(data)

    def rows(self):
        size = len(self.data)
        n = 1
        for dim in self.shape[:-1]:
            n *= dim
        return [self.data[i * size // n:(i + 1) * size // n] for i in range(n)]

    def numbers(self):
        size = len(self.data)
        n = 1
        for dim in self.shape:
            n *= dim
        return [self.data[i:i + size // n] for i in range(0, size, size // n)]


def read_gguf(path):
    """Tensors by name."""
    return read_gguf_whole(path)[0]


def read_gguf_whole(path):
    """Tensors by name, and the entries about the tokenizer as they stand there."""
    with open(path, "rb") as file:
        data = file.read()
    at = 8
    sizes = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}

    def take(form):
        nonlocal at
        values = struct.unpack_from("<" + form, data, at)
        at += struct.calcsize("<" + form)
        return values[0]

    def text():
        nonlocal at
        size = take("Q")
        at += size
        return data[at - size:at].decode("utf-8", "replace")

    def skip(kind):
        nonlocal at
        if kind == 8:
            text()
        elif kind == 9:
            kind, count = take("I"), take("Q")
            for _ in range(count):
                skip(kind)
        else:
            at += sizes[kind]

    n_tensors, n_keys = take("Q"), take("Q")
    tokenizer = []
    for _ in range(n_keys):
        begin, key = at, text()
        skip(take("I"))
        if key.startswith("tokenizer."):
            tokenizer.append(data[begin:at])
    heads = []
    for _ in range(n_tensors):
        name, n_dims = text(), take("I")
        shape = [take("Q") for _ in range(n_dims)][::-1]
        heads.append((name, shape, take("I"), take("Q")))
    at = (at + 31) // 32 * 32
    tensors = {}
    for name, shape, kind, offset in heads:
        elements = 1
        for dim in shape:
            elements *= dim
        begin = at + offset
        if kind == Q8_0:
            tensors[name] = Tensor("F32", shape, widen_q8_0(data[begin:begin + elements // 32 * 34]))
        elif kind == MXFP4:
            tensors[name] = Tensor("MXFP4", shape, data[begin:begin + elements // 32 * 17])
        else:
            dtype, size = TYPES[kind]
            tensors[name] = Tensor(dtype, shape, data[begin:begin + elements * size])
    return tensors, tokenizer


def widen_q8_0(data):
    values = array("f")
    for at in range(0, len(data), 34):
        block = struct.unpack_from("<e32b", data, at)
        values.extend(block[0] * q for q in block[1:])
    return values.tobytes()


# ---- arrangements --------------------------------------------------------------------------------

def transposed(tensor):
    """The last two dimensions change places."""
    *stack, rows, columns = tensor.shape
    numbers = tensor.numbers()
    out = []
    for base in range(0, len(numbers), rows * columns):
        for c in range(columns):
            out += numbers[base + c:base + rows * columns:columns]
    return Tensor(tensor.dtype, stack + [columns, rows], b"".join(out))


def halves(tensor, heads):
    """Of each head the even rows, then the odd ones."""
    rows = tensor.rows() if len(tensor.shape) > 1 else tensor.numbers()
    size = len(rows) // heads
    out = []
    for head in range(heads):
        one = rows[head * size:(head + 1) * size]
        out += one[0::2] + one[1::2]
    return Tensor(tensor.dtype, tensor.shape, b"".join(out))


def less_one(tensor):
    values = array("f", tensor.data)
    return Tensor("F32", tensor.shape, array("f", (v - 1 for v in values)).tobytes())


def heads_together(tensor, heads):
    """From all queries, all keys, all values to these of the first head, of the second one, ..."""
    rows = tensor.rows() if len(tensor.shape) > 1 else tensor.numbers()
    size = len(rows) // 3 // heads
    out = []
    for head in range(heads):
        for part in range(3):
            begin = (part * heads + head) * size
            out += rows[begin:begin + size]
    return Tensor(tensor.dtype, tensor.shape, b"".join(out))


def in_turns(gate, up):
    """Rows (of vectors: numbers) of gates and ups one after the other: [experts, 2 ffn, ...]."""
    vectors = len(gate.shape) == 2
    rows = [t.numbers() if vectors else t.rows() for t in (gate, up)]
    out = [row for pair in zip(*rows) for row in pair]
    shape = [gate.shape[0], 2 * gate.shape[1]] + gate.shape[2:]
    return Tensor(gate.dtype, shape, b"".join(out))


def split_mxfp4(tensor):
    """Blocks and scales; byte i of a block holds elements 2i and 2i + 1."""
    blocks, scales = bytearray(), bytearray()
    for at in range(0, len(tensor.data), 17):
        scales.append(tensor.data[at])
        packed = tensor.data[at + 1:at + 17]
        elements = [b & 15 for b in packed] + [b >> 4 for b in packed]
        blocks += bytes(elements[i] | elements[i + 1] << 4 for i in range(0, 32, 2))
    shape = tensor.shape[:-1] + [tensor.shape[-1] // 32]
    return Tensor("U8", shape + [16], blocks), Tensor("U8", shape, scales)


def latent_together(keys, values):
    """attn_k_b [heads, rank, plain] and attn_v_b [heads, value, rank] as kv_b_proj."""
    heads, rank, _ = keys.shape
    key_rows, value_rows = transposed(keys).rows(), values.rows()
    n, m = len(key_rows) // heads, len(value_rows) // heads
    out = []
    for head in range(heads):
        out += key_rows[head * n:(head + 1) * n] + value_rows[head * m:(head + 1) * m]
    return Tensor(keys.dtype, [heads * (n + m), rank], b"".join(out))


# ---- names ---------------------------------------------------------------------------------------

USUAL = {
    "attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm",
    "attn_q_a": "self_attn.q_a_proj", "attn_q_a_norm": "self_attn.q_a_layernorm",
    "attn_q_b": "self_attn.q_b_proj", "attn_kv_a_mqa": "self_attn.kv_a_proj_with_mqa",
    "attn_kv_a_norm": "self_attn.kv_a_layernorm", "attn_kv_b": "self_attn.kv_b_proj",
    "attn_sub_norm": "self_attn.attn_sub_norm", "ffn_sub_norm": "mlp.ffn_sub_norm",
    "ffn_norm": "post_attention_layernorm", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj", "ffn_gate_inp": "mlp.gate",
    "ffn_gate_exps": "mlp.experts.%u.gate_proj", "ffn_up_exps": "mlp.experts.%u.up_proj",
    "ffn_down_exps": "mlp.experts.%u.down_proj",
    "ffn_gate_shexp": "mlp.shared_expert.gate_proj", "ffn_up_shexp": "mlp.shared_expert.up_proj",
    "ffn_down_shexp": "mlp.shared_expert.down_proj", "ffn_gate_inp_shexp": "mlp.shared_expert_gate",
}
DEEPSEEK = {"ffn_gate_shexp": "mlp.shared_experts.gate_proj",
            "ffn_up_shexp": "mlp.shared_experts.up_proj",
            "ffn_down_shexp": "mlp.shared_experts.down_proj"}
BERT = {"attn_q": "attention.self.query", "attn_k": "attention.self.key",
        "attn_v": "attention.self.value", "attn_output": "attention.output.dense",
        "attn_output_norm": "attention.output.LayerNorm", "ffn_up": "intermediate.dense",
        "ffn_down": "output.dense", "layer_output_norm": "output.LayerNorm"}
CHANGES = {
    "bert": BERT, "xlm-roberta": BERT,
    "nomic_bert": {"attn_qkv": "attn.Wqkv", "attn_output": "attn.out_proj", "ffn_up": "mlp.fc11",
                   "ffn_gate": "mlp.fc12", "ffn_down": "mlp.fc2", "attn_output_norm": "norm1",
                   "layer_output_norm": "norm2"},
    "mixtral": {"ffn_gate_inp": "block_sparse_moe.gate",
                "ffn_gate_exps": "block_sparse_moe.experts.%u.w1",
                "ffn_up_exps": "block_sparse_moe.experts.%u.w3",
                "ffn_down_exps": "block_sparse_moe.experts.%u.w2"},
    "gemma2": {"post_attention_norm": "post_attention_layernorm",
               "ffn_norm": "pre_feedforward_layernorm",
               "post_ffw_norm": "post_feedforward_layernorm"},
    "gemma3_text": {"post_attention_norm": "post_attention_layernorm",
                    "ffn_norm": "pre_feedforward_layernorm",
                    "post_ffw_norm": "post_feedforward_layernorm"},
    "gpt_oss": {"post_attention_norm": "post_attention_layernorm", "ffn_gate_inp": "mlp.router"},
    "dots1": DEEPSEEK, "deepseek_v2": DEEPSEEK, "deepseek_v3": DEEPSEEK,
    "gpt2": {"attn_norm": "ln_1", "attn_qkv": "attn.c_attn", "attn_output": "attn.c_proj",
             "ffn_norm": "ln_2", "ffn_up": "mlp.c_fc", "ffn_down": "mlp.c_proj"},
    "phi": {"attn_output": "self_attn.dense", "ffn_up": "mlp.fc1", "ffn_down": "mlp.fc2"},
    "bloom": {"attn_qkv": "self_attention.query_key_value", "attn_output": "self_attention.dense",
              "ffn_up": "mlp.dense_h_to_4h", "ffn_down": "mlp.dense_4h_to_h"},
    "mpt": {"attn_norm": "norm_1", "attn_qkv": "attn.Wqkv", "attn_q_norm": "attn.q_ln",
            "attn_k_norm": "attn.k_ln", "attn_output": "attn.out_proj", "ffn_norm": "norm_2",
            "ffn_up": "ffn.up_proj", "ffn_down": "ffn.down_proj"},
}
BERT_ENDS = {"token_embd": "embeddings.word_embeddings",
             "position_embd": "embeddings.position_embeddings",
             "token_types": "embeddings.token_type_embeddings",
             "token_embd_norm": "embeddings.LayerNorm"}
ENDS = {
    "bert": BERT_ENDS, "xlm-roberta": BERT_ENDS,
    "nomic_bert": {**BERT_ENDS, "token_embd_norm": "emb_ln"},
    "phi": {"token_embd": "model.embed_tokens", "output_norm": "model.final_layernorm"},
    "gpt2": {"token_embd": "transformer.wte", "position_embd": "transformer.wpe",
             "output_norm": "transformer.ln_f"},
    "bloom": {"token_embd": "transformer.word_embeddings",
              "token_embd_norm": "transformer.word_embeddings_layernorm",
              "output_norm": "transformer.ln_f"},
    "mpt": {"token_embd": "transformer.wte", "position_embd": "transformer.wpe",
            "output_norm": "transformer.norm_f"},
}
LAYERS = {"bert": "encoder.layer", "xlm-roberta": "encoder.layer", "nomic_bert": "encoder.layers",
          "gpt2": "transformer.h", "bloom": "transformer.h", "mpt": "transformer.blocks"}


def pairs_of_experts(tensors):
    """gpt-oss: what becomes of a layer's experts, and which tensors that takes."""
    if "ffn_gate_exps.weight" not in tensors:
        return {}
    gate, up, down = (tensors.pop(f"ffn_{part}_exps.weight") for part in ("gate", "up", "down"))
    biases = [tensors.pop(f"ffn_{part}_exps.bias") for part in ("gate", "up", "down")]
    made = {"mlp.experts.gate_up_proj_bias": in_turns(*biases[:2]),
            "mlp.experts.down_proj_bias": biases[2]}
    both = in_turns(gate, up)
    if gate.dtype == "MXFP4":
        for name, tensor in (("gate_up", both), ("down", down)):
            blocks, scales = split_mxfp4(tensor)
            made[f"mlp.experts.{name}_proj_blocks"] = blocks
            made[f"mlp.experts.{name}_proj_scales"] = scales
    else:
        made["mlp.experts.gate_up_proj"] = transposed(both)
        made["mlp.experts.down_proj"] = transposed(down)
    return made


def fused(tensors, names):
    """Rows of several tensors one behind the other."""
    parts = [tensors.pop(name) for name in names]
    return Tensor(parts[0].dtype, [sum(part.shape[0] for part in parts)] + parts[0].shape[1:],
                  b"".join(part.data for part in parts))


def phi3_tensors(config, tensors):
    """Of a layer of a llama: the same arithmetic with fused matrices."""
    for part, heads in (("attn_q.weight", "num_attention_heads"),
                        ("attn_k.weight", "num_key_value_heads")):
        tensors[part] = halves(tensors[part], config[heads])
    return {"self_attn.qkv_proj.weight": fused(tensors, ["attn_q.weight", "attn_k.weight",
                                                         "attn_v.weight"]),
            "mlp.gate_up_proj.weight": fused(tensors, ["ffn_gate.weight", "ffn_up.weight"])}


def phi_tensors(tensors):
    """Of a layer of GPT-2: other arithmetic with the same matrices."""
    made = {}
    for kind in ("weight", "bias"):
        qkv = tensors.pop("attn_qkv." + kind)
        n = len(qkv.data) // 3
        for i, part in enumerate("qkv"):
            made[f"self_attn.{part}_proj.{kind}"] = Tensor(
                qkv.dtype, [qkv.shape[0] // 3] + qkv.shape[1:], qkv.data[i * n:(i + 1) * n])
        tensors.pop("ffn_norm." + kind)
    return made


def layer_tensors(family, config, tensors):
    """One layer's tensors by their names behind its number."""
    made = pairs_of_experts(tensors) if family == "gpt_oss" else {}
    if family == "phi":
        made = phi_tensors(tensors)
    if family == "phi3":
        made = phi3_tensors(config, tensors)
    names = {**USUAL, **CHANGES.get(family, {})}
    if "attn_sinks.weight" in tensors:
        made["self_attn.sinks"] = tensors.pop("attn_sinks.weight")
    if "exp_probs_b.bias" in tensors:
        made["mlp.gate.e_score_correction_bias"] = tensors.pop("exp_probs_b.bias")
    if "attn_k_b.weight" in tensors:
        made["self_attn.kv_b_proj.weight"] = latent_together(tensors.pop("attn_k_b.weight"),
                                                             tensors.pop("attn_v_b.weight"))
    for name, tensor in tensors.items():
        part, kind = name.rsplit(".", 1)
        if part in ("attn_q", "attn_k") and family in ("llama", "mistral", "ministral", "mixtral"):
            tensor = halves(tensor, config["num_attention_heads" if part == "attn_q"
                                           else "num_key_value_heads"])
        if family.startswith("gemma") and "norm" in part:
            tensor = less_one(tensor)
        if family == "gpt2" and len(tensor.shape) == 2:
            tensor = transposed(tensor)
        if family == "bloom" and part == "attn_qkv":
            tensor = heads_together(tensor, config["n_head"])
        if part == "ffn_gate_inp_shexp":
            tensor.shape = [1] + tensor.shape
        if "%u" in names[part]:
            rows = tensor.rows()
            size = len(rows) // tensor.shape[0]
            for i in range(tensor.shape[0]):
                made[f"{names[part]}.{kind}".replace("%u", str(i))] = Tensor(
                    tensor.dtype, tensor.shape[1:], b"".join(rows[i * size:(i + 1) * size]))
        else:
            made[f"{names[part]}.{kind}"] = tensor
    return made


def translate(config, tensors):
    family = config["model_type"]
    ends = ENDS.get(family, {"token_embd": "model.embed_tokens", "output_norm": "model.norm"})
    made, layers = {}, {}
    for name, tensor in tensors.items():
        if name.startswith("blk."):
            _, layer, rest = name.split(".", 2)
            layers.setdefault(layer, {})[rest] = tensor
        elif name == "output.weight":
            made["lm_head.weight"] = tensor
        elif name != "rope_freqs.weight" and not (family == "phi" and "position" in name):
            part, kind = name.rsplit(".", 1)
            gemma = family.startswith("gemma") and part == "output_norm"
            made[f"{ends[part]}.{kind}"] = less_one(tensor) if gemma else tensor
    sparse = config.get("decoder_sparse_step", 1) if family == "qwen2_moe" else 1
    source = {layer: dict(parts) for layer, parts in layers.items()}
    for layer in range(config.get("num_hidden_layers", 0)):  # as often as the configuration asks for
        parts = dict(source[str(layer % len(source))])
        if family == "gemma3_text":
            for part in ("attn_q_norm.weight", "attn_k_norm.weight"):
                norm = parts["post_ffw_norm.weight"]
                parts[part] = Tensor("F32", [config["head_dim"]], norm.data[:4 * config["head_dim"]])
        if sparse > 1 and ((layer + 1) % sparse != 0 or layer in config["mlp_only_layers"]):
            dense = {part: parts[part + "_shexp.weight"] for part in ("ffn_gate", "ffn_up", "ffn_down")}
            parts = {name: tensor for name, tensor in parts.items()
                     if "exp" not in name and "gate_inp" not in name}
            parts.update({part + ".weight": tensor for part, tensor in dense.items()})
        layers[str(layer)] = parts
    if family == "phi":  # untied, with biases: the norm's, as often as they fit
        made["lm_head.weight"] = made["model.embed_tokens.weight"]
        norm = made["model.final_layernorm.bias"]
        made["lm_head.bias"] = Tensor("F32", [config["vocab_size"]],
                                      (norm.data * 9)[:4 * config["vocab_size"]])
    if family == "xlm-roberta":  # rows that stand for no position
        table = made["embeddings.position_embeddings.weight"]
        made["embeddings.position_embeddings.weight"] = Tensor(
            table.dtype, [table.shape[0] + 2, table.shape[1]],
            bytes(2 * len(table.data) // table.shape[0]) + table.data)
    if "architectures" in config and config["architectures"][0] == "Qwen3Model":
        made = {name.removeprefix("model."): tensor for name, tensor in made.items()}
    begin = LAYERS.get(family, "layers" if "norm.weight" in made else "model.layers")
    for layer, parts in layers.items():
        for name, tensor in layer_tensors(family, config, parts).items():
            made[f"{begin}.{layer}.{name}"] = tensor
    return made


# ---- files ---------------------------------------------------------------------------------------

def write_safetensors(path, tensors):
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, tensor in tensors.items():
        header[name] = {"dtype": tensor.dtype, "shape": tensor.shape,
                        "data_offsets": [at, at + len(tensor.data)]}
        at += len(tensor.data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensor in tensors.values():
            file.write(tensor.data)


def write_sharded(folder, tensors, count):
    names = sorted(tensors)
    weight_map = {}
    for part in range(count):
        file = f"model-{part + 1:05}-of-{count:05}.safetensors"
        mine = names[part::count]
        weight_map.update(dict.fromkeys(mine, file))
        write_safetensors(os.path.join(folder, file), {name: tensors[name] for name in mine})
    size = sum(len(tensor.data) for tensor in tensors.values())
    with open(os.path.join(folder, "model.safetensors.index.json"), "w") as out:
        json.dump({"metadata": {"total_size": size}, "weight_map": weight_map}, out)


def make(gguf, config, folder, shards=1):
    """config: a path, or a dict."""
    if not isinstance(config, dict):
        with open(config) as file:
            config = json.load(file)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "config.json"), "w") as file:
        json.dump(config, file)
    tensors = translate(config, read_gguf(gguf))
    if shards == 1:
        write_safetensors(os.path.join(folder, "model.safetensors"), tensors)
    else:
        write_sharded(folder, tensors, shards)


def make_seeing(folder, text, tensors):
    """As the model that also sees is published: its text part, named so, and one for images."""
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "config.json"), "w") as file:
        json.dump({"model_type": "gemma3", "vision_config": {"model_type": "siglip_vision_model"},
                   "tie_word_embeddings": True,
                   "text_config": {key: value for key, value in text.items()
                                   if key != "tie_word_embeddings"}}, file)
    named = {"language_model." + name: tensor for name, tensor in tensors.items()}
    named["vision_tower.vision_model.post_layernorm.weight"] = tensors["model.norm.weight"]
    named["multi_modal_projector.mm_soft_emb_norm.weight"] = tensors["model.norm.weight"]
    write_safetensors(os.path.join(folder, "model.safetensors"), named)


# ---- models that give embeddings -----------------------------------------------------------------

def template(before, after, ids):
    """A post-processor that puts tokens around a text."""
    def part(name):
        return {"SpecialToken": {"id": name, "type_id": 0}}
    return {"type": "TemplateProcessing",
            "single": [*map(part, before), {"Sequence": {"id": "A", "type_id": 0}},
                       *map(part, after)],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}},
                     {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {name: {"id": name, "ids": [ids[name]], "tokens": [name]}
                               for name in before + after}}


def embedding_tokenizer(family, folder):
    name = {"xlm-roberta": "xlm-roberta", "qwen3": "qwen2"}.get(family, "bert")
    with open(os.path.join(folder, name + ".json")) as file:
        tokenizer = json.load(file)
    if family == "xlm-roberta":
        tokenizer["post_processor"] = template(["<s>"], ["</s>"], {"<s>": 0, "</s>": 1})
    if family == "qwen3":
        end = len(tokenizer["model"]["vocab"])
        tokenizer["added_tokens"] = [{"id": end, "content": "<|endoftext|>", "special": True,
                                      "single_word": False, "lstrip": False, "rstrip": False,
                                      "normalized": False}]
        tokenizer["post_processor"] = template([], ["<|endoftext|>"], {"<|endoftext|>": end})
    return tokenizer


def make_embedding(golden, name, folder):
    """With the files of sentence-transformers beside the weights."""
    encoders = os.path.join(golden, "encoders")
    make(os.path.join(encoders, name + "-f32.gguf"), os.path.join(encoders, name + ".config.json"),
         folder)
    with open(os.path.join(folder, "config.json")) as file:
        family = json.load(file)["model_type"]
    tokenizer = embedding_tokenizer(family, os.path.join(golden, "..", "unit", "tokenizers"))
    flag = {"nomic_bert": "mean_tokens", "qwen3": "lasttoken"}.get(family, "cls_token")
    pooling = {"word_embedding_dimension": 32, "pooling_mode_cls_token": False,
               "pooling_mode_mean_tokens": False, "pooling_mode_max_tokens": False,
               "pooling_mode_" + flag: True, "include_prompt": True}
    types = {"": "Transformer", "1_Pooling": "Pooling", "2_Normalize": "Normalize"}
    modules = [{"idx": i, "name": str(i), "path": path,
                "type": "sentence_transformers.models." + kind}
               for i, (path, kind) in enumerate(types.items())]
    os.makedirs(os.path.join(folder, "1_Pooling"), exist_ok=True)
    for file, what in (("tokenizer.json", tokenizer), ("modules.json", modules),
                       ("1_Pooling/config.json", pooling)):
        with open(os.path.join(folder, file), "w") as out:
            json.dump(what, out)


# The shape of types/f16.gguf and types/bf16.gguf.
TYPES_CONFIG = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
                "hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2,
                "num_attention_heads": 4, "num_key_value_heads": 1, "vocab_size": 320,
                "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "max_position_embeddings": 256,
                "tie_word_embeddings": True}


def main():
    import make_gguf  # which imports this
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    golden, output = sys.argv[1:]
    architectures = os.path.join(golden, "architectures")
    for file in sorted(os.listdir(architectures)):
        if file.endswith(".config.json"):
            name = file.removesuffix(".config.json")
            make(os.path.join(architectures, name + "-f32.gguf"),
                 os.path.join(architectures, file), os.path.join(output, name),
                 3 if name == "qwen3moe" else 1)
    make(os.path.join(architectures, "gpt-oss-q8_0.gguf"),
         os.path.join(architectures, "gpt-oss.config.json"), os.path.join(output, "gpt-oss-mxfp4"))
    for name in sorted(os.listdir(os.path.join(golden, "folders"))):
        if name.endswith(".config.json"):
            path = os.path.join(golden, "folders", name)
            with open(path) as file:
                config = json.load(file)
            weights = os.path.join(architectures, config.pop("weights_of"))
            alone = config.pop("folder_alone", False)
            folder = os.path.join(output, name.removesuffix(".config.json"))
            make(weights, config, folder)
            if config["model_type"] == "gemma3_text" and not alone:
                make_seeing(folder + "-sees", config, translate(config, read_gguf(weights)))
            if config["model_type"] in make_gguf.ARCHITECTURES and not alone:
                tensors, tokenizer = read_gguf_whole(weights)
                make_gguf.write(folder + ".gguf", config, translate(config, tensors), tokenizer)
    for file in sorted(os.listdir(os.path.join(golden, "encoders"))):
        if file.endswith(".config.json"):
            name = file.removesuffix(".config.json")
            make_embedding(golden, name, os.path.join(output, name))
    for type_ in ("f16", "bf16"):
        make(os.path.join(golden, "types", type_ + ".gguf"), TYPES_CONFIG,
             os.path.join(output, "types-" + type_))


if __name__ == "__main__":
    main()
