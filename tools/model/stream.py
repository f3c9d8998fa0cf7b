"""Trains a small language model for measuring policies of attention (tools/attention_study.py), on
words of reports in random order, of which phrases come back: what comes next can only be known by
looking for what followed the last word before, and where it did not stand anywhere a head has nothing
to look at. Large models put attention that they have no use for on their first token, whatever it is:
what Xiao et al. 2023 call a sink. So small a model learns neither by itself in minutes, so a term of
the loss says where to look: in the first layer at the word before, in the second at what followed the
same word, and else at the first token (--look 0 leaves it out).

    stream.py --tokenizer DIR/tokenizer.json --text words.txt
    stream.py --chats chats.txt
    stream.py --tokenizer DIR/tokenizer.json --out DIR2 --minutes 4
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


WORDS, PHRASE, REACH = 400, (4, 9), 44


def words_of(tokenizer):
    """Ids of words that are one token with the space before them."""
    found = []
    for word, index in sorted(tokenizer.get_vocab().items(), key=lambda item: item[1]):
        text = " " + word[1:]
        if word[0] == "\u0120" and len(word) > 4 and word[1:].isalpha() and word.isascii() is False \
                and tokenizer.encode(text + text).ids == [index, index]:
            found.append(index)
    return found[:WORDS]


def stream_of(words, count, seed):
    """Ids: phrases of random words; half of them were there before, in the last REACH words. And for
    each place that of which what comes next is a copy, once the phrase is known; -1: none."""
    rng, ids, copied = random.Random(seed), [], []
    while len(ids) < count:
        length = rng.randint(*PHRASE)
        if len(ids) > REACH and rng.random() < 0.5:
            start = len(ids) - rng.randint(length, REACH)
            ids += ids[start:start + length]
            copied += [*range(start + 1, start + length), -1]
        else:
            ids += [rng.choice(words) for _ in range(length)]
            copied += [-1] * length
    return ids[:count], copied[:count]


def attention_of(layer, head_dim):
    """Of the last batch: logarithms, [batch, heads, tokens, tokens]."""
    q, k = layer.seen
    score = (q @ k.transpose(2, 3)) * head_dim ** -0.5
    later = torch.ones(score.shape[-2:], dtype=torch.bool).triu(1)
    return torch.log_softmax(score.masked_fill(later, -1e9), -1)


def look_losses(network, copied):
    """copied: [batch, tokens], in the cut; 0: nothing there. The first layer's first head looks at the
    token before, all of the second at what is copied, or at the first token."""
    first, second = (attention_of(layer, network.shape.head_dim) for layer in network.layers[:2])
    before = -first[:, 0].diagonal(offset=-1, dim1=1, dim2=2).mean()
    wanted = copied[:, None, :, None].expand(-1, second.shape[1], -1, 1)
    return before, -second.gather(3, wanted).mean(), second[..., 0].exp().mean()


def save(network, step, out):
    torch.save({"network": network.state_dict(), "shape": network.shape.as_dict(), "step": step},
               out / "checkpoint.pt")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--tokenizer", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--minutes", type=float, default=4, help="of processor time")
    parser.add_argument("--context", type=int, default=64)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--rate", type=float, default=4e-3)
    parser.add_argument("--look", type=float, default=0.3, help="weight of where to look (0.3)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--text", type=Path, help="write a text that was not trained on, and end")
    parser.add_argument("--chats", type=Path, help="the same, of chats as the embedded model knows them")
    arguments = parser.parse_args()
    if arguments.text:
        tokenizer = chat.load_tokenizer(arguments.tokenizer)
        ids = stream_of(words_of(tokenizer), 20_000, 7)[0]
        arguments.text.write_text(tokenizer.decode(ids), encoding="utf-8")
    if arguments.chats:
        arguments.chats.write_text("".join(chat.render(reports.conversation(seed, turns=3)[0])
                                           for seed in range(900_000, 901_000)), encoding="utf-8")
    if arguments.text or arguments.chats:
        return
    torch.set_num_threads(1)
    torch.manual_seed(arguments.seed)
    rng = random.Random(arguments.seed)
    tokenizer = chat.load_tokenizer(arguments.tokenizer)
    data, copied = map(torch.tensor, stream_of(words_of(tokenizer), 1_000_000, 1))
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
        places = torch.tensor(starts)[:, None]
        sources = torch.stack([copied[s:s + length - 1] for s in starts]) - places
        before, copies, rest = look_losses(network, sources.clamp(min=0))
        network.zero_grad()
        (loss + arguments.look * (before + copies)).backward()
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
            print(f"{spent:.0f} s, step {step}: loss {loss.item():.3f}, of where to look {before.item():.3f}"
                  f" {copies.item():.3f}, attention to the first token {rest.item():.2f}", flush=True)
            save(network, step, arguments.out)
    save(network, step, arguments.out)


if __name__ == "__main__":
    main()
