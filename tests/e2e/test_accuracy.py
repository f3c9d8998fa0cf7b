"""tools/accuracy.py: the figures of some formats, and what they must not exceed."""
import re

from e2e import *

MODEL = embedded_model()
if MODEL is None or sanitized():
    tap.skip("accuracy.py", "no model file at hand, or too slow here")
    finish()
BUILD = BENCH.parent


def accuracy(*arguments):
    done = subprocess.run([str(SOURCE / "tools" / "accuracy.py"), str(BUILD),
                           *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=300)
    return Result(done.returncode, done.stdout, done.stderr)


result = accuracy("--types", "F32", "F16", "Q8_0", "Q4_0", "Q4_K", "--chunks", "2")
expect(result, 0, "no format's products are less exact than with llama.cpp's rounding")
rows = {cells[0]: cells[1:] for cells in ([cell.strip() for cell in line.strip("|").split("|")]
                                          for line in result.text().split("\n") if line)}
check(list(rows)[2:] == ["F32", "F16", "Q8_0", "Q4_0", "Q4_K"], "a line for each", result)
check(all(0 < float(rows[name][i]) < 1e-6 for name in ("F32", "F16") for i in (0, 2)) and
      all(1e-4 < float(rows[name][i]) < 3e-2 for name in ("Q8_0", "Q4_0", "Q4_K") for i in (0, 2)),
      "8-bit activations cost less than 3 %, floats nothing", result)
check(all(re.fullmatch(r"[+-]0\.\d+ ± \d\.\d+", rows[name][5]) for name in list(rows)[2:]),
      "a change of the text's log-probability below 1 %, with its error", result)
divergence = {name: float(rows[name][7].split(" ")[0]) for name in list(rows)[2:]}
check(divergence["F32"] == 0 and divergence["F16"] == 0, "floats diverge by nothing", result)
check(all(1 < divergence[name] < 3000 for name in ("Q8_0", "Q4_0", "Q4_K")),
      "8-bit activations diverge, by less than 0.003", result)
check(all(rows[name][i] == "-" for name in list(rows)[2:] for i in (6, 8, 9)),
      "nothing of llama.cpp where it is not given", result)

# In the place of llama.cpp: a program that gives our own logits of the file, one that gives those
# of its decoded weights, and one that fails.
OURS = BUILD / "tests" / "divergence"
same = write("same", f'#!/bin/sh\nexec "{OURS}" logits "$1" "$2"\n')
same.chmod(0o755)
result = accuracy("--types", "Q8_0", "--chunks", "2", "--llama", str(same))
expect(result, 0, "as exact as llama.cpp")
cells = [cell.strip() for cell in result.text().strip().split("\n")[-1].strip("|").split("|")]
check(cells[6] == cells[7] and cells[8] == cells[9] and cells[10] == "+0.00 ± 0.00 %",
      "the same logits, the same figures", result)
better = write("better", f"""#!/bin/sh
"{BUILD}/tests/requantize" "$1" "$1.exact" F32 && "{OURS}" logits "$1.exact" "$2"
""")
better.chmod(0o755)
expect(accuracy("--types", "Q8_0", "--chunks", "4", "--llama", str(better)), 1,
       "predictions that are less exact", "predictions of Q8_0 are less exact than llama.cpp's")
expect(accuracy("--types", "Q8_0", "--chunks", "1", "--llama", "/bin/false"), 1,
       "a llama.cpp that fails", "exit code 1")
result = accuracy(str(MODEL), "--types", "F16", "--variants", str(MODEL), "--chunks", "1")
check(result.code == 0 and f"| {MODEL.stem.upper()} |" in result.text() and
      "| Q8_0 |" in result.text(), "a file of another format, and one for its products", result)
broken = subprocess.run([sys.executable, str(SOURCE / "tools" / "accuracy.py"), str(folder)],
                        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
expect(Result(broken.returncode, broken.stdout, broken.stderr), 2, "no build folder", "has no tests")

finish()
