"""Measures the exported GGUF (its weights dequantized) on the held-out set, greedy decoding.

    evaluate.py --model FILE.gguf [--json OUT] [--errors 40]
    evaluate.py --export-csv FILE     writes the set as id,finding,report,label for other programs
"""

import argparse
import csv
import json
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from gguf import GGUFReader, quants
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

import chat
import reports
from export import NAMES
from heldout import DEFINITION, held_out_items, list_reports
from network import Network, Shape


def open_model(path):
    """Network and tokenizer from the GGUF alone."""
    reader = GGUFReader(path)
    value = lambda key: reader.fields[key].contents()
    shape = Shape(vocabulary=len(value("tokenizer.ggml.tokens")), width=value("llama.embedding_length"),
                  layers=value("llama.block_count"), heads=value("llama.attention.head_count"),
                  kv_heads=value("llama.attention.head_count_kv"), ffn=value("llama.feed_forward_length"),
                  context=value("llama.context_length"), theta=value("llama.rope.freq_base"),
                  epsilon=value("llama.attention.layer_norm_rms_epsilon"))
    weights = {t.name: torch.from_numpy(np.array(quants.dequantize(t.data, t.tensor_type), dtype=np.float32))
               for t in reader.tensors}
    state = {"embedding": weights["token_embd.weight"], "norm": weights["output_norm.weight"]}
    for layer in range(shape.layers):
        for ours, theirs in NAMES.items():
            state[f"layers.{layer}.{ours}"] = weights[f"blk.{layer}.{theirs}.weight"]
    network = Network(shape)
    network.load_state_dict(state)
    pieces = value("tokenizer.ggml.tokens")
    merges = [tuple(m.split(" ")) for m in value("tokenizer.ggml.merges")]
    tokenizer = Tokenizer(models.BPE(vocab={p: i for i, p in enumerate(pieces)}, merges=merges))
    tokenizer.add_special_tokens([AddedToken(p, special=True) for p in chat.SPECIALS])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    return network.eval(), tokenizer


@torch.no_grad()
def answers(network, tokenizer, prompts, batch_tokens=8192):
    """The greedy first word of the answer to each prompt, and P(yes) against P(no)."""
    rows = [tokenizer.encode(chat.render([("user", p)], True)).ids for p in prompts]
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    found, start = [None] * len(rows), 0
    yes, no = tokenizer.token_to_id("yes"), tokenizer.token_to_id("no")
    while start < len(order):
        size = max(1, batch_tokens // len(rows[order[min(start + 15, len(order) - 1)]]))
        group = order[start:start + size]
        start += size
        longest = max(len(rows[i]) for i in group)
        ids = torch.zeros(len(group), longest, dtype=torch.long)
        for at, i in enumerate(group):
            ids[at, :len(rows[i])] = torch.tensor(rows[i])
        _, final = network(ids)
        last = final[torch.arange(len(group)), torch.tensor([len(rows[i]) - 1 for i in group])]
        logits = network.logits(last)
        for at, i in enumerate(group):
            token = int(logits[at].argmax())
            share = torch.softmax(logits[at, [yes, no]], 0)[0]
            found[i] = ("yes" if token == yes else "no" if token == no else "other", float(share))
    return found


def reply(network, tokenizer, prompt, limit=96):
    stop = {tokenizer.token_to_id(chat.IM_END), tokenizer.token_to_id(chat.END_OF_TEXT)}
    ids = tokenizer.encode(chat.render([("user", prompt)], True)).ids
    return tokenizer.decode(network.generate(ids, stop, limit), skip_special_tokens=False)


def classification(network, tokenizer, items, template=None, errors=0):
    found = answers(network, tokenizer, [item.prompt(template) for item in items])
    table, wrong = {}, []
    for item, (answer, share) in zip(items, found):
        row = table.setdefault(item.finding, Counter())
        right = answer == ("yes" if item.label else "no")
        row["n"] += 1
        row["positive"] += item.label
        row["true_positive"] += item.label and right
        row["true_negative"] += (not item.label) and right
        row["other"] += answer == "other"
        if not right:
            wrong.append((item, answer, share))
    rows = {}
    for finding, row in table.items():
        negative = row["n"] - row["positive"]
        rows[finding] = {"n": row["n"], "sensitivity": row["true_positive"] / row["positive"],
                         "specificity": row["true_negative"] / negative,
                         "accuracy": (row["true_positive"] + row["true_negative"]) / row["n"],
                         "majority": max(row["positive"], negative) / row["n"], "other": row["other"]}
    for item, answer, share in wrong[:errors]:
        print(f"{item.ident} {item.kind}: said {answer} ({share:.2f}) :: {' | '.join(item.evidence())}")
    if errors:
        print(Counter((w[0].finding, w[0].kind) for w in wrong).most_common(30))
    return rows


def generation(network, tokenizer, count=None, bank=None):
    """The JSON list (exact match, F1 over names) and the one-line impression."""
    listed = list_reports(count, bank)
    exact = valid = line_right = 0
    hit = made = wanted = 0
    for report in listed:
        text = reply(network, tokenizer, reports.LIST_PROMPT.format(r=report.text))
        try:
            names = json.loads(text)
            valid += isinstance(names, list)
        except ValueError:
            names = []
        truth = report.present_names()
        exact += names == truth
        known = {n for n in names if isinstance(n, str)}
        hit, made, wanted = hit + len(known & set(truth)), made + len(known), wanted + len(truth)
    for report in listed[: len(listed) // 2]:
        text = reply(network, tokenizer, reports.IMPRESSION_PROMPT.format(r=report.text))
        line_right += text == report.impression()
    n = len(listed)
    return {"n": n, "valid_json": valid / n, "exact_match": exact / n,
            "f1": 2 * hit / max(1, made + wanted), "impression_exact": line_right / max(1, n // 2)}


def show(rows):
    print("| Finding | n | Sensitivity | Specificity | Accuracy | Majority |\n|---|---|---|---|---|---|")
    for name, row in rows.items():
        print(f"| {name} | {row['n']} | {row['sensitivity']:.1%} | {row['specificity']:.1%} | "
              f"{row['accuracy']:.1%} | {row['majority']:.1%} |")
    mean = {k: sum(r[k] for r in rows.values()) / len(rows) for k in ("sensitivity", "specificity", "accuracy",
                                                                       "majority")}
    print(f"| mean | {sum(r['n'] for r in rows.values())} | {mean['sensitivity']:.1%} | "
          f"{mean['specificity']:.1%} | {mean['accuracy']:.1%} | {mean['majority']:.1%} |")


def export_csv(path):
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id", "finding", "report", "label"])
        for item in held_out_items():
            writer.writerow([item.ident, item.finding, item.report.text, "yes" if item.label else "no"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("examples/models/radreport-q8_0.gguf"))
    parser.add_argument("--bank", choices=["held", "dev", "train"], default="held",
                        help="train: unseen seeds of the training bank, to tell wording from the task")
    parser.add_argument("--per-finding", type=int, default=DEFINITION["per_finding"])
    parser.add_argument("--lists", type=int, default=DEFINITION["list_reports"])
    parser.add_argument("--errors", type=int, default=0, help="show this many wrong answers")
    parser.add_argument("--prompt", help="another wording; {x} the finding, {r} the report")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--export-csv", type=Path)
    arguments = parser.parse_args()
    if arguments.export_csv:
        export_csv(arguments.export_csv)
        return
    torch.set_num_threads(arguments.threads)
    reports.check_disjoint()
    network, tokenizer = open_model(arguments.model)
    items = held_out_items(arguments.per_finding, arguments.bank)
    rows = classification(network, tokenizer, items, arguments.prompt, arguments.errors)
    show(rows)
    result = {"model": arguments.model.name, "bank": arguments.bank, "findings": rows}
    if arguments.lists:
        with torch.no_grad():
            result["generation"] = generation(network, tokenizer, arguments.lists, arguments.bank)
        print(json.dumps(result["generation"]))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
