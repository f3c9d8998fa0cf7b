"""The logits that the numeric contract of docs/architecture.md prescribes for quantized weights:
`transformers` with the input of every linear layer quantized to 8 bits as the contract says, per 32
values or, beside formats with blocks of 256, per 256, or beside I2_S for a whole row. Sums are kept
in float64, so what remains between these figures and the library's is float rounding, and here and
there a value that falls on the other side of a rounding boundary."""

import numpy as np
import torch

LAST_POSITIONS = 16


def _quantizer(block):
    def quantize(_, arguments):
        x = arguments[0]
        parts = x.float().reshape(-1, block or x.shape[-1])
        largest = parts.abs().amax(1, keepdim=True)
        q = torch.round(parts * (127.0 / largest.clamp_min(2.0 ** -100)))
        q = torch.where(largest < 2.0 ** -100, torch.zeros_like(q), q)
        # The scale is a float32: 127 divides exactly as there, then everything is float64.
        scale = (largest / 127.0).double()
        return ((q.double() * scale).reshape(x.shape).to(x.dtype),)
    return quantize


def contract_logits(model, ids, block):
    """`block`: values that share a scale; None: a row. Gives float32 logits of the last positions, and how far a float32 run is from the float64 one."""
    hooks = [module.register_forward_pre_hook(_quantizer(block))
             for module in model.modules() if isinstance(module, torch.nn.Linear)]
    with torch.no_grad():
        double = model.double()(torch.tensor([ids])).logits[0].numpy()
        single = model.float()(torch.tensor([ids])).logits[0].numpy()
    for hook in hooks:
        hook.remove()
    rows = np.linalg.norm(single - double, axis=1) / np.linalg.norm(double, axis=1)
    return double[-LAST_POSITIONS:].astype("<f4"), float(np.median(rows)), float(rows.max())
