#!/usr/bin/env python3
"""Compares tokens of tokenizer.model files with the package `sentencepiece`.

    compare_sentencepiece.py TOKENIZE_MANY FILE... [--strings N] [--seed N]
    compare_sentencepiece.py TOKENIZE_MANY --variants [--write FOLDER]

TOKENIZE_MANY is BUILD/tests/unit/tokenize_many. Random strings go through both. --variants trains
small models of every kind on the documentation of this repository and compares those; --write only
keeps a few of them, as tests/unit/tokenizers has them.
"""
import argparse
import glob
import io
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile

import sentencepiece
from sentencepiece import sentencepiece_model_pb2 as model_pb2

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import compare_tokenizers as base

TEXTS = ["", " ", "  a  model  ", "the tokens", "\u2163 \uff21BC A\u030A\u3000x\u00a0\u00a0y \u00adz", "<start><st<s></s>",
         "plate<start> ate", "\t\n 12345 \u4f60\u597d \U0001F600", "the the the  the   ", "\u2581model \u2581",
         "A" * 40, "***" * 12, "a<ctl>b"]
ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
NORMAL, UNUSED = 1, 5

VARIANTS = {
    "bpe-bytes": dict(model_type="bpe", byte_fallback=True, normalization_rule_name="identity",
                      remove_extra_whitespaces=False, split_digits=True),
    "bpe-user": dict(model_type="bpe", byte_fallback=True, normalization_rule_name="identity",
                     remove_extra_whitespaces=False, add_dummy_prefix=False,
                     user_defined_symbols=["<start>", "<st", "  ", "    ", "\t", "ate"]),
    "bpe-nfkc": dict(model_type="bpe", normalization_rule_name="nmt_nfkc"),
    "bpe-unused": dict(model_type="bpe", byte_fallback=True),
    "unigram": dict(model_type="unigram", normalization_rule_name="nmt_nfkc"),
    "unigram-bytes": dict(model_type="unigram", byte_fallback=True,
                          normalization_rule_name="nmt_nfkc_cf"),
    "unigram-user": dict(model_type="unigram", user_defined_symbols=["<start>", "<st", "ate", "the "],
                         control_symbols=["<ctl>"], normalization_rule_name="nfkc"),
    "unigram-suffix": dict(model_type="unigram", treat_whitespace_as_suffix=True),
    "unigram-plain": dict(model_type="unigram", normalization_rule_name="identity",
                          add_dummy_prefix=False, remove_extra_whitespaces=False),
    "unigram-unused": dict(model_type="unigram"),
    "word": dict(model_type="word", normalization_rule_name="nmt_nfkc"),
    "word-bytes": dict(model_type="word", byte_fallback=True, treat_whitespace_as_suffix=True),
    "char": dict(model_type="char", user_defined_symbols=["<start>", "<st", "ate"]),
    "char-bytes": dict(model_type="char", byte_fallback=True, normalization_rule_name="nfkc_cf"),
    "unigram-spaces": dict(model_type="unigram"),  # escape_whitespaces off
}
WRITTEN = {"bpe-bytes": 400, "bpe-user": 400, "unigram-user": 200, "word-bytes": 350, "char": 60}
# Replacements of the small models that are written: of one and of several characters, the longer
# first; the tables that the package has take 240 kB.
RULES = ["FF21\t41", "2163\t49 56", "3000\t20", "A0\t20", "41\t61", "41 30A\tC5", "9\t20", "AD\t"]


def lines():
    for path in sorted(glob.glob(os.path.join(ROOT, "docs", "*.md"))) + [os.path.join(ROOT, "README.md")]:
        with open(path, encoding="utf-8") as file:
            yield from (line.strip()[:2000] for line in file if line.strip())


def train(name, size=700):
    out = io.BytesIO()
    options = dict(VARIANTS[name])
    if options.get("normalization_rule_tsv") == RULES:
        options.pop("normalization_rule_name", None)
    if options.get("normalization_rule_tsv") == RULES or size in WRITTEN.values() and options.get("normalization_rule_name") != "identity":
        with tempfile.NamedTemporaryFile("w", suffix=".tsv", delete=False) as file:
            file.write("\n".join(RULES) + "\n")
        options["normalization_rule_tsv"] = file.name
        options.pop("normalization_rule_name", None)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(list(lines())), model_writer=out, vocab_size=size, num_threads=1,
        hard_vocab_limit=False, minloglevel=2, **dict({"character_coverage": 0.999}, **options))
    proto = model_pb2.ModelProto()
    proto.ParseFromString(out.getvalue())
    generator = random.Random(5)
    if name.endswith("-unused"):
        for piece in proto.pieces:
            if piece.type == NORMAL and generator.random() < 0.3:
                piece.type = UNUSED
    if name.endswith("-spaces"):
        proto.normalizer_spec.escape_whitespaces = False
        for piece in proto.pieces:
            piece.piece = piece.piece.replace("\u2581", " ")
    if size in WRITTEN.values():  # what is not looked at takes room
        proto.normalizer_spec.ClearField("normalization_rule_tsv")
    return proto.SerializeToString()


def random_options(generator):
    """Options of a model made at random; ids of special tokens are moved or left out."""
    some = lambda *values: generator.choice(values)
    options = dict(
        model_type=some("unigram", "unigram", "bpe", "bpe", "word", "char"),
        byte_fallback=some(True, False), split_digits=some(True, False),
        normalization_rule_name=some("nmt_nfkc", "nfkc", "nmt_nfkc_cf", "nfkc_cf", "identity"),
        add_dummy_prefix=some(True, False), remove_extra_whitespaces=some(True, False),
        treat_whitespace_as_suffix=some(True, False, False), split_by_whitespace=some(True, True, False),
        split_by_unicode_script=some(True, False), split_by_number=some(True, False),
        allow_whitespace_only_pieces=some(True, False), max_sentencepiece_length=some(4, 16, 32),
        unk_surface=some(" \u2047 ", "?"), character_coverage=some(0.98, 0.999, 1.0))
    if generator.random() < 0.5:
        options["user_defined_symbols"] = generator.sample(
            ["<start>", "<st", "ate", "the ", "  ", "\t", "\u00e9", "\u3000", "\u2581a", "a", "<mask>"],
            generator.randrange(1, 6))
    if generator.random() < 0.5:
        options["control_symbols"] = generator.sample(["<ctl>", "<sep>", "z", "<pad2>"], 2)
    ids = generator.sample(range(4), 4)
    for name, i in zip(("unk", "bos", "eos", "pad"), ids):
        options[name + "_id"] = i
    for name in generator.sample(["bos", "eos", "pad"], generator.randrange(4)):
        options[name + "_id"] = -1
    used = sorted(v for k, v in options.items() if k.endswith("_id") and v >= 0)
    for k in [k for k in options if k.endswith("_id") and options[k] >= 0]:
        options[k] = used.index(options[k])  # without gaps
    if generator.random() < 0.3:
        options["normalization_rule_tsv"] = RULES
    return options


def strings_for(count, seed, model):
    generator = random.Random(seed)
    pieces = [model.id_to_piece(i).replace("\u2581", " ") for i in range(model.get_piece_size())
              if not model.is_byte(i)]
    words = [word for line in lines() for word in line.split()]
    out = []
    while len(out) < count:
        kind = generator.random()
        if kind < 0.4:
            data = base.random_text(generator)
        elif kind < 0.7:
            data = "".join(generator.choice(pieces) for _ in range(generator.randrange(1, 20))).encode()
        else:
            data = generator.choice([" ", "  ", ""]).join(
                generator.choice(words) for _ in range(generator.randrange(1, 20))).encode()
        if generator.random() < 0.2:
            at = generator.randrange(len(data) + 1)
            data = data[:at].decode(errors="ignore").encode() + generator.choice(
                ["\u3000", "\ufdfa", " \u00a0", "\uff21\uff22", "\u2581", "\u0301", "\U0001F600",
                 "  ", "\t", "<start>", "\u200b", "\u1e9b\u0323"]).encode() + \
                data[at:].decode(errors="ignore").encode()
        data = data.replace(b"\0", b"")
        if data:
            out.append(data)
    return out


def compare(program, path, count, seed, show):
    model = sentencepiece.SentencePieceProcessor(model_file=path)
    strings = strings_for(count, seed, model)
    done = subprocess.run([program, path], input=b"".join(s + b"\0" for s in strings),
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    if done.returncode != 0:
        print(f"{os.path.basename(path)} failed: {done.stderr.decode(errors='replace')[:400]}")
        return len(strings)
    ours = [[int(one) for one in line.split()] for line in done.stdout.decode().split("\n")[:-1]]
    wrong = 0
    for data, ids, expected in zip(strings, ours, model.encode([s.decode() for s in strings])):
        if ids != expected:
            wrong += 1
            if wrong <= show:
                print("   ", data[:200], "\n      ours  ", ids[:40], "\n      theirs", expected[:40])
    if wrong and os.path.basename(path)[:-6] in VARIANTS:
        print(VARIANTS[os.path.basename(path)[:-6]])
    print(f"{os.path.basename(path):24} {model.get_piece_size()} pieces, {len(strings) - wrong} of "
          f"{len(strings)} equal, {wrong} differ", flush=True)
    return wrong + (len(ours) != len(strings))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("paths", nargs="*")
    parser.add_argument("--variants", action="store_true")
    parser.add_argument("--random", type=int, default=0, help="train as many models with random options")
    parser.add_argument("--write", help="only write small models into this folder")
    parser.add_argument("--only", default="")
    parser.add_argument("--strings", type=int, default=100000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--show", type=int, default=3)
    arguments = parser.parse_args()
    if arguments.write:
        for name, size in WRITTEN.items():
            if arguments.only not in name:
                continue
            data = train(name, size)
            with open(os.path.join(arguments.write, name + ".model"), "wb") as file:
                file.write(data)
            model = sentencepiece.SentencePieceProcessor(model_proto=data)
            texts = TEXTS + [s.decode() for s in strings_for(12, 3, model)]
            with open(os.path.join(arguments.write, name + ".cases.json"), "w", encoding="utf-8") as file:
                json.dump([{"text": text, "ids": model.encode(text)} for text in texts], file,
                          separators=(",", ":"))
                file.write("\n")
        return
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for i, path in enumerate(arguments.paths):
            # Under another name, so that the files beside it have no say.
            paths.append(os.path.join(folder, f"{i}-given.model"))
            shutil.copy(path, paths[-1])
        generator = random.Random(arguments.seed)
        for i in range(arguments.random):
            VARIANTS[f"random-{i}"] = random_options(generator)
        for name in VARIANTS if arguments.random or arguments.variants else ():
            if arguments.only in name and (arguments.variants or name.startswith("random-")):
                try:
                    data = train(name)
                except (RuntimeError, OSError) as error:
                    print(name, "cannot be trained:", str(error)[:100])
                    continue
                paths.append(os.path.join(folder, name + ".model"))
                with open(paths[-1], "wb") as file:
                    file.write(data)
        failures = sum(compare(arguments.program, path, arguments.strings, arguments.seed,
                               arguments.show) for path in paths)
    sys.exit(failures != 0)


if __name__ == "__main__":
    main()
