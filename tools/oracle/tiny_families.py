"""How the families beyond the llama shape are written as GGUF: which tensors a parameter of
`transformers` becomes, and which metadata they have. For make_tiny_models.py."""

import re

import gguf
import numpy as np
import torch

from gguf_common import Type

F32 = Type.F32
LAYER = re.compile(r"(?:model|transformer)\.(?:layers|h|blocks)\.(\d+)\.(.+)")
FIXED = {
    "transformer.wte.weight": "token_embd.weight", "transformer.wpe.weight": "position_embd.weight",
    "transformer.word_embeddings.weight": "token_embd.weight",
    "transformer.word_embeddings_layernorm.weight": "token_embd_norm.weight",
    "transformer.word_embeddings_layernorm.bias": "token_embd_norm.bias",
    "transformer.ln_f.weight": "output_norm.weight", "transformer.ln_f.bias": "output_norm.bias",
    "transformer.norm_f.weight": "output_norm.weight",
    "model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}
PARTS = {
    "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
    # DeepSeek-V2 and V3
    "self_attn.q_a_proj": "attn_q_a", "self_attn.q_a_layernorm": "attn_q_a_norm",
    "self_attn.q_b_proj": "attn_q_b", "self_attn.kv_a_proj_with_mqa": "attn_kv_a_mqa",
    "self_attn.kv_a_layernorm": "attn_kv_a_norm", "self_attn.kv_b_proj": "attn_kv_b",
    "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
    "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
    "mlp.shared_expert.gate_proj": "ffn_gate_shexp", "mlp.shared_expert.up_proj": "ffn_up_shexp",
    "mlp.shared_expert.down_proj": "ffn_down_shexp",
    "mlp.shared_experts.gate_proj": "ffn_gate_shexp", "mlp.shared_experts.up_proj": "ffn_up_shexp",
    "mlp.shared_experts.down_proj": "ffn_down_shexp",
    "mlp.shared_expert_gate": "ffn_gate_inp_shexp", "mlp.gate": "ffn_gate_inp",
    "mlp.router": "ffn_gate_inp",
    # BitNet
    "self_attn.attn_sub_norm": "attn_sub_norm", "mlp.ffn_sub_norm": "ffn_sub_norm",
    # GPT-2
    "ln_1": "attn_norm", "attn.c_attn": "attn_qkv", "attn.c_proj": "attn_output",
    "ln_2": "ffn_norm", "mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down",
    # BLOOM
    "self_attention.query_key_value": "attn_qkv", "self_attention.dense": "attn_output",
    "mlp.dense_h_to_4h": "ffn_up", "mlp.dense_4h_to_h": "ffn_down",
    # MPT
    "norm_1": "attn_norm", "attn.Wqkv": "attn_qkv", "attn.out_proj": "attn_output",
    "attn.Wqkv.q_ln": "attn_q_norm", "attn.Wqkv.k_ln": "attn_k_norm",
    "norm_2": "ffn_norm", "ffn.up_proj": "ffn_up", "ffn.down_proj": "ffn_down",
}


class NormedQkv(torch.nn.Linear):
    """Queries, keys and values of MPT with layer norms over all heads' queries, and all their keys
    (qk_ln in its own configuration; `transformers` leaves it out)."""

    def __init__(self, linear):
        width = linear.in_features
        super().__init__(width, 3 * width, bias=False)
        self.q_ln, self.k_ln = torch.nn.LayerNorm(width), torch.nn.LayerNorm(width)

    def forward(self, x):
        q, k, v = super().forward(x).chunk(3, dim=2)
        return torch.cat((self.q_ln(q), self.k_ln(k), v), dim=2)


def norm_queries_and_keys(model):
    """Also takes alibi_bias_max from the configuration, as MPT's own code does; `transformers`
    always has 8."""
    transformer, plain = model.transformer, type(model.transformer).build_mpt_alibi_tensor
    for block in transformer.blocks:
        block.attn.Wqkv = NormedQkv(block.attn.Wqkv)
    bias = model.config.attn_config.alibi_bias_max
    transformer.build_mpt_alibi_tensor = lambda heads, length, device=None: plain(
        transformer, heads, length, bias, device)


class NarrowValues(torch.nn.Linear):
    """Values of fewer numbers than a key has: zeros stand for the others."""

    def __init__(self, linear, heads, size):
        super().__init__(linear.in_features, heads * size, bias=False)
        self.heads, self.padding = heads, linear.out_features // heads - size

    def forward(self, x):
        values = super().forward(x).unflatten(-1, (self.heads, -1))
        return torch.nn.functional.pad(values, (0, self.padding)).flatten(-2)


class NarrowOutput(torch.nn.Linear):
    """What attends to them, without the zeros."""

    def __init__(self, linear, heads, size):
        super().__init__(heads * size, linear.out_features, bias=False)
        self.heads, self.size = heads, size

    def forward(self, x):
        return super().forward(x.unflatten(-1, (self.heads, -1))[..., :self.size].flatten(-2))


def narrow_values(model, size):
    config = model.config
    for layer in model.model.layers:
        attention = layer.self_attn
        attention.v_proj = NarrowValues(attention.v_proj, config.num_key_value_heads, size)
        attention.o_proj = NarrowOutput(attention.o_proj, config.num_attention_heads, size)


class CompressedAttention:
    """Within it, latent attention is computed as it is where caches hold the short vectors: queries
    are taken through each head's key product, and what it attends to through its value product. The
    same but for what is quantized."""

    def __init__(self, model):
        self.modules = [layer.self_attn for layer in model.model.layers]

    @staticmethod
    def forward_of(module):
        linear = torch.nn.functional
        plain, size = module.qk_nope_head_dim, module.qk_head_dim

        def forward(hidden_states, position_embeddings, attention_mask, **_):
            if module.q_lora_rank is None:
                q = module.q_proj(hidden_states)
            else:
                q = module.q_b_proj(module.q_a_layernorm(module.q_a_proj(hidden_states)))
            q = q.unflatten(-1, (-1, size)).transpose(1, 2)
            both = module.kv_a_proj_with_mqa(hidden_states)
            latent = module.kv_a_layernorm(both[..., :module.kv_lora_rank])[:, None]
            cos, sin = (part[:, None, :, :part.shape[-1] // 2] for part in position_embeddings)

            def rotate(x):
                a, b = x[..., 0::2], x[..., 1::2]
                return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)

            products = module.kv_b_proj.weight.unflatten(0, (module.num_heads, -1))
            compressed = torch.stack([linear.linear(q[:, h, :, :plain], products[h, :plain].T)
                                      for h in range(module.num_heads)], 1)
            query = torch.cat((compressed, rotate(q[..., plain:])), -1)
            key = torch.cat((latent, rotate(both[:, None, :, module.kv_lora_rank:])), -1)
            scores = query @ key.transpose(2, 3) * module.scaling + attention_mask
            attended = scores.softmax(-1, dtype=torch.float32).to(query.dtype) @ latent
            heads = [linear.linear(attended[:, h], products[h, plain:])
                     for h in range(module.num_heads)]
            return module.o_proj(torch.cat(heads, -1)), None
        return forward

    def __enter__(self):
        for module in self.modules:
            module.forward = self.forward_of(module)

    def __exit__(self, *_):
        for module in self.modules:
            del module.forward


class Piece:
    """A tensor of the file: its name, a view of the parameter (written through when the file's
    rounding is put back), its type where that is not the file's, and its shape where that is not the
    view's."""

    def __init__(self, name, view, type_=None, shape=None):
        self.name, self.view, self.type, self.shape = name, view, type_, shape or view.shape


def halves(values):
    """Gate and up projections of experts, one behind the other: [experts, 2 ffn, width]."""
    return np.split(values, 2, axis=1)


def gpt_oss_pieces(prefix, rest, values):
    """Experts are stored [experts, in, out], gate and up projections in turns."""
    kind, views = "weight", {}
    if rest.endswith("_bias"):
        kind, rest = "bias", rest.removesuffix("_bias")
    if rest == "mlp.experts.gate_up_proj":
        views = {"ffn_gate_exps": values[..., 0::2], "ffn_up_exps": values[..., 1::2]}
    elif rest == "mlp.experts.down_proj":
        views = {"ffn_down_exps": values}
    if kind == "weight":
        views = {part: view.swapaxes(1, 2) for part, view in views.items()}
    # As the published files have them: the experts in MXFP4 beside a wider type.
    type_ = Type.MXFP4 if kind == "weight" else F32
    return [Piece(f"{prefix}{part}.{kind}", view, type_) for part, view in views.items()] or None


def expert_pieces(architecture, prefix, rest, values):
    if architecture == "gpt-oss":
        return gpt_oss_pieces(prefix, rest, values)
    if rest == "mlp.experts.gate_up_proj":
        gate, up = halves(values)
        return [Piece(prefix + "ffn_gate_exps.weight", gate),
                Piece(prefix + "ffn_up_exps.weight", up)]
    if rest == "mlp.experts.down_proj":
        return [Piece(prefix + "ffn_down_exps.weight", values)]
    if rest == "mlp.gate.e_score_correction_bias":
        return [Piece(prefix + "exp_probs_b.bias", values, F32)]
    return None


def pieces(architecture, config, key, values):
    """The tensors of the file that a parameter becomes; values is a NumPy array."""
    if key in FIXED:
        return [Piece(FIXED[key], values, F32 if "wpe" in key else None)]
    layer, rest = LAYER.fullmatch(key).groups()
    prefix = f"blk.{layer}."
    found = expert_pieces(architecture, prefix, rest, values)
    if found is not None:
        return found
    if rest == "self_attn.sinks":
        return [Piece(prefix + "attn_sinks.weight", values)]
    module, kind = rest.rsplit(".", 1)
    part = PARTS[module]
    if architecture == "gpt-oss" and part == "ffn_norm":
        part = "post_attention_norm"
    if part == "ffn_gate_inp_shexp":
        values = values[0]
    shape = values.shape
    if part == "attn_kv_b" and config.compressed:
        heads = values.reshape(config.num_attention_heads, -1, config.kv_lora_rank)
        keys, values = np.split(heads, [config.qk_nope_head_dim], axis=1)
        return [Piece(f"{prefix}attn_k_b.weight", keys.swapaxes(1, 2)),
                Piece(f"{prefix}attn_v_b.weight", values)]
    if architecture == "gpt2" and values.ndim == 2:
        values, shape = values.T, shape[::-1]
    if architecture == "bloom" and part == "attn_qkv":
        heads = values.reshape(config.n_head, 3, -1, *values.shape[1:])
        values = heads.swapaxes(0, 1)
    return [Piece(f"{prefix}{part}.{kind}", values,
                  F32 if part.startswith("ffn_gate_inp") else None, shape)]


def add_expert_keys(writer, architecture, config):
    count = getattr(config, "num_local_experts", None) or getattr(config, "num_experts", None) \
        or getattr(config, "n_routed_experts", None)
    if not count:
        return
    writer.add_expert_count(count)
    writer.add_expert_used_count(config.num_experts_per_tok)
    if architecture != "llama":
        writer.add_expert_feed_forward_length(getattr(config, "moe_intermediate_size", None)
                                              or config.intermediate_size)
    if architecture == "qwen2moe":
        writer.add_expert_shared_feed_forward_length(config.shared_expert_intermediate_size)
    if architecture == "qwen2moe" and config.norm_topk_prob:
        writer.add_expert_weights_norm(True)
    if architecture in ("dots1", "deepseek2"):
        writer.add_leading_dense_block_count(config.first_k_dense_replace)
        writer.add_expert_shared_count(config.n_shared_experts)
        writer.add_expert_weights_scale(config.routed_scaling_factor)
        writer.add_expert_weights_norm(config.norm_topk_prob)
        if config.model_type == "deepseek_v2":  # as the older converter writes them
            return
        writer.add_expert_gating_func(gguf.ExpertGatingFuncType.SIGMOID)
        writer.add_expert_group_count(config.n_group)
        writer.add_expert_group_used_count(config.topk_group)


def add_latent_keys(writer, config):
    """As the converter writes them since April 2025 (compressed), or before."""
    key = config.qk_nope_head_dim + config.qk_rope_head_dim
    if config.q_lora_rank:
        writer.add_q_lora_rank(config.q_lora_rank)
    writer.add_kv_lora_rank(config.kv_lora_rank)
    writer.add_rope_dimension_count(config.qk_rope_head_dim)
    if config.compressed:
        writer.add_head_count_kv(1)
        writer.add_key_length(config.kv_lora_rank + config.qk_rope_head_dim)
        writer.add_value_length(config.kv_lora_rank)
        writer.add_key_length_mla(key)
        writer.add_value_length_mla(config.v_head_dim)
    else:
        writer.add_head_count_kv(config.num_attention_heads)
        writer.add_key_length(key)
        writer.add_value_length(config.v_head_dim)
    writer.add_rope_scaling_yarn_log_mul(0.1 * config.rope_parameters["mscale_all_dim"])


def add_keys(writer, architecture, config):
    """The metadata of the families with layer norms; False for others."""
    if architecture == "gpt2":
        sizes = (config.n_positions, config.n_embd, config.n_layer, config.n_head,
                 4 * config.n_embd)
    elif architecture == "bloom":
        sizes = (config.seq_length, config.hidden_size, config.n_layer, config.n_head,
                 4 * config.hidden_size)
    elif architecture == "mpt":
        sizes = (config.max_seq_len, config.d_model, config.n_layers, config.n_heads,
                 config.expansion_ratio * config.d_model)
        writer.add_max_alibi_bias(config.attn_config.alibi_bias_max)
        if config.attn_config.clip_qkv:
            writer.add_clamp_kqv(config.attn_config.clip_qkv)
    else:
        return False
    writer.add_context_length(sizes[0])
    writer.add_embedding_length(sizes[1])
    writer.add_block_count(sizes[2])
    writer.add_head_count(sizes[3])
    writer.add_feed_forward_length(sizes[4])
    writer.add_layer_norm_eps(config.layer_norm_epsilon)
    return True
