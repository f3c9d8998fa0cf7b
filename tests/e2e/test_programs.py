"""What all programs promise: help, version, exit codes, and a standard output that is not lost
without a word."""
from e2e import *

MODEL = embedded_model()
NEEDED = {  # arguments with which a program prints something without a model
    name: ["--help"] for name in PROGRAMS
}


def closed(name, descriptor, *arguments):
    """Runs a program with a closed descriptor."""
    return run(name, *arguments, preexec_fn=lambda: os.close(descriptor))


for name in PROGRAMS:
    result = run(name, "--help")
    expect(result, 0, f"{name} --help")
    text = result.text()
    check(text.startswith("Usage: " + name) and result.err == "", f"{name}: help on stdout", result)
    for option in ["-m", "-t", "-c", "-s", "--temp", "--isa", "--json", "--help", "--version",
                   "Exit status"]:
        if option not in text:
            check(False, f"{name}: help tells of {option}", result)
    result = run(name, "--version")
    expect(result, 0, f"{name} --version")
    check(result.text().startswith(name + " ") and result.text().count("\n") == 1,
          f"{name}: one line of version", result)
    expect(run(name, "--no-such-option"), 2, f"{name}: unknown option",
           f"{name}: unknown option --no-such-option", "--help")
    expect(run(name, "-m"), 2, f"{name}: option without its value", "needs a value")
    expect(run(name, "--json=1", "-m", "x"), 2, f"{name}: flag with a value", "takes no value")
    expect(run(name), 2, f"{name}: nothing given", f"{name}: ")
    expect(run(name, "--temp", "warm"), 2, f"{name}: no number", "--temp")
    expect(run(name, "--temp", "-1"), 2, f"{name}: number out of range", "--temp")
    expect(run(name, "--isa", "mmx"), 2, f"{name}: unknown instruction set", "--isa")
    expect(run(name, "--option", "nothing=1"), 2, f"{name}: unknown library option", "nothing")
    expect(run(name, "--option", "nothing"), 2, f"{name}: option without value", "KEY=VALUE")
    with open("/dev/full", "wb") as full:
        expect(run(name, "--help", stdout=full), 1, f"{name}: full output", "No space left")
    expect(closed(name, 1, "--help"), 1, f"{name}: closed output", "cannot write")
    for descriptor in (0, 2):
        result = closed(name, descriptor, "--help")
        check(result.code == 0 and result.text() == text,
              f"{name}: closed descriptor {descriptor}", result)
    listed = run(name, "--list-options", "--json")
    names = [entry["name"] for entry in json.loads(listed.out)]
    check({"temperature", "seed", "threads", "context"} <= set(names), f"{name}: list of options",
          listed)
    listed = run(name, "--list-templates", "--json")
    templates = {entry["name"]: entry for entry in json.loads(listed.out)}
    check({"alpaca", "chatml", "llama2", "llama3", "mistral-v1", "mistral-v3", "vicuna", "gemma",
           "zephyr", "phi3"} <= set(templates) and templates["chatml"]["stops"] == ["<|im_end|>"],
          f"{name}: list of templates", listed)
    check(run(name, "--list-templates").text().split() == list(templates),
          f"{name}: list of templates as text")

# A pipe whose reader has gone.
for name in ("radllm-generate", "radllm-inspect"):
    ends = os.pipe()
    os.close(ends[0])
    result = run(name, "--help", stdout=ends[1])
    os.close(ends[1])
    expect(result, 1, f"{name}: broken pipe", "Broken pipe")

finish()
