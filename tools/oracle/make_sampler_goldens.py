#!/usr/bin/env python3
"""Writes tests/golden/sampler/cases.txt: which tokens stay after each truncation, with which
probabilities. Computed with numpy in double precision from the definitions in lib/sample/sampler.h,
and checked here against the logits processors of transformers.

    python tools/oracle/make_sampler_goldens.py tests/golden/sampler/cases.txt

Each case is five lines: name and settings, logits, history, kept ids, probabilities."""
import sys

import numpy as np
import torch
from transformers.generation import logits_process as hf

DEFAULTS = dict(top_k=0, typical_p=1.0, top_p=1.0, min_p=0.0, temperature=1.0, repeat_penalty=1.0,
                frequency_penalty=0.0, presence_penalty=0.0, penalty_last_n=-1)


def softmax(logits):
    weights = np.exp(logits - logits.max())
    return weights / weights.sum()


def penalise(logits, history, s):
    tail = history if s["penalty_last_n"] < 0 else history[len(history) - s["penalty_last_n"]:]
    out = logits.copy()
    for token in set(tail):
        count = tail.count(token)
        value = out[token]
        value = value / s["repeat_penalty"] if value > 0 else value * s["repeat_penalty"]
        out[token] = value - (count * s["frequency_penalty"] + s["presence_penalty"])
    return out


def keep_mass(order, probabilities, mass):
    kept, total = [], 0.0
    for index in order:
        kept.append(index)
        total += probabilities[index]
        assert abs(total - mass) > 1e-6, "too near a tie for a test"
        if total >= mass:
            break
    return kept


def truncate(logits, s):
    ids = np.arange(len(logits))
    if 0 < s["top_k"] < len(ids):
        ids = ids[np.lexsort((ids, -logits))][: s["top_k"]]
    if s["typical_p"] < 1:
        p = softmax(logits[ids])
        entropy = -(p * np.log(p)).sum()
        distance = np.abs(-np.log(p) - entropy)
        ids = ids[keep_mass(np.lexsort((ids, distance)), p, s["typical_p"])]
    if s["top_p"] < 1:
        p = softmax(logits[ids])
        ids = ids[keep_mass(np.lexsort((ids, -p)), p, s["top_p"])]
    if s["min_p"] > 0:
        p = softmax(logits[ids])
        ids = ids[p >= s["min_p"] * p.max()]
    return np.sort(ids)


def check_with_transformers(logits, history, s, kept):
    scores = torch.tensor(logits[None, :])
    if s["frequency_penalty"] or s["presence_penalty"] or s["penalty_last_n"] >= 0:
        return
    steps = []
    if s["repeat_penalty"] != 1:
        steps.append(hf.RepetitionPenaltyLogitsProcessor(s["repeat_penalty"]))
    if s["top_k"]:
        steps.append(hf.TopKLogitsWarper(s["top_k"]))
    if s["typical_p"] < 1:
        steps.append(hf.TypicalLogitsWarper(s["typical_p"]))
    if s["top_p"] < 1:
        steps.append(hf.TopPLogitsWarper(s["top_p"]))
    if s["min_p"] > 0:
        steps.append(hf.MinPLogitsWarper(s["min_p"]))
    for step in steps:
        scores = step(torch.tensor([history or [0]]), scores)
    theirs = np.nonzero(np.isfinite(scores[0].numpy()))[0]
    assert np.array_equal(theirs, kept), (s, theirs, kept)


def main():
    generator = np.random.default_rng(7)
    cases = [dict(), dict(top_k=5), dict(top_k=1), dict(top_p=0.9), dict(top_p=0.3),
             dict(min_p=0.05), dict(min_p=0.4), dict(typical_p=0.2), dict(typical_p=0.5),
             dict(typical_p=0.95), dict(top_k=20, typical_p=0.9, top_p=0.8, min_p=0.1),
             dict(top_k=30, top_p=0.95, min_p=0.05, temperature=0.7),
             dict(temperature=1.8, min_p=0.02), dict(repeat_penalty=1.3),
             dict(repeat_penalty=1.1, top_k=10, top_p=0.7),
             dict(repeat_penalty=1.2, frequency_penalty=0.4, presence_penalty=0.3, top_p=0.8),
             dict(frequency_penalty=0.7, penalty_last_n=6, top_k=8),
             dict(presence_penalty=-0.6, penalty_last_n=3)]
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    with open(sys.argv[1], "w", encoding="ascii") as out:
        for number, changes in enumerate(cases):
            s = {**DEFAULTS, **changes}
            n_vocab = int(generator.integers(25, 70))
            sharpness = float(generator.uniform(0.8, 2.5))
            logits = (generator.standard_normal(n_vocab) * sharpness).astype(np.float32)
            history = [int(t) for t in generator.integers(0, n_vocab, 15)]
            changed = penalise(logits.astype(np.float64), history, s)
            kept = truncate(changed, s)
            check_with_transformers(logits.astype(np.float64), history, s, kept)
            p = softmax(changed[kept] / s["temperature"])
            out.write(f"case{number} " + " ".join(f"{s[key]:g}" for key in DEFAULTS) + "\n")
            out.write(f"{n_vocab} " + " ".join(f"{x:.9g}" for x in logits) + "\n")
            out.write(f"{len(history)} " + " ".join(map(str, history)) + "\n")
            out.write(f"{len(kept)} " + " ".join(map(str, kept)) + "\n")
            out.write(" ".join(f"{x:.12g}" for x in p) + "\n")


if __name__ == "__main__":
    main()
