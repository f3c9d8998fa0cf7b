"""The logits that the numeric contract of docs/architecture.md prescribes for quantized weights:
`transformers` with the input of every linear layer quantized to 8 bits as the contract says, per 32
values or, beside formats with blocks of 256, per 256, or beside I2_S for a whole row. Sums are kept
in float64, so what remains between these figures and the library's is float rounding, and here and
there a value that falls on the other side of a rounding boundary."""

import numpy as np
import torch

LAST_POSITIONS = 16


def quantize_activations(x, block):
    parts = x.float().reshape(-1, block or x.shape[-1])
    largest = parts.abs().amax(1, keepdim=True)
    q = torch.round(parts * (127.0 / largest.clamp_min(2.0 ** -100)))
    q = torch.where(largest < 2.0 ** -100, torch.zeros_like(q), q)
    # The scale is a float32: 127 divides exactly as there, then everything is float64.
    scale = (largest / 127.0).double()
    return ((q.double() * scale).reshape(x.shape).to(x.dtype))


def gpt_oss_experts(module, block):
    """The experts of gpt-oss, which multiply without linear()."""
    def forward(hidden_states, router_indices=None, routing_weights=None):
        out = torch.zeros_like(hidden_states)
        for expert in range(module.num_experts):
            rows, ranks = torch.where(router_indices == expert)
            x = quantize_activations(hidden_states[rows], block)
            both = x @ module.gate_up_proj[expert] + module.gate_up_proj_bias[expert]
            x = quantize_activations(module._apply_gate(both), block)
            y = x @ module.down_proj[expert] + module.down_proj_bias[expert]
            out.index_add_(0, rows, y * routing_weights[rows, ranks, None])
        return out
    return forward


class QuantizedProducts:
    """Within it, whatever calls torch's linear() has its input quantized, but for modules whose
    weights files keep in F32: routers."""

    def __init__(self, model, block):
        self.model, self.block, self.plain, self.hooks = model, block, 0, []

    def count(self, step):
        def hook(*_):
            self.plain += step
        return hook

    def quantize_input(self, _, arguments):
        return (quantize_activations(arguments[0], self.block),)

    def __enter__(self):
        for name, module in self.model.named_modules():
            if type(module).__name__ == "Conv1D":
                self.hooks.append(module.register_forward_pre_hook(self.quantize_input))
            if type(module).__name__ == "GptOssExperts":
                module.forward = gpt_oss_experts(module, self.block)
            if type(module).__name__.endswith("Router") or name.endswith("shared_expert_gate"):
                self.hooks += [module.register_forward_pre_hook(self.count(1)),
                               module.register_forward_hook(self.count(-1))]
        self.linear = torch.nn.functional.linear

        def linear(x, weight, bias=None):
            if not self.plain:
                x = quantize_activations(x, self.block)
            return self.linear(x, weight, bias)
        torch.nn.functional.linear = linear

    def __exit__(self, *_):
        torch.nn.functional.linear = self.linear
        for hook in self.hooks:
            hook.remove()
        for module in self.model.modules():
            if type(module).__name__ == "GptOssExperts":
                del module.forward


def contract_logits(model, ids, block):
    """`block`: values that share a scale; None: a row. Gives float32 logits of the last positions, and how far a float32 run is from the float64 one."""
    runs = []
    for precision in (model.double, model.float):
        precision()
        with torch.no_grad(), QuantizedProducts(model, block):
            runs.append(model(torch.tensor([ids])).logits[0].numpy())
    double, single = runs
    rows = np.linalg.norm(single - double, axis=1) / np.linalg.norm(double, axis=1)
    return double[-LAST_POSITIONS:].astype("<f4"), float(np.median(rows)), float(rows.max())
