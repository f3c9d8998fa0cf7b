#!/usr/bin/env python3
"""Trains a small GPT-2 on synthetic reports: learned positions, LayerNorm, biases, GELU and fused
matrices, unlike the embedded model; trained, so that its weights have what random ones lack.

Usage: make_trained_gpt2.py FOLDER OUT [MINUTES]

FOLDER holds tokenizer.json and tokenizer_config.json of the embedded model (radllm-convert writes
them). Five minutes (the default) of one thread are enough for a perplexity below that of the
embedded model. Bits depend on the machine: what is measured with the model are ratios.
"""

import pathlib
import random
import shutil
import sys
import time

import torch
from tokenizers import Tokenizer
from transformers import GPT2Config, GPT2LMHeadModel

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "model"))
import reports  # noqa: E402

CONTEXT, BATCH = 128, 16


def stream(tokenizer, seed):
    """Pieces of CONTEXT + 1 tokens of reports that follow each other."""
    ids = []
    while True:
        ids += tokenizer.encode(reports.write_report(seed).text + "\n\n").ids
        seed += 1
        while len(ids) > CONTEXT:
            yield ids[:CONTEXT + 1]
            ids = ids[CONTEXT:]


def main():
    folder, out = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    seconds = 60 * float(sys.argv[3] if len(sys.argv) > 3 else 5)
    torch.manual_seed(1)
    torch.set_num_threads(1)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    model = GPT2LMHeadModel(GPT2Config(
        vocab_size=2048, n_positions=512, n_embd=256, n_layer=4, n_head=4, n_inner=1024,
        bos_token_id=0, eos_token_id=2, attn_pdrop=0, embd_pdrop=0, resid_pdrop=0))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, betas=(0.9, 0.98), weight_decay=0.05)
    pieces, begin, loss, step = stream(tokenizer, 10_000_000), time.process_time(), None, 0
    while (done := (time.process_time() - begin) / seconds) < 1:
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * min(1, (step + 1) / 20, 1.02 - done)
        ids = torch.tensor([next(pieces) for _ in range(BATCH)])
        # Pieces begin at any position, so that all of them are learned.
        first = random.Random(step).randrange(512 - CONTEXT)
        positions = torch.arange(first, first + CONTEXT)[None] if step % 2 else None
        logits = model(ids[:, :-1], position_ids=positions).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 20 == 0:
            print(f"step {step}: loss {loss.item():.3f}, {100 * done:.0f} %", flush=True)
        step += 1
    model.save_pretrained(out)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(folder / name, out / name)


if __name__ == "__main__":
    main()
