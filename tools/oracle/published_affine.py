"""Cases of make_published.py: GPTQ (gptqmodel, auto-gptq), AWQ (autoawq, gptqmodel), integers of
compressed-tensors, EXL2 (exllamav2). Each makes a folder as its package saves it and returns what
the package decodes; in F32, where a package would round to the type of its scales."""

import importlib.util
import json
import os
import sys
import types

import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import load_file, save_file

import make_published
from make_published import linears, make_base


def edit_config(folder, change):
    path = os.path.join(folder, "config.json")
    with open(path) as file:
        config = json.load(file)
    change(config)
    with open(path, "w") as file:
        json.dump(config, file, indent=2)


def save_packed(folder, base, modules, settings, file=None):
    """modules: {name: {ending: tensor}}, in the place of the base's own weights."""
    state = {name: value for name, value in base.state_dict().items()
             if name.rpartition(".")[0] not in modules}
    for name, parts in modules.items():
        state.update({f"{name}.{ending}": tensor for ending, tensor in parts.items()})
    base.config.save_pretrained(folder)
    save_file({name: value.contiguous().clone() for name, value in state.items()},
              os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})
    if file is None:
        edit_config(folder, lambda config: config.update(quantization_config=settings))
    else:
        with open(os.path.join(folder, file), "w") as out:
            json.dump(settings, out, indent=2)


def only_parts_of(package, *folders):
    """Makes parts of a package importable whose whole does not go with today's others."""
    if package in sys.modules:
        return
    found = importlib.util.find_spec(package).submodule_search_locations[0]
    for name in (package, *folders):
        sys.modules[name] = types.ModuleType(name)
        sys.modules[name].__path__ = [os.path.join(found, *name.split(".")[1:])]


# ---- GPTQ ----------------------------------------------------------------------------------------

def round_to_grid(weight, bits, group, symmetric, g_idx):
    """Scales and zeros [rows, groups] of each row's groups of columns, nearest rounding."""
    n_groups = int(g_idx.max()) + 1
    scales, zeros = [], []
    for g in range(n_groups):
        part = weight[:, g_idx == g]
        low, high = part.min(1).values, part.max(1).values
        if symmetric:
            scale = torch.maximum(-low, high) * 2 / (2 ** bits - 1)
            zero = torch.full_like(scale, 2 ** (bits - 1))
        else:  # not widened to hold 0, so that zeros of 0 and of the greatest quant occur
            scale = (high - low) / (2 ** bits - 1)
            zero = torch.clamp(torch.round(-low / scale), 0, 2 ** bits - 1)
        scales.append(scale)
        zeros.append(zero)
    return torch.stack(scales, 1).half().float(), torch.stack(zeros, 1)


def group_indexes(n_columns, group, order):
    size = n_columns if group == -1 else group
    index = torch.arange(n_columns, dtype=torch.int32) // size
    if order:
        index = index[torch.randperm(n_columns, generator=torch.Generator().manual_seed(n_columns))]
    return index


def shifted(base, groups=32):
    """Some groups of columns away from 0: their zero points lie at the ends of the range."""
    with torch.no_grad():
        for module in linears(base).values():
            weight = module.weight
            for row in range(0, weight.shape[0], 5):
                first = row * 7 % weight.shape[1] // groups * groups
                weight[row, first:first + groups] += 0.25 if row % 2 else -0.25
            weight.copy_(weight.to(torch.bfloat16).float())
    return base


def gptq_parts(module):
    return {name: getattr(module, name) for name in ("qweight", "qzeros", "scales", "g_idx", "bias")
            if getattr(module, name, None) is not None}


def gptq_decoded(module):
    module.eval()
    exact, module.scales = module.scales, module.scales.float()
    decoded = type(module).__mro__[1].dequantize_weight(module).T.contiguous().float()
    module.scales = exact
    return decoded


def gptqmodel_case(folder, bits, group=32, symmetric=True, order=False, v2=False, kind="llama",
                   with_head=False, index=True, dynamic=None, **others):
    from gptqmodel.nn_modules.qlinear.torch import TorchLinear
    from gptqmodel.quantization import QuantizeConfig
    from gptqmodel.utils.model import convert_gptq_v2_to_v1_format_module
    config = QuantizeConfig(bits=bits, group_size=group, sym=symmetric, desc_act=order,
                            format="gptq_v2" if v2 else "gptq", lm_head=with_head, **others)
    base = shifted(make_base(kind, torch.float32))
    modules, decoded = {}, {}
    for name, linear in linears(base, () if with_head else ("lm_head",)).items():
        own = dynamic[1] if dynamic and dynamic[0] in name else bits
        g_idx = group_indexes(linear.in_features, group, order)
        scales, zeros = round_to_grid(linear.weight.data, own, group, symmetric, g_idx)
        packed = TorchLinear(bits=own, group_size=group, sym=symmetric, desc_act=order,
                             in_features=linear.in_features, out_features=linear.out_features,
                             bias=linear.bias is not None)
        packed.pack_original(linear, scales, zeros, g_idx)
        packed._init_wf_unsqueeze_buffers()
        decoded[name] = gptq_decoded(packed)
        if not v2:
            convert_gptq_v2_to_v1_format_module(packed, config)
        modules[name] = gptq_parts(packed)
        if not index:
            del modules[name]["g_idx"]
    settings = config.to_dict()
    settings["meta"].update(quantizer=["gptqmodel:7.7.0"])  # as its writer adds
    settings["meta"].pop("offload_to_disk_path", None)
    if dynamic:
        settings["dynamic"] = {rf"+:.*\.{dynamic[0]}": {"bits": dynamic[1]}}
    save_packed(folder, base.half(), modules, json.loads(json.dumps(settings, default=str)))
    return {"base": base.float(), "decoded": decoded, "tolerance": 3e-2}


def gptqmodel_quantized(folder, **settings):
    """The whole way: calibration on the processor, then the package's own writer."""
    from gptqmodel import GPTQModel, QuantizeConfig
    from gptqmodel.nn_modules.qlinear.torch import TorchLinear
    from gptqmodel.utils.model import convert_gptq_v1_to_v2_format_module
    from tokenizers import Tokenizer, models
    source = folder + "-base"
    base = make_base("llama", torch.float16)
    base.save_pretrained(source)
    tokenizer = Tokenizer(models.WordLevel({f"t{i}": i for i in range(make_published.VOCABULARY)}, unk_token="t0"))
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="t0", pad_token="t0",
                                         bos_token="t1", eos_token="t2").save_pretrained(source)
    model = GPTQModel.load(source, QuantizeConfig(**settings), device="cpu")
    rows = torch.randint(0, make_published.VOCABULARY, (16, 48), generator=torch.Generator().manual_seed(3))
    model.quantize([{"input_ids": row.tolist(), "attention_mask": [1] * 48} for row in rows],
                   batch_size=8)
    model.save(folder)
    tensors = load_file(os.path.join(folder, "model.safetensors"))
    decoded = {}
    for name, linear in linears(base).items():
        packed = TorchLinear(bits=settings["bits"], group_size=settings["group_size"],
                             sym=settings["sym"], desc_act=settings.get("desc_act", False),
                             in_features=linear.in_features, out_features=linear.out_features)
        for part in ("qweight", "qzeros", "scales", "g_idx"):
            setattr(packed, part, tensors[f"{name}.{part}"])
        if settings.get("format", "gptq") == "gptq":
            convert_gptq_v1_to_v2_format_module(packed, settings["bits"], torch.int32)
        packed._init_wf_unsqueeze_buffers()
        decoded[name] = gptq_decoded(packed)
    for extra in os.listdir(folder):  # what only its tokenizer needs
        if extra.startswith(("tokenizer", "special", "chat", "quant_log")):
            os.remove(os.path.join(folder, extra))
    return {"base": base.float(), "decoded": decoded, "tolerance": 3e-2}


def autogptq_case(folder, bits, group, order=False, kind="llama", index=True):
    """The old package, whose settings stand in a file of their own."""
    only_parts_of("auto_gptq", "auto_gptq.nn_modules")
    from auto_gptq.nn_modules.qlinear import qlinear_cuda, qlinear_cuda_old
    QuantLinear = (qlinear_cuda if order else qlinear_cuda_old).QuantLinear
    base = make_base(kind, torch.float32)
    modules, decoded = {}, {}
    for name, linear in linears(base).items():
        g_idx = group_indexes(linear.in_features, group, order)
        scales, zeros = round_to_grid(linear.weight.data, bits, group, True, g_idx)
        packed = QuantLinear(bits, group, linear.in_features, linear.out_features,
                             linear.bias is not None, weight_dtype=torch.float16)
        quants = torch.clamp(torch.round(linear.weight.data / scales[:, g_idx]) + zeros[:, g_idx],
                             0, 2 ** bits - 1)
        decoded[name] = (scales[:, g_idx] * (quants - zeros[:, g_idx])).contiguous()
        linear.weight.data = decoded[name]  # as its quantizer leaves it
        packed.pack(linear, scales, zeros.clone(), g_idx)
        modules[name] = gptq_parts(packed)
        if not index:
            del modules[name]["g_idx"]
    settings = {"bits": bits, "group_size": group, "damp_percent": 0.01, "desc_act": order,
                "static_groups": False, "sym": True, "true_sequential": True,
                "model_name_or_path": None, "model_file_base_name": "model",
                "quant_method": "gptq", "checkpoint_format": "gptq"}
    save_packed(folder, base.half(), modules, settings, "quantize_config.json")
    return {"base": base.float(), "decoded": decoded, "tolerance": 3e-2}


# ---- AWQ -----------------------------------------------------------------------------------------

def awq_case(folder, group, by="autoawq", kind="llama", skip=()):
    from awq.models._config import AwqConfig
    from awq.modules.linear.gemm import WQLinear_GEMM
    from awq.utils.packing_utils import dequantize_gemm
    base = shifted(make_base(kind, torch.float32))
    modules, decoded = {}, {}
    for name, linear in linears(base, ("lm_head", *skip)).items():
        size = linear.in_features if group == -1 else group
        g_idx = group_indexes(linear.in_features, size, False)
        scales, zeros = round_to_grid(linear.weight.data, 4, size, False, g_idx)
        limited = torch.clamp(linear.weight.data, ((0 - zeros) * scales)[:, g_idx],
                              ((15 - zeros) * scales)[:, g_idx])
        linear.weight.data = limited  # as the package does before it packs
        packed = WQLinear_GEMM.from_linear(linear, 4, size, scales=scales.T.contiguous(),
                                           zeros=zeros.T.contiguous())
        parts = (packed.qweight, packed.qzeros)
        decoded[name] = dequantize_gemm(*parts, packed.scales.float(), 4, size).T.contiguous()
        rounded = dequantize_gemm(*parts, packed.scales, 4, size).T
        assert torch.equal(decoded[name].half(), rounded)
        modules[name] = {key: value for key, value in packed.state_dict().items()}
    settings = AwqConfig(q_group_size=group, modules_to_not_convert=list(skip) or None)
    if by == "autoawq":
        save_packed(folder, base.half(), modules, settings.to_transformers_dict())
    elif by == "llm-awq":
        save_packed(folder, base.half(), modules, settings.to_dict(), "quant_config.json")
    else:
        settings = transformers.AwqConfig(bits=4, group_size=group)
        save_packed(folder, base.half(), modules, settings.to_dict())
    return {"base": base.float(), "decoded": decoded, "tolerance": 3e-2}


# ---- compressed-tensors --------------------------------------------------------------------------

def calibrate(module, scheme):
    """Scales from the weights themselves, by the package's own formulas."""
    from compressed_tensors.quantization.utils import calculate_qparams
    arguments = scheme.weights
    weight, size = module.weight.data.float(), arguments.group_size
    strategy = arguments.strategy
    if strategy == "block":
        rows, columns = arguments.block_structure
        blocks = F.pad(weight, (0, -weight.shape[1] % columns, 0, -weight.shape[0] % rows))
        blocks = blocks.unflatten(0, (-1, rows)).unflatten(2, (-1, columns)).transpose(1, 2)
        low, high = blocks.amin((2, 3)), blocks.amax((2, 3))
    elif strategy in ("group", "tensor_group"):
        groups = weight.unflatten(1, (-1, size))
        low, high = groups.amin(2), groups.amax(2)
    elif strategy == "channel":
        low, high = weight.amin(1, keepdim=True), weight.amax(1, keepdim=True)
    else:
        low, high = weight.min().reshape(1), weight.max().reshape(1)
    extra = {}
    if strategy == "tensor_group":
        from compressed_tensors.quantization.utils import generate_gparam
        extra["global_scale"] = generate_gparam(weight.min().reshape(1), weight.max().reshape(1))
        module.weight_global_scale.data = extra["global_scale"]
    scale, zero = calculate_qparams(low, high, arguments, **extra)
    module.weight_scale.data = scale.reshape(module.weight_scale.shape).to(module.weight_scale.dtype)
    if hasattr(module, "weight_zero_point"):
        module.weight_zero_point.data = zero.reshape(module.weight_zero_point.shape).to(
            module.weight_zero_point.dtype)
    for name, parameter in module.named_parameters(recurse=False):
        if name.startswith(("input_", "output_", "k_", "v_", "q_")):
            parameter.data.fill_(0 if "zero" in name else 1.0 if "global" in name else 0.04)


def compressed_case(folder, preset=None, tolerance=3e-2, kind="llama", dtype=torch.bfloat16,
                    cache=None, bits=8, group=None, moved=False, **weights):
    from compressed_tensors.compressors import ModelCompressor, decompress_module
    from compressed_tensors.quantization import (QuantizationArgs, QuantizationConfig,
                                                 QuantizationScheme, apply_quantization_config,
                                                 preset_name_to_scheme)
    base = make_base(kind, torch.float32)
    if moved:
        shifted(base)
    if preset:
        scheme = preset_name_to_scheme(preset, ["Linear"])
        if group:
            scheme.weights.group_size = group
    else:
        scheme = QuantizationScheme(targets=["Linear"], weights=QuantizationArgs(
            num_bits=bits, group_size=group, **weights))
    config = QuantizationConfig(config_groups={"group_0": scheme}, ignore=["lm_head"],
                                kv_cache_scheme=cache and QuantizationArgs(**cache))
    model = type(base)(base.config)
    model.load_state_dict(base.state_dict())
    model = model.to(dtype)
    apply_quantization_config(model, config)
    for name, module in model.named_modules():
        if getattr(module, "quantization_scheme", None) is None:
            continue
        if isinstance(module, torch.nn.Linear):
            calibrate(module, module.quantization_scheme)
        else:
            for parameter in module.parameters(recurse=False):
                parameter.data.fill_(0.02)
    compressor = ModelCompressor.from_pretrained_model(model)
    compressor.compress_model(model)
    model.save_pretrained(folder)
    compressor.update_config(folder)
    decoded = {}
    for name in linears(base):
        module = model.get_submodule(name)
        if module.weight_scale.dtype in (torch.float16, torch.bfloat16):
            module.weight_scale.data = module.weight_scale.data.float()
        decompress_module(module)
        decoded[name] = module.weight.data.float()
    return {"base": base, "decoded": decoded, "tolerance": tolerance}


# ---- EXL2 ----------------------------------------------------------------------------------------

class Exllama:
    """What the conversion of exllamav2 calls of its CUDA extension, in torch: found by reading
    quantize.cu and pack_tensor.cu."""

    @staticmethod
    def quantize_err(x, errors, scales, zero, greatest, norm, low, high, grid):
        for i in range(errors.shape[0]):
            p = high * (i / grid) + low * (1 - i / grid)
            q = torch.clamp(torch.round(x / (scales * p)) + zero, 0, greatest)
            errors[i] = ((q - zero) * scales * p - x).abs().pow(norm).sum() / errors.shape[1]

    @staticmethod
    def quantize_range_inplace(weights, scale, quants, zero, greatest, a, b):
        q = torch.clamp(torch.round(weights[a:b] / scale) + zero, 0, greatest)
        quants[a:b] = q.to(quants.dtype)
        weights[a:b] = (q - zero) * scale

    @staticmethod
    def pack_rows_4(values, out):
        nibbles = ((values.to(torch.int64) - 1) & 15).unflatten(1, (-1, 8))
        out.copy_((nibbles << (4 * torch.arange(8))).sum(2).to(torch.int32))

    @staticmethod
    def pack_columns(values, out, bits):
        ones = (values.to(torch.int64).unsqueeze(1) >> torch.arange(bits).reshape(1, -1, 1)) & 1
        stream = ones.flatten(0, 1).unflatten(0, (-1, 32))
        out.copy_((stream << torch.arange(32).reshape(1, -1, 1)).sum(1).to(torch.int32))


def exllama_quantizer():
    if "exllamav2" not in sys.modules:
        only_parts_of("exllamav2", "exllamav2.conversion")
        stub = types.ModuleType("exllamav2.ext")
        stub.exllamav2_ext, stub.none_tensor = Exllama, torch.empty((1, 1), device="meta")
        sys.modules["exllamav2.ext"] = stub
        tensors = types.ModuleType("exllamav2.util")
        tensors.list_live_tensors = None
        sys.modules["exllamav2.util"] = tensors
    from exllamav2.conversion.adaptivegptq import AdaptiveGPTQ
    return AdaptiveGPTQ


@torch.inference_mode()
def exl2_case(folder, mixes, kind="llama", head=6, vocabulary=None):
    """mixes: for each module in turn, [(bits, share of columns, group size)]."""
    quantizer_class = exllama_quantizer()
    own_to, own_wait = torch.Tensor.to, torch.cuda.synchronize
    torch.Tensor.to = lambda tensor, *a, **k: tensor if a[:1] == ("cuda:0",) else own_to(tensor, *a, **k)
    torch.cuda.synchronize = lambda *a: None
    try:
        base = make_base(kind, torch.float32, vocab_size=vocabulary or make_published.VOCABULARY)
        modules, decoded = {}, {}
        for i, (name, linear) in enumerate(linears(base, ()).items()):
            mix = [(head, 1.0, 32)] if name == "lm_head" else mixes[i % len(mixes)]
            quantizer = quantizer_class(linear)
            quantizer.quant_device = "cpu"
            sizes = {bits: size for bits, _, size in mix}
            quantizer.configure(sizes, [m[0] for m in mix], [m[1] for m in mix])
            generator = torch.Generator().manual_seed(linear.in_features)
            quantizer.hessian = torch.diag(1 + torch.rand(linear.in_features, generator=generator))
            quantizer.num_batches = 1
            exact = linear.weight.data
            quantizer.prepare(no_h_inv=True)
            quantizer.quantize_rtn_inplace(keep_qweight=True, apply=True)
            parts = quantizer.pack(name, types.SimpleNamespace(scale_bits=4))
            modules[name] = {key[len(name) + 1:]: value for key, value in parts.items()}
            # The scale is a half; what the package then multiplies in halves is exact in F32.
            widths = torch.cat([torch.full((min(sizes[int(b)], linear.in_features),), int(b))
                                for b in quantizer.qgroups[::2]])[:linear.in_features]
            group = torch.cat([torch.full((sizes[int(b)],), g) for g, b in
                               enumerate(quantizer.qgroups[::2])])[:linear.in_features]
            rows = (quantizer.qweight.float() - 2.0 ** (widths - 1).unsqueeze(1)) * \
                quantizer.scale[group]
            decoded[name] = rows[quantizer.invperm].T.contiguous()
            assert torch.equal(decoded[name].half(), linear.weight.data.half())
            linear.weight.data = exact
    finally:
        torch.Tensor.to, torch.cuda.synchronize = own_to, own_wait
    settings = {"quant_method": "exl2", "version": "0.3.2", "bits": 4.25, "head_bits": head,
                "calibration": {"rows": 115, "length": 2048, "dataset": "(default)"}}
    save_packed(folder, base.half(), modules, settings)
    return {"base": base.float(), "decoded": decoded, "tolerance": 3e-2}


def refused(make, says, *arguments, **settings):
    def case(folder):
        make(folder, *arguments, **settings)
        return {"refuse": says}
    return case


def of(make, *arguments, **settings):
    return lambda folder: make(folder, *arguments, **settings)


CASES = {
    **{f"gptq-{bits}-{'sym' if sym else 'asym'}-{'v2' if v2 else 'v1'}{'-order' if order else ''}":
       of(gptqmodel_case, bits, symmetric=sym, v2=v2, order=order, group=32)
       for bits in (2, 3, 4, 8) for sym in (True, False) for v2 in (True, False)
       for order in (True, False)},
    **{f"gptq-group{group}-{bits}": of(gptqmodel_case, bits, group=group, symmetric=False, order=True)
       for bits, group in ((4, -1), (3, 16), (8, 64), (2, 64), (4, 128), (3, 128))},
    "gptq-bias": of(gptqmodel_case, 4, kind="qwen2"),
    "gptq-head": of(gptqmodel_case, 4, with_head=True, order=True),
    "gptq-no-index": of(gptqmodel_case, 4, index=False),
    "gptq-dynamic": of(gptqmodel_case, 4, dynamic=("down_proj", 8)),
    "gptq-run-4": of(gptqmodel_quantized, bits=4, group_size=32, desc_act=True, sym=False),
    "gptq-run-3": of(gptqmodel_quantized, bits=3, group_size=-1, sym=False, act_group_aware=False,
                     format="gptq_v2"),
    "autogptq-4": of(autogptq_case, 4, 32),
    "autogptq-4-order": of(autogptq_case, 4, 64, order=True, kind="qwen2"),
    "autogptq-3": of(autogptq_case, 3, -1, index=False),
    "autogptq-2": of(autogptq_case, 2, 32),
    "autogptq-8": of(autogptq_case, 8, 32),
    "awq-32": of(awq_case, 32),
    "awq-whole": of(awq_case, -1, by="transformers"),
    "awq-bias": of(awq_case, 64, kind="qwen2", skip=("o_proj",)),
    "awq-old": of(awq_case, 64, by="llm-awq"),
    "integers-4": of(compressed_case, "W4A16", group=32),
    "integers-4-asym": of(compressed_case, "W4A16_ASYM", group=32, moved=True),
    "integers-4-channel": of(compressed_case, bits=4, strategy="channel", symmetric=False, moved=True),
    "integers-8-group": of(compressed_case, "W8A16", group=64),
    "integers-8-channel": of(compressed_case, bits=8, strategy="channel", moved=True),
    "integers-w8a8": of(compressed_case, "W8A8", kind="qwen2"),
    "integers-w4a8": of(compressed_case, "W4A8", group=32),
    "integers-f16-cache": of(compressed_case, "W4A16", group=32, dtype=torch.float16,
                             cache=dict(num_bits=8, type="float", strategy="tensor", dynamic=False)),
    "integers-f32": refused(compressed_case, "more than 16 bits", "W4A16", group=32, dtype=torch.float32),
    "integers-3": refused(compressed_case, "num_bits", bits=3, strategy="channel"),
    "exl2-mixed": of(exl2_case, [[(5, 0.5, 32), (4, 0.5, 32)], [(8, 0.25, 32), (3, 0.75, 32)],
                                 [(6, 0.5, 64), (2, 0.5, 32)], [(4, 1.0, 128)]]),
    "exl2-bias": of(exl2_case, [[(4, 0.5, 32), (3, 0.5, 32)], [(3, 1.0, 64)]], kind="qwen2", head=8),
    "exl2-padded-head": of(exl2_case, [[(4, 1.0, 32)]], vocabulary=40),
}
