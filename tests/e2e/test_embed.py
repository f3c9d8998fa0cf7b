"""radllm-embed: vectors as JSON lines, CSV and NumPy arrays, likeness to a text, and what it refuses;
folders whose files of sentence-transformers are wrong."""
import math
import struct

from e2e import *

GOLDEN = SOURCE / "tests" / "golden"
MODEL = GOLDEN / "encoders" / "bert-f32.gguf"
sys.path.insert(0, str(GOLDEN))
import make_folder  # noqa: E402


def embed(*arguments, model=MODEL, **keys):
    return run("radllm-embed", "-m", model, *arguments, **keys)


def vectors(result):
    return [json.loads(line)["embedding"] for line in result.text().splitlines()]


TEXTS = ["the chest", "", 'a "quoted", text']
result = embed(*[word for text in TEXTS for word in ("-p", text)])
expect(result, 0, "texts from the command line")
rows = [json.loads(line) for line in result.text().splitlines()]
check([row["text"] for row in rows] == TEXTS and [row["index"] for row in rows] == [0, 1, 2],
      "texts come back", result)
check(all(abs(sum(v * v for v in row["embedding"]) - 1) < 1e-6 for row in rows), "of length 1")
lines = embed(stdin="\n".join(TEXTS).encode() + b"\n")
check(lines.out == result.out, "a text a line", lines)
check(embed("-f", write("crlf.txt", "\r\n".join(TEXTS))).out == result.out, "lines from a file")
table = write("table.csv", 'id;note\n1;the chest\n2;\n3;"a ""quoted"", text"\n')
check(embed("-f", table, "--column", "note", "--delimiter", ";").out == result.out, "a column")
alone = embed("-p", TEXTS[2])
check(vectors(alone)[0] == rows[2]["embedding"], "alone the same", alone)
many = embed(stdin=("the chest\n" * 150).encode())
check(vectors(many) == [rows[0]["embedding"]] * 150, "many the same", many)

array = embed("--format", "npy", stdin="\n".join(TEXTS).encode()).out
size = struct.unpack_from("<H", array, 8)[0]
check(array[:8] == b"\x93NUMPY\x01\x00" and b"'shape': (3, 32)" in array[:10 + size] and
      (10 + size) % 64 == 0, "NumPy's header")
check(list(struct.unpack("<96f", array[10 + size:])) ==
      [struct.unpack("<f", struct.pack("<f", v))[0] for row in rows for v in row["embedding"]],
      "the same numbers in NumPy's array")
csv = embed("--format", "csv", stdin="\n".join(TEXTS).encode()).text().splitlines()
check(csv[0].startswith("text,e0,e1,") and csv[3].startswith('"a ""quoted"", text",'), "CSV")
likeness = embed("--query", "the chest", "-p", "the chest", "-p", "no")
found = [json.loads(line)["similarity"] for line in likeness.text().splitlines()]
check(abs(found[0] - 1) < 1e-6 and -1 <= found[1] < 1, "likeness", likeness)
prefixed = embed("--prefix", "the ", "-p", "chest")
check(vectors(prefixed)[0] == rows[0]["embedding"] and json.loads(prefixed.out)["text"] == "chest",
      "a prefix", prefixed)
tokens = json.loads(embed("--pooling", "none", "-p", "the chest").out)["embeddings"]
check(len(tokens) > 2 and all(len(v) == 32 for v in tokens), "a vector for each token")
check(embed(stdin=b"a\0b\xff\n").code == 0, "NUL and bytes that are not UTF-8")
check(embed(stdin=b"").out == b"", "no texts")

expect(embed("-p", "the chest " * 100), 1, "a long text", "text 0", "the context holds 96")
check(embed("-p", "the chest " * 100, "--truncate").code == 0, "a long text is cut")
check(embed("-p", "a chest", "--device", "cpu", "--vram-limit", "1G").code == 0, "a device is chosen")
expect(embed("-p", "x", "--format", "xml"), 2, "a format", "--format")
expect(embed("-p", "x", "-f", "y"), 2, "texts twice", "once")
expect(embed("-f", table, "--column", "none"), 1, "a column that is not there", "--column none")
expect(embed("-p", "x", "--pooling", "none", "--format", "csv"), 2, "rows of tokens as CSV")
expect(embed("-p", "x", model=GOLDEN / "architectures" / "qwen3-q8_0.gguf"), 1,
       "a model that is none for embeddings", "no embedding model")
for name, words in (("radllm-generate", ["-p", "x"]), ("radllm-chat", [])):
    expect(run(name, "-m", MODEL, *words), 1, f"{name} with an encoder", "radllm-embed")

process = start("radllm-embed", "-m", MODEL, stdin=subprocess.PIPE)
process.stdin.write(b"the chest\n" * 20000)
process.stdin.close()
process.stdout.read(100)
process.send_signal(signal.SIGINT)
process.stdout.read()
check(process.wait(60) == 130, "Ctrl-C")

# ---- folders --------------------------------------------------------------------------------------

made = folder / "bert"
make_folder.make_embedding(str(GOLDEN), "bert", str(made))
whole = embed("-p", "the chest", model=made)
check(whole.out == embed("-p", "the chest").out, "a folder, the same bits", whole)
MODULES, POOLING = "modules.json", "1_Pooling/config.json"
OWN = {name: (made / name).read_text() for name in (MODULES, POOLING, "config.json")}


def changed(name, text, what, *parts):
    (made / name).write_text(text)
    expect(embed("-p", "x", model=made), 1, what, *parts)
    (made / name).write_text(OWN[name])


def module(**fields):
    return json.dumps(json.loads(OWN[MODULES]) + [fields])


changed(POOLING, "{", "pooling that is no JSON", "1_Pooling/config.json")
changed(POOLING, "[]", "pooling that is a list", "no object")
changed(POOLING, "{}", "no way of pooling", "no way")
changed(POOLING, '{"pooling_mode_cls_token": "yes"}', "a flag that is none", "true or false")
changed(POOLING, '{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": true}', "two ways",
        "more than one")
changed(POOLING, '{"pooling_mode_max_tokens": true}', "the maximum", "max")
changed(POOLING, '{"pooling_mode": 7}', "a mode that is a number", "text")
changed(POOLING, "[" * 10000, "10,000 brackets", "nested")
changed(MODULES, "{}", "modules that are no list", "no list")
changed(MODULES, "[1]", "a module that is a number", "type")
changed(MODULES, module(type="sentence_transformers.models.Dense", path="2_Dense"), "a layer more",
        "Dense")
changed(MODULES, module(type="x.Pooling", path="../../etc"), "pooling elsewhere", "1_Pooling")
changed("config.json", json.dumps({**json.loads(OWN["config.json"]), "is_decoder": True}),
        "a decoder", "is_decoder")
changed("config.json", json.dumps({**json.loads(OWN["config.json"]), "hidden_act": "gelu_new"}),
        "another activation", "hidden_act")
changed("config.json", json.dumps({**json.loads(OWN["config.json"]),
                                   "position_embedding_type": "relative_key"}),
        "relative positions", "position_embedding_type")
(made / POOLING).write_text('{"pooling_mode": "mean"}')
mean = embed("-p", "the chest", model=made)
check(mean.out == embed("-p", "the chest", "--pooling", "mean").out, "pooling by name", mean)
(made / MODULES).write_text(json.dumps(json.loads(OWN[MODULES])[:2]))
plain = vectors(embed("-p", "the chest", model=made))[0]
check(abs(math.fsum(v * v for v in plain) - 1) > 1e-3, "modules without Normalize: as they are")
(made / MODULES).unlink()
check(embed("-p", "the chest", model=made).out == mean.out, "without modules.json length 1")
(made / "1_Pooling").rename(made / "elsewhere")
(made / "1_Pooling").symlink_to("elsewhere")
expect(embed("-p", "x", model=made), 1, "a link in place of a folder", "no folder")
finish()
