"""tests/kernels/check_kernels: what it lists, checks and says, and how it ends."""
import platform

from e2e import *

PROGRAM = BENCH.parent / "tests" / "kernels" / "check_kernels"


def kernels(*arguments):
    done = subprocess.run([str(PROGRAM), *arguments], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=300)
    return Result(done.returncode, done.stdout, done.stderr)


result = kernels("--help")
expect(result, 0, "--help")
check(all(f"  {word}" in result.text() for word in
          ("--list", "--match TEXT", "--part I/N", "--seed N", "--bench", "--seconds S")),
      "--help names every option", result)
names = kernels("--list").text().splitlines()
check("rms_norm scalar" in names and "product Q4_K scalar" in names, "--list: checks")
parts = [kernels("--list", "--part", f"{i}/3").text().splitlines() for i in (1, 2, 3)]
check(sorted(sum(parts, [])) == sorted(names) and all(parts), "--part: each check in one part")
timings = kernels("--bench", "--list").text().splitlines()
check("pool, a barrier of 2 threads" in timings and "greedy, flat 256k" in timings and
      "product Q4_K scalar lane 512" in timings, "--bench --list: timings")

result = kernels("--match", "rms_norm scalar")
expect(result, 0, "--match: one check")
checked, _, missing = result.text().strip().partition("; not on this processor: ")
checked, missing = checked.partition("tables: ")[2].split(", "), missing.split(", ")
known = {"x86_64": ["scalar fma", "avx2", "avx2 vnni", "avx512", "avx512 vnni"],
         "aarch64": ["neon", "neon dotprod", "neon i8mm"]}.get(platform.machine(), [])
check(checked[0] == "scalar" and all((name in checked) != (name in missing) for name in known),
      "every table was checked, or is said to be what this processor lacks", result)
flags = next((line.split() for line in open("/proc/cpuinfo") if line.startswith("flags")), [])
check(platform.machine() != "x86_64" or "avx512f" in flags or "avx512" in missing,
      "AVX-512 is missing where the processor has none", result)
result = kernels("--bench", "--match", "rms_norm scalar 4096", "--seconds", "0.001")
expect(result, 0, "--bench: one timing")
check("Gelement/s" in result.text() and "% of peak" in result.text(), "speed and share", result)
for words in (["--match"], ["--part", "0/4"], ["--part", "5/4"], ["--part", "1"], ["--seed", "-1"],
              ["--seconds", "0", "--bench"], ["--rows", "0"], ["--columns", "100"], ["more"],
              ["--nos"]):
    expect(kernels(*words), 2, "wrong usage: " + " ".join(words), "wrong or incomplete option")
for words in ([], ["--list"], ["--bench"]):
    expect(kernels("--match", "no such", *words), 2, "nothing matches: " + " ".join(words),
           'nothing matches "no such"')
finish()
