"""tools/test/contract.py, which `./run contract` calls: files and folders, and what passed before."""
from e2e import *

BUILD = BENCH.parent
SCRIPT = SOURCE / "tools" / "test" / "contract.py"
if sanitized() or not (BUILD / "tests" / "contract" / "test_contract").exists():
    tap.skip("contract.py", "too slow here, or the test of the contract is not built")
    finish()
JOURNAL = folder / "passed"
RESULTS = folder / "results.json"


def cover(*arguments):
    done = subprocess.run([sys.executable, str(SCRIPT), str(BUILD), "--journal", str(JOURNAL),
                           "--results", str(RESULTS), *arguments],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=300)
    return Result(done.returncode, done.stdout, done.stderr)


def results():
    return [json.loads(line)["result"] for line in RESULTS.read_text().splitlines()]


result = cover("--cover", "few", "--match", "contract-packed gptq-4")
expect(result, 2, "a cover that there is not", "invalid choice")
# A folder of a packed model and a single file.
result = cover("--cover", "sample", "--match", "GPTQ-4")
expect(result, 0, "a model that is a folder")
check(": gptq-4" in result.text() and " ways" in result.text(), "its line says how many ways", result)
count = len(results())
check(count >= 1 and set(results()) == {"OK"}, "its results are written down", result)
result = cover("--cover", "sample", "--match", "gptq-4")
expect(result, 0, "the same again")
check(f"{count} of {count} passed in an earlier run" in result.text() and " ways" not in result.text()
      and results() == ["OK"] * count, "what passed is not run again", result)
expect(cover("--cover", "sample", "--match", "no such model"), 0, "nothing that matches")
# The suite of what runs under emulation has programs that take no models.
result = cover("--cover", "sample", "--suite", "emulated", "--match", "gptq-4")
expect(result, 0, "another suite")
check(f"{count} of {count} passed in an earlier run" in result.text(), "its models alone are taken",
      result)
finish()
