"""Random small models of every family, as GGUF files of llama.cpp's own converter: what this
library, llama.cpp and `transformers` compute from the same weights; and llama.cpp with the files
that radllm-convert makes.

Usage: compare_with_converter.py BUILD LLAMA_CPP PROGRAMS SCRATCH [--seeds N] [--from N]
           [--types f32,f16,bf16,q8_0] [--quantize Q4_K_M,...] [--all-experts] [--keep] [FAMILY...]

LLAMA_CPP is a checkout with convert_hf_to_gguf.py and its folder `conversion`, PROGRAMS holds
llama_logits and llama_embeddings (build_llama_programs.sh). Figures are relative errors against
`transformers` (norm of the difference over norm, over all positions; of encoders: of vectors of
length 1, in a batch of texts), `theirs` those of llama.cpp. A mark `*` stands behind what is wrong,
a mark `?` behind what is otherwise because the converter or llama.cpp leave something out, which
is named. With --all-experts tokens of quantized files go to all experts: what is left is rounding
without the choices that it changes."""

import argparse
import glob
import json
import logging
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import zlib

import numpy as np
import torch
import transformers

import converter_families
import library

TOLERANCE = 2e-5
# A folder in this type gives a file without further rounding; q8_0 is compared with llama.cpp.
TORCH = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16, "q8_0": torch.float32}
# llama.cpp takes GELU from a table in F16, and rounds activations to the type of 16-bit weights.
THEIRS = {"f32": 1e-3, "f16": 5e-2, "bf16": 0.3, "q8_0": 1e-3}
ROUNDED = 0.3  # between two programs that round activations to 8 bits; experts may change


def randomize(model, seed):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for key, value in sorted(model.state_dict().items()):
            if not value.dtype.is_floating_point or "inv_freq" in key:
                continue
            noise = torch.randn(value.shape, generator=generator)
            norm = "norm" in key.lower() or "ln_" in key or "_ln" in key
            if norm and key.endswith("weight"):
                plus_one = "Gemma" in type(model).__name__
                value.copy_(noise * 0.1 + (0.0 if plus_one else 1.0))
            elif value.ndim == 1 or key.endswith("bias"):
                value.copy_(noise * 0.1)
            elif "embed" in key or "wte" in key or "wpe" in key:
                value.copy_(noise)
            else:
                value.copy_(noise / value.shape[-1] ** 0.5 * 1.5)


def make_folder(case, folder, seed, type_):
    os.makedirs(folder)
    converter_families.make_tokenizer(case, folder)
    kind = transformers.AutoModelForCausalLM
    if case.pooling and case.class_name is None:
        kind = transformers.AutoModel
    case.config._attn_implementation = "eager"
    model = kind.from_config(case.config, attn_implementation="eager")
    if hasattr(model, "pooler"):
        model.pooler = None
    randomize(model, seed)
    model.to(TORCH[type_])
    model.save_pretrained(folder)
    if case.pooling:
        converter_families.write_json(folder, "modules.json", [
            {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
            {"idx": 1, "name": "1", "path": "1_Pooling",
             "type": "sentence_transformers.models.Pooling"},
            {"idx": 2, "name": "2", "path": "2_Normalize",
             "type": "sentence_transformers.models.Normalize"}][:3 if case.normalized else 2])
        os.makedirs(os.path.join(folder, "1_Pooling"))
        modes = {"mean": "mean_tokens", "cls": "cls_token", "lasttoken": "lasttoken"}
        converter_families.write_json(
            os.path.join(folder, "1_Pooling"), "config.json",
            {"word_embedding_dimension": case.config.hidden_size,
             **{"pooling_mode_" + mode: name == case.pooling for name, mode in modes.items()}})
    if case.edits:
        path = os.path.join(folder, "config.json")
        with open(path) as file:
            config = json.load(file)
        for edit in case.edits:
            edit(config)
        with open(path, "w") as file:
            json.dump(config, file)


def normalize(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def reference(case, folder, lists):
    kind = transformers.AutoModel if case.pooling else transformers.AutoModelForCausalLM
    model = kind.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    rows = []
    with torch.no_grad():
        for ids in lists:
            out = model(torch.tensor([ids]))
            if case.pooling:
                hidden = out.last_hidden_state[0]
                rows.append({"mean": hidden.mean(0), "cls": hidden[0],
                             "lasttoken": hidden[-1]}[case.pooling].numpy()[None])
            else:
                rows.append(out.logits[0].float().numpy())
    rows = np.concatenate(rows)
    return normalize(rows) if case.pooling and case.normalized else rows


def use_all_experts(path):
    """Where tokens choose among experts, so does the rounding of a token that stands between two."""
    import gguf
    reader = gguf.GGUFReader(path, "r+")
    fields = {key.partition(".")[2]: field.parts[field.data[0]]
              for key, field in reader.fields.items() if "expert_" in key}
    if "expert_count" in fields:
        fields["expert_used_count"][0] = fields["expert_count"][0]
    for name in ("expert_group_used_count", "expert_group_count"):
        if name in fields:
            fields[name][0] = 1
    reader.data.flush()


class Comparison:
    def __init__(self, choices):
        self.choices = choices
        self.library = library.Library(choices.build)
        sys.path.insert(0, choices.llama)
        sys.path.insert(0, os.path.join(choices.llama, "gguf-py"))
        import conversion
        logging.disable(logging.WARNING)
        self.conversion = conversion
        self.errors = {}

    def convert(self, folder, path, type_, pre):
        """By llama.cpp's converter; it is given the pre-tokenizer's name, since it knows published
        tokenizers alone."""
        import gguf
        types = {"f32": gguf.LlamaFileType.ALL_F32, "f16": gguf.LlamaFileType.MOSTLY_F16,
                 "bf16": gguf.LlamaFileType.MOSTLY_BF16, "q8_0": gguf.LlamaFileType.MOSTLY_Q8_0}
        base = self.conversion.ModelBase
        from conversion.base import TextModel
        TextModel.get_vocab_base_pre = lambda *_: pre
        with torch.inference_mode():
            directory = pathlib.Path(folder)
            name = self.conversion.get_model_architecture(
                base.load_hparams(directory, False), self.conversion.ModelType.TEXT)
            kind = self.conversion.get_model_class(name)
            kind(directory, types[type_], pathlib.Path(path)).write()

    def ours(self, case, path, lists, **options):
        with self.library.open(path, **options) as opened:
            if case.pooling:
                return opened.embeddings(lists)
            return np.concatenate([opened.logits(ids) for ids in lists])

    def theirs(self, case, path, lists):
        program = "llama_embeddings" if case.pooling else "llama_logits"
        with tempfile.NamedTemporaryFile() as out:
            done = subprocess.run([os.path.join(self.choices.programs, program), path, out.name],
                                  input="\n".join(" ".join(map(str, ids)) for ids in lists) + "\n",
                                  text=True, stderr=subprocess.PIPE)
            if done.returncode != 0:
                raise library.Failure((done.stderr.strip() or "crash").splitlines()[0][:160])
            rows = np.fromfile(out.name, "<f4")
        rows = rows.reshape(len(lists) if case.pooling else sum(map(len, lists)), -1)
        return rows

    def figure(self, family, what, tolerance, expected, compute, reasons=(), normal=False):
        """What comes of it, `?` where that is explained, `*` where it is wrong."""
        try:
            found = compute()
            columns = min(found.shape[1], expected.shape[1])
            found, wanted = found[:, :columns], expected[:, :columns]
            if normal:  # a GGUF file of the converter does not say whether vectors are normalized
                found, wanted = normalize(found), normalize(wanted)
            error = float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))
            text = f"{what} {error:.1e}"
        except library.Failure as failure:
            error, text = np.inf, f"{what}: {failure}"
        good = error < tolerance
        if good or not reasons:
            self.errors.setdefault((family, what), []).append(error)
        return text + ("" if good else f" ? ({', '.join(sorted(reasons))})" if reasons else " *")

    def quantized(self, family, case, path, kind, lists, expected, options):
        """This library beside llama.cpp, both with rounded activations."""
        if self.choices.all_experts:
            use_all_experts(path)
        try:
            theirs = self.theirs(case, path, lists)
        except library.Failure as failure:
            return f"{kind} theirs: {failure} {'?' if case.other else '*'}"
        loss = np.linalg.norm(theirs - expected[:, :theirs.shape[1]]) / np.linalg.norm(theirs)
        text = self.figure(family, f"{kind} from theirs", ROUNDED, theirs,
                           lambda: self.ours(case, path, lists, **options),
                           case.lost | case.other | case.unread, case.pooling)
        return f"{text} (which loses {loss:.1e})"

    def compare(self, family, seed):
        case = converter_families.make_case(family, seed)
        line = []
        for type_ in self.choices.types.split(","):
            line += self.compare_type(family, seed, case, type_)
        print(f"{family} {seed}: {', '.join(line)}", flush=True)

    def compare_type(self, family, seed, case, type_):
        # A name that llama.cpp knows nothing of: it treats phi-3 in its own way.
        stem = os.path.join(self.choices.scratch, f"case-{family.replace('phi', 'f')}-{seed}")
        folder, made, ours = f"{stem}-{type_}", f"{stem}-{type_}.gguf", f"{stem}-{type_}-ours.gguf"
        shutil.rmtree(folder, ignore_errors=True)
        make_folder(case, folder, zlib.crc32(f"{family} {seed}".encode()), type_)
        r = random.Random(seed)
        top = getattr(case.config, "vocab_size", 300) - 10
        lengths = [17, 3, 41] if case.pooling else [converter_families.N_TOKENS]
        lists = [[r.randrange(5, top) for _ in range(n)] for n in lengths]
        options = {"batch": 128} if case.pooling else {}
        expected = reference(case, folder, lists)
        line = [self.figure(family, f"{type_} folder", TOLERANCE, expected,
                            lambda: self.ours(case, folder, lists, **options))]
        try:
            self.convert(folder, made, type_, case.tokenizer)
            line += self.compare_file(family, case, made, type_, lists, expected, options)
        except Exception as failure:
            known = case.unsupported and case.unsupported in str(failure)
            line.append(f"{type_}: {failure} {'?' if known else '*'}")
        program = os.path.join(self.choices.build, "examples", "radllm-convert")
        done = subprocess.run([program, folder, ours, "--force"], capture_output=True, text=True)
        if done.returncode != 0:
            line.append(done.stderr.strip()[:300] + " *")
        else:
            line += [self.figure(family, f"{type_} radllm-convert", TOLERANCE, expected,
                                 lambda: self.ours(case, ours, lists, **options)),
                     self.figure(family, f"{type_} radllm-convert theirs", THEIRS[type_], expected,
                                 lambda: self.theirs(case, ours, lists), case.other, case.pooling)]
        if not self.choices.keep:
            shutil.rmtree(folder)
            for path in glob.glob(f"{stem}-*.gguf"):
                os.remove(path)
        return line

    def compare_file(self, family, case, made, type_, lists, expected, options):
        """A file of the converter, and what llama-quantize makes of it."""
        if type_ == "q8_0":
            return [self.quantized(family, case, made, "q8_0", lists, expected, options)]
        lost = set(case.lost)
        if type_ == "f16" and "Gemma" in type(case.config).__name__:
            lost.add("1 + norms in F16")
        reasons = lost | case.other | case.unread
        line = [self.figure(family, type_, TOLERANCE, expected,
                            lambda: self.ours(case, made, lists, **options), lost,
                            case.pooling),
                self.figure(family, f"{type_} theirs", THEIRS[type_], expected,
                            lambda: self.theirs(case, made, lists), reasons, case.pooling)]
        for kind in filter(None, self.choices.quantize.split(",")):
            path = f"{made.removesuffix('.gguf')}-{kind}.gguf"
            program = os.path.join(self.choices.llama, "build", "bin", "llama-quantize")
            subprocess.run([program, made, path, kind, "1"], capture_output=True, check=True)
            line.append(self.quantized(family, case, path, kind, lists, expected, options))
        return line


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name in ("build", "llama", "programs", "scratch"):
        parser.add_argument(name)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--from", dest="first", type=int, default=0)
    parser.add_argument("--types", default="f32")
    parser.add_argument("--quantize", default="", help="types of llama-quantize, Q4_K_M,...")
    parser.add_argument("--all-experts", action="store_true")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("families", nargs="*")
    choices = parser.parse_intermixed_args()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)
    comparison = Comparison(choices)
    converter_families.read_deepseek_llm(choices.llama)
    converter_families.WIDE = bool(choices.quantize)
    for family in choices.families or converter_families.FAMILIES:
        for seed in range(choices.first, choices.first + choices.seeds):
            try:
                comparison.compare(family, seed)
            except Exception as failure:  # of the package's: such a configuration cannot be
                print(f"{family} {seed}: {type(failure).__name__}: {failure} *", flush=True)
    print("\nfamily, what: cases, median, greatest")
    for (family, what), errors in comparison.errors.items():
        print(f"{family}, {what}: {len(errors)}, {np.median(errors):.1e}, {max(errors):.1e}")


if __name__ == "__main__":
    main()
