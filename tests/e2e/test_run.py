"""./run: what it says of its commands, and how it ends when it is called wrongly. Builds nothing."""
from e2e import *

COMMANDS = ["demo", "test", "build", "bench", "contract", "cuda-all", "soak", "fuzz", "format", "help"]
if not (SOURCE / "run").exists():
    tap.skip("./run", "the source has no script run")
    finish()


def run(*arguments):
    done = subprocess.run([str(SOURCE / "run"), *arguments], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=60)
    return Result(done.returncode, done.stdout, done.stderr)


overview = run().text()
for command in COMMANDS:
    result = run(command, "--help")
    expect(result, 0, f"{command} --help")
    check(result.text().startswith("usage: ./run "), f"{command}: how it is called", result)
    check(not result.err and run("help", command).out == result.out and
          run(command, "-h").out == result.out, f"help {command} says the same", result)
    check(f"\n  {command}" in overview, f"the overview has {command}", result)
    if command not in ("bench", "help"):
        check(f"./run {command}" in result.text(), f"{command}: its own text", result)
for words, said in {("dance",): "unknown command 'dance'", ("dance", "--help"): "unknown command 'dance'",
                    ("help", "dance"): "unknown command 'dance'", ("build", "x"): "no arguments", ("test", "--al"): "'--al'",
                    ("contract", "--match"): "needs a value", ("contract", "gcc"): "'gcc'",
                    ("contract", "--cover", "few"): "'few'", ("soak", "many"): "numbers",
                    ("soak", "1", "2", "3"): "'3'", ("fuzz", "long"): "'long'",
                    ("format", "--chek"): "'--chek'"}.items():
    expect(run(*words), 2, "wrong usage: " + " ".join(words), said)
finish()
