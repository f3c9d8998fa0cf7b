"""tools/attention_study.py with a model that leans on its first token (tools/model/stream.py): a window
alone fails, and sinks are as good as recomputing."""
import tempfile
from pathlib import Path

from e2e import *

FOLDER = SOURCE / "tests" / "golden" / "sinks"
if sanitized():
    tap.skip("attention_study.py", "too slow here")
    finish()
with tempfile.TemporaryDirectory() as folder:
    chart = Path(folder) / "chart.svg"
    done = subprocess.run([sys.executable, str(SOURCE / "tools" / "attention_study.py"), str(BENCH.parent),
                           "--model", str(FOLDER / "stream-q8_0.gguf"), "--text",
                           str(FOLDER / "words.txt"), "--window", "64", "--sinks", "4", "--periods",
                           "1", "--svg", str(chart)],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=300)
    result = Result(done.returncode, done.stdout, done.stderr)
    expect(result, 0, "the study ends")
    check(chart.read_text().startswith("<svg"), "a chart", result)
rows = {cells[0]: float(cells[1]) for cells in ([cell.strip() for cell in line.strip("|").split("|")]
                                                for line in result.text().split("\n")[2:] if line)}
anew = rows["window, recomputed"]
check(rows["window"] > 1.3 * anew, "a window alone fails", result)
check(0.95 * anew < rows["4 sinks"] < 1.05 * anew, "sinks are within 5 % of recomputing", result)
check(rows["dense"] > 5 * anew, "dense attention fails beyond what was learned", result)
finish()
