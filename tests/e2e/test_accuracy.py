"""tools/accuracy.py: the figures of some formats, and what they must not exceed."""
from e2e import *

MODEL = embedded_model()
if MODEL is None or sanitized():
    tap.skip("accuracy.py", "no model file at hand, or too slow here")
    finish()
BUILD = BENCH.parent


def accuracy(*arguments):
    done = subprocess.run([sys.executable, str(SOURCE / "tools" / "accuracy.py"), str(BUILD),
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
check(all(abs(float(rows[name][6].split(" ")[0])) < 0.5 for name in list(rows)[2:]) and
      rows["F32"][4] == rows["F32"][5], "perplexity within 0.5 % of the decoded weights'", result)
llama = write("llama", "#!/bin/sh\necho 'Final estimate: PPL = 2.0000 +/- 0.1' >&2\n")
llama.chmod(0o755)
result = accuracy("--types", "Q8_0", "--chunks", "1", "--llama", str(llama))
check(result.code == 0 and "| 2.0000 |" in result.text(), "llama.cpp's perplexity", result)
expect(accuracy("--types", "Q8_0", "--chunks", "1", "--llama", "/bin/false"), 1,
       "a llama.cpp that fails", "exit code 1")
broken = subprocess.run([sys.executable, str(SOURCE / "tools" / "accuracy.py"), str(folder)],
                        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
expect(Result(broken.returncode, broken.stdout, broken.stderr), 2, "no build folder", "has no tests")

finish()
