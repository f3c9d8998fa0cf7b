"""Cases of make_published.py: bitsandbytes (NF4, FP4, LLM.int8), FP8 and FP4 of `transformers` and
compressed-tensors, MXFP4 of gpt-oss, BitNet."""

import os
import types

import torch
import transformers
from safetensors.torch import save_file

from make_published import linears, make_base
from published_affine import compressed_case, edit_config, of, refused, save_packed


def saved_base(folder, base, dtype):
    source = folder + "-base"
    base.to(dtype).save_pretrained(source)
    return source


# ---- bitsandbytes --------------------------------------------------------------------------------

def decode_4_bits(weight):
    """By the package's plain implementation. That for the processor (0.50.2) is wrong where a row is
    no multiple of the blocks, which run over the matrix."""
    import bitsandbytes
    from bitsandbytes.backends.default.ops import _dequantize_4bit_compute
    state = weight.quant_state
    absmax = state.absmax
    if state.nested:
        absmax = bitsandbytes.functional.dequantize_blockwise(absmax, state.state2) + state.offset
    return _dequantize_4bit_compute(weight.data.reshape(-1).view(torch.uint8), absmax.float(),
                                    state.code, state.blocksize, state.shape, torch.float32)


def bnb_case(folder, kind="llama", dtype=torch.bfloat16, tolerance=1e-4, block=None, base_settings=None,
             **settings):
    import bitsandbytes
    base = make_base(kind, torch.float32, **(base_settings or {}))
    source = saved_base(folder, make_base(kind, **(base_settings or {})), dtype)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        source, quantization_config=transformers.BitsAndBytesConfig(**settings), dtype=dtype,
        device_map="cpu", attn_implementation="eager")
    if block:  # as its own functions offer, and models of other programs have
        for name, module in model.named_modules():
            if isinstance(module, bitsandbytes.nn.Linear4bit):
                module.weight = bitsandbytes.nn.Params4bit(
                    base.get_submodule(name).weight.data.to(dtype), requires_grad=False,
                    blocksize=block, quant_type=settings["bnb_4bit_quant_type"],
                    compress_statistics=settings.get("bnb_4bit_use_double_quant", False),
                    module=module).to("cpu")
    decoded = {}
    model.save_pretrained(folder)
    for name, module in model.named_modules():
        if isinstance(module, bitsandbytes.nn.Linear4bit):
            decoded[name] = decode_4_bits(module.weight)
            exact = base.get_submodule(name).weight.data
            assert (decoded[name] - exact).norm() < 0.2 * exact.norm()
        elif isinstance(module, bitsandbytes.nn.Linear8bitLt):
            weight, scb = module.weight.data, module.weight.SCB
            decoded[name] = bitsandbytes.functional.int8_vectorwise_dequant(weight, scb)
    assert decoded
    return {"base": base, "decoded": decoded, "tolerance": tolerance}


def nf4(**settings):
    return dict(load_in_4bit=True, bnb_4bit_quant_type="nf4", **settings)


# ---- FP8 of transformers -------------------------------------------------------------------------

def fp8_case(folder, block=(128, 128), scale_fmt="float", static=False, kind="llama", skip=(),
             caches=False):
    """The quantizing operation of `transformers`, and its decoding; a folder as DeepSeek, Qwen and
    MiniMax publish it."""
    from transformers.integrations.finegrained_fp8 import Fp8Dequantize, Fp8Quantize
    from transformers.utils.quantization_config import FineGrainedFP8Config
    settings = FineGrainedFP8Config(weight_block_size=block and list(block), scale_fmt=scale_fmt,
                                    activation_scheme="static" if static else "dynamic",
                                    modules_to_not_convert=["lm_head", *skip])
    settings.weight_block_size = block and list(block)
    owner = types.SimpleNamespace(quantization_config=settings)
    base = make_base(kind, torch.float32)
    modules, decoded = {}, {}
    for name, linear in linears(base, ("lm_head", *skip)).items():
        weight = linear.weight.data
        if block:  # a block may reach beyond the matrix: the last one then is what there is
            rows, columns = (-weight.shape[0] % block[0], -weight.shape[1] % block[1])
            padded = torch.nn.functional.pad(weight, (0, columns, 0, rows))
        else:
            padded = weight
        parts = Fp8Quantize(owner).convert({"weight": padded})
        quants, scales = parts["weight"], parts["weight_scale_inv"]
        wide = Fp8Dequantize(owner)._dequantize_one(quants, scales, torch.float32)
        decoded[name] = wide[:weight.shape[0], :weight.shape[1]].contiguous()
        modules[name] = {"weight": quants[:weight.shape[0], :weight.shape[1]].contiguous(),
                         "weight_scale_inv": scales.reshape(()) if not block else scales}
        if linear.bias is not None:
            modules[name]["bias"] = linear.bias.data.bfloat16()
        if static:
            modules[name]["activation_scale"] = torch.tensor(0.02)
        if caches and name.endswith(("k_proj", "v_proj")):
            modules[name][name[-6] + "_scale"] = torch.tensor(0.5)
    save_packed(folder, base.bfloat16(), modules, settings.to_dict())
    return {"base": base.float(), "decoded": decoded, "tolerance": 1e-4}


# ---- BitNet --------------------------------------------------------------------------------------

def bitnet_case(folder, kind="autobitlinear", **settings):
    from transformers.integrations.bitnet import pack_weights
    base = make_base("bitnet", torch.float32)
    modules, decoded = {}, {}
    for name, linear in linears(base).items():
        weight = linear.weight.data
        scale = weight.abs().mean().to(torch.bfloat16).float()
        ternary = torch.clamp(torch.round(weight / scale), -1, 1)
        if kind == "bitlinear":  # the older class divides by the stored number
            scale = 1 / (1 / scale).to(torch.bfloat16).float()
            stored = (1 / scale).reshape(1)
        else:
            stored = scale.reshape(1)
        decoded[name] = (ternary * scale).contiguous()
        modules[name] = {"weight": pack_weights(ternary.clone()), "weight_scale": stored.bfloat16()}
    quantization = transformers.BitNetQuantConfig(linear_class=kind, **settings).to_dict()
    save_packed(folder, base.bfloat16(), modules, quantization)
    return {"base": base.float(), "decoded": decoded, "tolerance": 3e-2}


# ---- MXFP4 of gpt-oss ----------------------------------------------------------------------------

def gpt_oss_case(folder):
    from transformers.integrations.mxfp4 import convert_moe_packed_tensors
    base = make_base("gpt_oss", torch.float32, num_local_experts=4, num_experts_per_tok=2,
                     head_dim=32, layer_types=["full_attention"], intermediate_size=96)
    base.config._experts_implementation = "eager"
    generator = torch.Generator().manual_seed(11)
    state, expected = base.state_dict(), {}
    for part in ("gate_up_proj", "down_proj"):
        name = f"model.layers.0.mlp.experts.{part}"
        experts, columns, rows = state[name].shape
        blocks = torch.randint(0, 256, (experts, rows, columns // 32, 16), dtype=torch.uint8,
                               generator=generator)
        scales = torch.randint(120, 125, (experts, rows, columns // 32), dtype=torch.uint8,
                               generator=generator)
        wide = convert_moe_packed_tensors(blocks, scales, dtype=torch.float32)
        base.get_parameter(name).data = wide.contiguous()
        state[name + "_blocks"], state[name + "_scales"] = blocks, scales
        del state[name]
        wide = wide.transpose(1, 2).contiguous()  # rows of outputs
        for half, role in ((0, "ffn_gate_exps"), (1, "ffn_up_exps")):
            if part == "gate_up_proj":
                expected[f"blk.0.{role}.weight"] = wide[:, half::2].contiguous()
        if part == "down_proj":
            expected["blk.0.ffn_down_exps.weight"] = wide
    base.config.save_pretrained(folder)
    save_file({name: (value if value.dtype == torch.uint8 else value.bfloat16()).contiguous()
               for name, value in state.items()}, os.path.join(folder, "model.safetensors"),
              metadata={"format": "pt"})
    edit_config(folder, lambda config: config.update(quantization_config={
        "modules_to_not_convert": ["model.layers.*.self_attn", "model.layers.*.mlp.router",
                                   "model.embed_tokens", "lm_head"], "quant_method": "mxfp4"}))
    return {"base": base, "decoded": {}, "named": expected, "tolerance": 3e-2}


def close(make, *arguments, **settings):
    """The package rounds scale / global scale; here the global scale multiplies results."""
    def case(folder):
        return {**make(folder, *arguments, **settings), "hashed": False}
    return case


CASES = {
    "nf4": of(bnb_case, **nf4()),
    "nf4-double": of(bnb_case, **nf4(bnb_4bit_use_double_quant=True)),
    "nf4-double-f32": of(bnb_case, dtype=torch.float32, **nf4(bnb_4bit_use_double_quant=True)),
    "nf4-storage": of(bnb_case, **nf4(bnb_4bit_use_double_quant=True,
                                      bnb_4bit_quant_storage=torch.bfloat16)),
    "nf4-storage-f32": of(bnb_case, **nf4(bnb_4bit_quant_storage=torch.float32)),
    "nf4-skip": of(bnb_case, **nf4(llm_int8_skip_modules=["down_proj", "lm_head"])),
    "nf4-bias-tied": of(bnb_case, kind="qwen2", base_settings=dict(tie_word_embeddings=True), **nf4()),
    "nf4-128-double": of(bnb_case, block=128, **nf4(bnb_4bit_use_double_quant=True)),
    "nf4-odd": of(bnb_case, base_settings=dict(intermediate_size=96), **nf4()),
    "fp4": of(bnb_case, load_in_4bit=True, bnb_4bit_quant_type="fp4"),
    "fp4-double": of(bnb_case, load_in_4bit=True, bnb_4bit_quant_type="fp4",
                     bnb_4bit_use_double_quant=True, dtype=torch.float16),
    "int8": of(bnb_case, tolerance=3e-2, dtype=torch.float16, load_in_8bit=True),
    "int8-outliers": of(bnb_case, tolerance=3e-2, dtype=torch.float16, load_in_8bit=True,
                        llm_int8_threshold=1.0),
    "int8-skip": of(bnb_case, tolerance=3e-2, kind="qwen2", dtype=torch.float16, load_in_8bit=True,
                    llm_int8_skip_modules=["o_proj", "lm_head"]),
    "fp8-blocks": of(fp8_case),
    "fp8-blocks-64": of(fp8_case, block=(64, 64), kind="qwen2", skip=("o_proj",)),
    "fp8-blocks-e8m0": of(fp8_case, block=(32, 64), scale_fmt="ue8m0"),
    "fp8-tensor-static": of(fp8_case, block=None, static=True, caches=True),
    "fp8-ct-tensor": of(compressed_case, "FP8", 1e-4),
    "fp8-ct-dynamic": of(compressed_case, "FP8_DYNAMIC", 1e-4, kind="qwen2"),
    "fp8-ct-block": of(compressed_case, "FP8_BLOCK", 1e-4),
    "fp8-ct-cache": of(compressed_case, "FP8_DYNAMIC", 1e-4,
                       cache=dict(num_bits=8, type="float", strategy="tensor", dynamic=False)),
    "fp8-ct-group": of(compressed_case, tolerance=1e-4, type="float", strategy="group", group=64),
    "fp8-ct-f32": of(compressed_case, "FP8_DYNAMIC", 1e-4, dtype=torch.float32),
    "nvfp4": close(compressed_case, "NVFP4"),
    "nvfp4-weights": close(compressed_case, "NVFP4A16", kind="qwen2"),
    "mxfp4": of(compressed_case, "MXFP4"),
    "mxfp4-weights": of(compressed_case, "MXFP4A16"),
    "mxfp8": refused(compressed_case, "format", "MXFP8A16"),
    "mxfp6": refused(compressed_case, "format", "MXFP6A16"),
    "w4afp8": of(compressed_case, "W4AFP8", group=32),
    "gpt-oss": gpt_oss_case,
    "bitnet": of(bitnet_case),
    "bitnet-divided": of(bitnet_case, kind="bitlinear"),
    "bitnet-online": refused(bitnet_case, "quantization_mode", quantization_mode="online"),
    "bitnet-normed": refused(bitnet_case, "use_rms_norm", use_rms_norm=True),
}
