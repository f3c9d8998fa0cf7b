"""Vocabularies for models that measure speed: read from a GGUF file, read from the two files of a
byte-level BPE tokenizer, or made up. Each is fitted to the number of tokens that a shape asks for:
what is too much is cut off, what is missing are tokens that no text gives."""

import itertools
import json
import pathlib
import string

import gguf

REAL = {"llama": "ggml-vocab/ggml-vocab-llama-spm.gguf", "llama-bpe": "llama3.2",
        "qwen2": "qwen2"}
BEGIN = {"llama-bpe": ("<|begin_of_text|>", "<|end_of_text|>"),
         "qwen2": (None, "<|endoftext|>")}


def find_real(kind, shared):
    """The path of the real vocabulary of this kind in the folder of test data, or None."""
    path = pathlib.Path(shared) / "tokenizers" / REAL[kind]
    return path if path.exists() else None


def _fit(tokens, types, size):
    tokens, types = tokens[:size], types[:size]
    missing = range(len(tokens), size)
    return (tokens + [f"<|unused_{i}|>" for i in missing],
            types + [int(gguf.TokenType.UNUSED)] * len(missing))


def _field(reader, key):
    field = reader.get_field(key)
    return None if field is None else field.contents()


def _add_from_gguf(writer, path, size):
    reader = gguf.GGUFReader(path)
    prefix = "tokenizer.ggml."
    known = len(_field(reader, prefix + "tokens"))
    tokens, types = _fit(_field(reader, prefix + "tokens"), _field(reader, prefix + "token_type"),
                         size)
    writer.add_tokenizer_model(_field(reader, prefix + "model"))
    writer.add_tokenizer_pre(_field(reader, prefix + "pre") or "default")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    scores = _field(reader, prefix + "scores")
    if scores is not None:
        writer.add_token_scores((scores + [-1e6] * (size - known))[:size])
    merges = _field(reader, prefix + "merges")
    if merges is not None:
        writer.add_token_merges(_possible(merges, tokens))
    for key, add in (("bos_token_id", writer.add_bos_token_id),
                     ("eos_token_id", writer.add_eos_token_id),
                     ("unknown_token_id", writer.add_unk_token_id)):
        value = _field(reader, prefix + key)
        if value is not None and value < size:
            add(int(value))
    for key, add in (("add_bos_token", writer.add_add_bos_token),
                     ("add_space_prefix", writer.add_add_space_prefix)):
        value = _field(reader, prefix + key)
        if value is not None:
            add(bool(value))


def _possible(merges, tokens):
    """The merges whose parts and result were not cut off."""
    known = set(tokens)
    kept = []
    for merge in merges:
        left, right = merge.split(" ")
        if left in known and right in known and left + right in known:
            kept.append(merge)
    return kept


def _add_from_folder(writer, folder, size, pre):
    def first(*names):
        return next(folder / name for name in names if (folder / name).exists())

    table = json.loads(first("vocab.json", "encoder.json").read_text(encoding="utf-8"))
    tokens = sorted(table, key=table.get)
    lines = first("merges.txt", "vocab.bpe").read_text(encoding="utf-8").split("\n")
    merges = [line for line in lines if line.count(" ") == 1 and not line.startswith("#version")]
    begin, end = BEGIN[pre]
    controls = [token for token in (begin, end) if token is not None and token not in table]
    tokens = tokens[:size - len(controls)]
    types = [int(gguf.TokenType.NORMAL)] * len(tokens) + [int(gguf.TokenType.CONTROL)] * len(controls)
    tokens, types = _fit(tokens + controls, types, size)
    types[tokens.index(end)] = int(gguf.TokenType.CONTROL)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(_possible(merges, tokens))
    writer.add_eos_token_id(tokens.index(end))
    if begin is not None:
        writer.add_bos_token_id(tokens.index(begin))
    writer.add_add_bos_token(begin is not None)


def _add_made_up(writer, size):
    space = "\u2581"
    letters = string.ascii_lowercase
    pieces = itertools.chain(
        [space], string.printable[:95],
        (space + a for a in letters), (a + b for a in letters for b in letters),
        (space + a + b for a in letters for b in letters),
        (a + b + c for a in letters for b in letters for c in letters),
        (space + a + b + c for a in letters for b in letters for c in letters))
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    types = ([int(gguf.TokenType.UNKNOWN)] + [int(gguf.TokenType.CONTROL)] * 2 +
             [int(gguf.TokenType.BYTE)] * 256)
    scores = [0.0] * len(tokens)
    seen = set(tokens) | {" "}
    for piece in pieces:
        if piece not in seen:
            seen.add(piece)
            scores.append(float(259 - len(tokens)))
            tokens.append(piece)
            types.append(int(gguf.TokenType.NORMAL))
    known = len(tokens)
    tokens, types = _fit(tokens, types, size)
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_scores((scores + [-1e6] * (size - known))[:size])
    writer.add_token_types(types)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)


def add_vocabulary(writer, size, path, pre):
    """path: a GGUF file, a folder (with pre, the name of its pre-tokenizer), or None: made up."""
    if size < 320:
        raise ValueError(f"a vocabulary of {size} tokens is too small: at least 320")
    if path is None:
        _add_made_up(writer, size)
    elif pathlib.Path(path).is_dir():
        _add_from_folder(writer, pathlib.Path(path), size, pre)
    else:
        _add_from_gguf(writer, path, size)
