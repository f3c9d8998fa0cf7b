"""Trains a small language model on a stream of synthetic reports, cut at random, for measuring
policies of attention (tools/attention_study.py). Large models put attention that they have no use for
on their first token, whatever it is: what Xiao et al. 2023 call a sink. A model as small as this one
does not learn that by itself in minutes, so a term of the loss asks for it in all layers but the first,
which cannot know which token that is (--sink-weight 0 leaves it out).

    stream.py --text reports.txt --chats chats.txt
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
from train import Muon, rate_at


def text_of(seeds):
    """Reports one behind the other, without questions, in which half of the sentences are one of the
    last three again: to know what comes next, a layer must look for where it stood before, and rest
    where it did not."""
    parts, last = [], []
    for seed in seeds:
        messages, _, begin = reports.conversation(seed, turns=0)
        for sentence in messages[0][1][begin:].strip().replace("\n", " ").split(". "):
            parts.append(sentence)
            rng = random.Random(seed * 1000 + len(parts))
            last = [*last[-2:], sentence]
            while rng.random() < 0.5:
                parts.append(rng.choice(last))
    return ". ".join(parts) + ". "


def shares_of_first(network):
    """Of the attention of each later layer, what its first token gets: [layers, batch, heads, tokens]."""
    found = []
    for layer in network.layers[1:]:
        q, k = layer.seen
        score = (q @ k.transpose(2, 3)) * network.shape.head_dim ** -0.5
        later = torch.ones(score.shape[-2:], dtype=torch.bool).triu(1)
        found.append(torch.softmax(score.masked_fill(later, -1e9), -1)[..., 0])
    return torch.stack(found)


def save(network, step, out):
    torch.save({"network": network.state_dict(), "shape": network.shape.as_dict(), "step": step},
               out / "checkpoint.pt")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--tokenizer", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--minutes", type=float, default=12, help="of processor time")
    parser.add_argument("--reports", type=int, default=4000)
    parser.add_argument("--context", type=int, default=64)
    parser.add_argument("--batch", type=int, default=24)
    parser.add_argument("--width", type=int, default=96)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--rate", type=float, default=4e-3)
    parser.add_argument("--sink-weight", type=float, default=4.0)
    parser.add_argument("--share", type=float, default=0.5, help="of its attention that each head shall give the first token, at least")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--text", type=Path, help="write a text that was not trained on, and end")
    parser.add_argument("--chats", type=Path, help="the same, of chats as the embedded model knows them")
    arguments = parser.parse_args()
    if arguments.text:
        arguments.text.write_text(text_of(range(7_000_000, 7_001_000)), encoding="utf-8")
    if arguments.chats:
        arguments.chats.write_text("".join(chat.render(reports.conversation(seed, turns=3)[0])
                                           for seed in range(900_000, 901_000)), encoding="utf-8")
    if arguments.text or arguments.chats:
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
    matrices = [p for layer in network.layers for p in layer.parameters() if p.ndim == 2]
    small = [p for layer in network.layers for p in layer.parameters() if p.ndim == 1] + [network.norm]
    muon = Muon(matrices, 0, 1)
    adam = torch.optim.AdamW([{"params": [network.embedding], "weight_decay": 0.01},
                              {"params": small, "weight_decay": 0.0}], lr=arguments.rate, betas=(0.9, 0.98))
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
        shares = shares_of_first(network)[..., 8:]
        network.zero_grad()
        off = F.relu(arguments.share - shares.mean((1, 3))).square().mean()
        (loss + arguments.sink_weight * off).backward()
        scale = rate_at(spent / (arguments.minutes * 60), 0.6) * min(1.0, (step + 1) / 50)
        for group in adam.param_groups:
            group["lr"] = arguments.rate * scale
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        adam.step()
        muon.step(0.02 * scale, 0.01)
        step += 1
        spent = time.process_time() - begun
        if spent - shown > 20:
            shown = spent
            print(f"{spent:.0f} s, step {step}: loss {loss.item():.3f}, attention to the first token "
                  + " ".join(f"{x:.2f}" for x in shares.mean((1, 2, 3)).tolist()), flush=True)
            save(network, step, arguments.out)
    save(network, step, arguments.out)


if __name__ == "__main__":
    main()
