"""Makes tests/golden/architectures: for every row of the table of architectures a tiny random
model (by `transformers`), the same model as GGUF in F32 and in Q8_0, and the logits that
`transformers` computes from exactly the weights that the file holds.

Usage: make_tiny_models.py OUTPUT_FOLDER [NAME...]

Each model gives NAME-f32.gguf and NAME-q8_0.gguf, and beside each FILE.gguf the FILE.ids.json (the
input ids and what the figures are) and FILE.logits.f32 (little-endian float32, one row of n_vocab
per position); for Q8_0 also FILE.contract.logits.f32 (see contract.py). The models are seeded: the same versions give the same files.
"""

import contextlib
import json
import math
import os
import sys
import zlib

import gguf
import numpy as np
import torch
import transformers

from contract import LAST_POSITIONS, contract_logits
import tiny_families
from gguf_common import (EOS_ID, BOS_ID, PAD_ID, N_VOCAB, Type, add_array, add_tiny_tokenizer,
                         file_type, finish, interleave_rotary_rows)

N_POSITIONS = 64
WINDOW = 16


def base(**changes):
    shape = dict(vocab_size=N_VOCAB, hidden_size=64, intermediate_size=96, num_hidden_layers=2,
                 num_attention_heads=4, num_key_value_heads=2, rms_norm_eps=1e-5,
                 max_position_embeddings=256, tie_word_embeddings=False, bos_token_id=BOS_ID,
                 eos_token_id=EOS_ID, pad_token_id=PAD_ID,
                 rope_parameters={"rope_type": "default", "rope_theta": 10000.0})
    shape.update(changes)
    return shape


LLAMA3_ROPE = {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0,
               "low_freq_factor": 1.0, "high_freq_factor": 4.0,
               "original_max_position_embeddings": 64}
LINEAR_ROPE = {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}
YARN_ROPE = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0,
             "original_max_position_embeddings": 64}

# name -> (GGUF architecture, configuration). Two heads of 32 for yarn: its ramp then covers
# several frequencies, and likewise the llama3 ramp with four heads of 16 and theta 5e5.
MODELS = {
    "llama-mha": ("llama", transformers.LlamaConfig(**base(
        num_key_value_heads=4, rms_norm_eps=1e-6))),
    "llama3-gqa-tied": ("llama", transformers.LlamaConfig(**base(
        tie_word_embeddings=True, rope_parameters=LLAMA3_ROPE))),
    "llama-linear": ("llama", transformers.LlamaConfig(**base(rope_parameters=LINEAR_ROPE))),
    "llama-yarn": ("llama", transformers.LlamaConfig(**base(
        num_attention_heads=2, num_key_value_heads=1, rope_parameters=YARN_ROPE))),
    "mistral-window": ("llama", transformers.MistralConfig(**base(sliding_window=WINDOW))),
    "qwen2": ("qwen2", transformers.Qwen2Config(**base(
        rms_norm_eps=1e-6, rope_parameters={"rope_type": "default", "rope_theta": 1e6}))),
    "qwen2-tied-yarn": ("qwen2", transformers.Qwen2Config(**base(
        rms_norm_eps=1e-6, tie_word_embeddings=True, num_attention_heads=2,
        num_key_value_heads=1, rope_parameters=YARN_ROPE))),
    "qwen3": ("qwen3", transformers.Qwen3Config(**base(
        rms_norm_eps=1e-6, head_dim=32,
        rope_parameters={"rope_type": "default", "rope_theta": 1e6}))),
    "gemma2": ("gemma2", transformers.Gemma2Config(**base(
        num_hidden_layers=4, rms_norm_eps=1e-6, head_dim=32, query_pre_attn_scalar=32,
        tie_word_embeddings=True, sliding_window=WINDOW, attn_logit_softcapping=50.0,
        final_logit_softcapping=30.0))),
    "mixtral": ("llama", transformers.MixtralConfig(**base(
        num_local_experts=8, num_experts_per_tok=2, intermediate_size=64))),
    # As mergekit writes them: the number of experts is that of the merged models.
    "merged-experts": ("llama", transformers.MixtralConfig(**base(
        num_local_experts=4, num_experts_per_tok=2, num_key_value_heads=4,
        rope_parameters={"rope_type": "default", "rope_theta": 5e6}))),
    "qwen2moe": ("qwen2moe", transformers.Qwen2MoeConfig(**base(
        rms_norm_eps=1e-6, num_experts=6, num_experts_per_tok=3, moe_intermediate_size=64,
        shared_expert_intermediate_size=96, norm_topk_prob=False))),
    "qwen2moe-normed": ("qwen2moe", transformers.Qwen2MoeConfig(**base(
        rms_norm_eps=1e-6, num_experts=8, num_experts_per_tok=2, moe_intermediate_size=32,
        shared_expert_intermediate_size=32, norm_topk_prob=True))),
    "qwen3moe": ("qwen3moe", transformers.Qwen3MoeConfig(**base(
        rms_norm_eps=1e-6, head_dim=32, num_experts=12, num_experts_per_tok=4,
        moe_intermediate_size=32, norm_topk_prob=True))),
    # The routing of DeepSeek-V3 beside plain attention.
    "dots1": ("dots1", transformers.Dots1Config(**base(
        num_hidden_layers=3, rms_norm_eps=1e-6, head_dim=16, n_routed_experts=8, n_group=4,
        topk_group=2, num_experts_per_tok=3, n_shared_experts=2, moe_intermediate_size=32,
        first_k_dense_replace=1, norm_topk_prob=True, routed_scaling_factor=1.25,
        sliding_window=None))),
    "gpt-oss": ("gpt-oss", transformers.GptOssConfig(**base(
        head_dim=32, intermediate_size=64, num_local_experts=6, num_experts_per_tok=3,
        sliding_window=WINDOW, layer_types=["sliding_attention", "full_attention"],
        rope_parameters={"rope_type": "yarn", "rope_theta": 150000.0, "factor": 32.0,
                         "beta_fast": 32.0, "beta_slow": 1.0, "truncate": False,
                         "original_max_position_embeddings": 64}))),
    # Values of half the size of keys.
    "llama-values": ("llama", transformers.LlamaConfig(**base(head_dim=32))),
    # Keys and values of all heads in the cache, as files of before April 2025 ask for.
    "deepseek2-lite": ("deepseek2", transformers.DeepseekV2Config(**base(
        num_hidden_layers=3, num_key_value_heads=4, rms_norm_eps=1e-6, q_lora_rank=None,
        kv_lora_rank=32, qk_nope_head_dim=24, qk_rope_head_dim=8, v_head_dim=16,
        n_routed_experts=8, num_experts_per_tok=3, n_shared_experts=2, moe_intermediate_size=32,
        first_k_dense_replace=1, routed_scaling_factor=1.0, topk_method="greedy",
        rope_parameters={"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0,
                         "mscale": 0.707, "mscale_all_dim": 0.707, "beta_fast": 32.0,
                         "beta_slow": 1.0, "original_max_position_embeddings": 64}))),
    # Short vectors in the cache; queries from short vectors too.
    "deepseek2-v3": ("deepseek2", transformers.DeepseekV3Config(**base(
        num_hidden_layers=3, num_key_value_heads=4, rms_norm_eps=1e-6, q_lora_rank=32,
        kv_lora_rank=64, qk_nope_head_dim=32, qk_rope_head_dim=16, v_head_dim=16,
        n_routed_experts=8, n_group=4, topk_group=2, num_experts_per_tok=3, n_shared_experts=1,
        moe_intermediate_size=32, first_k_dense_replace=1, norm_topk_prob=True,
        routed_scaling_factor=2.5,
        rope_parameters={"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0,
                         "mscale": 1.0, "mscale_all_dim": 1.0, "beta_fast": 32.0,
                         "beta_slow": 1.0, "original_max_position_embeddings": 64}))),
    "bitnet": ("bitnet-b1.58", transformers.BitNetConfig(**base(
        rope_parameters={"rope_type": "default", "rope_theta": 500000.0}))),
    "gpt2": ("gpt2", transformers.GPT2Config(
        vocab_size=N_VOCAB, n_positions=128, n_embd=64, n_layer=2, n_head=4, bos_token_id=BOS_ID,
        eos_token_id=EOS_ID)),
    # Six heads: their slopes are those of four and of eight heads.
    "bloom": ("bloom", transformers.BloomConfig(
        vocab_size=N_VOCAB, hidden_size=96, n_layer=2, n_head=6, bos_token_id=BOS_ID,
        eos_token_id=EOS_ID, pad_token_id=PAD_ID, seq_length=128)),
    "mpt": ("mpt", transformers.MptConfig(
        vocab_size=N_VOCAB, d_model=64, n_layers=2, n_heads=4, max_seq_len=128,
        attn_config={"clip_qkv": 2.0, "alibi": True, "alibi_bias_max": 8})),
    "mpt-qk-norm": ("mpt", transformers.MptConfig(
        vocab_size=N_VOCAB, d_model=96, n_layers=2, n_heads=6, max_seq_len=128,
        attn_config={"alibi": True, "alibi_bias_max": 16, "qk_ln": True})),
}


VALUE_SIZES = {"llama-values": 16}
MODELS["deepseek2-lite"][1].compressed = False
MODELS["deepseek2-v3"][1].compressed = True


def weights_of(model):
    """Parameters, and the biases of routers, which are kept as buffers."""
    yield from model.named_parameters()
    yield from ((key, buffer) for key, buffer in model.named_buffers()
                if "correction_bias" in key)


def randomize(model, name, type_):
    """Weights of a sensible scale, drawn per tensor so that no order of creation matters.

    In F32 attention is sharp, so that masks, positions and soft caps show in the logits. In Q8_0
    it is mild and the residual stream is strong: each product with activations quantized to 8 bits
    is off by about half a percent whoever computes it, and a wilder random model multiplies that
    beyond what the tolerance is meant to tell."""
    gemma = model.config.model_type == "gemma2"
    mild = type_ == Type.Q8_0
    # Latent attention has more products one behind the other.
    branch = 0.25 if hasattr(model.config, "kv_lora_rank") else 0.6
    sharpness = 1.0 if mild else 3.0 if gemma else 1.7
    with torch.no_grad():
        for key, parameter in weights_of(model):
            rng = np.random.default_rng(zlib.crc32(f"{name}/{key}".encode()))
            values = rng.standard_normal(tuple(parameter.shape))
            if "norm" in key or ".ln_" in key or "_ln." in key:
                values = (0.0 if gemma else 1.0) + 0.2 * values
            elif key.endswith("bias"):
                values *= 0.5
            elif "sinks" in key:
                pass
            elif key.endswith(("mlp.gate.weight", "mlp.router.weight")):
                values *= 4.0 / math.sqrt(parameter.shape[1])  # who is chosen is never close
            elif "mlp.experts." in key:
                values *= (branch if mild and "down_proj" in key else 1.3) / math.sqrt(
                    parameter.shape[1 if model.config.model_type == "gpt_oss" else 2])
            elif "wpe" in key:
                values *= 0.2
            elif any(part in key for part in ("embed_tokens", "wte", "word_embeddings")):
                values *= 0.8 if mild and not gemma else 0.4
            elif mild and any(part in key for part in ("_a_proj", "_b_proj")):
                values *= 0.8 / math.sqrt(parameter.shape[1])
            elif "q_proj" in key or "k_proj" in key:
                values *= sharpness / math.sqrt(parameter.shape[1])
            else:
                small = ("o_proj", "down_proj", "c_proj", "out_proj", "attention.dense", "4h_to_h")
                inputs = parameter.shape[0 if model.config.model_type == "gpt2" else 1]
                values *= (branch if mild and any(part in key for part in small)
                           else 1.3) / math.sqrt(inputs)
            parameter.copy_(torch.from_numpy(values.astype(np.float32)))


def gguf_name(key):
    """The GGUF name of a Hugging Face tensor of these families."""
    if key in tiny_families.FIXED:
        return tiny_families.FIXED[key]
    _, _, layer, rest = key.split(".", 3)
    module, kind = rest.rsplit(".", 1)
    return f"blk.{layer}.{PARTS[module]}.{kind}"


PARTS = dict(tiny_families.PARTS)
PARTS_SANDWICH = {
    "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "ffn_norm", "post_feedforward_layernorm": "post_ffw_norm",
}


def add_hyper_parameters(writer, name, architecture, config):
    heads = config.num_attention_heads
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // heads
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    if architecture == "deepseek2":
        tiny_families.add_latent_keys(writer, config)
    else:
        writer.add_head_count_kv(config.num_key_value_heads)
    if head_dim * heads != config.hidden_size and architecture != "deepseek2":
        writer.add_key_length(head_dim)
        writer.add_value_length(VALUE_SIZES.get(name, head_dim))
    if architecture == "llama":
        writer.add_vocab_size(config.vocab_size)
        writer.add_rope_dimension_count(head_dim)
    rope = config.rope_parameters
    writer.add_rope_freq_base(rope["rope_theta"])
    if rope["rope_type"] == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope["factor"])
    elif rope["rope_type"] == "yarn":
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(rope["factor"])
        writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
    if getattr(config, "sliding_window", None):
        writer.add_sliding_window(config.sliding_window)
    tiny_families.add_expert_keys(writer, architecture, config)
    if architecture == "gemma2":
        writer.add_attn_logit_softcapping(config.attn_logit_softcapping)
        writer.add_final_logit_softcapping(config.final_logit_softcapping)


def llama3_divisors(config):
    """rope_freqs.weight: what each rotary frequency is divided by."""
    rope = config.rope_parameters
    dim = config.hidden_size // config.num_attention_heads
    divisors = []
    for i in range(dim // 2):
        wavelength = 2 * math.pi * rope["rope_theta"] ** (2 * i / dim)
        original = rope["original_max_position_embeddings"]
        if wavelength < original / rope["high_freq_factor"]:
            divisors.append(1.0)
        elif wavelength > original / rope["low_freq_factor"]:
            divisors.append(rope["factor"])
        else:
            smooth = (original / wavelength - rope["low_freq_factor"]) / (
                rope["high_freq_factor"] - rope["low_freq_factor"])
            divisors.append(1 / ((1 - smooth) / rope["factor"] + smooth))
    return np.array(divisors, dtype=np.float32)


def write_model(path, name, architecture, model, type_):
    """Writes the GGUF; sets the model's own weights to what a reader of the file sees."""
    config = model.config
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_name(f"random {name} for golden tests")
    writer.add_file_type(file_type(type_))
    if type_ != Type.F32:
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    if not tiny_families.add_keys(writer, architecture, config):
        add_hyper_parameters(writer, name, architecture, config)
    add_tiny_tokenizer(writer)
    if (getattr(config, "rope_parameters", None) or {}).get("rope_type") == "llama3":
        writer.add_tensor("rope_freqs.weight", llama3_divisors(config))
    with torch.no_grad():
        for key, parameter in weights_of(model):
            values = parameter.numpy()  # shares its memory
            if architecture == "llama" and ("q_proj" in key or "k_proj" in key):
                heads = (config.num_attention_heads if "q_proj" in key
                         else config.num_key_value_heads)
                add_array(writer, gguf_name(key), interleave_rotary_rows(values, heads), type_)
                # Rows are quantized one by one: their order does not change the values.
                scratch = gguf.GGUFWriter(None, architecture)
                values[...] = add_array(scratch, gguf_name(key), values, type_)
            elif architecture == "gemma2" and "norm" in key:
                values[...] = add_array(writer, gguf_name(key), values + np.float32(1), type_) - 1
            elif architecture in ("llama", "gemma2") and "mlp.experts" not in key \
                    and "mlp.gate.w" not in key:
                values[...] = add_array(writer, gguf_name(key), values, type_)
            else:
                for piece in tiny_families.pieces(architecture, config, key, values):
                    keeps = type_ == Type.F32 or piece.type is None
                    wanted = type_ if keeps else piece.type
                    stored = add_array(writer, piece.name, piece.view.reshape(piece.shape), wanted)
                    piece.view[...] = stored.reshape(piece.view.shape)
    finish(writer)


# Inputs that put a value on a rounding boundary early on, where any two correct computations part
# (see contract.py), are passed over.
PASSED_OVER = {"qwen3": 1, "gpt2": 2, "mpt-qk-norm": 1}


def input_ids(name):
    rng = np.random.default_rng(zlib.crc32(f"{name}/ids".encode()) + PASSED_OVER.get(name, 0))
    return [BOS_ID] + [int(i) for i in rng.integers(0, N_VOCAB - 3, N_POSITIONS - 1)]


# How far apart the logits of the last expert taken and of the first one left are at least: closer
# ones change places by what rounding activations to 8 bits does.
MARGIN = {Type.F32: 0.01, Type.Q8_0: 0.15}


def router_margins(model, ids):
    """The least margin over all routers, for each position. Of a router whose choice is not that of
    the greatest logits: of its scores with everything that is added to them."""
    margins, hooks = [], []
    for module in model.modules():
        if not type(module).__name__.endswith("Router"):
            continue

        def hook(router, _, output):
            ranks = output[0]
            bias = getattr(router, "e_score_correction_bias", None)
            if bias is not None:
                ranks = 4 * (ranks.sigmoid() + bias)  # the slope of a sigmoid is at most 1/4
                groups = ranks.view(len(ranks), router.num_group, -1)
                sums = groups.topk(2, dim=-1)[0].sum(-1).sort(dim=-1, descending=True)[0]
                margins.append(sums[:, router.topk_group - 1] - sums[:, router.topk_group])
                kept = groups.topk(2, dim=-1)[0].sum(-1).topk(router.topk_group, dim=-1)[1]
                mask = torch.zeros_like(groups[..., 0]).scatter(1, kept, 1.0)
                ranks = torch.where(mask[..., None] > 0, groups, -torch.inf).flatten(1)
            ranks = ranks.sort(dim=-1, descending=True)[0]
            margins.append(ranks[:, router.top_k - 1] - ranks[:, router.top_k])
        hooks.append(module.register_forward_hook(hook))
    with torch.no_grad():
        model(torch.tensor([ids]))
    for hook_ in hooks:
        hook_.remove()
    return torch.stack(margins).min(0)[0].numpy()


def decided_ids(model, name, type_):
    """Ids at which no router is undecided, chosen one after the other."""
    rng = np.random.default_rng(zlib.crc32(f"{name}/ids".encode()) + PASSED_OVER.get(name, 0))
    ids = [BOS_ID]
    while len(ids) < N_POSITIONS:
        tried = ids + [int(rng.integers(0, N_VOCAB - 3))]
        if router_margins(model, tried)[1:].min() > MARGIN[type_]:
            ids = tried
    return ids


def compute_logits(model, ids):
    with torch.no_grad():
        single = model.float()(torch.tensor([ids])).logits[0].numpy().astype(np.float32)
        double = model.double()(torch.tensor([ids])).logits[0].numpy()
        model.float()
    error = np.linalg.norm(single - double) / np.linalg.norm(double)
    return double.astype("<f4"), float(error)


def add_contract_logits(folder, stem, description, model, ids, block):
    """Writes STEM.contract.logits.f32 and says so in the description."""
    way = contextlib.nullcontext()
    if getattr(model.config, "compressed", False):
        way = tiny_families.CompressedAttention(model)
    with way:
        logits, median, worst = contract_logits(model, ids, block)
    description["contract_logits"] = stem + ".contract.logits.f32"
    description["contract_positions"] = LAST_POSITIONS
    logits.tofile(os.path.join(folder, description["contract_logits"]))
    return f", contract float32 run: median {median:.0e} worst {worst:.0e}"


def make(folder, name):
    architecture, config = MODELS[name]
    config._attn_implementation = "eager"
    choices = {"attn_implementation": "eager"}
    if architecture not in ("gpt2", "bloom", "mpt"):
        choices["experts_implementation"] = "eager"
    model = transformers.AutoModelForCausalLM.from_config(config, **choices)
    if name in VALUE_SIZES:
        tiny_families.narrow_values(model, VALUE_SIZES[name])
    if architecture == "mpt" and config.attn_config.qk_ln:
        tiny_families.norm_queries_and_keys(model)
    model.eval()
    has_experts = any("mlp.experts" in key for key, _ in model.named_parameters())
    ids = input_ids(name)
    for type_, tolerance in ((Type.F32, 1e-4), (Type.Q8_0, 2e-2)):
        randomize(model, name, type_)
        stem = f"{name}-{type_.name.lower()}"
        PARTS.update(PARTS_SANDWICH if architecture == "gemma2" else
                     {"post_attention_layernorm": "ffn_norm"})
        write_model(os.path.join(folder, stem + ".gguf"), name, architecture, model, type_)
        if has_experts:
            ids = decided_ids(model, name, type_)
        logits, error = compute_logits(model, ids)
        logits.tofile(os.path.join(folder, stem + ".logits.f32"))
        description = {
            "model": stem + ".gguf", "logits": stem + ".logits.f32", "ids": ids,
            "n_positions": len(ids), "n_vocab": N_VOCAB, "tolerance": tolerance,
            "window": getattr(config, "sliding_window", None),
            "reference": f"transformers {transformers.__version__}, eager attention, "
                         f"weights as stored in the file, float64 linear layers",
            "float32_run_differs_by": float(f"{error:.2g}"),
        }
        message = ""
        if type_ == Type.Q8_0:
            message = add_contract_logits(folder, stem, description, model, ids, 32)
        with open(os.path.join(folder, stem + ".ids.json"), "w") as out:
            json.dump(description, out, indent=1)
            out.write("\n")
        print(f"{stem:24} {os.path.getsize(os.path.join(folder, stem + '.gguf')):8} bytes, "
              f"logits std {logits.std():.3f} max {np.abs(logits).max():.2f}, "
              f"float32 differs by {error:.1e}{message}")


def main():
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    torch.set_num_threads(1)
    os.makedirs(sys.argv[1], exist_ok=True)
    for name in sys.argv[2:] or MODELS:
        if name not in MODELS:
            sys.exit(f"unknown model {name}; known: {', '.join(MODELS)}")
        make(sys.argv[1], name)


if __name__ == "__main__":
    main()
