"""Random small models of every family, as configurations of `transformers`, with tokenizers of the
kind that the family's folders have. For compare_with_converter.py."""

import io
import json
import os
import random
import re

import sentencepiece
import sentencepiece.sentencepiece_model_pb2 as sentencepiece_model_pb2
import tokenizers
import transformers
from tokenizers import Regex, decoders, models, pre_tokenizers, processors, trainers

HERE = os.path.dirname(os.path.abspath(__file__))
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
          r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
BLOOM = r" ?[^(\s|[.,!?…。，、।۔،])]+"
GPT4O = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
         r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
         r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
         r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|"
         r"\s+(?!\S)|\s+")
# In the published file CR and LF stand as themselves.
DEEPSEEK3 = [r"\p{N}{1,3}", r"[一-龥぀-ゟ゠-ヿ]+",
             r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|"""
             r"[^RN\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[RN]*|\s*[RN]+|\s+(?!\S)|\s+"]
DEEPSEEK3[2] = DEEPSEEK3[2].replace("RN", "\r\n")
# Per name of a pre-tokenizer: expressions and control tokens, of which the first begins texts and
# the second ends them.
BYTE_LEVEL = {
    "llama-bpe": (LLAMA3, ["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"]),
    "qwen2": (QWEN2, ["<|im_start|>", "<|endoftext|>", "<|im_end|>"]),
    "gpt-2": (None, ["<|endoftext|>", "<|endoftext|>"]),
    "bloom": (BLOOM, ["<s>", "</s>", "<unk>", "<pad>"]),
    "gpt-4o": (GPT4O, ["<|startoftext|>", "<|return|>", "<|endoftext|>"]),
    "roberta-bpe": (None, ["<s>", "</s>", "<pad>", "<unk>", "<mask>"]),
    "deepseek-v3": (DEEPSEEK3, ["<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"]),
}


def read_deepseek_llm(checkout):
    """The expressions of DeepSeek-V2, of which one spells out all letters: as llama.cpp has them.
    Its digits are cut one by one."""
    with open(os.path.join(checkout, "src", "llama-vocab.cpp"), encoding="utf-8") as file:
        letters = re.search(r'"\\\\(s\?\[A-Za-z\u00b5[^"]+)"', file.read())[1]
    BYTE_LEVEL["deepseek-llm"] = (
        ["[\r\n]", "\\" + letters, r"\s?[!-/:-~！-／：-～‘-‟　-。]+", r"\s+$", "[一-龥ࠀ-一가-퟿]+", "digits"],
        ["<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"])


TEXTS = ["No pleural effusion. The heart is normal in size.", "Größe: 3 mm, Москва 日本語",
         "\n\n  1234567", "don't I'LL we've", "Ascites <s> </s> [SEP]", "é́ naïve ﬁ ½ 😀"]


def corpus():
    texts = list(TEXTS)
    for name in ("folders.md", "formats.md", "memory.md"):
        with open(os.path.join(HERE, "..", "..", "docs", name), encoding="utf-8") as file:
            texts += file.read().split("\n")
    return texts


def write_json(folder, name, value):
    with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
        json.dump(value, file, ensure_ascii=False)


def byte_level(folder, kind, size):
    """BPE of bytes; a model may have more rows than it has tokens."""
    pattern, special = BYTE_LEVEL[kind]
    made = tokenizers.Tokenizer(models.BPE())
    if pattern is None:
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    else:
        patterns = pattern if isinstance(pattern, list) else [pattern]
        made.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True) if p == "digits"
             else pre_tokenizers.Split(Regex(p), "isolated") for p in patterns]
            + [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    if kind == "qwen2":
        made.normalizer = tokenizers.normalizers.NFC()
    made.decoder = decoders.ByteLevel()
    made.post_processor = processors.ByteLevel(trim_offsets=False)
    distinct = list(dict.fromkeys(special))
    first = ["<s>", "<pad>", "</s>", "<unk>"] if kind == "roberta-bpe" else []
    made.train_from_iterator(corpus(), trainers.BpeTrainer(
        vocab_size=size - len(distinct), show_progress=False, special_tokens=first,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    made.add_special_tokens([tokenizers.AddedToken(t, special=True) for t in distinct])
    frame = {"llama-bpe": "{} $A", "deepseek-v3": "{} $A",
             "deepseek-llm": "{} $A", "roberta-bpe": "{} $A {}"}.get(kind)
    if frame is not None:
        ends = [(token, made.token_to_id(token)) for token in special[:2]]
        made.post_processor = processors.TemplateProcessing(
            single=frame.format(*special), pair=frame.format(*special) + " $B:1",
            special_tokens=ends)
    made.save(os.path.join(folder, "tokenizer.json"))
    write_json(folder, "tokenizer_config.json", {
        "tokenizer_class": "GPT2Tokenizer" if kind == "gpt-4o" else "PreTrainedTokenizerFast",
        "bos_token": special[0], "eos_token": special[1],
        **({"unk_token": "<unk>", "pad_token": "<pad>", "mask_token": "<mask>", "cls_token": "<s>",
            "sep_token": "</s>"} if kind == "roberta-bpe" else {}),
        "add_bos_token": kind in ("llama-bpe", "deepseek-v3", "deepseek-llm")})
    return made.get_vocab_size()


def pieces(folder, family, size):
    """A SentencePiece model beside the tokenizer.json that `transformers` has for it."""
    stream = io.BytesIO()
    gemma = family == "gemma"
    ids = dict(unk_id=0, bos_id=1, eos_id=2)
    if gemma:
        ids = dict(pad_id=0, eos_id=1, bos_id=2, unk_id=3)
    begin, end = ("<bos>", "<eos>") if gemma else ("<s>", "</s>")
    user = ["<start_of_turn>", "<end_of_turn>"] if gemma else []
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([t for t in corpus() if t]), model_writer=stream, model_type="bpe",
        vocab_size=size, byte_fallback=True, character_coverage=0.98, bos_piece=begin,
        eos_piece=end,
        normalization_rule_name="identity", remove_extra_whitespaces=False,
        add_dummy_prefix=not gemma, user_defined_symbols=user, minloglevel=3, **ids)
    with open(os.path.join(folder, "tokenizer.model"), "wb") as file:
        file.write(stream.getvalue())
    write_json(folder, "tokenizer_config.json", {
        "tokenizer_class": "GemmaTokenizer" if gemma else "LlamaTokenizer",
        "bos_token": begin, "eos_token": end, "unk_token": "<unk>",
        "add_bos_token": True, "add_eos_token": False})
    write_json(folder, "special_tokens_map.json",
               {"bos_token": begin, "eos_token": end, "unk_token": "<unk>"})


def word_pieces(folder, size):
    made = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    made.train_from_iterator(corpus(), trainers.WordPieceTrainer(
        vocab_size=size, special_tokens=special, show_progress=False))
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    made.decoder = decoders.WordPiece()
    made.save(os.path.join(folder, "tokenizer.json"))
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), special))
    write_json(folder, "tokenizer_config.json", {"tokenizer_class": "BertTokenizer",
                                                 "do_lower_case": True, **names})
    vocabulary = made.get_vocab()
    with open(os.path.join(folder, "vocab.txt"), "w", encoding="utf-8") as file:
        file.write("\n".join(sorted(vocabulary, key=vocabulary.get)) + "\n")
    return len(vocabulary)


def unigram(folder, size):
    """XLM-RoBERTa: the pieces of sentencepiece.bpe.model moved up by one, <mask> behind them."""
    stream = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([t for t in corpus() if t]), model_writer=stream,
        model_type="unigram", vocab_size=size - 2, character_coverage=0.98, minloglevel=3)
    with open(os.path.join(folder, "sentencepiece.bpe.model"), "wb") as file:
        file.write(stream.getvalue())
    model = sentencepiece.SentencePieceProcessor(model_proto=stream.getvalue())
    entries = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    entries += [(model.id_to_piece(i), model.get_score(i)) for i in range(3, model.vocab_size())]
    entries.append(("<mask>", 0.0))
    made = tokenizers.Tokenizer(models.Unigram(entries, unk_id=3))
    made.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    proto = sentencepiece_model_pb2.ModelProto.FromString(stream.getvalue())
    made.normalizer = tokenizers.normalizers.Precompiled(proto.normalizer_spec.precompiled_charsmap)
    made.decoder = decoders.Metaspace()
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", 0), ("</s>", 2)])
    made.add_special_tokens([tokenizers.AddedToken(t, special=True)
                             for t in ("<s>", "<pad>", "</s>", "<unk>", "<mask>")])
    made.save(os.path.join(folder, "tokenizer.json"))
    write_json(folder, "tokenizer_config.json", {
        "tokenizer_class": "XLMRobertaTokenizer", "bos_token": "<s>", "eos_token": "</s>",
        "unk_token": "<unk>", "pad_token": "<pad>", "cls_token": "<s>", "sep_token": "</s>",
        "mask_token": "<mask>"})
    return len(entries)


# ---- configurations ---------------------------------------------------------------------------


class Case:
    """A configuration, the kind of its tokenizer, and what else the folder has."""

    def __init__(self, config, tokenizer, pooling=None, class_name=None, edit=None, lost=(),
                 other=(), unsupported=None):
        self.config, self.tokenizer, self.pooling = config, tokenizer, pooling
        self.class_name = class_name
        self.edits = [edit] if edit else []  # of config.json as it was saved
        # Of what the configuration says: what llama.cpp's converter does not write, what llama.cpp
        # computes otherwise, or does so only with the converter's files.
        self.lost, self.other, self.unread = set(lost), set(other), set()
        self.unsupported = unsupported  # by the converter
        rope = getattr(config, "rope_parameters", None) or {}
        if "beta_fast" in rope and not isinstance(config, transformers.GptOssConfig):
            self.other.add("beta_fast, beta_slow")
        if "attention_factor" in rope:
            self.unread.add("attention_factor")


def older_keys(config):
    """Rotations as version 4 of `transformers` writes them."""
    rope = config.pop("rope_parameters")
    config["rope_theta"] = rope.pop("rope_theta")
    share = rope.pop("partial_rotary_factor", 1.0)
    if share != 1.0:
        config["partial_rotary_factor"] = share
    rope["type"] = rope["rope_type"]
    config["rope_scaling"] = rope if rope["type"] != "default" else None


def pick(r, **choices):
    return {key: r.choice(values) for key, values in choices.items()}


N_TOKENS = 60
WIDE = False  # rows of a multiple of 256, for formats with blocks of so many


def sizes(r, odd_heads=True):
    heads = r.choice([2, 4, 6] if odd_heads and not WIDE else [2, 4])
    kv = r.choice([n for n in (1, 2, 3, heads) if heads % n == 0])
    width = r.choice([64, 96]) if heads != 6 else 96
    return dict(hidden_size=256 if WIDE else width, num_hidden_layers=r.choice([2, 3, 4]),
                num_attention_heads=heads, num_key_value_heads=kv,
                intermediate_size=512 if WIDE else r.choice([96, 128, 160]), vocab_size=320)


def yarn(r, own_length=None):
    rope = {"rope_type": "yarn", "factor": r.choice([2.0, 4.0, 16.0]),
            "original_max_position_embeddings": r.choice([16, 32])}
    rope.update(r.choice([{}, {"beta_fast": 16.0, "beta_slow": 2.0}, {"beta_fast": 4.0}]))
    if r.random() < 0.4 if own_length is None else own_length:
        rope["attention_factor"] = r.choice([0.7, 1.0, 1.3])
    return rope


def rope(r, kinds, **more):
    kind = r.choice(kinds)
    found = {"rope_theta": r.choice([1e4, 5e5, 1e6, 12345.0])}
    if kind == "llama3":
        found.update(rope_type="llama3", factor=r.choice([8.0, 32.0]), low_freq_factor=1.0,
                     high_freq_factor=r.choice([2.0, 4.0]), original_max_position_embeddings=32)
    elif kind == "yarn":
        found.update(yarn(r, **more))
    elif kind == "linear":
        found.update(rope_type="linear", factor=r.choice([2.0, 8.0]))
    else:
        found["rope_type"] = "default"
    return found


def llama(r):
    return Case(transformers.LlamaConfig(
        **sizes(r), head_dim=r.choice([16, 24, 32]), max_position_embeddings=128,
        rope_parameters=rope(r, ["default", "llama3", "yarn", "linear"]),
        **pick(r, tie_word_embeddings=[True, False], attention_bias=[True, False],
               mlp_bias=[False, False, True], rms_norm_eps=[1e-5, 1e-6])),
        r.choice(["llama-bpe", "pieces"]))


def mistral(r):
    window = r.choice([None, None, 16])
    return Case(transformers.MistralConfig(
        **sizes(r), head_dim=r.choice([None, 16, 32]) or 16, max_position_embeddings=128,
        sliding_window=window, rope_parameters=rope(r, ["default", "default", "yarn"])),
        "pieces", lost=["window"] if window else [], other=["window"] if window else [])


def ministral(r):
    layers = sizes(r)
    types = [r.choice(["full_attention", "sliding_attention"])
             for _ in range(layers["num_hidden_layers"])]
    return Case(transformers.MinistralConfig(
        **layers, head_dim=16, max_position_embeddings=128, sliding_window=16, layer_types=types,
        rope_parameters=rope(r, ["default"])), "pieces",
        other=["window"] if "sliding_attention" in types else [],
        unsupported="MinistralForCausalLM")


def mixtral(r):
    return Case(transformers.MixtralConfig(
        **sizes(r), max_position_embeddings=128, sliding_window=None,
        **pick(r, num_local_experts=[4, 8, 3], num_experts_per_tok=[1, 2, 3]), head_dim=16,
        rope_parameters=rope(r, ["default"])), "pieces")


def qwen2(r):
    return Case(transformers.Qwen2Config(
        **sizes(r, odd_heads=False), max_position_embeddings=128, use_sliding_window=False,
        rope_parameters=rope(r, ["default", "yarn"]), **pick(r, tie_word_embeddings=[True, False])),
        "qwen2")


def qwen3(r):
    bias = r.choice([False, False, False, True])
    return Case(transformers.Qwen3Config(
        **sizes(r), head_dim=r.choice([16, 32]), max_position_embeddings=128,
        rope_parameters=rope(r, ["default", "yarn"]), attention_bias=bias,
        **pick(r, tie_word_embeddings=[True, False])), "qwen2", other=["biases"] if bias else [])


def qwen2_moe(r):
    norm = r.choice([False, False, True])
    changed = ["norm_topk_prob"] if norm else []
    return Case(transformers.Qwen2MoeConfig(
        **sizes(r, odd_heads=False), max_position_embeddings=128,
        rope_parameters=rope(r, ["default", "yarn"]),
        **pick(r, num_experts=[4, 6, 8], num_experts_per_tok=[2, 3],
               moe_intermediate_size=[32, 96], shared_expert_intermediate_size=[64, 96],
               tie_word_embeddings=[False], qkv_bias=[True, True, False]), norm_topk_prob=norm),
        "qwen2", lost=changed, other=changed)


def qwen3_moe(r):
    norm = r.choice([True, True, False])
    return Case(transformers.Qwen3MoeConfig(
        **sizes(r), head_dim=r.choice([16, 32]), max_position_embeddings=128, norm_topk_prob=norm,
        rope_parameters=rope(r, ["default", "yarn"]),
        **pick(r, num_experts=[8, 12], num_experts_per_tok=[2, 4], moe_intermediate_size=[32, 96],
               tie_word_embeddings=[True, False])), "qwen2",
        lost=[] if norm else ["norm_topk_prob"], other=[] if norm else ["norm_topk_prob"])


def phi(r):
    heads = r.choice([2, 4])
    chosen = {**sizes(r), "num_attention_heads": heads, "num_key_value_heads": heads}
    chosen["intermediate_size"] = 4 * chosen["hidden_size"]  # what converters write
    return Case(transformers.PhiConfig(
        **chosen,
        max_position_embeddings=128, partial_rotary_factor=r.choice([0.5, 0.25]),
        qk_layernorm=False,
        **pick(r, layer_norm_eps=[1e-5, 1e-6])), "gpt-2")


def phi3(r):
    chosen = sizes(r, odd_heads=False)
    share = r.choice([1.0, 1.0, 0.75])
    long, head = r.random() < 0.5, chosen["hidden_size"] // chosen["num_attention_heads"]
    share = share if head % 8 == 0 else 1.0
    scaling = {"rope_theta": 1e4, "rope_type": "default", "partial_rotary_factor": share}
    window = r.choice([None, 24])
    if long:
        pairs = int(head * share) // 2
        scaling.update(rope_type="longrope",
                       short_factor=[1 + 0.1 * r.random() for _ in range(pairs)],
                       long_factor=[1 + 8 * r.random() for _ in range(pairs)],
                       original_max_position_embeddings=r.choice([32, 128]))
    config = transformers.Phi3Config(
        **chosen, max_position_embeddings=128, rope_parameters=scaling, sliding_window=window,
        original_max_position_embeddings=scaling.get("original_max_position_embeddings", 128),
        pad_token_id=0, partial_rotary_factor=share,
        **pick(r, tie_word_embeddings=[True, False]))
    other = ["window"] if window else []
    if long and scaling["original_max_position_embeddings"] > N_TOKENS:
        other.append("contexts in steps of 256")  # which are long for llama.cpp
    return Case(config, r.choice(["pieces", "gpt-4o"]), other=other)


def gemma2(r):
    head = r.choice([16, 32])
    return Case(transformers.Gemma2Config(
        **sizes(r), head_dim=head, max_position_embeddings=128, sliding_window=16,
        query_pre_attn_scalar=head), "gemma")


def gemma3(r):
    head = r.choice([16, 32])
    chosen = sizes(r)
    chosen["num_hidden_layers"] = r.choice([6, 7])
    full = rope(r, ["default", "linear"])
    return Case(transformers.Gemma3TextConfig(
        **chosen, head_dim=head, max_position_embeddings=128, sliding_window=16,
        query_pre_attn_scalar=head, rope_parameters={
            "full_attention": full,
            "sliding_attention": {"rope_type": "default", "rope_theta": r.choice([1e4, 1e4, 2e4])}},
        final_logit_softcapping=r.choice([None, None, 30.0])), "gemma")


def gpt_oss(r):
    # Published models do not round the borders of YaRN's ramp, llama.cpp always does.
    rounds = r.random() < 0.3
    return Case(transformers.GptOssConfig(
        **{**sizes(r), "hidden_size": 64}, head_dim=r.choice([16, 32]), max_position_embeddings=128,
        sliding_window=16,
        rope_parameters={"rope_type": "yarn", "rope_theta": 150000.0,
                         "factor": r.choice([8.0, 32.0]), "beta_fast": 32.0, "beta_slow": 1.0,
                         "truncate": rounds,
                         "original_max_position_embeddings": 32},
        **pick(r, num_local_experts=[4, 6], num_experts_per_tok=[2, 3],
               tie_word_embeddings=[False])), "gpt-4o", lost=["truncate"] if rounds else [],
        other=[] if rounds else ["truncate"])


def bloom(r):
    return Case(transformers.BloomConfig(
        hidden_size=r.choice([64, 96]), n_layer=r.choice([2, 3]), n_head=r.choice([2, 4, 8]),
        vocab_size=320, seq_length=128), "bloom")


def gpt2(r):
    return Case(transformers.GPT2Config(
        n_embd=r.choice([64, 96]), n_layer=r.choice([2, 3]), n_head=r.choice([2, 4]),
        vocab_size=320, n_positions=128), "gpt-2", edit=lambda config: config.update(n_ctx=128))


def mpt(r):
    return Case(transformers.MptConfig(
        d_model=96, n_layers=r.choice([2, 3]), n_heads=r.choice([2, 4, 6]),
        vocab_size=320, max_seq_len=128, expansion_ratio=4,
        attn_config={"alibi": True, "clip_qkv": r.choice([None, 1.5]), "qk_ln": False,
                     "alibi_bias_max": 8, "softmax_scale": None, "attn_pdrop": 0}), "gpt-2",
        edit=lambda config: config.update(architectures=["MPTForCausalLM"]))


def dots1(r):
    chosen = sizes(r)
    chosen["num_key_value_heads"] = chosen["num_attention_heads"]  # as published
    return Case(transformers.Dots1Config(
        **chosen, head_dim=16, max_position_embeddings=128, n_routed_experts=8,
        n_group=r.choice([1, 2]), topk_group=1, sliding_window=None, max_window_layers=0,
        use_sliding_window=False,
        layer_types=["full_attention"] * chosen["num_hidden_layers"],
        rope_parameters=rope(r, ["default"]),
        **pick(r, num_experts_per_tok=[2, 3], n_shared_experts=[1, 2], first_k_dense_replace=[1],
               norm_topk_prob=[True, False], routed_scaling_factor=[1.0, 2.5],
               moe_intermediate_size=[32, 64])), "qwen2",
        edit=lambda config: config.update(scoring_func="sigmoid"))


def latent(r):
    heads = r.choice([2, 3, 4])
    return dict(hidden_size=96, num_hidden_layers=r.choice([2, 3]), num_attention_heads=heads,
                num_key_value_heads=heads, intermediate_size=128, vocab_size=320,
                max_position_embeddings=128, first_k_dense_replace=r.choice([0, 1]),
                kv_lora_rank=r.choice([32, 48]), qk_nope_head_dim=r.choice([16, 32]),
                qk_rope_head_dim=r.choice([8, 16]), v_head_dim=r.choice([16, 32]),
                n_routed_experts=8, num_experts_per_tok=r.choice([2, 3]),
                n_shared_experts=r.choice([1, 2]), moe_intermediate_size=r.choice([32, 64]),
                routed_scaling_factor=r.choice([1.0, 2.5, 16.0]))


def latent_rope(r, scales):
    found = {"rope_theta": r.choice([1e4, 5e4]), "rope_type": "default"}
    if r.random() < 0.7:
        found.update(yarn(r, own_length=False))
        scale = r.choice(scales)
        found.update({"mscale": scale, "mscale_all_dim": scale} if scale else {})
    return found


def level(rotations):
    """llama.cpp takes YaRN's length into account twice where latent attention has no mscale."""
    wrong = rotations["rope_type"] == "yarn" and "mscale_all_dim" not in rotations
    return ["yarn without mscale"] if wrong else []


def deepseek2(r):
    limit, rotations = r.random() < 0.5, latent_rope(r, [0.707, 1.0, None])
    other = ["group_limited_greedy"] if limit else []
    return Case(transformers.DeepseekV2Config(
        **latent(r), q_lora_rank=32, n_group=4 if limit else None, topk_group=2 if limit else None,
        topk_method="group_limited_greedy" if limit else "greedy", norm_topk_prob=False,
        rope_parameters=rotations), "deepseek-llm", other=other + level(rotations),
        edit=lambda config: config.update(scoring_func="softmax"))


def deepseek3(r):
    rotations = latent_rope(r, [1.0, 0.8, None])
    return Case(transformers.DeepseekV3Config(
        **latent(r), q_lora_rank=32, n_group=(groups := r.choice([1, 2, 4])),
        topk_group=max(1, groups // 2), norm_topk_prob=r.choice([True, True, False]),
        rope_parameters=rotations), "deepseek-v3", other=level(rotations),
        edit=lambda config: config.update(scoring_func="sigmoid"))


def bitnet(r):
    return Case(transformers.BitNetConfig(
        **sizes(r, odd_heads=False), max_position_embeddings=128, tie_word_embeddings=True,
        hidden_act="relu2",
        rope_parameters=rope(r, ["default"])), "llama-bpe", other=["family"],
        unsupported="tensor 'model.layers.0.mlp.ffn_sub_norm.weight'")


def bert(r):
    heads = r.choice([2, 4])
    return Case(transformers.BertConfig(
        hidden_size=64, num_hidden_layers=r.choice([2, 3]), num_attention_heads=heads,
        intermediate_size=r.choice([96, 128]), max_position_embeddings=96,
        **pick(r, layer_norm_eps=[1e-12, 1e-5], type_vocab_size=[2, 1])), "words",
        pooling=r.choice(["mean", "cls", "lasttoken"]))


def authors_nomic(config):
    """The keys of the authors' own configuration, which the converter reads."""
    config.update(n_positions=8192, activation_function="swiglu", causal=False, qkv_proj_bias=False,
                  mlp_fc1_bias=False, mlp_fc2_bias=False, prenorm=False, rotary_emb_fraction=1.0,
                  rotary_emb_interleaved=False, rotary_emb_scale_base=None,
                  rotary_emb_base=config["rope_parameters"]["rope_theta"],
                  layer_norm_epsilon=config["layer_norm_eps"])


def nomic(r):
    return Case(transformers.NomicBertConfig(
        hidden_size=64, num_hidden_layers=r.choice([2, 3]), num_attention_heads=r.choice([2, 4]),
        intermediate_size=r.choice([96, 128]), max_position_embeddings=2048), "words",
        pooling=r.choice(["mean", "cls"]), edit=authors_nomic)


def xlm_roberta(r):
    return Case(transformers.XLMRobertaConfig(
        hidden_size=64, num_hidden_layers=r.choice([2, 3]), num_attention_heads=r.choice([2, 4]),
        intermediate_size=128, max_position_embeddings=98, type_vocab_size=1, pad_token_id=1,
        bos_token_id=0, eos_token_id=2), "unigram", pooling=r.choice(["mean", "cls"]))


def roberta(r):
    return Case(transformers.RobertaConfig(
        hidden_size=64, num_hidden_layers=r.choice([2, 3]), num_attention_heads=r.choice([2, 4]),
        intermediate_size=128, max_position_embeddings=98, type_vocab_size=1, pad_token_id=1,
        bos_token_id=0, eos_token_id=2), "roberta-bpe", pooling=r.choice(["mean", "cls"]))


def qwen3_embedding(r):
    case = qwen3(r)
    case.config.tie_word_embeddings = True
    case.pooling, case.class_name = "lasttoken", "Qwen3ForCausalLM"
    return case


FAMILIES = dict(llama=llama, mistral=mistral, ministral=ministral, mixtral=mixtral, qwen2=qwen2,
                qwen3=qwen3, qwen2_moe=qwen2_moe, qwen3_moe=qwen3_moe, phi=phi, phi3=phi3,
                gemma2=gemma2, gemma3=gemma3, gpt_oss=gpt_oss, bloom=bloom, gpt2=gpt2, mpt=mpt,
                dots1=dots1, deepseek2=deepseek2, deepseek3=deepseek3, bitnet=bitnet, bert=bert,
                nomic=nomic, xlm_roberta=xlm_roberta, roberta=roberta,
                qwen3_embedding=qwen3_embedding)


def make_tokenizer(case, folder):
    if case.tokenizer == "words":
        case.config.vocab_size = word_pieces(folder, 400)
    elif case.tokenizer == "unigram":
        case.config.vocab_size = unigram(folder, 400)
    elif case.tokenizer == "roberta-bpe":
        case.config.vocab_size = byte_level(folder, case.tokenizer, 320)
    elif case.tokenizer in ("pieces", "gemma"):
        case.config.vocab_size = 400
        pieces(folder, case.tokenizer, 400)
    else:
        byte_level(folder, case.tokenizer, 316)


def make_case(name, seed):
    r = random.Random(f"{name} {seed}")
    case = FAMILIES[name](r)
    case.normalized = r.random() < 0.7
    if r.random() < 0.5 and "rope_type" in (getattr(case.config, "rope_parameters", None) or {}):
        case.edits.append(older_keys)
    return case
