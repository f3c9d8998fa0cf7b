#!/usr/bin/env python3
"""Small tokenizers of every kind that tokenizer.json has, made with the package `tokenizers`.

    tokenizer_variants.py FOLDER [PART]     writes FOLDER/NAME.json and FOLDER/NAME.cases.json, the
                                            tokens that the package gives for some texts
                                            (tests/unit/tokenizers); PART: of those whose names
                                            contain it
"""
import base64
import glob
import json
import os
import struct
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
          r"\s*[\r\n]+|\s+(?!\S)|\s+")
ODD = (r"(?<![\p{L}\d])[A-Z]{2,}(?=\b)|(?:[A-Za-z]+-)*+[a-z]+?(?=[aeiou]|$)|\w+(?>[\s\S](?!\w))?|"
       r"[^\s\w]{1,2}|^\s+|\s+?$|\s|.")


def corpus():
    texts = ["naïve façade Größe Москва 日本語 中文字符 한국어 ΕΛΛΆΔΑ école ﬁne ½ ² ① e\u0301 😀 don't can't I'm"] * 3
    for path in sorted(glob.glob(os.path.join(ROOT, "docs", "*.md")) + [os.path.join(ROOT, "README.md")]):
        with open(path, encoding="utf-8") as file:
            texts += file.read().split("\n")
    return texts


def charsmap(pairs):
    """SentencePiece's table of replacements, as a double array (Darts) in base64."""
    strings = sorted((key.encode(), value.encode()) for key, value in pairs.items())
    texts, places = bytearray(), {}
    for _, value in strings:
        if value not in places:
            places[value] = len(texts)
            texts += value + b"\0"
    trie = {}
    for key, value in strings:
        node = trie
        for byte in key:
            node = node.setdefault(byte, {})
        node[None] = places[value]
    units, used, bases = {0: 0}, {0}, set()

    def place(node, position, label):
        children = sorted((0 if key is None else key) for key in node)
        base = 1
        while True:
            if base not in bases and all((base ^ child) not in used for child in children):
                break
            base += 1
        bases.add(base)
        offset = position ^ base
        leaf = None in node
        units[position] = (offset << 10) | (int(leaf) << 8) | label
        for child in children:
            used.add(base ^ child)
        if leaf:
            units[base] = node[None] | 1 << 31
        for key, child in node.items():
            if key is not None:
                place(child, base ^ key, key)

    place(trie, 0, 0)
    size = (max(units) | 0xFF) + 1
    array = b"".join(struct.pack("<I", units.get(i, 0)) for i in range(size))
    return base64.b64encode(struct.pack("<I", len(array)) + array + bytes(texts)).decode()


MAPPED = {"\u00a0": " ", "\u3000": " ", "ﬁ": "fi", "①": "1", "½": "1/2", "\t": " ", "\n": " ", "Ａ": "A",
          "e\u0301": "é", "\u200b": "", "…": "...", "²": "2", "Å": "Å"}


def make(kind, size=400, **options):
    from tokenizers import Tokenizer, models, trainers
    model = getattr(models, kind)(**{k: v for k, v in options.items() if k not in ("trainer", "parts")})
    tokenizer = Tokenizer(model)
    for name, part in options.get("parts", {}).items():
        setattr(tokenizer, name, part)
    trainer = getattr(trainers, {"BPE": "Bpe", "WordPiece": "WordPiece", "WordLevel": "WordLevel",
                                 "Unigram": "Unigram"}[kind] + "Trainer")(vocab_size=size, show_progress=False,
                                                  **options.get("trainer", {}))
    tokenizer.train_from_iterator(corpus(), trainer)
    return tokenizer


def changed(tokenizer, change):
    """The tokenizer after a change of its JSON."""
    from tokenizers import Tokenizer
    data = json.loads(tokenizer.to_str())
    change(data)
    return Tokenizer.from_str(json.dumps(data))


def byte_level(size=400, prefix=False, regex=None, normalizer=None, **options):
    from tokenizers import Regex, decoders, pre_tokenizers
    parts = [] if regex is None else [pre_tokenizers.Split(Regex(regex), "isolated")]
    parts.append(pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=regex is None))
    made = {"pre_tokenizer": pre_tokenizers.Sequence(parts), "decoder": decoders.ByteLevel()}
    if normalizer is not None:
        made["normalizer"] = normalizer
    return make("BPE", size, parts=made, trainer={"initial_alphabet": pre_tokenizers.ByteLevel.alphabet()},
                **options)


def spm_like(decoder_strip=True):
    """BPE with byte fallback, as converted from SentencePiece."""
    from tokenizers import decoders, normalizers
    fallback = [f"<0x{i:02X}>" for i in range(256)]
    parts = {"normalizer": normalizers.Sequence([normalizers.Prepend("\u2581"),
                                                 normalizers.Replace(" ", "\u2581")])}
    from tokenizers import pre_tokenizers
    trained = make("BPE", 700, unk_token="<unk>", fuse_unk=True, byte_fallback=True,
                   parts={"pre_tokenizer": pre_tokenizers.Metaspace()},
                   trainer={"special_tokens": ["<unk>", "<s>", "</s>"] + fallback, "limit_alphabet": 60})
    trained.pre_tokenizer = None
    trained.normalizer = parts["normalizer"]
    steps = [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
    trained.decoder = decoders.Sequence(steps + ([decoders.Strip(" ", 1, 0)] if decoder_strip else []))

    def plain_bytes(data):
        data["pre_tokenizer"] = None
        data["added_tokens"] = [t for t in data["added_tokens"] if not t["content"].startswith("<0x")]
        for token in data["added_tokens"]:
            token["normalized"] = token["content"] != "</s>"
    return changed(trained, plain_bytes)


def template(tokenizer, single, names):
    from tokenizers import processors
    tokens = [(name, tokenizer.token_to_id(name)) for name in names]
    tokenizer.post_processor = processors.TemplateProcessing(single=single, pair=None, special_tokens=tokens)


def added_kinds():
    from tokenizers import AddedToken, normalizers
    tokenizer = byte_level(normalizer=normalizers.Lowercase())
    tokenizer.add_special_tokens([AddedToken("<|sep|>", lstrip=True, rstrip=True, normalized=False),
                                  AddedToken("<|end|>", normalized=False), AddedToken("[MASK]", lstrip=True)])
    tokenizer.add_tokens([AddedToken("Patient", single_word=True, normalized=True),
                          AddedToken("CT", single_word=True, normalized=False),
                          AddedToken("new token", normalized=True), AddedToken("  ", normalized=False),
                          AddedToken("<|endless|>", normalized=False)])
    template(tokenizer, "<|end|> $A <|sep|> <|end|>", ["<|end|>", "<|sep|>"])
    return tokenizer


def unigram(parts, **options):
    trainer = {"special_tokens": ["<s>", "</s>", "<unk>"], "unk_token": "<unk>"}
    trainer.update(options)
    return make("Unigram", 350, parts=parts, trainer=trainer)


def unigram_fallback():
    from tokenizers import decoders, pre_tokenizers
    tokenizer = unigram({"pre_tokenizer": pre_tokenizers.Metaspace(prepend_scheme="first", split=False),
                         "decoder": decoders.Sequence([decoders.Replace("\u2581", " "),
                                                       decoders.ByteFallback(), decoders.Fuse()])})

    def fallback(data):
        data["model"]["vocab"] += [[f"<0x{i:02X}>", -20.0 - i / 256] for i in range(256)]
        data["model"]["byte_fallback"] = True
    return changed(tokenizer, fallback)


def bert():
    from tokenizers import decoders, normalizers, pre_tokenizers, processors
    tokenizer = make("WordPiece", 500, unk_token="[UNK]", parts={
        "normalizer": normalizers.BertNormalizer(), "pre_tokenizer": pre_tokenizers.BertPreTokenizer(),
        "decoder": decoders.WordPiece()},
        trainer={"special_tokens": ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]})
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return tokenizer


def variants():
    """Yields (name, maker)."""
    from tokenizers import Regex, decoders, models, normalizers as n, pre_tokenizers as p
    yield "gpt2", lambda: byte_level()
    yield "gpt2-prefix", lambda: byte_level(prefix=True)
    yield "llama3", lambda: byte_level(regex=LLAMA3, ignore_merges=True)
    yield "qwen2", lambda: byte_level(regex=LLAMA3.replace("{1,3}", ""), normalizer=n.NFC())
    yield "odd-regex", lambda: byte_level(regex=ODD)
    yield "added", added_kinds
    yield "llama2", lambda: spm_like()
    yield "gemma", lambda: spm_like(False)
    yield "bert", bert
    yield "bert-cased", lambda: make("WordPiece", 400, unk_token="[UNK]", max_input_chars_per_word=8, parts={
        "normalizer": n.BertNormalizer(clean_text=False, lowercase=False, handle_chinese_chars=True),
        "pre_tokenizer": p.Sequence([p.WhitespaceSplit(), p.Punctuation("merged_with_previous")]),
        "decoder": decoders.WordPiece(cleanup=False)}, trainer={"special_tokens": ["[UNK]"]})
    yield "xlm-roberta", lambda: unigram({
        "normalizer": n.Sequence([n.Precompiled(base64.b64decode(charsmap(MAPPED))),
                                  n.Replace(Regex(" {2,}"), " ")]),
        "pre_tokenizer": p.Sequence([p.WhitespaceSplit(), p.Metaspace(prepend_scheme="first")]),
        "decoder": decoders.Metaspace()})
    yield "t5", lambda: unigram({"normalizer": n.Sequence([n.Nmt(), n.NFKC(), n.Strip()]),
                                 "pre_tokenizer": p.Metaspace(prepend_scheme="always"),
                                 "decoder": decoders.Metaspace()})
    yield "unigram-fallback", unigram_fallback
    yield "words", lambda: make("WordLevel", 300, unk_token="[UNK]", parts={
        "normalizer": n.Sequence([n.NFD(), n.StripAccents(), n.Lowercase()]), "pre_tokenizer": p.Whitespace()},
        trainer={"special_tokens": ["[UNK]"]})
    yield "suffix", lambda: make("BPE", 400, unk_token="<unk>", end_of_word_suffix="</w>", parts={
        "normalizer": n.NFKD(), "pre_tokenizer": p.Sequence([p.Whitespace(), p.Digits(True)]),
        "decoder": decoders.Replace("</w>", " ")},
        trainer={"special_tokens": ["<unk>"], "end_of_word_suffix": "</w>", "limit_alphabet": 70})
    yield "continuing", lambda: make("BPE", 400, unk_token="<unk>", continuing_subword_prefix="##", parts={
        "pre_tokenizer": p.Sequence([p.Split(" ", "merged_with_next"), p.Digits(False)]),
        "decoder": decoders.WordPiece("##")},
        trainer={"special_tokens": ["<unk>"], "continuing_subword_prefix": "##", "limit_alphabet": 50})
    yield "falcon", lambda: make("BPE", 400, parts={
        "pre_tokenizer": p.Sequence([p.Punctuation("contiguous"), p.ByteLevel(add_prefix_space=False),
                                     p.Digits(False), p.Split(Regex("[0-9][0-9][0-9]"), "isolated")]),
        "decoder": decoders.ByteLevel()}, trainer={"initial_alphabet": p.ByteLevel.alphabet()})
    yield "splits", lambda: make("BPE", 300, unk_token="<unk>", fuse_unk=True, parts={
        "pre_tokenizer": p.Sequence([
            p.CharDelimiterSplit("|"), p.Split(Regex(r"\s+"), "contiguous"), p.Split(Regex(r"\d"), "merged_with_next"),
            p.Split(Regex(r"[.,;]|(?=[A-Z])"), "merged_with_previous"), p.Split(Regex(r"\w+"), "removed", invert=True),
            p.FixedLength(7)])},
        trainer={"special_tokens": ["<unk>"], "limit_alphabet": 40})
    yield "letters", lambda: make("BPE", 400, parts={
        "normalizer": n.ByteLevel(), "pre_tokenizer": p.Split(Regex("Ġ"), "merged_with_next"),
        "decoder": decoders.ByteLevel()}, trainer={"initial_alphabet": p.ByteLevel.alphabet()})
    yield "cut-kimi", lambda: spelled(p.Split(Regex(KIMI), "isolated"))
    yield "cut-inverted", lambda: spelled(p.Split(Regex(r"\p{N}"), "removed", invert=True))
    yield "cut-options", lambda: spelled(p.Split(Regex(
        r"[^\P{L}\p{Han}&&[^a-m]]+(?#c)|\H(?i)\p{Lu}|[\p{Lu}&&[^\h]]s|[k&&[^x]]|(?=\P{Han})\d"), "isolated"))
    yield "cut-scripts", lambda: spelled(p.UnicodeScripts())
    yield "heads", heads
    yield "ends", lambda: make("BPE", 400, unk_token="<unk>", end_of_word_suffix="</w>", parts={
        "normalizer": n.BertNormalizer(), "pre_tokenizer": p.BertPreTokenizer(), "decoder": decoders.BPEDecoder()},
        trainer={"special_tokens": ["<unk>"], "end_of_word_suffix": "</w>", "limit_alphabet": 70})
    yield "repeats", repeats
    yield "beside-bpe", lambda: added_beside(models.BPE(
        {word: i for i, word in enumerate(PLAIN)}, [], unk_token="<unk>", byte_fallback=True))
    yield "beside-unigram", lambda: added_beside(models.Unigram([(word, -1.0) for word in PLAIN], 0, False))


# As published for Kimi K2: intersections, and classes in classes.
KIMI = (r"[\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}"
        r"&&[^\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+"
        r"[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
        r"|\s*[\r\n]+|\s+(?!\S)|\s+")


def spelled(*steps):
    """Letters alone, in two forms: the last of each piece shows where the text was cut."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = letters + [letter + "</w>" for letter in letters]
    tokenizer = Tokenizer(models.BPE({word: i for i, word in enumerate(words)}, [], end_of_word_suffix="</w>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        list(steps) + [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("</w>", ""), decoders.ByteLevel()])
    return tokenizer


def heads():
    """What counts as the head of a text behind parts that change it."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers
    words = sorted(pre_tokenizers.ByteLevel.alphabet()) + ["\u2581"]
    tokenizer = Tokenizer(models.BPE({word: i for i, word in enumerate(words)}, []))
    tokenizer.normalizer = normalizers.Sequence([normalizers.BertNormalizer(lowercase=False),
                                                 normalizers.Replace(Regex("^x"), ""),
                                                 normalizers.Replace(Regex("^y"), "\u0315\u0300"),
                                                 normalizers.NFKC(), normalizers.Prepend("<")])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        pre_tokenizers.Split(Regex("[<\u00c2-\u00d0]"), "isolated"),
        pre_tokenizers.Metaspace(prepend_scheme="first", split=False)])
    return tokenizer


def repeats():
    """Letters, of which equal neighbours count once, as of a model that hears speech."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
    words = ["<pad>", "<s>", "</s>", "<unk>", "|", ".", "?", "'"] + [chr(code) for code in range(97, 123)]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, "<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), normalizers.Replace(" ", "|"),
                                                 normalizers.Replace("-", "<pad>")])
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("<pad>|."), "isolated")
    tokenizer.decoder = decoders.CTC()
    tokenizer.add_special_tokens(["<s>", "</s>", "<unk>"])
    return tokenizer


def added_beside(model):
    """Added tokens that the model has and has not, and that take white space from each other."""
    from tokenizers import AddedToken, Tokenizer, decoders, normalizers, pre_tokenizers
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence([normalizers.Replace("``", '"'), normalizers.Replace("ab", "c")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="first")
    tokenizer.add_tokens([AddedToken("a", single_word=True), AddedToken("\u00df", single_word=True),
                          AddedToken("\u25811", normalized=False), AddedToken("<0x7A>", normalized=False)])
    tokenizer.add_special_tokens([AddedToken("\t", lstrip=True, rstrip=True, normalized=False),
                                  AddedToken("<x>", rstrip=True, normalized=False)])
    return tokenizer


PLAIN = ["<unk>", "\u2581", "a", "b", "c", "1", '"', "s", "x", " ", "\n"]


def write_all(folder, only=None):
    paths = []
    for name, maker in variants():
        if only and only not in name:
            continue
        paths.append(os.path.join(folder, name + ".json"))
        with open(paths[-1], "w", encoding="utf-8") as file:
            file.write(json.dumps(json.loads(maker().to_str()), ensure_ascii=False, separators=(",", ":")) + "\n")
    return paths


TEXTS = ["", " ", "a", "Hello world", "  The patient's CT shows no evidence of 12 x 8.5 mm nodules.\n\n\tDon't!  ",
         "naïve façade ÉCOLE e\u0301cole Größe ①½² ﬁne…", "日本語 中文字符 한국어 Москва ΕΛΛΆΔΑ 😀👩‍⚕️", "<s>x</s> <unk> [MASK]",
         "x <|sep|>  y<|end|>new token Patient patients CT CTs<|endless|>", "a1b22c333d4444 |x|y|| ABC-DEf gh.ij,kl;M",
         "\u2581\u2581x \u2581 <0x41> [CLS] [SEP] ##ing </w>", "don't can't I'm WE'LL they're 'S 's", "\u00a0\u3000x\u200b\u0085y",
         "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa bbbbb", "q\u0323\u0307 q\u0307\u0323 \u1100\u1161\u11a8 \uac00\u11a8 A\u030a"]


# Of the variants that begin so.
MORE_TEXTS = {"repeats": ["hel-lo", "aa a-a--a", "i do not don't  's . ?", "- - -", "b-"],
              "heads": ["\u0315\u0300a", "\u001bab", "\u00bf\u00bf", "xab", "yab", "a\u0315\u0300"],
              "ends": ["a", "lower case", "it's .", "</w> a</w>b </w>"],
              "cut": ["a中文b 漢字Kana1234 ſK's WE'S", "12ab34\u0663c", "xyzS kK ſs abcdefgnopq Éé9中",
                      "  abc дом  漢字かなカー、 \u0e01\u0e32 \u0378x \u3164y"],
              "beside": ["``a", "abab a b", "\u00df1\u00df \u00df a1a a", "\u25811 1", "\t\t\ta \t \t<x>\t\t<x> <ab>",
                         "a<x>\t \tb", "z<0x7A>z"]}


def main():
    from tokenizers import Tokenizer
    for path in write_all(*sys.argv[1:3]):
        more = MORE_TEXTS.get(os.path.basename(path).split("-")[0], [])
        tokenizer = Tokenizer.from_file(path)
        cases = []
        for text in TEXTS + more + ["\n".join(TEXTS[3:]) * 3 if not more else ""]:
            ids = tokenizer.encode(text).ids
            plain = tokenizer.encode(text, add_special_tokens=False).ids
            cases.append({"text": text, "ids": ids, "plain": len(plain),
                          "decoded": tokenizer.decode(ids, skip_special_tokens=True)})
        with open(path[:-5] + ".cases.json", "w", encoding="utf-8") as file:
            lines = [json.dumps(case, ensure_ascii=False, separators=(",", ":")) for case in cases]
            file.write("[" + ",\n".join(lines) + "]\n")


if __name__ == "__main__":
    main()
