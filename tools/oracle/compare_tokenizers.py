#!/usr/bin/env python3
"""Compares the library's tokenizers with others on random strings, and their speeds.

Usage: compare_tokenizers.py OURS SHARED_DATA [--llama PROGRAM] [--strings 100000] [--seed 1]
           [--only NAME,...] [--speed FILE]

OURS is the test tool `tokenize_many`, PROGRAM llama_tokenize_many of this folder. For each
vocabulary of SHARED_DATA (and for the vocabulary of GPT-2 with each other pre-tokenizer) the ids of
all strings are compared with

  - the Python packages `tokenizers` (byte-level BPE, WordPiece) or `sentencepiece`, for strings that
    are UTF-8 (they take no others). These are what models are trained with: any difference is a
    failure, and with any the exit status is 1;
  - llama.cpp, for all strings. Where it differs from the packages so do we, so a difference on a
    string on which the packages agree with us is counted apart; a difference on a string that is no
    UTF-8 is a failure unless the reason is one of those in docs/tokenizers.md.

--speed FILE tokenizes that text as one string with both programs (user time, best of three).
"""
import argparse
import json
import os
import random
import re
import resource
import struct
import subprocess
import sys
import tempfile
import unicodedata

# ---- GGUF, as much as a vocabulary needs ------------------------------------------------------

SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
FORMATS = {4: "I", 5: "i", 6: "f", 7: "?", 10: "Q"}


def read_gguf(path):
    with open(path, "rb") as file:
        data = file.read()
    count = struct.unpack_from("<Q", data, 16)[0]
    at = 24
    keys = {}

    def text(at):
        size = struct.unpack_from("<Q", data, at)[0]
        return data[at + 8:at + 8 + size], at + 8 + size

    for _ in range(count):
        name, at = text(at)
        kind = struct.unpack_from("<I", data, at)[0]
        at += 4
        if kind == 8:
            value, at = text(at)
        elif kind == 9:
            item, n = struct.unpack_from("<IQ", data, at)
            at += 12
            if item == 8:
                value = []
                for _ in range(n):
                    one, at = text(at)
                    value.append(one)
            else:
                value = list(struct.unpack_from("<%d%s" % (n, FORMATS[item]), data, at))
                at += n * SIZES[item]
            kind = (9, item)
        else:
            value = struct.unpack_from("<" + FORMATS.get(kind, "B" if SIZES[kind] == 1 else "H"),
                                       data, at)[0]
            at += SIZES[kind]
        keys[name.decode()] = (kind, value)
    return keys


def write_gguf(path, keys):
    def text(value):
        return struct.pack("<Q", len(value)) + value

    with open(path, "wb") as file:
        file.write(b"GGUF" + struct.pack("<IQQ", 3, 0, len(keys)))
        for name, (kind, value) in keys.items():
            file.write(text(name.encode()))
            if isinstance(kind, tuple):
                file.write(struct.pack("<IIQ", 9, kind[1], len(value)))
                if kind[1] == 8:
                    file.write(b"".join(text(one) for one in value))
                else:
                    file.write(struct.pack("<%d%s" % (len(value), FORMATS[kind[1]]), *value))
            else:
                file.write(struct.pack("<I", kind))
                file.write(text(value) if kind == 8 else struct.pack("<" + FORMATS[kind], value))
        position = file.tell()
        file.write(b"\0" * (-position % 32))


def gpt2_keys(pre, tokens, merges, special=()):
    types = [3 if token in special else 1 for token in tokens]
    return {
        "general.architecture": (8, b"llama"),
        "tokenizer.ggml.model": (8, b"gpt2"),
        "tokenizer.ggml.pre": (8, pre.encode()),
        "tokenizer.ggml.tokens": ((9, 8), [token.encode() for token in tokens]),
        "tokenizer.ggml.token_type": ((9, 5), types),
        "tokenizer.ggml.merges": ((9, 8), [merge.encode() for merge in merges]),
        "tokenizer.ggml.bos_token_id": (4, 0),
        "tokenizer.ggml.eos_token_id": (4, 0),
    }


# ---- the references -------------------------------------------------------------------------------

CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+")
UPPER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
LOWER = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
HEAD = r"[^\r\n\p{L}\p{N}]?"
GPT4O = (f"{HEAD}{UPPER}*{LOWER}+{CONTRACTIONS}?|{HEAD}{UPPER}+{LOWER}*{CONTRACTIONS}?"
         r"|\p{N}{1,3}" + TAIL)
TEKKEN = f"{HEAD}{UPPER}*{LOWER}+|{HEAD}{UPPER}+{LOWER}*" r"|\p{N}" + TAIL
CJK = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"
DEEPSEEK_PUNCTUATION = r"\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+"
PATTERNS = {
    "gpt-2": [GPT2],
    "llama-bpe": [LLAMA3],
    "qwen2": [LLAMA3.replace("{1,3}", "")],
    "gpt-4o": [GPT4O],
    "tekken": [TEKKEN],
    "falcon": [r"[\p{P}\$\+<=>\^~\|`]+", GPT2, "[0-9][0-9][0-9]"],
    "deepseek-coder": [r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", CJK, r"\p{N}"],
    "deepseek-v3": [r"\p{N}{1,3}", "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
                    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+"""
                    r"|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*"
                    r"|\s*[\r\n]+|\s+(?!\S)|\s+"],
    "starcoder": [r"\p{N}", GPT2],
    "default": [r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"],
    "bloom": [" ?[^(\\s|.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c)]+"],
}
QWEN2 = PATTERNS["qwen2"][0]
SIGNS = PATTERNS["deepseek-v3"][2].split("|\\s*")[0]  # without white space
KANA = PATTERNS["deepseek-v3"][1]
NO_HAN = r"&&[^\p{Han}]]"
KIMI = [UPPER[:-1] + NO_HAN, LOWER[:-1] + NO_HAN]
PATTERNS.update({
    "qwen35": [CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}"
               r"| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"],
    "glm4": [LLAMA3],
    "minicpm5": [r"\p{N}{1,3}", LLAMA3.replace("{1,3}", "+")],
    "laguna": [r"[^\n]+|[\n]+", QWEN2],
    "kimi-k2": [r"[\p{Han}]+|" + f"{HEAD}{KIMI[0]}*{KIMI[1]}+{CONTRACTIONS}?"
                f"|{HEAD}{KIMI[0]}+{KIMI[1]}*{CONTRACTIONS}?" + r"|\p{N}{1,3}"
                r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"],
    "seed-coder": [CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+"
                   r"|\s*[\r\n]+|\s+(?!\S)|\s+"],
    "ufakzeka": [QWEN2.replace(CONTRACTIONS + "|", "")],
    "bailingmoe": [r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}"
                   r"| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"],
    "exaone-moe": [CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}"
                   r"| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+"],
    "jais-2": [LLAMA3[:LLAMA3.index(r"|\s+(?!")] + "".join(
        r"|\s{%s}(?!\S)" % n for n in (512, 256, 128, 64, 32, 16, 8, 4, "1,2")) + r"|\s{1}"],
    "spark2_5": [r"\p{N}{1,3}", KANA, SIGNS.replace(r"[\r\n]*", "") + r"|[\r\n]|\s+(?!\S)|\s+",
                 r"\p{N}"],
    "tiny_aya": [r"\d{1,3}(?=(?:\d{3})*\b)", GPT4O],
    "superbpe": [r"\p{N}+", r"(?=(\d{3})+(?!\d))"],
    "afmoe": [r"\p{N}{1,2}(?=(?:\p{N}{3})+(?!\p{N}))|\p{N}{3}|\p{N}+",
              "[\u4e00-\u9fff\u3400-\u4dbf\uf900-\ufaff\u3040-\u30ff\uff65-\uff9f\u2f00-\u2fdf"
              "\u0e40-\u0e7f\u0e80-\u0eff\u1780-\u17ff\u1000-\u109f\uaa60-\uaa7f\ua9e0-\ua9ff"
              "\uac00-\ud7af\u1100-\u11ff]+", PATTERNS["deepseek-v3"][2]],
    "youtu": ["[\uac00-\ud7a3\u3131-\u318e]+|[\uff01\u2026\u201c\u201d\u2018\u2019\u2014\uff1a\uff1b"
              "\uff0c\u3001-\u303f\ufe30-\ufe4f]+|[\u3105-\u312f]+|" + KANA,
              GPT4O.replace("{1,3}", "")],
    "chameleon": ["<sentinel:[0-9]+>", "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z", r"([\t\n]|    |  )",
                  r"\p{N}", r"[\p{P}!-/:-@\[-`{-~]", GPT2],
})
IGNORE_MERGES = {"llama-bpe", "tekken", "glm4", "minicpm5", "youtu"}


def deepseek_letters(source):
    """The class of cased letters of deepseek-llm, from llama-vocab.cpp."""
    with open(source, encoding="utf-8") as file:
        return re.search(r'"\\\\s\?(\[A-Za-z\u00b5[^"]*\]\+)"', file.read()).group(1)


def byte_level_reference(tokens, merges, pre, added=()):
    from tokenizers import AddedToken, Regex, Tokenizer, models, pre_tokenizers
    vocabulary = {token: i for i, token in enumerate(tokens)}
    pairs = [tuple(merge.split(" ", 1)) for merge in merges]
    tokenizer = Tokenizer(models.BPE(vocabulary, pairs, ignore_merges=pre in IGNORE_MERGES))
    splits = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in PATTERNS[pre]]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        splits + [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in added])
    return lambda texts: [one.ids for one in tokenizer.encode_batch(texts, add_special_tokens=False)]


def word_piece_reference(tokens, lowercase=True, strip=True):
    from tokenizers import BertWordPieceTokenizer
    vocabulary = {}
    for i, token in enumerate(tokens):
        if token.startswith("\u2581"):
            token = token[1:]
        elif not (token.startswith("[") and token.endswith("]")):
            token = "##" + token
        vocabulary[token] = i
    tokenizer = BertWordPieceTokenizer(vocabulary, lowercase=lowercase, strip_accents=strip)
    tokenizer.no_truncation()
    return lambda texts: [one.ids for one in tokenizer.encode_batch(texts, add_special_tokens=False)]


def sentencepiece_reference(path):
    import sentencepiece
    processor = sentencepiece.SentencePieceProcessor(model_file=path)
    return lambda texts: processor.encode(texts)


def sentencepiece_keys(path):
    import sentencepiece
    p = sentencepiece.SentencePieceProcessor(model_file=path)
    size = p.vocab_size()
    kinds = [2 if p.is_unknown(i) else 3 if p.is_control(i) else 5 if p.is_unused(i)
             else 6 if p.is_byte(i) else 1 for i in range(size)]
    return {
        "general.architecture": (8, b"llama"),
        "tokenizer.ggml.model": (8, b"llama"),
        "tokenizer.ggml.tokens": ((9, 8), [p.id_to_piece(i).encode() for i in range(size)]),
        "tokenizer.ggml.scores": ((9, 6), [p.get_score(i) for i in range(size)]),
        "tokenizer.ggml.token_type": ((9, 5), kinds),
    }


def text_of(values):
    return [value.decode("utf-8", "surrogateescape") for value in values]


def vocabularies(shared, folder, llama_source):
    """Yields (name, path of a GGUF file, reference or None)."""
    base = os.path.join(shared, "tokenizers")

    def gguf(name):
        return os.path.join(base, "ggml-vocab", f"ggml-vocab-{name}.gguf")

    llama2 = os.path.join(base, "onnxruntime-extensions", "llama2", "tokenizer.model")
    yield "llama-spm", gguf("llama-spm"), lambda: sentencepiece_reference(llama2)
    yield "phi-3", gguf("phi-3"), None  # llama2's, with tokens added
    for name, file in (("mistral-v1", "tokenizer.model.v1"),
                       ("mistral-v3", "mistral_instruct_tokenizer_240323.model.v3")):
        path = os.path.join(base, "mistral-common", file)
        made = os.path.join(folder, name + ".gguf")
        write_gguf(made, sentencepiece_keys(path))
        yield name, made, lambda path=path: sentencepiece_reference(path)
    bert = read_gguf(gguf("bert-bge"))["tokenizer.ggml.tokens"][1]
    yield "bert-bge", gguf("bert-bge"), lambda: word_piece_reference(text_of(bert))

    keys = read_gguf(gguf("bert-bge"))
    for lowercase, strip in ((False, False), (False, True), (True, False)):
        name = f"bert-{'lower' if lowercase else 'cased'}{'' if strip else '-accents'}"
        made = os.path.join(folder, name + ".gguf")
        write_gguf(made, dict(keys, **{"tokenizer.ggml.normalizer.lowercase": (7, lowercase),
                                       "tokenizer.ggml.normalizer.strip_accents": (7, strip)}))
        yield name, made, lambda a=lowercase, b=strip: word_piece_reference(text_of(bert), a, b)

    def of_file(path, pre):
        keys = read_gguf(path)
        tokens = text_of(keys["tokenizer.ggml.tokens"][1])
        types = keys["tokenizer.ggml.token_type"][1]
        return lambda: byte_level_reference(
            tokens, text_of(keys["tokenizer.ggml.merges"][1]), pre,
            [token for token, kind in zip(tokens, types) if kind == 4])

    for name in ("gpt-2", "starcoder"):
        yield name, gguf(name), of_file(gguf(name), name)
    if llama_source:
        PATTERNS["deepseek-llm"] = [r"[\r\n]", r"\s?" + deepseek_letters(llama_source),
                                    DEEPSEEK_PUNCTUATION, r"\s+$", CJK, r"\p{N}+"]
        yield "deepseek-llm", gguf("deepseek-llm"), of_file(gguf("deepseek-llm"), "deepseek-llm")
    else:
        yield "deepseek-llm", gguf("deepseek-llm"), None
    for pre, vocabulary, merges in (
            ("llama-bpe", "llama3.2/encoder.json", "llama3.2/vocab.bpe"),
            ("qwen2", "qwen2/vocab.json", "qwen2/merges.txt")):
        with open(os.path.join(base, vocabulary), encoding="utf-8") as file:
            ids = json.load(file)
        tokens = [None] * len(ids)
        for token, i in ids.items():
            tokens[i] = token
        with open(os.path.join(base, merges), encoding="utf-8") as file:
            pairs = [line.rstrip("\n") for line in file]
        pairs = [line for line in pairs if line and not line.startswith("#version")]
        made = os.path.join(folder, pre + ".gguf")
        write_gguf(made, gpt2_keys(pre, tokens, pairs))
        yield pre, made, lambda t=tokens, m=pairs, p=pre: byte_level_reference(t, m, p)
    keys = read_gguf(gguf("gpt-2"))
    tokens = text_of(keys["tokenizer.ggml.tokens"][1])
    merges = text_of(keys["tokenizer.ggml.merges"][1])
    for pre in PATTERNS:
        if pre in ("gpt-2", "deepseek-llm"):
            continue
        made = os.path.join(folder, "gpt-2-as-" + pre + ".gguf")
        write_gguf(made, gpt2_keys(pre, tokens, merges))
        yield ("gpt-2 as " + pre, made,
               lambda p=pre: byte_level_reference(tokens, merges, p))


# ---- random strings ---------------------------------------------------------------------------------

RANGES = [(0x20, 0x7E)] * 6 + [
    (0xA0, 0xFF), (0x100, 0x24F), (0x250, 0x2FF), (0x300, 0x36F), (0x370, 0x3FF), (0x400, 0x52F),
    (0x531, 0x58A), (0x591, 0x5F4), (0x600, 0x6FF), (0x900, 0x97F), (0x980, 0x9FF), (0xE01, 0xE5B),
    (0xF00, 0xFDA), (0x10A0, 0x10FF), (0x1100, 0x11FF), (0x1200, 0x137F), (0x13A0, 0x13FD),
    (0x1E00, 0x1FFE), (0x2000, 0x206F), (0x2070, 0x209C), (0x20A0, 0x20C0), (0x2100, 0x218B),
    (0x2190, 0x23FF), (0x2460, 0x27BF), (0x2C00, 0x2C5F), (0x3000, 0x30FF), (0x3105, 0x312F),
    (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xA000, 0xA48C), (0xAC00, 0xD7A3), (0xF900, 0xFAD9),
    (0xFB00, 0xFDFF), (0xFE00, 0xFFFD), (0x10400, 0x1044F), (0x1D400, 0x1D7FF), (0x1F000, 0x1FAFF),
    (0x20000, 0x2A6DF), (0xE000, 0xE0FF), (0xE0100, 0xE01EF), (0x1, 0x1F), (0x7F, 0x9F)]
WORDS = """the patient shows no evidence of acute cardiopulmonary disease CT chest without contrast
5 mm 12 x 8 mm 3.5 cm µg/dL mg/m² 10⁹/L 37.5 °C ±2 SD ≥4 <0.05 β-hCG α-fetoprotein naïve Hôpital
Müller José coöperation façade señor Größe Straße ŁÓDŹ cirrhosis hepatosplenomegaly S/P 2024-07-26
IMPRESSION: FINDINGS: COMPARISON: T2/FLAIR L4-L5 C5–C6 "ground-glass" (2.3×1.8 cm) I'm you're we've
they'll he'd DON'T IT'S CamelCaseWord snake_case_word HTMLParser école ÉCOLE Ελλάδα ΕΛΛΆΔΑ Москва
МОСКВА हिन्दी தமிழ் ภาษาไทย 日本語 中文字符 한국어 العربية עברית 👩‍⚕️ 👍🏽 🇩🇪 😀 <|endoftext|> <s> </s>
<|im_start|> [INST] 1234567 1,000,000.00 3.14159 0x1F http://example.org/a?b=c&d=e#f a@b.c
e\u0301cole u\u0308ber A\u030angstro\u0308m \u212b \u2126 \ufb01n \u017f 'S 'LL '\u017f \u2581 \u2581\u2581x
!!! ... --- *** === ### ?! :-) ;) <sentinel:12> IMGIMGABZ 1234567890123 12345a \\n \\t {} [] () <> // /* */ // ${x} %d""".split()
SPACES = [" "] * 12 + ["  ", "   ", "\n", "\n\n", "\r\n", "\t", " \n", "\n ", "\t\t ", "\u00a0", "\u3000", "",
                       "", "", "\u2009", "\u200b", "\x0b", "\x85", " " * 17]


def random_text(generator):
    parts = []
    for _ in range(generator.randrange(1, 12)):
        kind = generator.random()
        if kind < 0.5:
            parts.append(generator.choice(WORDS))
        elif kind < 0.9:
            low, high = generator.choice(RANGES)
            parts.append("".join(chr(generator.randint(low, high))
                                 for _ in range(generator.randrange(1, 7))))
        elif kind < 0.97:
            parts.append(generator.choice("a1 .\n\u00e9\u4e2d'-_A") * generator.randrange(1, 40))
        else:
            parts.append("".join(chr(c) for c in (generator.randint(1, 0x10FFFF) for _ in range(4))
                                 if not 0xD800 <= c < 0xE000))
        parts.append(generator.choice(SPACES))
    return "".join(parts).encode().replace(b"\0", b"")


def break_utf8(generator, data):
    data = bytearray(data)
    for _ in range(generator.randrange(1, 4)):
        at = generator.randrange(len(data) + 1)
        kind = generator.randrange(4)
        if kind == 0:
            data[at:at] = bytes(generator.randrange(0x80, 0x100) for _ in range(generator.randrange(1, 4)))
        elif kind == 1 and len(data) > 1:
            del data[at:at + 1]
        elif kind == 2:
            data[at:at] = generator.choice([b"\xc0\x80", b"\xc1\x81", b"\xe0\x80\x81", b"\xed\xa0\x80",
                                            b"\xf0\x80\x80\x81", b"\xe2\x96", b"\xc3", b"\xf0\x9f",
                                            b"\xff\xfe", b"\x80", b"\xe2\x28\xa1"])
        else:
            data = data[:at]
    # llama.cpp ends the process for code points beyond U+10FFFF.
    return re.sub(rb"[\xf4-\xf7]", b"\xf3", bytes(data).replace(b"\0", b""))


def is_utf8(data):
    try:
        data.decode()
        return True
    except UnicodeDecodeError:
        return False


def random_strings(count, seed):
    generator = random.Random(seed)
    strings = []
    while len(strings) < count:
        data = random_text(generator)
        if generator.random() < 0.2:
            data = break_utf8(generator, data)
        if data:
            strings.append(data)
    return strings


# ---- running ------------------------------------------------------------------------------------------

def run(program, path, strings, *arguments):
    done = subprocess.run([program, path, *arguments], input=b"".join(s + b"\0" for s in strings),
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    if done.returncode != 0:
        print(f"  {program} failed: {done.stderr.decode(errors='replace')[:300]}")
        return None
    return [[int(one) for one in line.split()] for line in done.stdout.decode().split("\n")[:-1]]


def user_time(program, path, text, rounds):
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    subprocess.run([program, path, "--repeat", str(rounds)], input=text, check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before


def speed(program, path, text, rounds):
    """MB per second of user time, loading and output not counted."""
    once = min(user_time(program, path, text, 1) for _ in range(3))
    more = min(user_time(program, path, text, 1 + rounds) for _ in range(3))
    return len(text) * rounds / max(more - once, 1e-9) / 1e6


# Punctuation and marks younger than the tables (of Unicode 8) that the package has for BERT: single
# ones, and blocks of scripts that came later (Blocks.txt, DerivedAge.txt of Unicode 14).
NEW_BLOCKS = [(0x2E43, 0x2E5D), (0x10D00, 0x10D3F), (0x10E80, 0x10EBF), (0x10F30, 0x10FAF),
              (0x11400, 0x1147F), (0x11800, 0x1184F), (0x11900, 0x1195F), (0x119A0, 0x11AAF),
              (0x11C00, 0x11CBF), (0x11D00, 0x11DAF), (0x11EE0, 0x11EFF), (0x12F90, 0x12FFF),
              (0x16E40, 0x16E9F), (0x16FE2, 0x16FE4), (0x1E000, 0x1E02F), (0x1E100, 0x1E14F),
              (0x1E290, 0x1E2FF), (0x1E900, 0x1E95F)]
NEW_FOR_BERT = set("\u061d\u09fd\u09fe\u0a76\u0c77\u0c84\u166d\u1b7d\u1b7e") | {
    chr(c) for first, last in NEW_BLOCKS for c in range(first, last + 1)}


def has_new_characters(data, name):
    """Whether it has characters whose category may differ between versions of Unicode."""
    return any(unicodedata.category(c) == "Cn" or name.startswith("bert-") and c in NEW_FOR_BERT
               for c in data.decode())


def show(data, ours, theirs):
    print("   ", data[:160], "\n      ours  ", ours[:40], "\n      theirs", theirs[:40])


def compare(name, path, reference, strings, arguments):
    ours = run(arguments.ours, path, strings)
    if ours is None:
        return 1
    wrong = unassigned = compared = agreed = 0
    same = [None] * len(strings)
    if reference is not None:
        encode = reference()
        valid = [i for i, data in enumerate(strings) if is_utf8(data)]
        expected = encode([strings[i].decode() for i in valid])
        for i, ids in zip(valid, expected):
            same[i] = ours[i] == list(ids)
            compared += 1
            if same[i]:
                agreed += 1
            elif has_new_characters(strings[i], name):
                unassigned += 1
            else:
                wrong += 1
                if wrong <= arguments.show:
                    show(strings[i], ours[i], list(ids))
    line = f"{name:24} package: {agreed} of {compared} equal, {unassigned} with characters " \
           f"of another Unicode version, {wrong} differ"
    if arguments.llama:
        theirs = run(arguments.llama, path, strings)
        if theirs is not None:
            equal = sum(a == b for a, b in zip(ours, theirs))
            apart = [i for i in range(len(strings)) if ours[i] != theirs[i]]
            backed = sum(1 for i in apart if same[i])
            invalid = [i for i in apart if not is_utf8(strings[i])]
            line += f"; llama.cpp: {equal} of {len(strings)} equal, {backed} differ where the " \
                    f"package agrees with us, {len(invalid)} differ without UTF-8"
            for i in invalid[:arguments.show]:
                show(strings[i], ours[i], theirs[i])
    print(line, flush=True)
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("ours")
    parser.add_argument("shared_data")
    parser.add_argument("--llama", help="llama_tokenize_many")
    parser.add_argument("--llama-source", help="llama-vocab.cpp, for the letters of deepseek-llm")
    parser.add_argument("--strings", type=int, default=100000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", help="names of vocabularies, with commas between")
    parser.add_argument("--speed", help="a text file to measure speed with")
    parser.add_argument("--show", type=int, default=3, help="differences shown per vocabulary")
    arguments = parser.parse_args()
    strings = random_strings(arguments.strings, arguments.seed)
    print(f"{len(strings)} strings, {sum(map(len, strings))} bytes, "
          f"{sum(map(is_utf8, strings))} of them UTF-8", flush=True)
    failures = 0
    with tempfile.TemporaryDirectory() as folder:
        for name, path, reference in vocabularies(arguments.shared_data, folder,
                                                  arguments.llama_source):
            if arguments.only and name not in arguments.only.split(","):
                continue
            if arguments.speed:
                with open(arguments.speed, "rb") as file:
                    text = file.read()
                mine = speed(arguments.ours, path, text, 10)
                line = f"{name:24} {mine:8.2f} MB/s"
                if arguments.llama:
                    theirs = speed(arguments.llama, path, text, 1)
                    line += f", llama.cpp {theirs:8.3f} MB/s, ratio {mine / theirs:.1f}"
                print(line, flush=True)
            else:
                failures += compare(name, path, reference, strings, arguments)
    sys.exit(failures != 0)


if __name__ == "__main__":
    main()
