"""bench/compare.py: turns, medians, ratios, CSV and chart, with stand-ins for the peers' programs
whose figures are known, and the real radllm-bench."""
import csv
import stat
import xml.etree.ElementTree

from e2e import *

MODEL = embedded_model()
if MODEL is None:
    tap.skip("compare.py", "no model file at hand")
    finish()
LOG = folder / "log"

# Speaks as llama-bench does; each run is a little faster than the one before it.
PEER = f"""#!{sys.executable}
import json, sys
words = dict(zip(sys.argv[1::2], sys.argv[2::2]))
with open({str(LOG)!r}, "a") as log:
    log.write("NAME " + " ".join(sys.argv[1:]) + "\\n")
turn = sum(line.startswith("NAME ") for line in open({str(LOG)!r}))
if "bad" in words["-m"]:
    sys.exit("unknown type in " + words["-m"])
print("some line about a backend")
rows = [(int(p), 0) for p in words["-p"].split(",")] + [(0, int(n)) for n in words["-n"].split(",")]
print(json.dumps([{{"build_commit": "abc1234", "build_number": 7, "n_prompt": p, "n_gen": n,
                   "n_threads": int(words["-t"]), "avg_ts": 1.0,
                   "samples_ts": [SPEED * turn] * int(words["-r"])}} for p, n in rows if p + n],
                 indent=2))
"""
BATCHED = f"""#!{sys.executable}
import sys
print("main: n_kv_max = 1", file=sys.stderr)
print("|    PP |     TG |    B |   N_KV |   T_PP s | S_PP t/s |   T_TG s | S_TG t/s |      T s |    S t/s |")
print("|-------|--------|------|--------|----------|----------|----------|----------|----------|----------|")
print("|    16 |      4 |    3 |     60 |    0.100 |   480.00 |    0.100 |   120.00 |    0.200 |   300.00 |")
print("done")
"""


def program_file(name, source):
    path = folder / name / "llama-bench"
    path.parent.mkdir(exist_ok=True)
    path.write_text(source)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def compare(*arguments, script="compare.py"):
    done = subprocess.run([sys.executable, str(SOURCE / "bench" / script),
                           *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=600)
    return Result(done.returncode, done.stdout, done.stderr)


slow = program_file("slow", PEER.replace("NAME", "slow").replace("SPEED", "10"))
fast = program_file("fast", PEER.replace("NAME", "fast").replace("SPEED", "1000"))
batched = fast.with_name("llama-batched-bench")
batched.write_text(BATCHED)
batched.chmod(0o755)
OURS = program("radllm-bench")
table, chart = folder / "out.csv", folder / "out.svg"
result = compare("--ours", f"{OURS} --limit-ms 4 --option load_wait=yes", "--peer", f"slow one={slow} -rtr 1", "--peer",
                 f"fast={fast}", "-t", "1", "-p", "16", "-n", "4", "-b", "1", "--rounds", "3", "-r",
                 "2", "--csv", table, "--svg", chart, MODEL)
expect(result, 0, "three rounds of three programs", "round 3 of 3")
lines = LOG.read_text().split("\n")
check([line.split(" ")[0] for line in lines if line] ==
      ["slow", "fast", "slow", "fast", "fast", "slow"], "they take turns", result)
check(all(" -rtr 1 " in line for line in lines if line.startswith("slow")) and
      all("-rtr" not in line and "-t 1 -r 2" in line for line in lines if line.startswith("fast")),
      "a peer's own options", result)
rows = list(csv.DictReader(table.open(encoding="utf-8")))
check([(row["test"], row["program"]) for row in rows] ==
      [(test, name) for test in ("pp16", "tg4") for name in ("radllm-bench", "slow one", "fast")],
      "a line for each test and program", result)
check([float(row["tokens_per_second"]) for row in rows[1:3]] == [20, 2000] and
      [float(row["lowest"]) for row in rows[1:3]] == [10, 1000] and
      [row["samples"] for row in rows] == ["6"] * 6, "medians over the rounds", result)
own = float(rows[0]["tokens_per_second"])
check(abs(float(rows[1]["ours_to_this"]) - own / 20) < 1e-9 * own and
      float(rows[0]["ours_to_this"]) == 1 and 0 < float(rows[0]["share_of_limit"]) and
      rows[1]["share_of_limit"] == "" and rows[1]["version"] == "abc1234 (build 7)",
      "ratios, shares and versions", result)
out = result.text()
check("| model | test | radllm-bench | of limit | slow one | ratio | fast | ratio | ratio to the"
      " fastest |" in out and f"| {own / 2000:.2f} |" in out and "abc1234 (build 7)" in out,
      "the table", result)
drawn = xml.etree.ElementTree.parse(chart).getroot()
check(drawn.tag.endswith("svg") and
      sum(child.get("height") == "14" for child in drawn) == 6, "a bar for each figure", result)

result = compare("--ours", f"we={OURS}", "--peer", f"fast={fast}", "--peer", f"slow={slow}", "-t",
                 "1", "-p", "0", "-n", "4", "-b", "3", "--rounds", "1", "--csv", table, "--quiet",
                 "--no-limits", MODEL)
rows = {(row["test"], row["program"]): row for row in csv.DictReader(table.open(encoding="utf-8"))}
expect(result, 1, "a peer without llama-batched-bench", "slow with", "cannot be run")
check(float(rows["tg4x3", "fast"]["tokens_per_second"]) == 120 and
      float(rows["tg4x3", "we"]["tokens_per_second"]) > 0 and
      rows["tg4x3", "slow"]["tokens_per_second"] == "" and
      "slow gave no figures for" in result.text(), "sequences generated together", result)

# llama-batched-bench now and then ends well without its last line.
SEEN = folder / "seen"
lossy = program_file("lossy", PEER.replace("NAME", "lossy").replace("SPEED", "10"))
lossy.with_name("llama-batched-bench").write_text(
    BATCHED.replace("import sys\n", f"import pathlib, sys\nseen = pathlib.Path({str(SEEN)!r})\n"
                    "turn = seen.stat().st_size if seen.exists() else 0\n"
                    "seen.open('a').write('x')\n").replace(
        'print("|    16', 'turn in LOST or print("|    16').replace("LOST", "(0, 3, 4)"))
lossy.with_name("llama-batched-bench").chmod(0o755)
result = compare("--ours", OURS, "--peer", f"lossy={lossy}", "-t", "1", "-p", "0", "-n", "4", "-b",
                 "3", "--rounds", "3", "--csv", table, "--quiet", "--no-limits", MODEL)
expect(result, 1, "a peer that loses its figures", "lossy with", "not the table")
rows = {row["program"]: row for row in csv.DictReader(table.open(encoding="utf-8"))}
check(rows["lossy"]["samples"] == "2" and float(rows["lossy"]["tokens_per_second"]) == 120 and
      "in some turns only: its output is not the table" in result.text() and
      SEEN.stat().st_size == 5, "it is asked twice, and what it gave before counts", result)

bad = write("bad.gguf", MODEL.read_bytes())
result = compare("--ours", OURS, "--peer", fast, "-t", "1", "-p", "8", "-n", "2", "--rounds", "2",
                 "--no-limits", "--svg", chart, bad)
expect(result, 1, "a peer that refuses a file", "unknown type in")
check("| - |" in result.text() and result.err.count("unknown type") == 1,
      "the others' figures are shown, and it is not asked again", result)
odd = program_file("odd", f"#!{sys.executable}\nprint('no figures')\n")
expect(compare("--ours", OURS, "--peer", odd, "-t", "1", "-p", "8", "-n", "2", "--rounds", "1",
               "--no-limits", MODEL), 1, "a peer that is another program", "not the JSON of llama-bench")
deep = program_file("deep", PEER.replace("NAME", "deep").replace("SPEED", "10").replace(
    'turn = ', """if "--help" in sys.argv:
    sys.exit(print("  -d, --n-depth <n>"))
turn = """).replace("for p, n in rows", "for p, n in rows for d in words['-d'].split(',')").replace(
    '{{"build', '{{"n_depth": d, "build').replace('{"build', '{"n_depth": d, "build'))
behind = program_file("behind", PEER.replace("NAME", "behind").replace("SPEED", "10").replace(
    "rows = [", "rows = [tuple(map(int, words['-gp'].split(',')))] + ["))
sweep = folder / "sweep.svg"
result = compare("--ours", OURS, "--peer", f"deep={deep}", "--peer", f"behind={behind}", "-t", "1",
                 "-p", "8", "-n", "4", "-d", "0,32", "--rounds", "1", "--no-limits", "--csv", table,
                 "--sweep", sweep, MODEL)
expect(result, 0, "tests behind other positions")
rows = {(row["test"], row["program"]): row for row in csv.DictReader(table.open(encoding="utf-8"))}
check({test for test, _ in rows} == {"pp8", "tg4", "pp8@32", "tg4@32"} and
      all(rows[test, name]["tokens_per_second"] for test in ("pp8", "tg4", "pp8@32", "tg4@32")
          for name in ("radllm-bench", "deep")) and
      rows["pp8@32", "behind"]["tokens_per_second"] == "" and
      rows["tg4@32", "behind"]["tokens_per_second"] and rows["tg4@32", "deep"]["depth"] == "32",
      "a figure for each position, by -d or -gp", result)
drawn = xml.etree.ElementTree.parse(sweep).getroot()
check(sum(child.tag.endswith("polyline") for child in drawn) == 6, "a line for each sweep", result)
expect(compare("--ours", folder / "none", MODEL), 2, "no program", "no program that can be run")
expect(compare("--ours", OURS, folder / "none.gguf"), 2, "no model", "no such file or folder")
expect(compare("--ours", OURS, "--csv", folder / "none" / "x.csv", MODEL), 2, "no folder for results",
       "cannot be written")
expect(compare("--ours", f"'{OURS}", MODEL), 2, "half a quotation", "quotation")
expect(compare("--ours", OURS, "-p", "x", MODEL), 2, "no number", "-p")
expect(compare("--ours", OURS, "-p", "0", "-n", "0", MODEL), 2, "nothing to measure", "-p 0")
expect(compare("--ours", OURS, "--peer", slow, "--peer", fast, MODEL), 2, "two of one name",
       "NAME=PATH")
result = compare("--help")
check(result.code == 0 and "Exit codes" in result.text(), "--help", result)

# Many reports behind one instruction, beside a server that computes all of it again.
SERVER = f"""#!{sys.executable}
import http.server, json, sys
words = dict(zip(sys.argv[1::2], sys.argv[2::2]))
class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self, value):
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self):
        self.answer({{}})
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.answer({{"timings": {{"prompt_n": len(asked["prompt"])}}}})
    def log_message(self, *arguments):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(words["--port"])), Handler).serve_forever()
"""
server, shared = program_file("server", SERVER), folder / "shared.svg"
work = ("--server", server, "-m", MODEL, "-t", 1, "--reports", 5, "--instruction", 64, "--report", 8,
        "-n", 1, "--vocabulary", 300)
result = compare(*work, "--bench", OURS, "--svg", shared, script="shared_server.py")
expect(result, 0, "one instruction for many reports")
both = json.loads(result.out)
check(both["llama-server"]["prompt_tokens_computed"] ==
      both["llama-server"]["prompt_tokens_needed"] + 4 * 64 and
      both["libradllm"]["computed_to_needed"] <= 1 and both["libradllm"]["reports"] == 5,
      "what each computed", result)
drawn = xml.etree.ElementTree.parse(shared).getroot()
check(sum(child.tag.endswith("rect") for child in drawn) == 1 + 2 + 4, "bars for both", result)
failing = program_file("failing", f"#!{sys.executable}\nimport sys\nsys.exit(3)\n")
expect(compare(*work[2:], "--server", failing, script="shared_server.py"), 1, "a server that fails",
       "exit code 3")
expect(compare(*work, "--svg", shared, script="shared_server.py"), 2, "nothing beside it",
       "--svg needs --bench")

finish()
