#!/usr/bin/env python3
"""Compares tokens and texts of random tokenizer.json files with the package `tokenizers`.

    compare_random_tokenizers.py BUILD_FOLDER [--files N] [--texts N] [--seed N] [--keep FOLDER]
    compare_random_tokenizers.py BUILD_FOLDER --letters STEP

    compare_random_tokenizers.py BUILD_FOLDER --converted [--files N] [--texts N] [--seed N]

BUILD_FOLDER is where the library was built. Each file is a small model of any kind, trained on
text of this repository, with a normalizer, a pre-tokenizer, a decoder, a post-processor and added
tokens drawn at random; file number i of a run is the first of a run with the seed SEED + i.
Random texts go through both, with the tokens of the post-processor and without. These tokens, and
random ones, go back to text at once and as a stream, with control tokens shown and left out.

Differences that docs/tokenizers.md declares are counted apart, and so are its refusals; anything
else is shown, and the exit status is 1. --keep holds a file in FOLDER while it is compared, and
keeps it where something differs: what is left behind a crash is the file that did it. The package
panics on some texts and says so on standard error; such texts are counted apart.

--converted compares no package: each file stands in a folder with a model, which becomes a GGUF file,
a folder again, and a GGUF file again. The two GGUF files must be equal, and tokens and texts the
same from the four.

--letters asks another question: for every STEP-th letter with case (1: all, a minute), whether a
pattern that ignores case, with the letter alone or in a set, finds the same letters in both.
"""
import argparse
import base64
import collections
import csv
import json
import os
import random
import re
import subprocess
import sys
import tempfile

import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer
from tokenizers import decoders as d
from tokenizers import models
from tokenizers import normalizers as n
from tokenizers import pre_tokenizers as p
from tokenizers import processors
from tokenizers import trainers

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import compare_tokenizers as base
import library
import tokenizer_variants as variants

# Why something may differ, as docs/tokenizers.md says.
CLASSES = {
    "control": "no normalizer, merge or word makes a control token here",
    "bytes": "bytes that are no UTF-8 decode as they are, here",
    "unicode": "the text has characters that not every version of Unicode has",
    "limit": "a pattern takes too many steps, or a text becomes too long",
    "twins": "tokens that only their normal forms make equal are two here: one of them may be a "
             "control token, and they are no equal neighbours for CTC",
    "choice": "of added tokens that only their normal forms make equal, the package finds one by "
              "chance",
    "nothing": "an added token has an empty normal form, which the package finds between all "
               "characters",
    "package": "the package itself fails",
}
REFUSALS = ("behind a decoder that joins tokens", "behind a TemplateProcessing that adds tokens",
            "strips the end of the whole text", 'the decoders "BPEDecoder" and "CTC" beside',
            'decoder behind others "CTC"')


# ---- random files -----------------------------------------------------------------------------


def coin(r, chance=0.5):
    return r.random() < chance


def several(r, make, least, most):
    return [make(r) for _ in range(r.randint(least, most))]


NORMAL_REGEXES = [" {2,}", r"\s+", r"[^\S\n]+", r"\d", r"\p{P}", r"(?<=a)b|c+?", r"$", r"^", r"\b",
                  r"x*", r"[\u0300-\u036f]", r"(?i)THE", r"\n$", r"[A-Z]", r"\p{Han}", r".(?=\.)"]
NORMALIZERS = [
    lambda r: n.NFC(),
    lambda r: n.NFD(),
    lambda r: n.NFKC(),
    lambda r: n.NFKD(),
    lambda r: n.Lowercase(),
    lambda r: n.Strip(left=coin(r), right=coin(r)),
    lambda r: n.StripAccents(),
    lambda r: n.Sequence([n.NFD(), n.StripAccents()]),
    lambda r: n.Replace(r.choice([" ", "\u2581", "a", "the", "``", "\n", "e\u0301", "", "aa",
                                  "  "]),
                        r.choice(["\u2581", " ", "", "xy", "\u00e9", "aaa", '"'])),
    lambda r: n.Replace(Regex(r.choice(NORMAL_REGEXES)),
                        r.choice(["\u2581", " ", "", "#", "\u00e9"])),
    lambda r: n.Prepend(r.choice(["\u2581", "_", " ", "\u00e9", ""])),
    lambda r: n.Nmt(),
    lambda r: n.BertNormalizer(clean_text=coin(r), handle_chinese_chars=coin(r),
                               strip_accents=r.choice([None, True, False]), lowercase=coin(r)),
    lambda r: n.Precompiled(base64.b64decode(variants.charsmap(variants.MAPPED))),
    lambda r: n.ByteLevel(),
    lambda r: n.Sequence(several(r, random_normalizer, 0, 2)),
]

BEHAVIORS = ["removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"]
CUTTING_REGEXES = [
    variants.GPT2, variants.LLAMA3, variants.ODD, variants.KIMI, base.GPT4O, base.TEKKEN, r"\s+",
    r"\s", r"\d{1,3}", r"\w+|[^\w\s]+", r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}", r"(?=[A-Z])", r"",
    r"x*", r"\b", r"\p{Lu}+", r"[\u4e00-\u9fa5]+", r"[\p{Han}]+", r"^|\.", r"(?:\r?\n)+",
    r"(?<=\d)(?=\D)", "(?i:abc|the)", r".", r"[^ ]+", r"\s?\p{L}+", r"a|ab", r"(?>a+)b",
    r"\p{N}{3}", r" ?\S+"]
PRE_TOKENIZERS = [
    lambda r: p.Whitespace(),
    lambda r: p.WhitespaceSplit(),
    lambda r: p.UnicodeScripts(),
    lambda r: p.BertPreTokenizer(),
    lambda r: p.Digits(coin(r)),
    lambda r: p.Punctuation(r.choice(BEHAVIORS)),
    lambda r: p.FixedLength(r.randint(1, 11)),
    lambda r: p.CharDelimiterSplit(r.choice(["|", " ", "e", "\u00e9", "\u2581", "\u65e5"])),
    lambda r: p.Metaspace(replacement=r.choice(["\u2581", "\u2581", "_"]), split=coin(r),
                          prepend_scheme=r.choice(["always", "first", "never"])),
    lambda r: p.Split(r.choice([" ", "\n", "the", "e", "", "\u2581", "ab"]), r.choice(BEHAVIORS),
                      coin(r, 0.25)),
] + 2 * [
    lambda r: p.ByteLevel(add_prefix_space=coin(r), use_regex=coin(r)),
    lambda r: p.Sequence(several(r, random_pre_tokenizer, 0, 3)),
] + 4 * [lambda r: p.Split(Regex(r.choice(CUTTING_REGEXES)), r.choice(BEHAVIORS), coin(r, 0.25))]

TEXT_REGEXES = [r"\s+", r"^\u2581", r"[aeiou]", r"$", r"^", r"x*", r"\d(?=\d)"]
DECODERS = [
    lambda r: d.ByteLevel(),
    lambda r: d.ByteFallback(),
    lambda r: d.Fuse(),
    lambda r: d.Metaspace(replacement=r.choice(["\u2581", "_"]),
                          prepend_scheme=r.choice(["always", "first", "never"])),
    lambda r: d.WordPiece(prefix=r.choice(["##", "@@", ""]), cleanup=coin(r)),
    lambda r: d.BPEDecoder(suffix=r.choice(["</w>", "_", "e", "an", "\u2581"])),
    lambda r: d.CTC(pad_token=r.choice(["<pad>", "e", "<s>"]), cleanup=coin(r),
                    word_delimiter_token=r.choice(["|", " ", "_"])),
    lambda r: d.Strip(r.choice([" ", "\u2581", "a", "_"]), r.randint(0, 2), r.randint(0, 2)),
    lambda r: d.Replace(r.choice(["\u2581", " ", "##", "a", "</w>", "\u0120"]),
                        r.choice([" ", "", "x", "  "])),
    lambda r: d.Replace(Regex(r.choice(TEXT_REGEXES)), r.choice([" ", "", "#"])),
    lambda r: d.Sequence(several(r, random_decoder, 1, 3)),
]


def random_normalizer(r):
    return r.choice(NORMALIZERS)(r)


def random_pre_tokenizer(r):
    return r.choice(PRE_TOKENIZERS)(r)


def random_decoder(r):
    return r.choice(DECODERS)(r)


ADDED = ["<|im_start|>", "<|im_end|>", "<|im|>", "<s>", "</s>", "[MASK]", "[SEP]", "new token",
         "Patient", "the", "CT", "  ", "\n\n", "\u00e9", "<|endless|>", "<|end", "ab", "abc", "bc",
         "\u2581x", "\u65e5\u672c", "e\u0301", "A", "THE END", " lead", "trail ", "_", "1", "12",
         "\u0130", "\ufb01", "<extra_id_0>", "</w>", "##ing", "<0x41>", "don't", ".", "...", "\t",
         "x\ny", "\u00df"]


def training_text():
    """The repository's documentation, and the sample reports."""
    path = os.path.join(variants.ROOT, "examples", "data", "reports.csv")
    with open(path, encoding="utf-8", newline="") as file:
        reports = [line for row in csv.reader(file) for line in row[-1].split("\n")]
    return variants.corpus() + reports


def random_bpe(r):
    """Options of a BPE model, and those of its trainer."""
    unknown = r.choice([None, "<unk>", "<unk>", "[UNK]"])
    model = {"fuse_unk": coin(r), "ignore_merges": coin(r, 0.3), "byte_fallback": coin(r, 0.4)}
    trainer = {"special_tokens": [unknown] if unknown else []}
    if unknown:
        model["unk_token"] = unknown
    for chance, key, values in [(0.12, "continuing_subword_prefix", ["##", "@"]),
                                (0.12, "end_of_word_suffix", ["</w>", "_"])]:
        if coin(r, chance):
            model[key] = trainer[key] = r.choice(values)
    if coin(r, 0.6):
        trainer["limit_alphabet"] = r.choice([30, 60, 120])
    if coin(r):
        trainer["initial_alphabet"] = p.ByteLevel.alphabet()
    if coin(r, 0.2):
        trainer["max_token_length"] = r.choice([2, 4, 8])
    return model, trainer


def random_unigram(r):
    trainer = {"special_tokens": ["<unk>"], "unk_token": "<unk>"}
    if coin(r, 0.3):
        trainer["max_piece_length"] = r.choice([3, 8])
    return {}, trainer


def random_word_piece(r):
    unknown = r.choice(["[UNK]", "<unk>"])
    model, trainer = {"unk_token": unknown}, {"special_tokens": [unknown]}
    if coin(r, 0.3):
        model["max_input_chars_per_word"] = r.choice([1, 5, 20])
    if coin(r, 0.3):
        prefix = r.choice(["@@", "\u2581"])
        model["continuing_subword_prefix"] = trainer["continuing_subword_prefix"] = prefix
    return model, trainer


def random_words(r):
    unknown = r.choice([None, "<unk>"])
    if unknown is None:
        return {}, {"special_tokens": []}
    return {"unk_token": unknown}, {"special_tokens": [unknown]}


KINDS = {"BPE": ("BpeTrainer", random_bpe), "Unigram": ("UnigramTrainer", random_unigram),
         "WordPiece": ("WordPieceTrainer", random_word_piece),
         "WordLevel": ("WordLevelTrainer", random_words)}


def trained(r, kind, text):
    """A trained model of the kind with random parts."""
    trainer, options = KINDS[kind]
    model_options, trainer_options = options(r)
    trainer_options["special_tokens"] += ["<s>", "</s>"]
    tokenizer = Tokenizer(getattr(models, kind)(**model_options))
    if coin(r, 0.7):
        tokenizer.normalizer = n.Sequence(several(r, random_normalizer, 1, 3))
    pre_tokenizer = random_pre_tokenizer(r) if coin(r, 0.85) else None
    # Now and then on other words than it will see.
    plain = p.Split(Regex(r"\s?\S+"), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizer if pre_tokenizer and coin(r, 0.7) else plain
    start = r.randrange(len(text))
    tokenizer.train_from_iterator(
        text[start:start + r.choice([100, 400])] + text[:8],
        getattr(trainers, trainer)(vocab_size=r.choice([200, 400, 1200]), show_progress=False,
                                   **trainer_options))
    tokenizer.pre_tokenizer = pre_tokenizer
    if coin(r, 0.85):
        tokenizer.decoder = random_decoder(r)
    return tokenizer


def change_model(r, data):
    """What a trainer does not make: tokens for bytes, no unknown token, merges in both forms."""
    model = data["model"]
    vocabulary = model["vocab"]
    if model["type"] == "Unigram" and coin(r, 0.3):
        model["byte_fallback"] = True
    if model.get("byte_fallback"):
        for byte in range(0, 256, 1 if coin(r, 0.8) else 2):
            if model["type"] == "Unigram":
                vocabulary.append([f"<0x{byte:02X}>", -20 - byte / 256])
            else:
                vocabulary.setdefault(f"<0x{byte:02X}>", len(vocabulary))
    if model["type"] == "Unigram" and coin(r, 0.08):
        model["unk_id"] = None
    if model["type"] == "BPE" and coin(r, 0.3):
        model["merges"] = [" ".join(merge) for merge in model["merges"]
                           if not any(" " in part for part in merge)]


def add_tokens(r, tokenizer):
    known = set(tokenizer.get_vocab())
    for content in r.sample(ADDED, r.randint(0, 8)):
        special = coin(r, 0.4) and content not in known
        token = AddedToken(content, normalized=coin(r), lstrip=coin(r, 0.25),
                           rstrip=coin(r, 0.25), single_word=coin(r, 0.25))
        (tokenizer.add_special_tokens if special else tokenizer.add_tokens)([token])


def random_processor(r, bos, eos):
    """A post-processor, or None."""
    begin, end = ("<s>", bos), ("</s>", eos)
    both = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B:1 </s>:1", special_tokens=[begin, end])
    twice = processors.TemplateProcessing(single="<s> <s> $A", special_tokens=[begin])
    letters = processors.ByteLevel(trim_offsets=coin(r))
    return r.choice([
        None, None, both, letters, processors.BertProcessing(end, begin),
        processors.RobertaProcessing(end, begin, trim_offsets=coin(r), add_prefix_space=coin(r)),
        processors.Sequence([letters, twice]), processors.Sequence([both, letters])])


def random_file(seed, text):
    """The text of a random tokenizer.json."""
    r = random.Random(seed)
    kind = r.choice(["BPE"] * 4 + ["Unigram"] * 2 + ["WordPiece", "WordLevel"])
    tokenizer = variants.changed(trained(r, kind, text), lambda data: change_model(r, data))
    add_tokens(r, tokenizer)
    bos, eos = map(tokenizer.token_to_id, ("<s>", "</s>"))
    if bos is not None and eos is not None:
        processor = random_processor(r, bos, eos)
        if processor is not None:
            tokenizer.post_processor = processor
    return tokenizer.to_str()


# ---- random texts -----------------------------------------------------------------------------

ODDITIES = [
    "\0", "\1", "\x07", "\t", "\n", "\r", "\r\n", "\n\n", "\x0b", "\x0c", "\x1c", "\x1f", "\x7f",
    "\x80", "\x85", "\x9f", "\u00a0", "\u00ad", "\u034f", "\u0640", "\u1680", "\u180e", "\u2002",
    "\u200b", "\u200c", "\u200d", "\u200e", "\u2028", "\u2029", "\u202e", "\u202f", "\u205f",
    "\u2060", "\u3000", "\u2581", "\ufeff", "\ufffd", "\ufffe", "\uffff", "\ue000", "\ufe0f",
    "\U0001f3fd", "\U000e0001", "\U0010ffff", "\u00df", "\u1e9e", "\u0130", "\u0131", "\u017f",
    "\u212a", "\u212b", "\u01c5", "\u03c2", "\u03a3", "\ufb03", "\u0345", "e\u0301\u0302",
    "q\u0323\u0307", "q\u0307\u0323", "\u0f71\u0f72", "\uac01", "\u1100\u1161\u11a8", "<0x41>",
    "<0xE2>", "<0xFF>", "##", "##ing", "</w>", "\u0120", "\u010a", "\u2581the", "\u2581\u2581",
    " ", "  ", "    ", "\t\t", "1\ufe0f\u20e3", "'s", "'LL", "n't", " do not", " ' ", " ."]
BESIDE = ["", "", "", " ", "\t", "  ", "\n", "\u3000", "x", "s", "\u00e9", "_", "\u200d", "\u0301",
          "1"]


def random_part(r, added):
    kind = r.random()
    if kind < 0.4:
        return base.random_text(r).decode()
    if kind < 0.65:
        return r.choice(ODDITIES) * r.choice([1, 1, 1, 1, 2, 3])
    if kind < 0.72:
        return r.choice("ab1 .\u00e9\u65e5\n\t\u2581-_'\u0301") * r.choice([2, 3, 5, 17, 200])
    if kind < 0.78 or not added:
        return str(r.randrange(10 ** r.randint(1, 8)))
    token = r.choice(added)
    if coin(r, 0.2):
        token = token[:r.randrange(len(token) + 1)]
    if coin(r, 0.1):
        token = token.upper()
    return r.choice(BESIDE) + token + r.choice(BESIDE)


def random_text(r, added):
    return "".join(random_part(r, added) for _ in range(r.randint(1, 8)))


# ---- comparing --------------------------------------------------------------------------------


NOT_OF_THE_PACKAGE = (KeyboardInterrupt, SystemExit, ArithmeticError, AttributeError, LookupError,
                      NameError, TypeError)


class PackageFailure(Exception):
    pass


def ask_package(call, *arguments, **options):
    """What it answers. Its panics are no Exception, but end no more than the call."""
    try:
        return call(*arguments, **options)
    except NOT_OF_THE_PACKAGE:
        raise
    except BaseException as failure:  # pylint: disable=broad-except
        raise PackageFailure(str(failure)) from failure


def one_mark(text):
    """Runs of U+FFFD as one: how many stand for bad bytes is not compared."""
    return re.sub("\ufffd+", "\ufffd", text)


def not_in_every_unicode(text):
    known = text.replace("\ufffe", "").replace("\uffff", "").replace("\U0010ffff", "")
    return base.has_new_characters(known.encode(), "bert-bge") or "\U0001F16C" in text


class Comparison:
    """One file, opened by both."""

    def __init__(self, ours, path, seed, show):
        self.ours, self.seed, self.left = ours, seed, show
        self.theirs = Tokenizer.from_file(path)
        self.counts = collections.Counter()
        with open(path, encoding="utf-8") as file:
            self.data = json.load(file)
        self.added = [token["content"] for token in self.data["added_tokens"]]
        self.control = {i: token for i, token in
                        self.theirs.get_added_tokens_decoder().items() if token.special}
        # The package shows these where it should leave them out.
        self.unskipped = {i for i, token in self.control.items() if token.normalized}
        self.same, self.nothing = self.find_equal()

    def note(self, what, given, ours, theirs):
        """Counts a difference that no class explains."""
        self.counts[what + " differ"] += 1
        if self.left > 0:
            self.left -= 1
            print(f"  seed {self.seed}, {what}: {given!r:.300}\n      ours   {ours!r:.300}\n"
                  f"      theirs {theirs!r:.300}", flush=True)

    def is_control(self, text, ours, theirs):
        """Whether the package has control tokens that the text does not have."""
        try:
            normal = ask_package(self.theirs.normalizer.normalize_str, text) \
                if self.theirs.normalizer else text
        except PackageFailure:
            normal = text
        unknown = {self.theirs.token_to_id(name) for name in ("<unk>", "[UNK]")}
        for i, token in self.control.items():
            held = text.count(token.content)
            if normal.count(token.content) > held:
                return True
            if i not in unknown and theirs.count(i) > ours.count(i) and \
                    (token.single_word or ours.count(i) >= held):
                return True
        return False

    def find_equal(self):
        """The added tokens that have a normal form with another one; whether one is empty."""
        normal = {}
        for i, token in self.theirs.get_added_tokens_decoder().items():
            if token.normalized and self.theirs.normalizer:
                normal.setdefault(ask_package(self.theirs.normalizer.normalize_str, token.content),
                                  []).append(i)
        return {i for ids in normal.values() if len(ids) > 1 for i in ids}, "" in normal

    def is_choice(self, ours, theirs):
        """Whether they differ in which of equal tokens was found, and the spaces beside it."""
        return any(i in self.same for i in set(theirs) ^ set(ours))

    def class_of_tokens(self, text, ours, theirs):
        if theirs is None or "'prepend': ''" in str(self.data["normalizer"]):
            return "package"  # a Prepend of nothing also confuses its ByteLevel
        if not isinstance(ours, library.Failure) and self.is_choice(ours, theirs):
            return "choice"
        if isinstance(ours, library.Failure):
            return "limit" if ours.status == library.LIMIT else None
        if not_in_every_unicode(text):
            return "unicode"
        return "control" if self.is_control(text, ours, theirs) else None

    def tokens(self, text, add_special):
        """Compares the tokens of a text; returns them where they are equal, else None."""
        flags = library.PARSE_SPECIAL | (library.ADD_SPECIAL if add_special else 0)
        if self.nothing:  # the package may take all memory
            self.counts["nothing"] += 1
            return None
        try:
            theirs = ask_package(self.theirs.encode, text, add_special_tokens=add_special).ids
        except PackageFailure:
            theirs = None
        try:
            ours = self.ours.encode(text.encode(), flags)
        except library.Failure as failure:
            ours = failure
        if ours == theirs:
            self.counts["texts equal"] += 1
            return ours
        known = self.class_of_tokens(text, ours, theirs)
        if known:
            self.counts[known] += 1
        else:
            self.note("tokens", text, ours, theirs)
        return None

    def has_twins(self, ids, skip):
        """Whether the package takes a token for a control token that has the same text, or, for
        CTC, neighbours for equal that have."""
        texts = [self.theirs.id_to_token(one) for one in ids]
        control = {self.theirs.id_to_token(one) for one in self.control}
        if skip and any(x in control for i, x in zip(ids, texts) if i not in self.control):
            return True
        return "'CTC'" in str(self.data["decoder"]) and any(
            a != b and x == y for a, b, x, y in zip(ids, ids[1:], texts, texts[1:]))

    def class_of_text(self, ids, skip, ours, theirs):
        fallback = "'ByteFallback'" in str(self.data["decoder"])
        if one_mark(ours) == one_mark(theirs) or fallback and "\ufffd" in theirs:
            return "bytes"
        return "twins" if self.has_twins(ids, skip) else None

    def decoded(self, ids, skip):
        """Compares the texts of tokens, at once and as a stream."""
        if skip:
            ids = [one for one in ids if one not in self.unskipped]
        try:
            theirs = ask_package(self.theirs.decode, ids, skip_special_tokens=skip)
        except PackageFailure:
            self.counts["package"] += 1
            return
        flags = 0 if skip else library.SHOW_SPECIAL
        try:
            whole = self.ours.decode(ids, flags).decode(errors="replace")
            stream = "".join(piece.decode() for piece in self.ours.stream(ids, flags))
        except (library.Failure, UnicodeDecodeError) as failure:
            self.note("decoded texts", ids, failure, theirs)
            return
        if one_mark(whole) != one_mark(stream):
            self.note("streams", ids, stream, whole)
            return
        known = "decoded equal" if whole == theirs else \
            self.class_of_text(ids, skip, whole, theirs)
        if known:
            self.counts[known] += 1
        else:
            self.note("decoded texts", ids, whole, theirs)

    def run(self, texts):
        r = random.Random(self.seed)
        lists = []
        for _ in range(texts):
            text = random_text(r, self.added)
            lists.append(self.tokens(text, True))
            self.tokens(text, False)
        every = list(self.theirs.get_vocab().values())
        lists += [r.choices(every, k=r.randint(1, 8)) for _ in range(texts // 3)]
        for ids in lists:
            for skip in (True, False) if ids else ():
                self.decoded(ids, skip)
        return self.counts


def refused(failure):
    """The reason of a refusal that docs/tokenizers.md declares, else None."""
    known = [reason for reason in REFUSALS if reason in str(failure)]
    return known[0] if failure.status == library.UNSUPPORTED and known else None


def compare_file(arguments, ours, path, seed, text):
    """Compares one random file; returns counts."""
    try:
        made = ask_package(random_file, seed, text)
    except PackageFailure as failure:
        reason = re.sub(r"\d+", "N", str(failure))[:60]
        return collections.Counter({f"files that the package does not make: {reason}": 1})
    with open(path, "w", encoding="utf-8") as file:
        file.write(made)
    try:
        if arguments.converted:
            with tempfile.TemporaryDirectory() as scratch:
                return compare_converted(arguments, ours, scratch, seed, made)
        with ours.vocabulary(path) as opened:
            counts = Comparison(opened, path, seed, arguments.show).run(arguments.texts)
            counts["files compared"] += 1
            return counts
    except library.Failure as failure:
        reason = refused(failure)
        if reason:
            return collections.Counter({"files refused": 1, f"refused: {reason}": 1})
        print(f"  seed {seed}: {failure}", flush=True)
        return collections.Counter({"files refused without being declared: differ": 1})


def differing(counts):
    return sum(count for name, count in counts.items() if name.endswith("differ"))


def compare_files(arguments, ours, folder):
    total = collections.Counter()
    text = training_text()
    for seed in range(arguments.seed, arguments.seed + arguments.files):
        path = os.path.join(folder, f"{seed}.json")
        counts = compare_file(arguments, ours, path, seed, text)
        total.update(counts)
        if os.path.exists(path) and not differing(counts):
            os.remove(path)
    for name, count in sorted(total.items()):
        print(f"{count:9} {name}" + (f": {CLASSES[name]}" if name in CLASSES else ""))
    return differing(total)


# ---- folders and GGUF files --------------------------------------------------------------------


# What GGUF has no words for.
NO_WORDS = ("model is neither BPE", "has no words for the token", "has no form in GGUF",
            "each token's text must occur once")


def model_folder(path, tokenizer, rows):
    """A model of one layer and of zeros beside a tokenizer.json."""
    os.makedirs(path)
    shapes = {"model.embed_tokens.weight": [rows, 16], "model.norm.weight": [16]}
    shapes.update({f"model.layers.0.{part}.weight": shape for part, shape in (
        ("self_attn.q_proj", [16, 16]), ("self_attn.k_proj", [16, 16]),
        ("self_attn.v_proj", [16, 16]), ("self_attn.o_proj", [16, 16]),
        ("mlp.gate_proj", [16, 16]), ("mlp.up_proj", [16, 16]), ("mlp.down_proj", [16, 16]),
        ("input_layernorm", [16]), ("post_attention_layernorm", [16]))})
    at, header = 0, {}
    for name, shape in shapes.items():
        end = at + 4 * shape[0] * (shape[1] if len(shape) > 1 else 1)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, end]}
        at = end
    text = json.dumps(header).encode()
    with open(os.path.join(path, "model.safetensors"), "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + at)
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": rows,
              "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
              "num_attention_heads": 1, "num_key_value_heads": 1, "rms_norm_eps": 1e-5,
              "max_position_embeddings": 64, "tie_word_embeddings": True, "hidden_act": "silu"}
    for name, value in (("config.json", json.dumps(config)), ("tokenizer.json", tokenizer)):
        with open(os.path.join(path, name), "w", encoding="utf-8") as file:
            file.write(value)


def converted(build, source, target):
    """What the converter refuses to make, or None."""
    result = subprocess.run([os.path.join(build, "examples", "radllm-convert"), source, target],
                            capture_output=True, text=True, check=False)
    if result.returncode not in (0, 1) or (result.returncode == 1) == os.path.exists(target):
        return f"exit status {result.returncode}: {result.stderr}"
    return result.stderr if result.returncode == 1 else None


def answers(opened, texts, lists):
    """Tokens and texts, or the failures in their place."""
    def ask(call, *arguments):
        try:
            return call(*arguments)
        except library.Failure as failure:
            return failure.status
    flags = (library.PARSE_SPECIAL | library.ADD_SPECIAL, library.PARSE_SPECIAL, 0)
    return ([ask(opened.encode, text, flag) for text in texts for flag in flags] +
            [ask(opened.decode, ids, flag) for ids in lists for flag in (0, library.SHOW_SPECIAL)])


def compare_converted(arguments, ours, folder, seed, made):
    counts = collections.Counter()
    paths = [os.path.join(folder, name) for name in ("a/model", "a.gguf", "b/model", "b.gguf")]
    os.mkdir(os.path.join(folder, "b"))
    data = json.loads(made)
    vocabulary = data["model"]["vocab"]
    size = len(vocabulary) if isinstance(vocabulary, list) else max(vocabulary.values()) + 1
    size = max([size] + [token["id"] + 1 for token in data["added_tokens"]])
    r = random.Random(seed)
    model_folder(paths[0], made, size + r.choice([0, 0, 5]))
    for source, target in zip(paths, paths[1:]):
        reason = converted(arguments.build, source, target)
        if reason and any(known in reason for known in (*REFUSALS, *NO_WORDS)):
            return collections.Counter({"files that GGUF has no words for": 1})
        if reason:
            print(f"  seed {seed}: {reason}", flush=True)
            return collections.Counter({"conversions differ": 1})
    with open(paths[1], "rb") as one, open(paths[3], "rb") as other:
        if one.read() != other.read():
            counts["GGUF files differ"] += 1
            print(f"  seed {seed}: the second GGUF file is another", flush=True)
    added = [token["content"] for token in data["added_tokens"]]
    texts = [random_text(r, added).encode() for _ in range(arguments.texts)]
    texts += [bytes(r.choices(range(256), k=r.randint(1, 12))) for _ in range(arguments.texts // 8)]
    lists = [r.choices(range(size), k=r.randint(1, 9)) for _ in range(arguments.texts // 3)]
    given = None
    for path in paths:
        with ours.vocabulary(path) as opened:
            got = answers(opened, texts, lists)
        given = given or got
        wrong = [i for i, (a, b) in enumerate(zip(given, got)) if a != b]
        counts["answers equal"] += len(got) - len(wrong)
        if wrong:
            counts["answers differ"] += len(wrong)
            asked = texts[wrong[0] // 3] if wrong[0] < 3 * len(texts) else \
                lists[(wrong[0] - 3 * len(texts)) // 2]
            print(f"  seed {seed}, {path}: {asked!r:.300}\n      {given[wrong[0]]!r:.300}\n"
                  f"      {got[wrong[0]]!r:.300}", flush=True)
    return counts + collections.Counter({"files converted": 1})


# ---- letters with case ------------------------------------------------------------------------


def forms(letter):
    return {form for form in (letter, letter.lower(), letter.upper(), letter.title(),
                              letter.casefold()) if len(form) == 1}


def cased_letters():
    """All letters that have another form, and for each form the letters that have it."""
    every = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    letters = [one for one in every if {one.lower(), one.upper(), one.casefold()} != {one}]
    of_form = collections.defaultdict(set)
    for letter in letters:
        for form in forms(letter):
            of_form[form].add(letter)
    return letters, of_form


def compare_letter(ours, path, pattern, text):
    """Whether both cut a text in the same places."""
    made = variants.spelled(p.Split(Regex(pattern), "isolated"))
    made.save(path)
    with ours.vocabulary(path) as opened:
        got, expected = opened.encode(text.encode(), 0), made.encode(text).ids
    if got != expected:
        print(f"  {pattern!a} in {text!a:.80}: {got[:40]}, not {expected[:40]}", flush=True)
    return got == expected


def compare_letters(arguments, ours, folder):
    letters, of_form = cased_letters()
    r = random.Random(arguments.seed)
    path = os.path.join(folder, "letter.json")
    wrong = compared = 0
    for letter in letters[::arguments.letters]:
        related = set.union({letter}, *(of_form[form] for form in forms(letter)))
        related |= set.union(*(of_form[form] for one in related for form in forms(one)))
        text = "|".join(sorted(related) + r.sample(letters, 60))
        for pattern in (f"(?i:{letter})", f"(?i:[{letter}])"):
            compared += 1
            wrong += not compare_letter(ours, path, pattern, text)
    print(f"{len(letters)} letters with case, {compared} patterns compared, {wrong} differ")
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", help="folder with lib/libradllm.so")
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--texts", type=int, default=100, help="of each file")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", metavar="FOLDER", help="for the files that differ")
    parser.add_argument("--show", type=int, default=3, help="differences shown of each file")
    parser.add_argument("--converted", action="store_true", help="compare with what it becomes")
    parser.add_argument("--letters", type=int, metavar="STEP", help="compare letters with case")
    arguments = parser.parse_args()
    print(f"tokenizers {tokenizers.__version__}", flush=True)
    compare = compare_letters if arguments.letters else compare_files
    with tempfile.TemporaryDirectory() as scratch:
        if arguments.keep:
            os.makedirs(arguments.keep, exist_ok=True)
        wrong = compare(arguments, library.Library(arguments.build), arguments.keep or scratch)
    sys.exit(wrong != 0)


if __name__ == "__main__":
    main()
