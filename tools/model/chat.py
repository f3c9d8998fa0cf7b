"""The tokenizer (byte-level BPE, GPT-2 pre-tokenization) and the chat format (ChatML)."""

from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

import reports

END_OF_TEXT, IM_START, IM_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
SPECIALS = [END_OF_TEXT, IM_START, IM_END]
VOCABULARY = 2048
TEMPLATE = ("{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content']"
            " + '<|im_end|>' + '\\n'}}{% endfor %}{% if add_generation_prompt %}"
            "{{ '<|im_start|>assistant\\n' }}{% endif %}")


def render(messages, generate=False):
    """ChatML text of [(role, text)]."""
    text = "".join(f"{IM_START}{role}\n{content}{IM_END}\n" for role, content in messages)
    return text + f"{IM_START}assistant\n" if generate else text


def train_tokenizer(path, examples=12000):
    """Learns the merges from training-bank text only and writes tokenizer.json."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=SPECIALS, show_progress=False,
                                  initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))

    def lines():
        for index in range(examples):
            messages, _, _ = reports.conversation(900_000_000 + index, turns=1)
            for role, text in messages:
                yield role + "\n" + text
    tokenizer.train_from_iterator(lines(), trainer)
    assert tokenizer.get_vocab_size() == VOCABULARY
    tokenizer.save(str(path))
    return tokenizer


def load_tokenizer(path, dropout=None):
    tokenizer = Tokenizer.from_file(str(path))
    if dropout:
        tokenizer.model.dropout = dropout
    return tokenizer


if __name__ == "__main__":
    import sys
    made = train_tokenizer(Path(sys.argv[1]))
    sample = reports.conversation(5)[0]
    print(made.encode(render(sample)).tokens)
