"""What the scripts of this folder share: a tiny byte-level tokenizer, tensor rearrangement, and
writing of GGUF files. Facts of the formats stand in docs/ and in the GGUF specification."""

import gguf
import numpy as np

Type = gguf.GGMLQuantizationType

N_VOCAB = 320
BOS_ID, EOS_ID, PAD_ID = 317, 318, 319


def byte_symbols():
    """The 256 printable characters by which byte-level BPE vocabularies name the bytes."""
    printable = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    symbols, extra = {}, 0
    for byte in range(256):
        if byte in printable:
            symbols[byte] = chr(byte)
        else:
            symbols[byte] = chr(256 + extra)
            extra += 1
    return [symbols[byte] for byte in range(256)]


def tiny_vocabulary():
    """256 bytes (id = byte), 61 merges of two lower-case letters, and three control tokens."""
    tokens = byte_symbols()
    merges = []
    for first in "etaoinshr":
        for second in "etaoins":
            if len(merges) < N_VOCAB - 259:
                merges.append(f"{first} {second}")
                tokens.append(first + second)
    types = [gguf.TokenType.NORMAL] * len(tokens)
    tokens += ["<|bos|>", "<|eos|>", "<|pad|>"]
    types += [gguf.TokenType.CONTROL] * 3
    assert len(tokens) == N_VOCAB
    return tokens, types, merges


def add_tiny_tokenizer(writer):
    tokens, types, merges = tiny_vocabulary()
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(merges)
    writer.add_bos_token_id(BOS_ID)
    writer.add_eos_token_id(EOS_ID)
    writer.add_pad_token_id(PAD_ID)
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(False)


def interleave_rotary_rows(weight, n_heads):
    """Rows of q or k from the half-split order of Hugging Face to the interleaved order that the
    GGUF architecture "llama" uses: row 2i comes from i, row 2i+1 from i + head_dim/2."""
    rows = weight.shape[0]
    halves = weight.reshape(n_heads, 2, rows // n_heads // 2, *weight.shape[1:])
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(weight.shape))


def add_array(writer, name, array, type_):
    """Adds a float array as a tensor of the given type, and gives back the values a reader sees."""
    array = np.ascontiguousarray(array, dtype=np.float32)
    if type_ == Type.F32 or array.ndim == 1:
        writer.add_tensor(name, array)
        return array
    raw = gguf.quants.quantize(array, type_)
    if type_ == Type.F16:
        writer.add_tensor(name, raw)
    else:
        writer.add_tensor(name, raw, raw_dtype=type_)
    return gguf.quants.dequantize(raw, type_).astype(np.float32).reshape(array.shape)


def finish(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def file_type(type_):
    """general.file_type; numbers for those that the package does not know."""
    unknown = {"I2_S": 40, "Q2_0": 41}
    if type_.name in unknown:
        return unknown[type_.name]
    return gguf.LlamaFileType[
        {"F32": "ALL_F32", "Q3_K": "MOSTLY_Q3_K_M", "Q4_K": "MOSTLY_Q4_K_M",
         "Q5_K": "MOSTLY_Q5_K_M", "MXFP4": "MOSTLY_MXFP4_MOE"}.get(
            type_.name, "MOSTLY_" + type_.name)]
