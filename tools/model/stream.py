"""Trains a small language model on a stream of synthetic reports, cut at random, for measuring
policies of attention (tools/attention_study.py). Nothing marks the beginning of a cut, so that the
model learns to use its first token, whatever it is, as the place for attention that has no use: what
Xiao et al. 2023 call a sink.

    stream.py --tokenizer DIR/tokenizer.json --out DIR2 --minutes 12
    export.py --run DIR2 --out stream.gguf --type f32
"""

import argparse
import random
import shutil
import time
from pathlib import Path

import torch
import torch.nn.functional as F

import chat
import reports
from network import Network, Shape
from train import rate_at


def text_of(seeds):
    """Reports one behind the other, without questions."""
    parts = []
    for seed in seeds:
        messages, _, begin = reports.conversation(seed, turns=0)
        parts.append(messages[0][1][begin:].strip())
    return "\n\n".join(parts) + "\n\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=12, help="of processor time")
    parser.add_argument("--reports", type=int, default=4000)
    parser.add_argument("--context", type=int, default=64)
    parser.add_argument("--batch", type=int, default=24)
    parser.add_argument("--width", type=int, default=96)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--rate", type=float, default=4e-3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--text", type=Path, help="write a text that was not trained on, and end")
    arguments = parser.parse_args()
    if arguments.text:
        arguments.text.write_text(text_of(range(7_000_000, 7_001_000)), encoding="utf-8")
        return
    torch.set_num_threads(1)
    torch.manual_seed(arguments.seed)
    rng = random.Random(arguments.seed)
    tokenizer = chat.load_tokenizer(arguments.tokenizer)
    ids = []
    for first in range(0, arguments.reports, 500):
        ids += tokenizer.encode(text_of(range(first, first + 500))).ids
    data = torch.tensor(ids)
    shape = Shape(width=arguments.width, layers=arguments.layers, heads=arguments.width // 32,
                  kv_heads=arguments.width // 32, ffn=arguments.width * 3, context=arguments.context)
    network = Network(shape)
    adam = torch.optim.AdamW(network.parameters(), lr=arguments.rate, betas=(0.9, 0.98),
                             weight_decay=0.1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    shutil.copy(arguments.tokenizer, arguments.out / "tokenizer.json")
    network.train()
    begun, step, spent, shown = time.process_time(), 0, 0.0, 0.0
    length = arguments.context + 1
    while spent < arguments.minutes * 60:
        starts = [rng.randrange(len(data) - length) for _ in range(arguments.batch)]
        batch = torch.stack([data[s:s + length] for s in starts])
        state = network(batch[:, :-1])[1]
        loss = F.cross_entropy(network.logits(state).flatten(0, 1), batch[:, 1:].flatten())
        network.zero_grad()
        loss.backward()
        scale = rate_at(spent / (arguments.minutes * 60), 0.6) * min(1.0, (step + 1) / 50)
        for group in adam.param_groups:
            group["lr"] = arguments.rate * scale
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        adam.step()
        step += 1
        spent = time.process_time() - begun
        if spent - shown > 20:
            shown = spent
            with torch.no_grad():
                q, k = network.layers[-1].seen
                score = (q @ k.transpose(2, 3)) * shape.head_dim ** -0.5
                later = torch.ones(score.shape[-2:], dtype=torch.bool).triu(1)
                share = torch.softmax(score.masked_fill(later, -1e9), -1)
                share = share[:, :, arguments.context // 2:, 0].mean((0, 2))
            print(f"{spent:.0f} s, step {step}: loss {loss.item():.3f}, attention to the first token "
                  + " ".join(f"{x:.2f}" for x in share.tolist()), flush=True)
    torch.save({"network": network.state_dict(), "shape": shape.as_dict(), "step": step},
               arguments.out / "checkpoint.pt")


if __name__ == "__main__":
    main()
