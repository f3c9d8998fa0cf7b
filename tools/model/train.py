"""Trains the embedded model on synthetic reports.

The text is made on the fly. One report carries many questions: the first is asked before the report,
as users do, and further ones follow as more turns of the same chat. Two heads that are thrown away
afterwards say what every sentence states and what the report states so far: this dense signal is what
lets two CPU cores learn the task in about an hour. Matrices are trained with Muon (orthogonalised
momentum), the rest with Adam. The schedule runs on time, not on steps, so that it fits the machine.
Each process uses one thread and gradients are averaged between them: on a machine that is busy with
other work this is several times faster than one process with threads that wait for each other.

    train.py --out DIR --minutes 70        (again with the same DIR: goes on from the last checkpoint)
"""

import argparse
import json
import math
import os
import random
import shutil
import tempfile
import time
from bisect import bisect_left
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing
import torch.nn.functional as F
from torch import nn

import chat
import evaluate
import reports
from network import Network, Shape

CLASSES = len(reports.ALL_NAMES)
INDEX = {name: i for i, name in enumerate(reports.ALL_NAMES)}
PLAIN, ANSWER, FIRST, TEXT, END = 0, 1, 2, 3, 4


class Example:
    """ids; kind of each token as a target; sentence ends with what they state; report end."""

    def __init__(self, seed, tokenizers, limit, mentions=None):
        rng = random.Random(seed)
        turns = rng.choice([0, 2, 3, 4, 5])
        if mentions:  # a short report: more answers to the token
            turns = rng.choice([0, 0, 1, 2])
        messages, report, begin = reports.conversation(seed, turns=turns, mentions=mentions)
        text, spans, report_begin, user_end = "", [], None, None
        for number, (role, content) in enumerate(messages):
            head = f"{chat.IM_START}{role}\n"
            if number == 0:
                report_begin = len(head) + begin
            if role == "assistant":
                kind = TEXT if content not in ("yes", "no") else FIRST if number == 1 else ANSWER
                spans.append((len(text) + len(head), len(text) + len(head) + len(content), kind))
            text += head + content
            if number == 0:
                user_end = len(text)
            text += f"{chat.IM_END}\n"
        tokenizer = tokenizers[1] if rng.random() < 0.4 else tokenizers[0]
        encoded = tokenizer.encode(text)
        starts = [a for a, _ in encoded.offsets]
        self.ids = np.array(encoded.ids[:limit], dtype=np.int64)
        self.kind = np.zeros(len(self.ids), dtype=np.int64)
        for begin_at, end_at, kind in spans:
            low, high = bisect_left(starts, begin_at), bisect_left(starts, end_at)
            self.kind[low:high] = kind
            self.kind[high:high + 1] = END
        self.marks, self.says = [], []
        for offset, says in report.marks:
            token = bisect_left(starts, report_begin + offset) - 1
            if token < len(self.ids):
                self.marks.append(token)
                row = np.zeros(CLASSES, dtype=np.int64)
                for name, state in says.items():
                    row[INDEX[name]] = 2 if state else 1
                self.says.append(row)
        places = np.nonzero((self.kind == FIRST) | (self.kind == ANSWER))[0]
        self.sought = [(int(p) - 1, INDEX[name]) for p, name in zip(places, report.questions)]
        # Where one head shall look when it answers: at the ends of the sentences that state the
        # finding, and at the very first token when none does.
        self.look = [[m for m, row in zip(self.marks, self.says) if row[c] == 2 and m <= p] or [0]
                     for p, c in self.sought]
        self.end = min(bisect_left(starts, user_end), len(self.ids) - 1)
        # What each sentence says of the finding that the first question asks for: the very match that
        # the answer needs, supervised where the sentence ends.
        self.asked = np.array([row[INDEX[report.asked]] if report.asked else -1 for row in self.says])
        self.labels = np.array([report.labels[n] for n in reports.ALL_NAMES], dtype=np.float32)


def batches(seed, tokenizers, budget, limit, short):
    """Endless padded batches of about `budget` tokens, examples of similar length together."""
    rng = random.Random(seed)
    while True:
        pool = []
        for _ in range(256):
            mentions = rng.choice([1, 1, 2]) if rng.random() < short else None
            pool.append(Example(rng.getrandbits(50), tokenizers, limit, mentions))
        pool.sort(key=lambda e: len(e.ids))
        groups, current = [], []
        for example in pool:
            if current and (len(current) + 1) * len(example.ids) > budget:
                groups.append(current)
                current = []
            current.append(example)
        groups.append(current)
        rng.shuffle(groups)
        for group in groups:
            if len(group) * len(group[-1].ids) >= budget // 3:
                yield collate(group)


def collate(group):
    longest = max(len(e.ids) for e in group)
    ids = np.zeros((len(group), longest), dtype=np.int64)
    kind = np.full((len(group), longest), -1, dtype=np.int64)
    for row, example in enumerate(group):
        ids[row, :len(example.ids)] = example.ids
        kind[row, :len(example.ids)] = example.kind
    marks = np.array([row * longest + m for row, e in enumerate(group) for m in e.marks])
    sought = np.array([(row * longest + p, c) for row, e in enumerate(group) for p, c in e.sought])
    look = np.array([(n, m) for n, places in enumerate(t for e in group for t in e.look) for m in places])
    ends = np.array([row * longest + e.end for row, e in enumerate(group)])
    return {"ids": torch.from_numpy(ids), "kind": torch.from_numpy(kind), "marks": torch.from_numpy(marks),
            "says": torch.from_numpy(np.stack([r for e in group for r in e.says])),
            "sought": torch.from_numpy(sought.reshape(-1, 2)),
            "look": torch.from_numpy(look.reshape(-1, 2)),
            "asked": torch.from_numpy(np.concatenate([e.asked for e in group])),
            "ends": torch.from_numpy(ends), "labels": torch.from_numpy(np.stack([e.labels for e in group]))}


class Heads(nn.Module):
    """Training-only readouts: what a sentence states (after two layers) and says of the finding asked
    for, what the report states, and which finding a question asks for (at the place of the answer)."""

    def __init__(self, width):
        super().__init__()
        self.sentence = nn.ModuleList(nn.Linear(width, CLASSES * 3) for _ in range(2))
        self.report = nn.Linear(width, CLASSES)
        self.asked = nn.Linear(width, 3)
        self.sought = nn.Linear(width, CLASSES)


def look_loss(layer, batch):
    """-log of the attention that head 0 pays, at each answer, to the sentences stating the finding.
    Matching the name asked for with the words of a report is what plain training finds last."""
    (q, k), (tokens, sought) = layer.seen, (batch["ids"].shape[1], batch["sought"][:, 0])
    row, place = sought // tokens, sought % tokens
    score = torch.einsum("nd,ntd->nt", q[row, 0, place], k[row, 0]) * q.shape[-1] ** -0.5
    score = score.masked_fill(torch.arange(tokens) > place[:, None], -1e9)
    wanted = torch.full_like(score, -1e9)
    wanted[batch["look"][:, 0], batch["look"][:, 1]] = 0
    return -torch.logsumexp(torch.log_softmax(score, -1) + wanted, -1).mean()


def losses(network, heads, batch, rng):
    states, final = network(batch["ids"])
    width = final.shape[-1]
    target, kind = batch["ids"][:, 1:].reshape(-1), batch["kind"][:, 1:].reshape(-1)
    hidden = final[:, :-1].reshape(-1, width)
    plain = torch.nonzero(kind == PLAIN).flatten()
    plain = plain[torch.rand(len(plain), generator=rng) < 0.12]
    chosen = torch.cat((torch.nonzero(kind > PLAIN).flatten(), plain))
    cross = F.cross_entropy(network.logits(hidden[chosen]), target[chosen], reduction="none")
    kinds = kind[chosen]

    def mean(mask):
        return cross[mask].mean() if mask.any() else cross.new_zeros(())
    parts = {"first": mean(kinds == FIRST), "answer": mean(kinds == ANSWER), "text": mean(kinds == TEXT),
             "end": mean(kinds == END), "plain": mean(kinds == PLAIN)}
    flat = [s.reshape(-1, width) for s in states]
    normed = lambda x: F.rms_norm(x, (width,))
    for depth, head in zip((1, 2), heads.sentence):
        said = head(normed(flat[depth][batch["marks"]])).view(-1, 3)
        parts[f"sentence{depth}"] = F.cross_entropy(said, batch["says"].view(-1), reduction="sum") / len(batch["marks"])
    whole = heads.report(normed(flat[2][batch["ends"]]))
    parts["report"] = F.binary_cross_entropy_with_logits(whole, batch["labels"], reduction="sum") / len(batch["ends"])
    match = F.cross_entropy(heads.asked(normed(flat[2][batch["marks"]])), batch["asked"], ignore_index=-1,
                            reduction="none")
    parts["asked"] = match.sum() / (batch["asked"] >= 0).sum().clamp(min=1)
    if len(batch["sought"]):
        parts["sought"] = F.cross_entropy(heads.sought(normed(flat[1][batch["sought"][:, 0]])),
                                          batch["sought"][:, 1])
        for depth in (2, 3):
            parts[f"look{depth}"] = look_loss(network.layers[depth], batch)
    weights = {"sought": 0.5, "look2": 0.5, "look3": 0.25, "asked": 0.2, "first": 1.5, "answer": 1.0, "text": 0.5, "end": 0.05, "plain": 0.1,
               "sentence1": 0.15, "sentence2": 0.15, "report": 0.1}
    return sum(weights[k] * v for k, v in parts.items()), parts


class Muon:
    """Momentum whose update is orthogonalised by a Newton-Schulz iteration (Jordan et al., 2024).
    Every process works out the updates of its share of the matrices; then they are exchanged."""

    def __init__(self, matrices, rank, world):
        self.matrices, self.rank, self.world = matrices, rank, world
        self.momentum = [torch.zeros_like(m) for m in matrices]
        by_shape = {}
        for index, matrix in enumerate(matrices):
            by_shape.setdefault(tuple(sorted(matrix.shape)), []).append(index)
        self.mine = [group[rank::world] for group in by_shape.values()]
        self.sizes = [m.numel() for m in matrices]

    def orthogonal(self, indices, directions):
        turned = [d.shape[0] > d.shape[1] for d in directions]
        x = torch.stack([d.t() if t else d for d, t in zip(directions, turned)])
        x = (x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)).bfloat16()
        for _ in range(5):
            gram = x @ x.transpose(1, 2)
            x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
        return {i: (u.t() if t else u) for i, u, t in zip(indices, x.float(), turned)}

    @torch.no_grad()
    def step(self, rate, decay, beta=0.95):
        directions = []
        for matrix, memory in zip(self.matrices, self.momentum):
            memory.lerp_(matrix.grad, 1 - beta)
            directions.append(matrix.grad.lerp(memory, beta))
        flat = torch.zeros(sum(self.sizes))
        updates = flat.split(self.sizes)
        for indices in self.mine:
            if indices:
                for i, update in self.orthogonal(indices, [directions[i] for i in indices]).items():
                    updates[i].copy_(update.reshape(-1))
        if self.world > 1:
            dist.all_reduce(flat)
        for matrix, update in zip(self.matrices, updates):
            scale = max(1.0, matrix.shape[0] / matrix.shape[1]) ** 0.5
            matrix.mul_(1 - rate * decay).add_(update.view_as(matrix), alpha=-rate * scale)


def rate_at(progress, level):
    """Level, then a half cosine down to a thirtieth."""
    turn = max(0.0, min(1.0, (progress - level) / (1 - level)))
    return 0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * turn))


def average(parameters, spent, world):
    """Averages gradients, and the clock, over the processes."""
    for p in parameters:
        if p.grad is None:  # a batch without yes/no questions leaves a head untouched
            p.grad = torch.zeros_like(p)
    if world == 1:
        return spent
    flat = torch.cat([p.grad.reshape(-1) for p in parameters] + [torch.tensor([spent])])
    dist.all_reduce(flat)
    flat /= world
    for p, mean in zip(parameters, flat[:-1].split([p.numel() for p in parameters])):
        p.grad.copy_(mean.view_as(p))
    return float(flat[-1])


def work(rank, world, meeting, arguments):
    torch.set_num_threads(1)
    if world > 1:
        os.setsid()  # a scheduling group of its own, so that each process gets its share of a busy machine
    if world > 1:
        dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=world)
    torch.manual_seed(arguments.seed)
    vocabulary = arguments.out / "tokenizer.json"
    tokenizers = [chat.load_tokenizer(vocabulary), chat.load_tokenizer(vocabulary, 0.1)]
    shape = Shape(layers=arguments.layers, ffn=arguments.ffn)
    network = Network(shape)
    heads = Heads(shape.width)
    matrices = [p for layer in network.layers for p in layer.parameters() if p.ndim == 2]
    small = [p for layer in network.layers for p in layer.parameters() if p.ndim == 1] + [network.norm]
    every = list(network.parameters()) + list(heads.parameters())
    muon = Muon(matrices, rank, world)
    adam = torch.optim.AdamW([{"params": [network.embedding], "lr": 0.001, "weight_decay": 0.01},
                              {"params": small, "lr": 0.003, "weight_decay": 0.0},
                              {"params": list(heads.parameters()), "lr": 0.0015, "weight_decay": 0.01}],
                             betas=(0.9, 0.98))
    base = [group["lr"] for group in adam.param_groups]
    step, spent, tokens = 0, 0.0, 0
    checkpoint = arguments.out / "checkpoint.pt"
    if arguments.init and not checkpoint.exists():
        if arguments.init.suffix == ".gguf":  # the training heads begin anew
            network.load_state_dict(evaluate.open_model(arguments.init)[0].state_dict())
        else:
            saved = torch.load(arguments.init, weights_only=True)
            network.load_state_dict(saved["network"])
            heads.load_state_dict(saved["heads"], strict=False)
            tokens = saved["tokens"]
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        network.load_state_dict(saved["network"])
        heads.load_state_dict(saved["heads"])
        adam.load_state_dict(saved["adam"])  # the rates are set anew at every step
        muon.momentum = saved["muon"]
        step, spent, tokens = saved["step"], saved["spent"], saved["tokens"]

    def save():
        partial = checkpoint.with_suffix(".part")
        torch.save({"network": network.state_dict(), "heads": heads.state_dict(), "adam": adam.state_dict(),
                    "muon": muon.momentum, "step": step, "spent": spent, "tokens": tokens,
                    "shape": shape.as_dict()}, partial)
        partial.replace(checkpoint)
    stream = batches((arguments.seed * 1000003 + step) * 17 + rank, tokenizers, arguments.budget,
                     shape.context, arguments.short)
    rng = torch.Generator().manual_seed(arguments.seed + step)
    total, last, last_save, shown = arguments.minutes * 60, time.monotonic(), time.monotonic(), []
    while spent < total:
        reports.ALL_WORDING = spent / total >= arguments.all_wording_from
        batch = next(stream)
        rate = rate_at(spent / total, arguments.level) * min(1.0, (step + 1) / 20)
        for group, lr in zip(adam.param_groups, base):
            group["lr"] = lr * rate
        with torch.autocast("cpu", torch.bfloat16, enabled=arguments.bf16):
            loss, parts = losses(network, heads, batch, rng)
        loss.backward()
        now = time.monotonic()
        spent, last = average(every, spent + now - last, world), now
        nn.utils.clip_grad_norm_(every, 2.0)
        muon.step(arguments.rate * rate, 0.02)
        adam.step()
        for p in every:
            p.grad = None
        step, tokens = step + 1, tokens + world * int((batch["kind"] >= 0).sum())
        shown.append({"sought": 0.0, "look2": 0.0, "look3": 0.0, **{k: float(v.detach()) for k, v in parts.items()}})
        if rank == 0 and step % 10 == 0:
            line = {k: round(sum(s[k] for s in shown) / len(shown), 4) for k in shown[0]}
            line.update(step=step, seconds=round(spent), tokens=tokens, rate=round(rate, 4))
            print(json.dumps(line), flush=True)
            shown = []
        if rank == 0 and (now - last_save > 60 or (step == 30 and now - last_save > 10)):
            save()
            last_save = now
    if rank == 0:
        save()
    if world > 1:
        dist.barrier()
        dist.destroy_process_group()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=70)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--budget", type=int, default=3072, help="tokens of a batch in one process")
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--ffn", type=int, default=512)
    parser.add_argument("--rate", type=float, default=0.006, help="of the matrices (Muon)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--short", type=float, default=0.7, help="share of examples with one or two findings")
    parser.add_argument("--init", type=Path, help="checkpoint, or GGUF file of the same shape, to take the weights "
                        "from (new schedule); with a GGUF file its tokenizer too")
    parser.add_argument("--bf16", action="store_true", help="matrix products in bfloat16 (a third faster with AVX512-BF16)")
    parser.add_argument("--all-wording-from", type=float, default=0.8, help="share of the time from which on the "
                        "development wording is trained on too; 2: never")
    parser.add_argument("--level", type=float, default=0.55, help="share of the time at the full rate")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    reports.check_disjoint(1500)
    if not (arguments.out / "tokenizer.json").exists():
        if arguments.init and arguments.init.suffix == ".gguf":
            evaluate.open_model(arguments.init)[1].save(str(arguments.out / "tokenizer.json"))
        elif arguments.init:
            shutil.copy(arguments.init.parent / "tokenizer.json", arguments.out / "tokenizer.json")
        else:
            chat.train_tokenizer(arguments.out / "tokenizer.json")
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    if arguments.processes == 1:
        work(0, 1, None, arguments)
        return
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(work, (arguments.processes, folder + "/meeting", arguments),
                                    nprocs=arguments.processes)


if __name__ == "__main__":
    main()
