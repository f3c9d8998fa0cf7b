"""tests/cuda/check, tests/cuda/bench and bench/gpu_models.py with stand-ins for a GPU's programs: what
fails, hangs or has no room is told, and costs nothing else; models of holes are real models."""
import shutil
import time

from e2e import *

sys.path.insert(0, str(SOURCE / "bench"))
import gpu_holes  # noqa: E402

MODELS = SOURCE / "bench" / "gpu_models.py"
places = folder / "bin"
build = folder / "build"


def script(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/usr/bin/env bash\n" + text)
    path.chmod(0o755)
    return path


def call(*command, **environment):
    done = subprocess.run(list(map(str, command)), capture_output=True, timeout=300,
                          env={**os.environ, **environment,
                               "PATH": f"{places}:{os.environ['PATH']}"})
    return Result(done.returncode, done.stdout, done.stderr)


# ---- models of holes ----

for shape, kind in (("tiny", "Q4_0"), ("tiny", "F16"), ("tiny", "Q4_K_M"), ("moe", "Q4_0")):
    path = folder / f"{shape}-{kind}.gguf"
    gpu_holes.write(path, shape, kind)
    found = run("radllm-inspect", path)
    check(found.code == 0 and "a model that this version can run" in found.text(),
          f"{shape} {kind} is a model", found)
check(path.stat().st_blocks * 512 < path.stat().st_size // 100, "and takes little room")
done = run("radllm-bench", "-m", folder / "tiny-Q4_K_M.gguf", "--device", "cpu", "-p", "8", "-n", "2",
           "-r", "1", "--no-cold", "--no-limits", "--json")
check(done.code == 0 and json.loads(done.out)[0]["avg_ts"] > 0, "and is computed", done)
big = gpu_holes.find_shape(str(SOURCE / "examples/shapes/llama-3.1-8b.json"))
check(sum(size for *_, size in gpu_holes.tensors(big, "Q4_K_M")) == 4912898048, "8B has 4,912,898,048 bytes")

# ---- a table of models ----

ROWS = json.dumps([{"n_prompt": 512, "n_gen": 0, "avg_ts": 1000.0},
                   {"n_prompt": 0, "n_gen": 64, "avg_ts": 50.5, "gpu_bytes_planned": 2 ** 30,
                    "gpu_bytes_used": 2 ** 30, "gpu_bytes_weights": 2 ** 29,
                    "share_of_bandwidth": 0.5, "gpu_joules_per_token": 1.5, "placement": "all"}])
radllm = script(build / "bench/radllm-bench", f"""
case "$*" in
*"-q4_0.gguf"*) printf '%s\\n' '{ROWS}' ;;
*"-q5_0.gguf"*) echo "radllm-bench: device=cuda: 3 layers need 9 bytes on the device (weights 9), more \
than the 7 there are; lower context" >&2; exit 1 ;;
*"-q8_0.gguf"*) sleep 30 ;;
*) echo "radllm-bench: CUDA device 0: computing: an illegal memory access" >&2; exit 1 ;;
esac
""")
llama = script(folder / "llama-bench", "echo '[{\"n_gen\": 0, \"avg_ts\": 900}, "
               "{\"n_gen\": 64, \"avg_ts\": 40}]'\n")
# A shape of --list is named whole: "1.1b" is no file of the name "1".
done = call(sys.executable, MODELS, "--bench", radllm, "--folder", folder, "--limit", "1", "--type",
            "F16,Q5_0,Q8_0,Q4_0", "--llama", llama, "1.1b")
lines = done.text().splitlines()
check(done.code == 1 and len(lines) == 10, "all lines of a table, and a failure", done)
check([line.count("|") for line in lines if "FAILED" not in line and "no room" not in line] ==
      [11] * (len(lines) - 3), "lines of ten columns", done)
check("| 1.1b | F16 | FAILED: status 1: " in lines[2] and "illegal memory access" in lines[2],
      "a failure with its reason", done)
check(lines[4].startswith("| 1.1b | Q5_0 | no room: "), "no room is no failure", done)
check("FAILED: no result after 1.0 s" in lines[6], "one that hangs", done)
check(lines[8].startswith("| 1.1b | Q4_0 | 0.5 | 1.00 | 1.00 | 1,000 | 50.5 | 50 % | 1.50 | all |") and
      lines[9].startswith("| 1.1b | Q4_0 | - | - | - | 900 | 40.0 | - | - | llama.cpp |"), "the last one", done)
check(not list(folder.glob("holes-*")), "and no file stays")
done = call(sys.executable, MODELS, "--bench", radllm, "--folder", folder, "--type", "Q5_0", "tiny")
check(done.code == 0, "no room alone", done)

# ---- bench ----

script(places / "nvidia-smi", "echo 'A GPU, 9.0'\n")
# Nothing may take longer than two seconds here.
script(places / "timeout", f"""
if [ "$1" = -k ]; then shift 3; else shift; fi
exec {shutil.which("timeout")} -k 1 2 "$@"
""")
device = script(build / "tests/cuda/device_bench", """
case $2 in
attention) sleep 30 ;;
NF4) echo "# few: an illegal memory access"; exit 1 ;;
esac
printf '%-16s %-22s %10.2f us %10.1f GB/s\\n' "$2" "1 x 2, 3" 4 5
""")
script(places / "python3", f"""
case $1 in
-c) exit 1 ;;
*gpu_models*) shift; echo "| models: $* |"; case "$*" in *gpu_apart=4*) sleep 30 ;; esac ;;
*) exec {sys.executable} "$@" ;;
esac
""")
report = folder / "bench.txt"
script(build / "bench/radllm-bench", "echo measured\n")
done = call(SOURCE / "tests/cuda/bench", "--build", build, "--report", report, "--llama", llama)
said = report.read_text()
lines = said.splitlines()
check(done.code == 1 and lines[-1].startswith("FAILED: 4 steps"), "what failed is counted", done)
steps = [line[3:] for line in lines if line.startswith("== ")]
check(said.count("FAILED: status 124") == 3 and said.count("FAILED: status 1\n") == 1,
      "three hang, one fails", done)
check(lines[lines.index("== kernels: NF4") + 1] == "# few: an illegal memory access", "with what it said")
for part in ("memory", "FP8", "Q4_0", "F16", "IQ4_XS"):
    check(f"\n{part} " in said, f"{part} is measured all the same", done)
check(steps.index("by shape: one sequence, gpu_apart=223") < steps.index("kernels: attention") <
      steps.index("by shape: 70B") < steps.index("kernels: Q6_K"), "what matters most comes first", done)
for apart in (0, 223, 1, 2, 4, 8, 16):
    check(steps.count(f"by shape: one sequence, gpu_apart={apart}") == 2, f"gpu_apart={apart}, twice", done)
check(f"--llama {llama}" in said, "llama.cpp beside it")
shaped = [line for line in lines if line.startswith("| models: ")]
check("gpu_check" not in shaped[0] and all("gpu_check=0" in line for line in shaped[1:]),
      "speed does not ask for the right bits, the first step does", done)
check(not list(folder.glob("radllm-bench.*")), "no folder stays")

# ---- check ----

for name in ("draw", "behind", "products_float", "attention", "layer", "products", "experts", "harness", "adapt",
             "add"):
    script(build / f"tests/cuda/device_{name}", {
        "behind": "echo fork=$CK_FORK; exit 1\n", "attention": "sleep 30\n"}.get(name, "echo 1..1\n"))
script(build / "tests/cuda/compare_models", """
case "$*" in *gpt2-q8_0*) echo "# lost"; exit 1 ;; esac
""")
script(places / "compute-sanitizer", "exit 0\n")
report = folder / "check.txt"
done = call(SOURCE / "tests/cuda/check", "--build", build, "--report", report)
said = report.read_text()
check(done.code == 1 and said.splitlines()[-1].startswith("FAILED: "), "check fails", done)
check("FAILED  kernels: behind" in said and "FAILED  kernels: behind, each case by itself" in said and
      "fork=no" in said and "fork=yes" in said, "cases apart where a program fails", done)
check("FAILED  kernels: attention, 2 s, status 124" in said and "ok      kernels: layer" in said,
      "one that hangs costs its time", done)
check("FAILED  tests/golden/architectures/gpt2-q8_0.gguf by itself" in said and
      "ok      tests/golden/types/q4_0.gguf by itself" in said, "models apart where one fails", done)
check("ok      racecheck: a model" in said, "and all goes on to the end", done)

# ---- from outside ----

script(build / "tests/cuda/device_draw", "echo $$ >\"$0.number\"; exec sleep 30\n")
script(build / "tests/cuda/device_bench", "echo $$ >\"$0.number\"; exec sleep 30\n")
script(places / "timeout", f"exec {shutil.which('timeout')} \"$@\"\n")
for name, program in (("check", "device_draw"), ("bench", "device_bench")):
    report = folder / f"{name}-ended.txt"
    number = build / "tests/cuda" / (program + ".number")
    started = subprocess.Popen([SOURCE / "tests/cuda" / name, "--build", build, "--report", report],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               env={**os.environ, "PATH": f"{places}:{os.environ['PATH']}"})
    for _ in range(200):
        if number.exists() and number.read_text().strip():
            break
        time.sleep(0.05)
    started.terminate()
    check(started.wait(10) == 1 and "ENDED from outside" in report.read_text(), f"{name} is ended")
    for _ in range(200):
        gone = not pathlib.Path(f"/proc/{number.read_text().strip()}").exists()
        if gone:
            break
        time.sleep(0.05)
    check(gone, "and its step with it")
finish()
