#!/usr/bin/env python3
"""Compares tokens and texts of tokenizer.json files with the package `tokenizers`.

    compare_tokenizer_json.py TOKENIZE_MANY FILE_OR_FOLDER... [--strings N] [--seed N]
    compare_tokenizer_json.py TOKENIZE_MANY --variants

TOKENIZE_MANY is BUILD/tests/unit/tokenize_many. Random strings go through both, with the special
tokens read and added, and the ids come back as text. --variants makes small tokenizers with every
part that the library knows, trained on text of this repository, and compares those.
"""
import argparse
import json
import os
import random
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import compare_tokenizers as base
import tokenizer_variants


def strings_for(count, seed, specials):
    generator = random.Random(seed)
    out = []
    while len(out) < count:
        data = base.random_text(generator)
        if specials and generator.random() < 0.3:
            at = generator.randrange(len(data) + 1)
            token = generator.choice(specials).encode()
            data = (data[:at].decode(errors="ignore").encode() + generator.choice([b"", b" ", b"\t"])
                    + token + generator.choice([b"", b" ", b"  "])
                    + data[at:].decode(errors="ignore").encode())
        if data:
            out.append(data)
    return out


def run(program, path, strings):
    """A list of (ids, bytes of the text)."""
    done = subprocess.run([program, path, "--add-special", "--parse-special", "--decode", "--skip-special"],
                          input=b"".join(s + b"\0" for s in strings), stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, check=False)
    if done.returncode != 0:
        print(f"  {path} failed: {done.stderr.decode(errors='replace')[:400]}")
        return None
    lines = done.stdout.decode().split("\n")[:-1]
    return [([int(one) for one in ids.split()], bytes.fromhex(text))
            for ids, text in zip(lines[::2], lines[1::2])]


def compare(program, path, strings, show):
    from tokenizers import Tokenizer
    theirs = Tokenizer.from_file(path)
    theirs.no_truncation()
    theirs.no_padding()
    # The package shows control tokens that are normalized where it should skip them.
    unskipped = {i for i, token in theirs.get_added_tokens_decoder().items()
                 if token.special and token.normalized}
    ours = run(program, path, strings)
    if ours is None:
        return len(strings)
    wrong = texts = new = 0
    for data, (ids, text) in zip(strings, ours):
        try:
            expected = theirs.encode(data.decode()).ids
        except Exception as failure:  # pylint: disable=broad-except
            expected = str(failure)
        if ids != expected:
            if base.has_new_characters(data, "bert-bge") or "\U0001F16C" in data.decode():
                new += 1
            else:
                wrong += 1
                if wrong <= show:
                    base.show(data, ids, expected)
            continue
        if unskipped.intersection(ids):
            continue
        back = theirs.decode(ids, skip_special_tokens=True)
        if text.decode(errors="replace") != back:
            texts += 1
            if texts <= show:
                print("   ", data[:100], "\n      ours  ", text[:120], "\n      theirs", back[:120].encode())
    print(f"{os.path.basename(path):32} {len(strings) - wrong - new} of {len(strings)} equal, {new} with "
          f"characters of another Unicode version, {wrong} differ; {texts} texts differ", flush=True)
    return wrong + texts


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("paths", nargs="*")
    parser.add_argument("--variants", action="store_true")
    parser.add_argument("--only", help="variants whose names contain this")
    parser.add_argument("--strings", type=int, default=100000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--show", type=int, default=3)
    arguments = parser.parse_args()
    failures = 0
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for i, path in enumerate(arguments.paths):
            path = os.path.join(path, "tokenizer.json") if os.path.isdir(path) else path
            # Under another name, so that a tokenizer_config.json beside it, which the package does
            # not look at, has no say.
            name = os.path.basename(os.path.dirname(os.path.abspath(path)))
            paths.append(os.path.join(folder, f"{i}-{name}.json"))
            os.symlink(os.path.abspath(path), paths[-1])
        if arguments.variants:
            paths += tokenizer_variants.write_all(folder, arguments.only)
        for path in paths:
            with open(path, encoding="utf-8") as file:
                specials = [token["content"] for token in json.load(file).get("added_tokens", [])]
            strings = strings_for(arguments.strings, arguments.seed, specials)
            failures += compare(arguments.program, path, strings, arguments.show)
    sys.exit(failures != 0)


if __name__ == "__main__":
    main()
