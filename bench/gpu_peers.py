#!/usr/bin/env python3
"""What PyTorch and transformers need on this GPU for the work that libradllm is measured with.

    bench/gpu_peers.py attention
    bench/gpu_peers.py shared [--reports 256] [--together 64] [--instruction 600] [--report 60]
                              [--answer 4] [--layers 32]
    bench/gpu_peers.py limits

attention: scaled_dot_product_attention for the shapes of tests/cuda/bench (32 heads of 128 numbers,
8 of keys, F16), each of its backends, the fastest one last.
shared: the work of `radllm-bench shared` by transformers' generate() with a Llama of the 8B shape
with random weights in BF16: prompts of a batch padded to the left, attention by PyTorch's fused
kernels; once as people call it, once with the instruction's keys and values computed once and
repeated for the batch.
limits: copying on the device, and a matrix product of 8192 x 8192 x 8192 in BF16.

Needs torch with a GPU, and transformers for `shared`. Exit codes: 0, 1 without a GPU, 2 for a wrong
command line.
"""

import argparse
import random
import statistics
import sys
import time
import warnings


def median_time(work, repeats=9):
    """Seconds of one call, the median of several, by the device's clock."""
    import torch
    for _ in range(3):
        work()
    times = []
    for _ in range(repeats):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        work()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) / 1000)
    return statistics.median(times)


def measure_limits():
    import torch
    source = torch.empty(1 << 30, dtype=torch.uint8, device="cuda").random_()
    target = torch.empty_like(source)
    seconds = median_time(lambda: target.copy_(source))
    print(f"copy             {2 * source.numel() / seconds / 1e9:10.1f} GB/s read and written")
    a, b = (torch.randn(8192, 8192, dtype=torch.bfloat16, device="cuda") for _ in range(2))
    seconds = median_time(lambda: a @ b)
    print(f"BF16 product     {2 * 8192 ** 3 / seconds / 1e12:10.1f} T operations/s")


def attention_work(n_tokens, n_keys):
    import torch
    from torch.nn.attention.bias import causal_lower_right
    numbers = dict(dtype=torch.float16, device="cuda")
    q = torch.randn(1, 32, n_tokens, 128, **numbers)
    k, v = (torch.randn(1, 8, n_keys, 128, **numbers) for _ in range(2))
    attend = torch.nn.functional.scaled_dot_product_attention
    if n_tokens == 1:
        return lambda: attend(q, k, v, enable_gqa=True)
    if n_tokens == n_keys:
        return lambda: attend(q, k, v, is_causal=True, enable_gqa=True)
    # This mask is not taken with shared keys: they are repeated, outside of what is timed.
    k, v = (x.repeat_interleave(4, 1) for x in (k, v))
    mask = causal_lower_right(n_tokens, n_keys)
    return lambda: attend(q, k, v, attn_mask=mask)


def measure_attention():
    from torch.nn.attention import SDPBackend, sdpa_kernel
    for n_tokens, n_keys in ((1, 1024), (1, 16384), (2048, 2048), (2048, 16384), (16384, 16384)):
        work = attention_work(n_tokens, n_keys)
        pairs = n_tokens * (2 * n_keys - n_tokens + 1) / 2
        best = None
        for backend in ("FLASH_ATTENTION", "CUDNN_ATTENTION", "EFFICIENT_ATTENTION", "MATH"):
            try:
                with sdpa_kernel(getattr(SDPBackend, backend)):
                    seconds = median_time(work)
            except RuntimeError:
                continue
            best = min(best or (seconds, backend), (seconds, backend))
        if best is None:
            print(f"{n_tokens} of {n_keys}: no backend takes this")
            continue
        amount = (f"{n_keys * 8 * 128 * 4 / best[0] / 1e9:10.1f} GB/s of keys and values"
                  if n_tokens == 1 else f"{4 * pairs * 128 * 32 / best[0] / 1e12:10.1f} T operations/s")
        print(f"attention F16    {n_tokens} of {n_keys:<14} {best[0] * 1e6:10.2f} us {amount} "
              f"({best[1].lower()})", flush=True)


def make_model(layers):
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM
    config = LlamaConfig(vocab_size=128256, hidden_size=4096, intermediate_size=14336,
                         num_hidden_layers=layers, num_attention_heads=32, num_key_value_heads=8,
                         max_position_embeddings=8192, rope_theta=500000.0, bos_token_id=None,
                         eos_token_id=None, pad_token_id=0, attn_implementation="sdpa")
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda"):
        return LlamaForCausalLM(config).eval()


def make_batches(options):
    numbers = random.Random(1)
    instruction = [numbers.randrange(1, 128256) for _ in range(options.instruction)]
    least = options.report - options.report // 2
    reports = [[numbers.randrange(1, 128256)
                for _ in range(least + numbers.randrange(2 * (options.report // 2) + 1))]
               for _ in range(options.reports)]
    return instruction, [reports[i:i + options.together]
                         for i in range(0, len(reports), options.together)]


def padded(rows):
    """Ids and mask, filled up on the left."""
    import torch
    width = max(map(len, rows))
    ids = torch.tensor([[0] * (width - len(row)) + row for row in rows], device="cuda")
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device="cuda")
    return ids, mask


def generate_whole(model, instruction, reports, n_answer):
    ids, mask = padded([instruction + report for report in reports])
    model.generate(ids, attention_mask=mask, max_new_tokens=n_answer, min_new_tokens=n_answer,
                   do_sample=False)


def generate_behind(model, instruction, reports, n_answer):
    """The instruction is computed once. Padding stands between it and the reports."""
    import torch
    from transformers import DynamicCache
    cache = DynamicCache(config=model.config)
    model(torch.tensor([instruction], device="cuda"), past_key_values=cache, logits_to_keep=1)
    cache.batch_repeat_interleave(len(reports))
    ids, mask = padded(reports)
    before = torch.tensor([instruction] * len(reports), device="cuda")
    model.generate(torch.cat([before, ids], 1), past_key_values=cache,
                   attention_mask=torch.cat([torch.ones_like(before), mask], 1),
                   max_new_tokens=n_answer, min_new_tokens=n_answer, do_sample=False)


def measure_shared(options):
    import torch
    model = make_model(options.layers)
    instruction, batches = make_batches(options)
    with torch.inference_mode():
        for name, work in (("whole prompts", generate_whole), ("instruction once", generate_behind)):
            try:
                work(model, instruction, batches[0], 2)
                torch.cuda.synchronize()
                begin = time.monotonic()
                for reports in batches:
                    work(model, instruction, reports, options.answer)
                torch.cuda.synchronize()
            except (RuntimeError, TypeError, AttributeError, ValueError) as error:
                print(f"transformers, {name}: failed: {str(error)[:300]}", flush=True)
                continue
            seconds = time.monotonic() - begin
            print(f"transformers, {name}: {options.reports / seconds:.2f} reports/s, "
                  f"{options.reports * options.answer / seconds:.1f} answer tokens/s, "
                  f"{seconds:.2f} s for {options.reports}, "
                  f"{torch.cuda.max_memory_allocated() / 2 ** 20:.0f} MiB", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("attention", "shared", "limits"))
    for name, value in (("reports", 256), ("together", 64), ("instruction", 600), ("report", 60),
                        ("answer", 4), ("layers", 32)):
        parser.add_argument("--" + name, type=int, default=value)
    options = parser.parse_args()
    import torch
    if not torch.cuda.is_available():
        print("there is no GPU that torch can use", file=sys.stderr)
        return 1
    warnings.filterwarnings("ignore")  # of each kernel that does not take a shape
    torch.manual_seed(1)
    if options.what == "attention":
        measure_attention()
    elif options.what == "limits":
        measure_limits()
    else:
        measure_shared(options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
