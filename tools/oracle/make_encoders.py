"""Makes tests/golden/encoders: tiny random models that give embeddings (by `transformers`), the same
as GGUF in F32 and in Q8_0, and the vectors of the last layer that `transformers` computes from
exactly the weights that the file holds.

Usage: make_encoders.py GOLDEN_FOLDER TOKENIZERS_FOLDER SCRATCH_FOLDER

Each model gives NAME-f32.gguf, NAME-q8_0.gguf, NAME.config.json (as `transformers` saves it), and
beside each FILE.gguf the FILE.ids.json and FILE.hidden.f32 (little-endian float32, one row for each
token). Vocabularies are those of TOKENIZERS_FOLDER, so that a text gives the same tokens from the
file and from the folder that tests/golden/make_folder.py makes; what the `tokenizers` package makes
of some texts stands in FILE.ids.json."""

import json
import os
import sys
import zlib

import gguf
import numpy as np
import tokenizers
import torch
import transformers
from safetensors.numpy import load_file, save_file

from gguf_common import Type, add_array, file_type, finish

N_TOKENS = 70
LAYERS, WIDTH, HEADS, FFN, CONTEXT = 2, 32, 2, 64, 96
TEXTS = ["", "the chest", "No acute finding.", "Größe: 3 mm", "a\u0000b"]

USUAL = dict(hidden_size=WIDTH, num_hidden_layers=LAYERS, num_attention_heads=HEADS,
             intermediate_size=FFN)
MODELS = {
    "bert": ("bert", "bert", gguf.PoolingType.CLS, transformers.BertConfig(
        vocab_size=500, max_position_embeddings=CONTEXT, **USUAL)),
    "nomic-bert": ("nomic-bert", "bert", gguf.PoolingType.MEAN, transformers.NomicBertConfig(
        vocab_size=500, max_position_embeddings=CONTEXT, **USUAL)),
    # Positions are counted from 2 on.
    "xlm-roberta": ("bert", "xlm-roberta", gguf.PoolingType.CLS, transformers.XLMRobertaConfig(
        vocab_size=350, max_position_embeddings=CONTEXT + 2, type_vocab_size=1, pad_token_id=1,
        **USUAL)),
    "qwen3-embedding": ("qwen3", "qwen2", gguf.PoolingType.LAST, transformers.Qwen3Config(
        vocab_size=401, max_position_embeddings=CONTEXT, num_key_value_heads=1, head_dim=16,
        rms_norm_eps=1e-6, tie_word_embeddings=True, **USUAL)),
}

LAYER_NAMES = {
    "bert": {
        "attention.self.query": "attn_q", "attention.self.key": "attn_k",
        "attention.self.value": "attn_v", "attention.output.dense": "attn_output",
        "attention.output.LayerNorm": "attn_output_norm", "intermediate.dense": "ffn_up",
        "output.dense": "ffn_down", "output.LayerNorm": "layer_output_norm"},
    "nomic-bert": {
        "attn.Wqkv": "attn_qkv", "attn.out_proj": "attn_output", "mlp.fc11": "ffn_up",
        "mlp.fc12": "ffn_gate", "mlp.fc2": "ffn_down", "norm1": "attn_output_norm",
        "norm2": "layer_output_norm"},
    "qwen3": {
        "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm",
        "self_attn.k_norm": "attn_k_norm", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm",
        "post_attention_layernorm": "ffn_norm"},
}
ENDS = {"embeddings.word_embeddings": "token_embd", "embeddings.position_embeddings": "position_embd",
        "embeddings.token_type_embeddings": "token_types", "embeddings.LayerNorm": "token_embd_norm",
        "emb_ln": "token_embd_norm", "embed_tokens": "token_embd", "norm": "output_norm"}


def gguf_name(architecture, name):
    part, kind = name.rsplit(".", 1)
    for begin in ("encoder.layer.", "encoder.layers.", "layers."):
        if part.startswith(begin):
            layer, rest = part.removeprefix(begin).split(".", 1)
            return f"blk.{layer}.{LAYER_NAMES[architecture][rest]}.{kind}"
    return f"{ENDS[part]}.{kind}"


def randomize(model, name):
    generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    with torch.no_grad():
        for key, value in sorted(model.state_dict().items()):
            if not value.dtype.is_floating_point:
                continue
            noise = torch.randn(value.shape, generator=generator)
            if "norm" in key.lower() or "emb_ln" in key:
                value.copy_(noise * 0.1 + (1.0 if key.endswith("weight") else 0.0))
            elif value.ndim == 1:
                value.copy_(noise * 0.1)
            elif "embed" in key:
                value.copy_(noise)
            else:
                value.copy_(noise / value.shape[1] ** 0.5)


def add_tokenizer(writer, name, tokenizer):
    """The vocabulary of a tokenizer.json as converters write it."""
    model = tokenizer["model"]
    if name == "bert":
        entries = sorted(model["vocab"], key=model["vocab"].get)
        special = {token["content"] for token in tokenizer["added_tokens"]}
        writer.add_tokenizer_model("bert")
        writer.add_tokenizer_pre("default")
        writer.add_token_list([t if t in special else t[2:] if t.startswith("##") else "\u2581" + t
                               for t in entries])
        writer.add_token_types([3 if t in special else 1 for t in entries])
        for key, token in (("cls", "[CLS]"), ("bos", "[CLS]"), ("seperator", "[SEP]"),
                           ("unknown", "[UNK]"), ("padding", "[PAD]"), ("mask", "[MASK]")):
            writer.add_uint32(f"tokenizer.ggml.{key}_token_id", model["vocab"][token])
    elif name == "xlm-roberta":
        writer.add_tokenizer_model("t5")
        writer.add_tokenizer_pre("default")
        writer.add_token_list([t for t, _ in model["vocab"]])
        writer.add_token_scores([score for _, score in model["vocab"]])
        writer.add_token_types([3, 3, 2] + [1] * (len(model["vocab"]) - 3))
        writer.add_bos_token_id(0)
        writer.add_eos_token_id(1)
        writer.add_unk_token_id(2)
        writer.add_add_bos_token(True)
        writer.add_add_eos_token(True)
    else:
        entries = sorted(model["vocab"], key=model["vocab"].get) + ["<|endoftext|>"]
        merges = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("qwen2")
        writer.add_token_list(entries)
        writer.add_token_types([1] * (len(entries) - 1) + [3])
        writer.add_token_merges(merges)
        writer.add_eos_token_id(len(entries) - 1)
        writer.add_add_bos_token(False)
        writer.add_add_eos_token(True)


def add_frame(name, tokenizer):
    """What is added around a text, where the file of the unit tests has nothing."""
    if name == "xlm-roberta":
        tokenizer["post_processor"] = {"type": "TemplateProcessing", "single": [
            {"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
            {"SpecialToken": {"id": "</s>", "type_id": 0}}], "pair": [
            {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [0], "tokens": ["<s>"]},
                               "</s>": {"id": "</s>", "ids": [1], "tokens": ["</s>"]}}}
    if name == "qwen2":
        end = len(tokenizer["model"]["vocab"])
        tokenizer["added_tokens"] = [{"id": end, "content": "<|endoftext|>", "special": True,
                                      "single_word": False, "lstrip": False, "rstrip": False,
                                      "normalized": False}]
        tokenizer["post_processor"] = {"type": "TemplateProcessing", "single": [
            {"Sequence": {"id": "A", "type_id": 0}},
            {"SpecialToken": {"id": "<|endoftext|>", "type_id": 0}}], "pair": [
            {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<|endoftext|>": {"id": "<|endoftext|>", "ids": [end],
                                                 "tokens": ["<|endoftext|>"]}}}
    return tokenizer


def write_gguf(path, architecture, config, pooling, tensors, tokenizer_name, tokenizer, type_):
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_file_type(file_type(type_))
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FFN)
    writer.add_head_count(HEADS)
    writer.add_pooling_type(pooling)
    if architecture == "qwen3":
        writer.add_head_count_kv(config.num_key_value_heads)
        writer.add_key_length(config.head_dim)
        writer.add_value_length(config.head_dim)
        writer.add_layer_norm_rms_eps(config.rms_norm_eps)
        writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    else:
        writer.add_causal_attention(False)
        writer.add_layer_norm_eps(config.layer_norm_eps)
        writer.add_token_type_count(config.type_vocab_size)
    if architecture == "nomic-bert":
        writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    add_tokenizer(writer, tokenizer_name, tokenizer)
    held = {}
    for name, array in tensors.items():
        ours = gguf_name(architecture, name)
        kept = ours in ("position_embd.weight", "token_types.weight")
        if ours == "position_embd.weight" and len(array) > CONTEXT:
            used = add_array(writer, ours, array[-CONTEXT:], Type.F32)
            held[name] = np.concatenate([array[:-CONTEXT], used])
        else:
            held[name] = add_array(writer, ours, array, Type.F32 if kept else type_)
    finish(writer)
    return held


def main():
    golden, texts, scratch = sys.argv[1:]
    for name, (architecture, tokenizer_name, pooling, config) in MODELS.items():
        with open(os.path.join(texts, tokenizer_name + ".json")) as file:
            tokenizer = add_frame(tokenizer_name, json.load(file))
        config._attn_implementation = "eager"
        model = transformers.AutoModel.from_config(config, attn_implementation="eager")
        if hasattr(model, "pooler"):
            model.pooler = None
        randomize(model, name)
        folder = os.path.join(scratch, name)
        model.save_pretrained(folder)
        with open(os.path.join(folder, "config.json")) as file, \
                open(os.path.join(golden, name + ".config.json"), "w") as out:
            json.dump(json.load(file), out, indent=1)
            out.write("\n")
        saved = load_file(os.path.join(folder, "model.safetensors"))
        ids = np.random.default_rng(zlib.crc32(name.encode())).integers(
            5, config.vocab_size, N_TOKENS).tolist()
        encode = tokenizers.Tokenizer.from_str(json.dumps(tokenizer)).encode
        for type_ in (Type.F32, Type.Q8_0):
            stem = os.path.join(golden, f"{name}-{type_.name.lower()}")
            held = write_gguf(stem + ".gguf", architecture, config, pooling, saved, tokenizer_name,
                              tokenizer, type_)
            save_file(held, os.path.join(folder, "model.safetensors"), {"format": "pt"})
            again = transformers.AutoModel.from_pretrained(
                folder, attn_implementation="eager", dtype=torch.float32).double().eval()
            with torch.no_grad():
                hidden = again(torch.tensor([ids])).last_hidden_state[0].numpy().astype("<f4")
            hidden.tofile(stem + ".hidden.f32")
            described = {"ids": ids, "tolerance": 1e-5 if type_ == Type.F32 else 0.02,
                         "pooling": pooling.name.lower(),
                         "texts": [[text, encode(text).ids] for text in TEXTS],
                         "reference": f"transformers {transformers.__version__}, eager attention"}
            with open(stem + ".ids.json", "w") as file:
                json.dump(described, file)
                file.write("\n")
            print(stem, os.path.getsize(stem + ".gguf"), hidden.std(), np.abs(hidden).max())


if __name__ == "__main__":
    main()
