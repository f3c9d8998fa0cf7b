"""Writes a training checkpoint as GGUF (architecture llama).

    export.py --run DIR --out FILE.gguf [--type q8_0|f16|f32]
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from gguf import GGMLQuantizationType, GGUFWriter, LlamaFileType, TokenType, quants

import chat

TYPES = {"q8_0": (GGMLQuantizationType.Q8_0, LlamaFileType.MOSTLY_Q8_0),
         "f16": (GGMLQuantizationType.F16, LlamaFileType.MOSTLY_F16),
         "f32": (GGMLQuantizationType.F32, LlamaFileType.ALL_F32)}
NAMES = {"attn_norm": "attn_norm", "ffn_norm": "ffn_norm", "q.weight": "attn_q", "k.weight": "attn_k",
         "v.weight": "attn_v", "o.weight": "attn_output", "gate.weight": "ffn_gate",
         "up.weight": "ffn_up", "down.weight": "ffn_down"}


def tensors(state, layers):
    """(GGUF name, matrix) in file order. Query and key rows already have the paired rotary layout."""
    yield "token_embd.weight", state["embedding"]
    for layer in range(layers):
        for ours, theirs in NAMES.items():
            yield f"blk.{layer}.{theirs}.weight", state[f"layers.{layer}.{ours}"]
    yield "output_norm.weight", state["norm"]


def write_header(writer, shape, file_type):
    writer.add_name("radreport")
    writer.add_type("model")
    writer.add_author("libradllm")
    writer.add_license("apache-2.0")
    writer.add_description("Answers questions about synthetic radiology reports. Not for clinical use.")
    writer.add_languages(["en"])
    writer.add_tags(["text-generation", "radiology", "synthetic"])
    writer.add_file_type(file_type)
    writer.add_quantization_version(2)
    writer.add_vocab_size(shape["vocabulary"])
    writer.add_context_length(shape["context"])
    writer.add_embedding_length(shape["width"])
    writer.add_block_count(shape["layers"])
    writer.add_feed_forward_length(shape["ffn"])
    writer.add_head_count(shape["heads"])
    writer.add_head_count_kv(shape["kv_heads"])
    writer.add_key_length(shape["width"] // shape["heads"])
    writer.add_value_length(shape["width"] // shape["heads"])
    writer.add_rope_dimension_count(shape["width"] // shape["heads"])
    writer.add_rope_freq_base(shape["theta"])
    writer.add_layer_norm_rms_eps(shape["epsilon"])


def write_tokenizer(writer, path):
    data = json.loads(Path(path).read_text())
    vocabulary = data["model"]["vocab"]
    pieces = sorted(vocabulary, key=vocabulary.get)
    assert [vocabulary[p] for p in pieces] == list(range(len(pieces)))
    merges = [m if isinstance(m, str) else " ".join(m) for m in data["model"]["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(pieces)
    writer.add_token_types([TokenType.CONTROL if p in chat.SPECIALS else TokenType.NORMAL for p in pieces])
    writer.add_token_merges(merges)
    writer.add_eos_token_id(vocabulary[chat.IM_END])
    writer.add_eot_token_id(vocabulary[chat.IM_END])
    writer.add_pad_token_id(vocabulary[chat.END_OF_TEXT])
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(False)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(chat.TEMPLATE)


def export(run, out, kind):
    saved = torch.load(Path(run) / "checkpoint.pt", weights_only=True)
    shape, state = saved["shape"], saved["network"]
    matrix_type, file_type = TYPES[kind]
    writer = GGUFWriter(str(out), "llama")
    write_header(writer, shape, file_type)
    write_tokenizer(writer, Path(run) / "tokenizer.json")
    for name, value in tensors(state, shape["layers"]):
        array = value.detach().numpy().astype(np.float32)
        if array.ndim == 1 or kind == "f32":
            writer.add_tensor(name, array)
        elif kind == "f16":
            writer.add_tensor(name, array.astype(np.float16))
        else:
            writer.add_tensor(name, quants.quantize(array, matrix_type), raw_dtype=matrix_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--type", choices=TYPES, default="q8_0")
    arguments = parser.parse_args()
    export(arguments.run, arguments.out, arguments.type)
    print(arguments.out, arguments.out.stat().st_size, "bytes")
