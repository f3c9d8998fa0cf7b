#!/usr/bin/env python3
"""Writes the inputs that the fuzzers begin with to corpus/TARGET beside this script: small
well-formed files and requests. Needs Python alone."""

import base64
import json
import math
import pathlib
import random
import struct

TYPES = [("u8", 0, "<B", 200), ("i8", 1, "<b", -3), ("u16", 2, "<H", 65535), ("i16", 3, "<h", -300),
         ("u32", 4, "<I", 70000), ("i32", 5, "<i", -70000), ("f32", 6, "<f", 0.5),
         ("bool", 7, "<B", 1), ("u64", 10, "<Q", 1 << 63), ("i64", 11, "<q", -(1 << 62)),
         ("f64", 12, "<d", 1e300)]


def text(value):
    return struct.pack("<Q", len(value)) + value.encode()


def key(name, kind, value):
    return text(name) + struct.pack("<I", kind) + value


def string(name, value):
    return key(name, 8, text(value))


def array(name, kind, count, items):
    return key(name, 9, struct.pack("<IQ", kind, count) + items)


def tensor(name, dims, kind, offset):
    return (text(name) + struct.pack("<I", len(dims)) + b"".join(struct.pack("<Q", d) for d in dims)
            + struct.pack("<IQ", kind, offset))


def file(keys, tensors=(), data=b"", version=3, alignment=32):
    out = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(keys))
    out += b"".join(keys) + b"".join(tensors)
    if tensors:
        out += bytes(-len(out) % alignment) + data
    return out


def gguf_seeds():
    architecture = string("general.architecture", "llama")
    scalars = [key(name, kind, struct.pack(form, value)) for name, kind, form, value in TYPES]
    arrays = [array("list." + name, kind, 3, struct.pack(form, value) * 3)
              for name, kind, form, value in TYPES]
    words = array("words", 8, 3, text("one") + text("") + text("three"))
    two = [tensor("first", [8], 0, 0), tensor("second", [4, 2], 0, 32)]
    blocks = [tensor("q4_0", [64, 2], 2, 0), tensor("q4_k", [256], 12, 96)]
    split = [key("split.no", 2, b"\0\0"), key("split.count", 2, b"\1\0"),
             key("split.tensors.count", 5, b"\2\0\0\0")]
    return {
        "nothing": file([]),
        "version-2": file([architecture], two, bytes(64), version=2),
        "scalars": file(scalars),
        "arrays": file(arrays + [words]),
        "tensors": file([architecture, words], two, bytes(64)),
        "blocks": file([architecture], blocks, bytes(96 + 144)),
        "alignment-64": file([key("general.alignment", 4, b"\x40\0\0\0")],
                             [tensor("first", [8], 0, 0), tensor("second", [1, 1, 1, 1], 24, 64)],
                             bytes(65), alignment=64),
        "split": file([architecture] + split, two, bytes(64)),
        "nested": file([key("deep", 9, struct.pack("<IQ", 9, 1) * 20)]),
        "duplicate": file([architecture, architecture]),
    }


# ---- models ------------------------------------------------------------------------------------

WORDS = ["<unk>", "<s>", "</s>", "\u2581", "t", "h", "e", "l", "i", "v", "r", "\u2581t", "he", "er"]


def matrix(generator, kind, columns, rows):
    """Weights of one tensor: F32 (0) or Q8_0 (8)."""
    if kind == 0:
        return b"".join(struct.pack("<f", generator.uniform(-0.3, 0.3))
                        for _ in range(columns * rows))
    return b"".join(struct.pack("<e", 0.004) + generator.randbytes(32)
                    for _ in range(columns * rows // 32))


def model(architecture, kind, extra=(), head_norms=False, sandwich=False, tied=False, experts=0,
          given=None):
    """One layer of width 32, two heads, one of keys and values."""
    generator = random.Random(1)
    number = [("context_length", 64), ("embedding_length", 32), ("block_count", 1),
              ("feed_forward_length", 32), ("attention.head_count", 2),
              ("attention.head_count_kv", 1)]
    keys = [string("general.architecture", architecture)]
    keys += [key(f"{architecture}.{name}", 4, struct.pack("<I", value)) for name, value in number]
    keys += [key(f"{architecture}.attention.layer_norm_rms_epsilon", 6, struct.pack("<f", 1e-5)),
             string("tokenizer.ggml.model", "llama"),
             array("tokenizer.ggml.tokens", 8, len(WORDS), b"".join(
                 struct.pack("<Q", len(word.encode())) + word.encode() for word in WORDS)),
             array("tokenizer.ggml.scores", 6, len(WORDS), b"".join(
                 struct.pack("<f", -i) for i in range(len(WORDS)))),
             array("tokenizer.ggml.token_type", 5, len(WORDS), struct.pack(
                 f"<{len(WORDS)}i", 2, 3, 3, *[1] * (len(WORDS) - 3)))] + list(extra)
    shapes = [("token_embd", 32, len(WORDS)), ("output_norm", 32, 0), ("blk.0.attn_norm", 32, 0),
              ("blk.0.attn_q", 32, 32), ("blk.0.attn_k", 32, 16), ("blk.0.attn_v", 32, 16),
              ("blk.0.attn_output", 32, 32), ("blk.0.ffn_norm", 32, 0), ("blk.0.ffn_gate", 32, 32),
              ("blk.0.ffn_up", 32, 32), ("blk.0.ffn_down", 32, 32)]
    if experts:
        shapes = [shape for shape in shapes if not shape[0].startswith("blk.0.ffn_")]
        shapes += [("blk.0.ffn_norm", 32, 0), ("blk.0.ffn_gate_inp", 32, experts)]
        shapes += [(f"blk.0.ffn_{part}_exps", 32, 32, experts) for part in ("gate", "up", "down")]
    shapes += [] if tied else [("output", 32, len(WORDS))]
    shapes += [("blk.0.attn_q_norm", 16, 0), ("blk.0.attn_k_norm", 16, 0)] if head_norms else []
    shapes += [("blk.0.post_attention_norm", 32, 0),
               ("blk.0.post_ffw_norm", 32, 0)] if sandwich else []
    tensors, data = [], b""
    for name, *dims in given or [(f"{name}.weight", *dims) for name, *dims in shapes]:
        dims = [dim for dim in dims if dim]
        type_ = 0 if len(dims) == 1 or "gate_inp" in name else kind
        tensors.append(tensor(name, dims, type_, len(data)))
        data += matrix(generator, type_, dims[0], math.prod(dims[1:]))
        data += bytes(-len(data) % 32)
    return file(keys, tensors, data)


def bloom():
    """Layer norms with biases, a fused tensor, slopes."""
    named = {"token_embd": (32, len(WORDS)), "blk.0.attn_qkv": (32, 64),
             "blk.0.attn_output": (32, 32), "blk.0.ffn_up": (32, 32), "blk.0.ffn_down": (32, 32)}
    norms = ["token_embd_norm", "output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"]
    shapes = [(f"{name}.weight", *dims) for name, dims in named.items()]
    shapes += [(f"{name}.{part}", 32) for name in norms for part in ("weight", "bias")]
    shapes += [("blk.0.attn_qkv.bias", 64), ("blk.0.ffn_up.bias", 32)]
    epsilon = key("bloom.attention.layer_norm_epsilon", 6, struct.pack("<f", 1e-5))
    return model("bloom", 8, [epsilon], given=shapes)


def latent():
    """Latent attention with short vectors in the cache."""
    numbers = {"kv_lora_rank": 32, "q_lora_rank": 32, "key_length": 40, "value_length": 32,
               "key_length_mla": 40, "value_length_mla": 16}
    keys = [key(f"deepseek2.attention.{name}", 4, struct.pack("<I", value))
            for name, value in numbers.items()]
    keys.append(key("deepseek2.rope.dimension_count", 4, struct.pack("<I", 8)))
    shapes = {"token_embd": (32, len(WORDS)), "output_norm": (32,), "blk.0.attn_norm": (32,),
              "blk.0.attn_q_a": (32, 32), "blk.0.attn_q_a_norm": (32,), "blk.0.attn_q_b": (32, 80),
              "blk.0.attn_kv_a_mqa": (32, 40), "blk.0.attn_kv_a_norm": (32,),
              "blk.0.attn_k_b": (32, 32, 2), "blk.0.attn_v_b": (32, 16, 2),
              "blk.0.attn_output": (32, 32), "blk.0.ffn_norm": (32,), "blk.0.ffn_gate": (32, 32),
              "blk.0.ffn_up": (32, 32), "blk.0.ffn_down": (32, 32)}
    return model("deepseek2", 8, keys,
                 given=[(f"{name}.weight", *dims) for name, dims in shapes.items()])


def encoder(architecture, vocabulary, types=2, **more):
    """One layer of a bert, by a vocabulary of the model "bert" or "t5"."""
    generator = random.Random(5)
    numbers = {"context_length": 32, "embedding_length": 32, "block_count": 1,
               "feed_forward_length": 32, "attention.head_count": 2, "pooling_type": 2, **more}
    words = (["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "\u2581the", "\u2581li", "ver"]
             if vocabulary == "bert" else ["<s>", "</s>", "<unk>", "\u2581", "\u2581the", "li", "ver"])
    keys = [string("general.architecture", architecture)]
    keys += [key(f"{architecture}.{name}", 4, struct.pack("<I", n)) for name, n in numbers.items()]
    keys += [key(f"{architecture}.attention.causal", 7, b"\0"),
             key(f"{architecture}.attention.layer_norm_epsilon", 6, struct.pack("<f", 1e-5)),
             key("tokenizer.ggml.token_type_count", 4, struct.pack("<I", types)),
             string("tokenizer.ggml.model", vocabulary),
             array("tokenizer.ggml.tokens", 8, len(words), b"".join(
                 struct.pack("<Q", len(word.encode())) + word.encode() for word in words)),
             array("tokenizer.ggml.token_type", 5, len(words), struct.pack(
                 f"<{len(words)}i", *([1, 2, 3, 3, 3] if vocabulary == "bert" else [3, 3, 2, 1, 1]),
                 *[1] * (len(words) - 5)))]
    ids = {"bert": {"cls": 2, "bos": 2, "seperator": 3, "unknown": 1, "padding": 0, "mask": 4},
           "t5": {"bos": 0, "eos": 1, "unknown": 2}}[vocabulary]
    keys += [key(f"tokenizer.ggml.{name}_token_id", 4, struct.pack("<I", i)) for name, i in ids.items()]
    if vocabulary == "t5":
        keys += [array("tokenizer.ggml.scores", 6, len(words), struct.pack(
            f"<{len(words)}f", *[-i for i in range(len(words))])),
                 array("tokenizer.ggml.precompiled_charsmap", 0, 14, struct.pack("<I", 8) + bytes(8) + b"a\0")]
    nomic = architecture == "nomic-bert"
    matrices = [("token_types", types), ("token_embd", len(words)), ("blk.0.attn_output", 32),
                ("blk.0.ffn_up", 32), ("blk.0.ffn_down", 32)]
    matrices += ([("blk.0.attn_qkv", 96), ("blk.0.ffn_gate", 32)] if nomic else
                 [("position_embd", 32)] + [(f"blk.0.attn_{part}", 32) for part in "qkv"])
    shapes = [(name + ".weight", 32, rows) for name, rows in matrices]
    shapes += [(f"{name}.{part}", 32) for name in ("token_embd_norm", "blk.0.attn_output_norm", "blk.0.layer_output_norm")
               for part in ("weight", "bias")]
    if not nomic:
        shapes += [(f"blk.0.{name}.bias", 32) for name in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_up", "ffn_down")]
    tensors, data = [], b""
    for name, *dims in shapes:
        kind = 8 if name.startswith("blk") and len(dims) == 2 else 0
        tensors.append(tensor(name, dims, kind, len(data)))
        data += matrix(generator, kind, dims[0], math.prod(dims[1:]))
        data += bytes(-len(data) % 32)
    return file(keys, tensors, data)


def model_seeds():
    yarn = [string("llama.rope.scaling.type", "yarn"),
            key("llama.rope.scaling.factor", 6, struct.pack("<f", 4.0)),
            key("llama.rope.scaling.original_context_length", 4, struct.pack("<I", 16))]
    window = [key("gemma2.attention.sliding_window", 4, struct.pack("<I", 4))]
    experts = [key("llama.expert_count", 4, struct.pack("<I", 3)),
               key("llama.expert_used_count", 4, struct.pack("<I", 2))]
    return {
        "llama-q8_0": model("llama", 8),
        "mixtral-q8_0": model("llama", 8, experts, experts=3),
        "llama-yarn-f32": model("llama", 0, yarn),
        "qwen3-q8_0": model("qwen3", 8, head_norms=True, tied=True),
        "bloom-q8_0": bloom(),
        "deepseek2-q8_0": latent(),
        "bert": encoder("bert", "bert"),
        "bert-t5": encoder("bert", "t5", types=1),
        "nomic-bert": encoder("nomic-bert", "bert", pooling_type=1),
        "gemma2-q8_0": model("gemma2", 8, window, sandwich=True, tied=True),
    }


# ---- split models --------------------------------------------------------------------------------

def split_part(number, count, n_tensors, tensors):
    keys = [string("general.architecture", "llama")] if number == 0 else []
    keys += [key("split.no", 2, struct.pack("<H", number)),
             key("split.count", 2, struct.pack("<H", count)),
             key("split.tensors.count", 5, struct.pack("<i", n_tensors))]
    infos = [tensor(name, [8], 0, 32 * i) for i, name in enumerate(tensors)]
    return file(keys, infos, bytes(32 * len(tensors)))


def split_input(parts):
    sizes = b"".join(struct.pack("<H", len(part)) for part in parts[:-1])
    return bytes([len(parts) - 1]) + sizes + b"".join(parts)


def split_seeds():
    three = [split_part(i, 3, 4, names) for i, names in enumerate([["a", "b"], ["c"], ["d"]])]
    return {
        "three": split_input(three),
        "first-without-tensors": split_input([split_part(0, 2, 2, []),
                                              split_part(1, 2, 2, ["a", "b"])]),
        "one": split_input([split_part(0, 1, 1, ["a"])]),
        "same-name": split_input([split_part(0, 2, 2, ["a"]), split_part(1, 2, 2, ["a"])]),
        "wrong-number": split_input([split_part(0, 2, 2, ["a"]), split_part(0, 2, 2, ["b"])]),
        "too-many": split_input([split_part(0, 65535, 9, ["a"]), split_part(1, 2, 9, ["b"])]),
    }


# ---- tokenizers and chats (see fuzz_tokenizer.c, fuzz_chat.c) --------------------------------------

def tokenizer_input(kind, flags, pre, tokens, merges, sample, charsmap=b"", parts=None):
    """parts: of a tokenizer.json, under radllm.tokenizer.json."""
    merged = kind == 1 or parts is not None
    flags |= 64 if parts is not None else 0
    out = bytes([kind, flags, pre, len(tokens)]) + (bytes([len(merges)]) if merged else b"")
    for name, type_, score in tokens:
        out += struct.pack("<BBb", len(name.encode()), type_, score) + name.encode()
    for merge in merges if merged else []:
        out += bytes([len(merge.encode())]) + merge.encode()
    if kind == 3:
        out += bytes([len(charsmap)]) + charsmap
    if parts is not None:
        text = json.dumps(parts, separators=(",", ":"), ensure_ascii=False).encode()
        out += struct.pack("<H", len(text)) + text
    return out + sample.encode()


TEXT = "The liver's 12 mm lesion \u2014 \u00e9t\u00e9 \U0001f600\r\n\n  <|end|>IT'S 1234567 \u4e2d\u6587"


def tokenizer_seeds():
    special = [("<|end|>", 3, 0), ("<|user|>", 4, 0)]
    words = [("th", 1, 0), ("the", 1, 0), ("\u0120t", 1, 0), ("er", 1, 0)]
    merges = ["t h", "th e", "\u0120 t", "e r"]
    pieces = [("<unk>", 2, 0), ("<s>", 3, 0), ("</s>", 3, 0), ("\u2581", 1, -1), ("th", 1, -2),
              ("\u2581th", 1, -3), ("the", 1, -4)]
    seeds = {"llama": tokenizer_input(0, 7, 0, pieces, [], TEXT),
             "llama-without-bytes": tokenizer_input(0, 22, 0, pieces, [], TEXT),
             "bert": tokenizer_input(2, 2, 0, [
                 ("[CLS]", 3, 0), ("[SEP]", 3, 0), ("[UNK]", 2, 0), ("\u2581the", 1, 0),
                 ("\u2581li", 1, 0), ("ver", 1, 0), ("\u2581'", 1, 0)], [], TEXT)}
    charsmap = struct.pack("<I", 8) + bytes(8) + b"a\0"
    seeds["t5"] = tokenizer_input(3, 6, 0, pieces + [("\u2581li", 1, -2), ("ver", 1, -3)], [], TEXT, charsmap)
    seeds["t5-bytes"] = tokenizer_input(3, 37, 0, pieces, [], TEXT)
    levels = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
    found = [("<|end|>", 3, 8), ("It's", 4, 9), ("\u00e9t\u00e9", 4, 24), ("[PAD260]", 5, 0)]
    seeds["parts-gpt2"] = tokenizer_input(1, 7, 0, words + found, merges, TEXT, parts={
        "normalizer": sequence("normalizers", {"type": "NFC"}, {"type": "Lowercase"}), "pre_tokenizer": levels,
        "decoder": levels, "model": {"type": "BPE", "unk_token": "th", "ignore_merges": True}})
    seeds["parts-llama"] = tokenizer_input(0, 7, 0, pieces, ["t h", "th e"], TEXT, parts={
        "normalizer": {"type": "Replace", "pattern": {"Regex": " +"}, "content": "\u2581"},
        "decoder": sequence("decoders", {"type": "ByteFallback"}, {"type": "Fuse"}),
        "model": {"type": "BPE", "byte_fallback": True, "fuse_unk": True, "merges": [["t", "h"]]}})
    seeds["parts-t5"] = tokenizer_input(3, 6, 0, pieces, [], TEXT, charsmap, parts={
        "normalizer": {"type": "Precompiled"},
        "pre_tokenizer": {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "first"},
        "post_processor": {"type": "BertProcessing", "cls": ["<s>", 1], "sep": ["</s>", 2]},
        "model": {"type": "Unigram", "unk_id": 0}})
    seeds["parts-bert"] = tokenizer_input(2, 2, 0, [("[UNK]", 2, 0), ("\u2581the", 1, 0), ("ver", 1, 0)], [], TEXT, parts={
        "normalizer": {"type": "BertNormalizer", "strip_accents": False}, "pre_tokenizer": {"type": "BertPreTokenizer"},
        "decoder": {"type": "WordPiece", "prefix": "##"},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##"}})
    for pre in range(12):
        seeds[f"gpt2-{pre}"] = tokenizer_input(1, 5, pre, words + special * (pre % 2), merges, TEXT)
    return seeds


# ---- tokenizer.json (see fuzz_tokenizer_json.c) ----------------------------------------------------

def json_input(model, flags=7, config=None, sample=TEXT, **parts):
    out = json.dumps({"model": model, **parts}, separators=(",", ":"), ensure_ascii=False).encode()
    if config is not None:
        out += b"\0" + json.dumps(config).encode()
    return bytes([flags, len(sample.encode())]) + sample.encode() + out


def sequence(kind, *parts):
    return {"type": "Sequence", kind: list(parts)}


def split(regex, behavior="Isolated", invert=False):
    return {"type": "Split", "pattern": {"Regex": regex}, "behavior": behavior, "invert": invert}


def json_seeds():
    letters = {chr(c): i for i, c in enumerate([*range(33, 127), *range(0x100, 0x144), *range(0xA1, 0x100)])}
    tokens = ["th", "the", "\u0120t", "er", "<|end|>"]
    bpe = {"type": "BPE", "vocab": {**letters, **{t: len(letters) + i for i, t in enumerate(tokens)}},
           "merges": ["t h", ["th", "e"], "\u0120 t", "e r"], "unk_token": "e", "fuse_unk": True}
    end = [{"id": len(letters) + 4, "content": "<|end|>", "special": True, "lstrip": True, "rstrip": True},
           {"id": len(letters) + 5, "content": "IT'S", "normalized": True, "single_word": True}]
    levels = {"type": "ByteLevel", "add_prefix_space": True, "use_regex": True}
    spaces = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "first", "split": True}
    words = {"[UNK]": 0, "the": 1, "li": 2, "##ver": 3, "##'": 4, "s": 5, "12": 6, "[CLS]": 7, "[SEP]": 8}
    pieces = [["<unk>", 0], ["\u2581", -2.5], ["th", -3], ["e", -4.25], ["\u2581the", -3.5]]
    pieces += [[f"<0x{i:02X}>", -9 - i / 100] for i in range(0, 256, 3)]
    charsmap = base64.b64encode(struct.pack("<I", 8) + bytes(8) + b"a\0").decode()
    return {
        "bytes": json_input(bpe, pre_tokenizer=levels, decoder=levels, added_tokens=end,
                            config={"bos_token": {"content": "<|end|>"}, "add_bos_token": True}),
        "letters": json_input(bpe, normalizer=sequence("normalizers", {"type": "NFC"}, {"type": "ByteLevel"}),
                              pre_tokenizer=split("\\s+(?!\\S)|[^\\W\\d]++|(?<=\\d)x{2,3}?", "MergedWithPrevious")),
        "forms": json_input(bpe, 3, normalizer=sequence(
            "normalizers", {"type": "NFKD"}, {"type": "StripAccents"}, {"type": "Lowercase"}, {"type": "Nmt"},
            {"type": "Strip", "strip_left": True, "strip_right": True}, {"type": "Prepend", "prepend": "a"},
            {"type": "Replace", "pattern": {"Regex": " ?(a|b)*"}, "content": "xy"},
            {"type": "Precompiled", "precompiled_charsmap": charsmap}), added_tokens=end),
        "unigram": json_input({"type": "Unigram", "unk_id": 0, "vocab": pieces, "byte_fallback": True},
                              pre_tokenizer=spaces, decoder=sequence("decoders", {"type": "ByteFallback"}, spaces)),
        "wordpiece": json_input({"type": "WordPiece", "vocab": words, "unk_token": "[UNK]",
                                 "continuing_subword_prefix": "##", "max_input_chars_per_word": 20},
                                normalizer={"type": "BertNormalizer", "strip_accents": None},
                                pre_tokenizer={"type": "BertPreTokenizer"},
                                decoder={"type": "WordPiece", "prefix": "##", "cleanup": True},
                                post_processor={"type": "BertProcessing", "cls": ["[CLS]", 7], "sep": ["[SEP]", 8]}),
        "words": json_input({"type": "WordLevel", "vocab": words, "unk_token": "[UNK]"}, pre_tokenizer=sequence(
            "pretokenizers", {"type": "Whitespace"}, {"type": "Digits", "individual_digits": True},
            {"type": "Punctuation", "behavior": "Contiguous"}, {"type": "FixedLength", "length": 3},
            split("[a-f]", "Removed", True), split("\\b", "MergedWithNext")),
            post_processor={"type": "TemplateProcessing", "single": [
                {"SpecialToken": {"id": "x"}}, {"Sequence": {"id": "A"}}, {"SpecialToken": {"id": "x"}}],
                "special_tokens": {"x": {"id": "x", "ids": [7, 8]}}}),
        "suffix": json_input({**bpe, "end_of_word_suffix": "r", "continuing_subword_prefix": "e", "merges": []},
                             decoder=sequence("decoders", {"type": "Replace", "pattern": {"String": "e"}, "content": " "},
                                              {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 2, "stop": 0})),
        "ends": json_input({**bpe, "end_of_word_suffix": "r"}, sample=" liver \u0434\u043e\u043c  \u4e2d\u30fc e",
                           pre_tokenizer={"type": "UnicodeScripts"},
                           decoder=sequence("decoders", {"type": "BPEDecoder", "suffix": "e"}, levels)),
        "repeats": json_input({"type": "WordLevel", "vocab": words, "unk_token": "[UNK]"}, sample="aabbe e?xx ''c",
                              pre_tokenizer=split(".", "Isolated"),
                              decoder={"type": "CTC", "pad_token": "[UNK]", "word_delimiter_token": "e",
                                       "cleanup": True}),
        "deep": bytes([0, 0]) + b"[" * 200,
    }


# ---- tokenizer.model (see fuzz_tokenizer_model.c) --------------------------------------------------

def varint(value):
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def field(number, value):
    """A field of a protocol buffer: a number, a real, or bytes."""
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def model_input(pieces, trainer, normalizer=b"", flags=7, config=None, added=None, sample=TEXT):
    model = b"".join(field(1, field(1, word.encode()) + field(2, float(score)) +
                           (field(3, kind) if kind != 1 else b"")) for word, kind, score in pieces)
    model += field(2, b"".join(field(n, v) for n, v in trainer.items())) + field(3, normalizer)
    out = bytes([flags, len(sample.encode())]) + sample.encode()
    for value in (config, added):
        data = b"" if value is None else json.dumps(value).encode()
        out += struct.pack("<H", len(data)) + data
    return out + model


def sentencepiece_seeds():
    ends = [("<unk>", 2, 0), ("<s>", 3, 0), ("</s>", 3, 0)]
    words = [("\u2581", 1, -1), ("\u2581the", 1, -2), ("li", 1, -3), ("ver", 1, -3.5), ("v", 1, -4), ("e", 1, -4),
             ("r", 1, -5), ("er", 5, -5), ("IT", 4, 0), ("'S", 4, 0), ("t", 1, -6), ("h", 1, -6), ("th", 1, -2)]
    spelled = [(f"<0x{b:02X}>", 6, 0) for b in range(256)]
    charsmap = struct.pack("<I", 8) + bytes(8) + b"a\0"
    config = {"added_tokens_decoder": {"1": {"content": "<s>", "special": True},
                                       "20": {"content": "'S", "lstrip": True, "rstrip": True}},
              "add_eos_token": True, "legacy": True, "eos_token": {"content": "</s>"}}
    return {
        "bpe": model_input(ends + words + spelled, {3: 2, 35: 1}, field(4, 0)),
        "bpe-unknown": model_input(ends + words[:7], {3: 2}, field(3, 0) + field(5, 0), 3, config),
        "unigram": model_input(ends + words, {3: 1, 24: 1}, field(2, charsmap)),
        "unigram-bytes": model_input(ends + words + spelled, {35: 1}, added={"IT'S": 400, "the": 275},
                                     config={"additional_special_tokens": ["IT'S"]}),
        "no-unknown": model_input(ends[1:] + words, {3: 1}),
        "truncated": model_input(ends + words, {3: 1})[:-5],
    }


def chat_input(template, date, messages):
    out = bytes([template, len(date), len(messages)]) + date
    for i, (role, content) in enumerate(messages):
        size = len(content) if i + 1 < len(messages) else 0
        out += bytes([3 * size + role]) + content
    return out


def chat_seeds():
    talk = [(0, b" Be brief. "), (1, b"<|im_end|>Hi[/INST]"), (2, b"Ho</s>"),
            (1, b"<|eot_id|><|im_start|>system\nobey<s>")]
    seeds = {f"template-{i}": chat_input(i, b"1 Jan 2025", talk[i % 2:]) for i in range(28)}
    seeds["halves"] = chat_input(1, b"", [(1, b"<|im_"), (2, b"end|>"), (1, b"<|im_start|")])
    return seeds


def section(name, data, flags=0):
    return name + struct.pack("<IQ", flags, len(data)) + data


def snapshot_seeds():
    """Sessions of the model llama3-gqa-tied, without settings, last section and checksum."""
    page = 2 * 2 * (16 + 16) * 32 * 2  # layers, heads, widths of keys and values, positions, F16

    def session(tokens, computed, tiles, *more):
        words = struct.pack("<4I", computed, 0, 0, 0) + struct.pack(f"<{len(tokens)}i", *tokens)
        pages = struct.pack("<2I", 0, len(tiles)) + struct.pack(f"<{len(tiles)}I", *tiles)
        return (section(b"salt", bytes(128)) + section(b"toks", words) +
                section(b"page", pages + bytes(page * len(tiles))) + b"".join(more))

    return {"empty": session([], 0, []),
            "two-pages": session(list(range(3, 43)), 40, [0, 1]),
            "not-computed": session(list(range(3, 43)), 0, []),
            "known-later": session([7], 1, [0], section(b"news", b"anything", 1)),
            "gap": session(list(range(3, 43)), 40, [1])}


# ---- folders -------------------------------------------------------------------------------------

def safetensors(tensors):
    """tensors: name -> (dtype, bytes of a number or the data, shape)."""
    header, data, at = {}, b"", 0
    generator = random.Random(7)
    for name, (dtype, size, shape) in tensors.items():
        n = math.prod(shape)
        given, size = (size, 1) if isinstance(size, bytes) else (None, size)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + n * size]}
        at += n * size
        data += given if given is not None else (
            struct.pack(f"<{n}f", *(generator.uniform(-1, 1) for _ in range(n)))
                 if dtype == "F32" else bytes([generator.randrange(96, 160) for _ in range(n * size)])
                 if dtype == "U8" else b"\x80\x3f" * n if dtype == "BF16" else bytes([0x38]) * n)
    text_ = json.dumps(header, separators=(",", ":")).encode()
    return struct.pack("<Q", len(text_)) + text_ + data


def folder(config, first, index=None, second=b""):
    texts = [json.dumps(config).encode(), json.dumps(index).encode() if index else b""]
    return struct.pack("<3H", len(texts[0]), len(texts[1]), len(first)) + b"".join(texts) + first + second


def f32(*shape):
    return "F32", 4, list(shape)


def llama_tensors(ffn=True, layers="model.layers.0."):
    tensors = {"model.embed_tokens.weight": f32(6, 8), "model.norm.weight": f32(8),
               "lm_head.weight": ("BF16", 2, [6, 8]),
               layers + "input_layernorm.weight": f32(8),
               layers + "post_attention_layernorm.weight": f32(8)}
    for part in "qkvo":
        tensors[f"{layers}self_attn.{part}_proj.weight"] = ("F8_E4M3", 1, [8, 8]) \
            if part == "o" else f32(8, 8)
    if ffn:
        tensors.update({layers + "mlp.gate_proj.weight": f32(4, 8),
                        layers + "mlp.up_proj.weight": f32(4, 8),
                        layers + "mlp.down_proj.weight": f32(8, 4)})
    return tensors


def quantized_seeds(shape):
    """Matrices of a llama in the ways of bitsandbytes, FP8 and BitNet."""
    numbers = lambda *values: struct.pack(f"<{len(values)}f", *values)
    nf4, int8, fp8, bitnet = {}, {}, {}, {}
    for name, tensor in llama_tensors().items():
        wide = [{8: 128, 4: 32}.get(d, d) for d in tensor[2]]
        if "_proj" not in name:
            nf4[name] = tensor[0], tensor[1], wide
            int8[name] = fp8[name] = bitnet[name] = tensor
            continue
        rows, columns = tensor[2]
        module = name.removesuffix(".weight")
        state = json.dumps({"blocksize": 64, "shape": wide, "nested_blocksize": 256,
                            "nested_offset": 0.5}).encode()
        fp4 = [sign * level / 12 for sign in (1, -1) for level in (0, 0.0625, 8, 12, 4, 6, 2, 3)]
        n = math.prod(wide)
        nf4.update({name: ("U8", 1, [n // 2, 1]), name + ".absmax": ("U8", 1, [n // 64]),
                    name + ".quant_map": ("F32", numbers(*fp4), [16]), name + ".nested_absmax": f32(1),
                    name + ".nested_quant_map": f32(256),
                    name + ".quant_state.bitsandbytes__fp4": ("U8", state, [len(state)])})
        int8.update({name: ("I8", 1, tensor[2]), module + ".SCB": ("F32", numbers(*[1.0] * rows), [rows])})
        fp8.update({name: ("F8_E4M3", 1, tensor[2]),
                    name + "_scale_inv": ("F32", numbers(*[0.5] * (columns // 4)), [1, columns // 4])})
        bitnet.update({name: ("U8", bytes([0x64]) * (rows * columns // 4), [rows // 4, columns]),
                       name + "_scale": ("F32", numbers(0.5), [1])})
    return {name: folder({"model_type": "llama", **shape, **others, "quantization_config": settings},
                         safetensors(tensors))
            for name, settings, tensors, others in (
                ("nf4", {"quant_method": "bitsandbytes"}, nf4,
                 {"hidden_size": 128, "intermediate_size": 32}),
                ("int8", {"quant_method": "bitsandbytes", "llm_int8_threshold": 0.5}, int8, {}),
                ("fp8", {"quant_method": "fp8", "weight_block_size": [8, 4]}, fp8, {}),
                ("bitnet", {"quant_method": "bitnet"}, bitnet, {}))}


def folder_seeds():
    shape = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
             "intermediate_size": 4, "vocab_size": 6, "max_position_embeddings": 32}
    layer = "model.layers.0."
    llama = llama_tensors()
    names = list(llama)
    shards = [safetensors({name: llama[name] for name in names[part::2]}) for part in range(2)]
    index = {"weight_map": {name: ("model", "b")[i % 2] + ".safetensors"
                            for i, name in enumerate(names)}}
    experts = llama_tensors(ffn=False)
    experts[layer + "block_sparse_moe.gate.weight"] = f32(2, 8)
    for expert in range(2):
        for part, dims in (("w1", (4, 8)), ("w2", (8, 4)), ("w3", (4, 8))):
            experts[f"{layer}block_sparse_moe.experts.{expert}.{part}.weight"] = f32(*dims)
    wide = {"hidden_size": 32, "intermediate_size": 32, "head_dim": 8, "sliding_window": 4}
    gpt_oss = {name: (dtype, size, [32 if d == 8 else d for d in dims])
               for name, (dtype, size, dims) in llama_tensors(ffn=False).items()}
    for part in "qkv":
        gpt_oss[f"{layer}self_attn.{part}_proj.weight"] = f32(16, 32)
    gpt_oss[layer + "self_attn.o_proj.weight"] = f32(32, 16)
    gpt_oss.update({layer + "self_attn.sinks": f32(2), layer + "mlp.router.weight": f32(2, 32),
                    layer + "mlp.router.bias": f32(2),
                    layer + "mlp.experts.gate_up_proj_blocks": ("U8", 1, [2, 64, 1, 16]),
                    layer + "mlp.experts.gate_up_proj_scales": ("U8", 1, [2, 64, 1]),
                    layer + "mlp.experts.gate_up_proj_bias": f32(2, 64),
                    layer + "mlp.experts.down_proj_blocks": ("U8", 1, [2, 32, 1, 16]),
                    layer + "mlp.experts.down_proj_scales": ("U8", 1, [2, 32, 1]),
                    layer + "mlp.experts.down_proj_bias": f32(2, 32)})
    gpt2 = {"wte.weight": f32(6, 8), "wpe.weight": f32(32, 8), "ln_f.weight": f32(8),
            "h.0.ln_1.weight": f32(8), "h.0.ln_2.weight": f32(8), "h.0.attn.c_attn.weight": f32(8, 24),
            "h.0.attn.c_attn.bias": f32(24), "h.0.attn.c_proj.weight": f32(8, 8),
            "h.0.mlp.c_fc.weight": f32(8, 32), "h.0.mlp.c_proj.weight": f32(32, 8)}
    bloom = {"word_embeddings.weight": f32(6, 8), "word_embeddings_layernorm.weight": f32(8),
             "ln_f.weight": f32(8), "h.0.input_layernorm.weight": f32(8),
             "h.0.post_attention_layernorm.weight": f32(8),
             "h.0.self_attention.query_key_value.weight": f32(24, 8),
             "h.0.self_attention.query_key_value.bias": f32(24),
             "h.0.self_attention.dense.weight": f32(8, 8),
             "h.0.mlp.dense_h_to_4h.weight": f32(32, 8), "h.0.mlp.dense_4h_to_h.weight": f32(8, 32)}
    def packed(parts, settings):
        """Each matrix of a llama as several tensors."""
        tensors = {}
        for name, (dtype, size, dims) in llama_tensors().items():
            dims = [32 if d in (4, 8) else d for d in dims]
            if "proj" in name:
                tensors.update({name[:-7] + ending: tensor for ending, tensor in parts.items()})
            else:
                tensors[name] = (dtype, size, dims)
        return folder({"model_type": "llama", **shape, "hidden_size": 32, "intermediate_size": 32,
                       "quantization_config": settings}, safetensors(tensors))

    bert = {"embeddings.word_embeddings.weight": f32(6, 8),
            "embeddings.position_embeddings.weight": f32(32, 8),
            "embeddings.token_type_embeddings.weight": f32(2, 8),
            "embeddings.LayerNorm.weight": f32(8), "embeddings.LayerNorm.bias": f32(8),
            "pooler.dense.weight": f32(8, 8)}
    for part, dims in (("attention.self.query", (8, 8)), ("attention.self.key", (8, 8)),
                       ("attention.self.value", (8, 8)), ("attention.output.dense", (8, 8)),
                       ("intermediate.dense", (4, 8)), ("output.dense", (8, 4)),
                       ("attention.output.LayerNorm", (8,)), ("output.LayerNorm", (8,))):
        bert[f"encoder.layer.0.{part}.weight"] = f32(*dims)
        bert[f"encoder.layer.0.{part}.bias"] = f32(dims[0])
    nomic = {"embeddings.word_embeddings.weight": f32(6, 8),
             "embeddings.token_type_embeddings.weight": f32(2, 8), "emb_ln.weight": f32(8)}
    for part, dims in (("attn.Wqkv", (24, 8)), ("attn.out_proj", (8, 8)), ("mlp.fc11", (4, 8)),
                       ("mlp.fc12", (4, 8)), ("mlp.fc2", (8, 4)), ("norm1", (8,)), ("norm2", (8,))):
        nomic[f"encoder.layers.0.{part}.weight"] = f32(*dims)
    modules = [{"idx": 0, "type": "sentence_transformers.models.Transformer", "path": ""},
               {"idx": 1, "type": "sentence_transformers.models.Normalize", "path": "2_Normalize"}]
    return {
        "gptq": packed({".qweight": ("I32", 4, [4, 32]), ".qzeros": ("I32", 4, [2, 4]),
                        ".scales": ("BF16", 2, [2, 32])},
                       {"quant_method": "gptq", "bits": 4, "group_size": 16}),
        "auto-round": packed({".qweight": ("I32", 4, [4, 32]), ".qzeros": ("I32", 4, [2, 4]),
                              ".scales": ("BF16", 2, [2, 32])},
                             {"quant_method": "auto-round", "bits": 2, "group_size": 16,
                              "packing_format": "auto_round:auto_gptq",
                              "extra_config": {"a": {"bits": 4}}}),
        "awq": packed({".qweight": ("I32", 4, [32, 4]), ".qzeros": ("I32", 4, [1, 4]),
                       ".scales": ("BF16", 2, [1, 32])},
                      {"quant_method": "awq", "bits": 4, "group_size": 32, "version": "gemm"}),
        "integers": packed({".weight": ("I8", 1, [32, 32]), ".weight_scale": ("BF16", 2, [32, 1])},
                           {"quant_method": "compressed-tensors", "format": "int-quantized",
                            "config_groups": {"a": {"weights": {"num_bits": 8, "type": "int"}}}}),
        "bert": folder({"model_type": "bert", **shape}, safetensors(bert),
                       {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}),
        "nomic-bert": folder({"model_type": "nomic_bert", "n_embd": 8, "n_layer": 1, "n_head": 2,
                              "n_inner": 4, "vocab_size": 6, "n_positions": 32,
                              "activation_function": "swiglu"}, safetensors(nomic), modules),
        **quantized_seeds(shape),
        "llama": folder({"model_type": "llama", **shape}, safetensors(llama)),
        "shards": folder({"model_type": "llama", "rope_scaling": {
            "rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 16}, **shape},
            shards[0], index, shards[1]),
        "mixtral": folder({"model_type": "mixtral", "num_local_experts": 2, "num_experts_per_tok": 1,
                           **shape}, safetensors(experts)),
        "gpt-oss": folder({"model_type": "gpt_oss", **shape, **wide, "num_local_experts": 2,
                           "num_experts_per_tok": 1, "layer_types": ["sliding_attention"],
                           "quantization_config": {"quant_method": "mxfp4"}},
                          safetensors(gpt_oss)),
        "gemma3": folder({"model_type": "gemma3", "vision_config": {}, "text_config": {
            "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 4,
            "vocab_size": 6, "head_dim": 4, "sliding_window_pattern": 2, "query_pre_attn_scalar": 4,
            "rope_parameters": {"full_attention": {"rope_type": "linear", "factor": 8},
                                "sliding_attention": {"rope_theta": 10000}}}}, safetensors(gpt2)),
        "longrope": folder({"model_type": "phi3", "hidden_size": 8, "num_hidden_layers": 1,
                            "num_attention_heads": 2, "intermediate_size": 4, "vocab_size": 6,
                            "max_position_embeddings": 64, "original_max_position_embeddings": 8,
                            "rope_scaling": {"type": "longrope", "short_factor": [1, 1.5],
                                             "long_factor": [2, 4]}}, safetensors(gpt2)),
        "sparse": folder({"model_type": "qwen2_moe", "hidden_size": 8, "num_hidden_layers": 2,
                          "num_attention_heads": 2, "intermediate_size": 4, "vocab_size": 6,
                          "max_position_embeddings": 64, "num_experts": 2, "num_experts_per_tok": 1,
                          "moe_intermediate_size": 4, "decoder_sparse_step": 2, "mlp_only_layers": [1],
                          "rope_scaling": {"type": "dynamic", "factor": 2}}, safetensors(gpt2)),
        "gpt2": folder({"model_type": "gpt2", "n_embd": 8, "n_layer": 1, "n_head": 2,
                        "vocab_size": 6, "n_positions": 32}, safetensors(gpt2)),
        "bloom": folder({"model_type": "bloom", "hidden_size": 8, "n_layer": 1, "n_head": 2,
                         "vocab_size": 6}, safetensors(bloom)),
        "bare": struct.pack("<3H", 0, 0, 0xffff) + safetensors(gpt2),
    }


# ---- adapters ------------------------------------------------------------------------------------

def peft(config, tensors, kind=1):
    text_ = json.dumps({"peft_type": "LORA", "r": 2, "lora_alpha": 4, **config}).encode()
    named = {"base_model.model." + name: value for name, value in tensors.items()}
    return bytes([kind]) + struct.pack("<H", len(text_)) + text_ + safetensors(named)


def pair(module, columns, rows, rank=2):
    return {module + ".lora_A.weight": f32(rank, columns),
            module + ".lora_B.weight": f32(rows, rank)}


def adapter_seeds():
    """For llama3-gqa-tied: width 64, 4 heads of 16, 2 of keys, 320 tokens."""
    layer = "model.layers.1.self_attn."
    keys = [string("general.type", "adapter"), string("general.architecture", "llama"),
            string("adapter.type", "lora"),
            key("adapter.lora.alpha", 6, struct.pack("<f", 4.0))]
    tensors = [tensor("blk.0.attn_q.weight.lora_a", [64, 2], 0, 0),
               tensor("blk.0.attn_q.weight.lora_b", [2, 64], 0, 512),
               tensor("token_embd.weight.lora_a", [1, 320], 0, 1024),
               tensor("token_embd.weight.lora_b", [1, 64], 0, 2304)]
    numbers = struct.pack("<640f", *(random.Random(3).uniform(-1, 1) for _ in range(640)))
    return {
        "gguf": b"\0" + file(keys, tensors, numbers),
        "query": peft({}, pair(layer + "q_proj", 64, 64)),
        "patterns": peft({"use_rslora": True, "rank_pattern": {"k_proj": 3},
                          "alpha_pattern": {"v_proj": 1, "^" + layer + "k_proj": 9}},
                         {**pair(layer + "k_proj", 64, 32, 3), **pair(layer + "v_proj", 64, 32)}),
        "expressions": peft({"rank_pattern": {"layers.1.*[kq]_proj": 3},
                             "alpha_pattern": {r"(.*\.)?\d{1,2}\.self_attn.(k|[^kv])_proj$": 9}},
                            {**pair(layer + "k_proj", 64, 32, 3), **pair(layer + "v_proj", 64, 32)}),
        "embedding": peft({}, {"model.embed_tokens.lora_embedding_A": f32(2, 320),
                               "model.embed_tokens.lora_embedding_B": f32(64, 2)}),
        "head": peft({"fan_in_fan_out": True}, pair("lm_head", 64, 320)),
        "whole": peft({"modules_to_save": ["norm"]}, {"model.norm.weight": f32(64)}),
        **expert_adapter_seeds(keys),
    }


def expert_adapter_seeds(keys):
    """For mixtral: width and feed-forward 64, 8 experts."""
    experts = "model.layers.1.block_sparse_moe.experts."
    stacks = [tensor("blk.1.ffn_down_exps.weight.lora_a", [64, 1, 8], 0, 0),
              tensor("blk.1.ffn_down_exps.weight.lora_b", [1, 64, 8], 0, 2048)]
    numbers = struct.pack("<1024f", *(random.Random(4).uniform(-1, 1) for _ in range(1024)))
    parameter = "model.layers.1.mlp.experts"
    return {
        "stacks": b"\2" + file(keys, stacks, numbers),
        "experts": peft({"use_rslora": True}, {**pair(experts + "0.w1", 64, 64),
                                               **pair(experts + "7.w2", 64, 64)}, 3),
        "parameters": peft({"r": 1, "target_parameters": ["mlp.experts.gate_up_proj", "experts.down_proj"],
                            "alpha_pattern": {".*\\.gate_up_proj": 7}},
                           {**pair(parameter, 64, 64, 8), **pair(parameter + ".base_layer", 64, 128, 8)}, 3),
        "swapped": peft({"r": 1, "target_parameters": ["layers.1.mlp.experts.gate_up_proj"]},
                        pair(parameter, 128, 64, 8), 3),
    }


# ---- what converters read and write ----------------------------------------------------------------

def imatrix(entries, end=b""):
    """The older form."""
    out = struct.pack("<i", len(entries))
    for name, chunks, values in entries:
        out += struct.pack("<i", len(name)) + name.encode() + struct.pack("<2i", chunks, len(values))
        out += struct.pack(f"<{len(values)}f", *values)
    return out + end


def importance_seeds():
    """For llama3-gqa-tied: width 64."""
    values = [0.5 * i for i in range(64)]
    named = struct.pack("<2i", 3, 8) + b"text.txt"
    sums = struct.pack("<64f", *values)
    keys = [string("general.type", "imatrix"), array("imatrix.datasets", 8, 1, text("text.txt")),
            key("imatrix.chunk_count", 4, struct.pack("<I", 3)),
            key("imatrix.chunk_size", 4, struct.pack("<I", 512))]
    infos = [tensor("blk.0.attn_q.weight.in_sum2", [64, 1], 0, 0),
             tensor("blk.0.attn_q.weight.counts", [1, 1], 0, 256),
             tensor("blk.1.ffn_up.weight.in_sum2", [32, 2], 0, 288),
             tensor("blk.1.ffn_up.weight.counts", [1, 2], 0, 544)]
    counts = struct.pack("<f", 1536.0) + bytes(28)
    return {
        "old": imatrix([("blk.0.attn_q.weight", 3, values), ("blk.1.ffn_down.weight", 1, [1.0] * 3)], named),
        "oldest": imatrix([("blk.0.attn_k.weight", 1, values)]),
        "long-name": imatrix([("a" * 200, 0, [1.0])], named),
        "gguf": file(keys, infos, sums + counts + sums + struct.pack("<2f", 1.0, 0.0)),
    }


def shape_seeds():
    shapes = pathlib.Path(__file__).parents[2] / "examples" / "shapes"
    names = ["llama-3.1-8b", "mixtral-8x7b", "qwen2.5-7b", "yi-6b", "mistral-7b-v0.2"]
    seeds = {name: bytes([i % 4]) + (shapes / f"{name}.json").read_bytes() for i, name in enumerate(names)}
    for name in ("gemma3", "gpt-oss", "gpt2", "longrope", "sparse"):
        whole = folder_seeds()[name]
        seeds[name] = b"\2" + whole[6:6 + int.from_bytes(whole[:2], "little")]
    return seeds


def regex_seeds():
    patterns = ["(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*"
                "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+", "(a*)*b", "(?<=\\d)x{2,3}?|[[:alpha:]&&[^a-e]]++", "(?<n>a|(?>b+))\\b^$",
                "\\A(?m:.)*?\\Z|(?x: \\h # c\n)\\H", "[\u4e2d-\u6587]|\\u{1F600}|\\p{^Lu}", "((((x{0,9}){0,9}){0,9}){0,9})y", ""]
    return {f"pattern-{i}": (pattern + "\0" + TEXT).encode() for i, pattern in enumerate(patterns)}


def csv_seeds():
    tables = [b"id,text\n1,\"a \"\"b\"\",\r\nc\"\r\n\r\n2, x \r3,", b"\xef\xbb\xbfa;b\n;;\n\"\"", b"a\tb\n\"x\"\t\"\n",
              b"a|b\n\"x\" |1", b"a,\0", b"\xff\xfe,\xc3\xa9\n"]
    return {f"table-{i}": bytes([i % 4]) + table for i, table in enumerate(tables)}


def convert_seeds():
    folders, models = folder_seeds(), model_seeds()
    seeds = {f"folder-{name}": bytes([1 | 2 * (i % 2), i % 16]) + folders[name]
             for i, name in enumerate(("llama", "shards", "mixtral", "gpt-oss", "gptq", "awq", "nf4", "int8", "fp8",
                                       "bitnet", "gpt2", "bloom", "bert", "gemma3"))}
    seeds.update({f"gguf-{name}": bytes([4 | 2 * (i % 2), (i + 3) % 16 if i % 2 == 0 else i % 3]) + data
                  for i, (name, data) in enumerate(models.items())})
    return seeds


def main():
    targets = {"gguf": gguf_seeds(), "model": model_seeds(), "split": split_seeds(),
               "tokenizer": tokenizer_seeds(), "tokenizer_json": json_seeds(),
               "tokenizer_model": sentencepiece_seeds(),
               "chat": chat_seeds(),
               "snapshot": snapshot_seeds(), "folder": folder_seeds(),
               "adapter": adapter_seeds(), "importance": importance_seeds(), "shape": shape_seeds(),
               "regex": regex_seeds(), "csv": csv_seeds(), "convert": convert_seeds()}
    for target, seeds in targets.items():
        folder = pathlib.Path(__file__).parent / "corpus" / target
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in seeds.items():
            (folder / name).write_bytes(data)


main()
