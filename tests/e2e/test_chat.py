"""radllm-chat through a pipe and on a terminal."""
import pty
import select
import time

from e2e import *

MODEL = embedded_model()
FORMAT = []
if MODEL is None:
    MODEL = shared("models/stories260K/stories260K.gguf")
    FORMAT = ["--raw"]
if MODEL is None:
    tap.skip("radllm-chat", "no model file at hand")
    finish()
COMMON = ["-m", MODEL, "--temp", "0", "-n", "12", *FORMAT]


def chat(lines, *more, **keys):
    return run("radllm-chat", *COMMON, *more, stdin=lines.encode(), **keys)


result = chat("Is there an effusion?\n")
expect(result, 0, "one message through a pipe")
first = result.text()
check(first.endswith("\n") and len(first) > 1, "an answer on standard output", result)
result = chat("Is there an effusion?")
check(result.text() == first, "no line break at the end of the input", result)
result = chat("Is there an effusion?\r\n")
check(result.text() == first, "CRLF", result)
result = chat("")
check(result.code == 0 and result.out == b"", "no input, no output", result)
for guess in (["--speculate", "lookup"], ["--draft-model", MODEL]):
    result = chat("Is there an effusion?\n", *guess)
    check(result.text() == first, "the same answer with " + guess[0], result)
result = chat("Is there an effusion?\n/clear\nIs there an effusion?\n/quit\nnot this\n")
check(result.text() == first * 2, "/clear forgets, /quit ends", result)
result = chat("Is there an effusion?\nAnd a mass?\n", "--json")
answers = [json.loads(line) for line in result.text().splitlines()]
check(len(answers) == 2 and answers[1]["reused_tokens"] > answers[0]["prompt_tokens"] - 5 and
      answers[1]["prompt_tokens"] > answers[0]["prompt_tokens"],
      "the history is kept and not computed again", result)
result = chat("/help\n/nothing\n")
check(result.out == b"" and "/clear" in result.err and "unknown command /nothing" in result.err,
      "commands answer on standard error", result)
if not FORMAT:
    other = chat("/system You are short.\nIs there an effusion?\n", "--json")
    same = chat("Is there an effusion?\n", "--system", "You are short.", "--json")
    check(other.out == same.out and other.code == 0, "/system is --system", other)
mapped = write("mapped.gguf", pathlib.Path(MODEL).read_bytes())
process = start("radllm-chat", "-m", mapped, *COMMON[2:], "--option", "load=map", stdin=subprocess.PIPE)
process.stdin.write(b"Is there an effusion?\n")
process.stdin.flush()
while process.stdout.read(1) not in (b"\n", b""):
    pass
os.truncate(mapped, 4096)
_, said = process.communicate(b"And a mass?\n", timeout=300)
check(process.returncode == 1 and b"a mapped file became shorter" in said,
      "a mapped file that becomes shorter is an error", Result(process.returncode, b"", said))
result = chat("a\\\nb\n", "--json")
check(result.text().count("\n") == 1, "a backslash goes on with the message", result)
result = chat("word " * 5000 + "\nIs there an effusion?\n", "-c", "256")
check(result.code == 1 and "taken back" in result.err and result.text() == first,
      "a message that is too long is taken back", result)
with open("/dev/full", "wb") as full:
    expect(chat("hello\n", stdout=full), 1, "output to a full disk", "No space left")
expect(run("radllm-chat", "-m", folder / "none.gguf"), 1, "no model file", "none.gguf")
stories = shared("models/stories260K/stories260K.gguf")
if stories is not None:
    expect(run("radllm-chat", "-m", stories), 1, "no template in the model", "--template NAME",
           "--raw")

# ---- on a terminal ----


def read_until(descriptor, text, seconds):
    seen = b""
    deadline = time.monotonic() + seconds
    while text not in seen and time.monotonic() < deadline:
        if select.select([descriptor], [], [], 0.1)[0]:
            try:
                seen += os.read(descriptor, 65536)
            except OSError:
                break
    return seen


try:
    master, slave = pty.openpty()
except OSError as problem:  # a root without /dev/pts
    tap.skip("radllm-chat on a terminal", f"this system gives no terminal: {problem}")
    finish()


def own_terminal():
    os.setsid()
    import fcntl
    import termios
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)


process = subprocess.Popen([program("radllm-chat"), "-m", str(MODEL), "--temp", "1.5", "--option",
                            "ignore_end=1", *FORMAT], stdin=slave, stdout=slave, stderr=slave,
                           preexec_fn=own_terminal)
seen = read_until(master, b"> ", 60)
check(b"> " in seen, "a prompt on the terminal")
os.write(master, b"\x03")
seen = read_until(master, b"> ", 10)
check(b"/quit" in seen and process.poll() is None, "Ctrl-C at the prompt does not end the program")
os.write(master, b"Tell me a long story.\n")
read_until(master, b"story.\r\n", 10)
time.sleep(0.05)
os.write(master, b"\x03")
seen = read_until(master, b"> ", 60)
check(process.poll() is None and b"> " in seen, "Ctrl-C in an answer does not end the program")
long = b"word " * 2000 + b"\n"
seen = b""
for at in range(0, len(long), 256):
    os.write(master, long[at:at + 256])
    seen += read_until(master, b"\0", 0.01)
if b"\n> " not in seen:
    seen += read_until(master, b"\n> ", 60)
check(b"left out" in seen and b"4095" in seen and process.poll() is None,
      "a line that the terminal cut is not answered")
os.write(master, b"\x04")
try:
    code = process.wait(timeout=30)
except subprocess.TimeoutExpired:
    process.kill()
    code = None
check(code == 0, f"Ctrl-D ends the program with status 0 (seen: {code})")
os.close(master)
os.close(slave)

finish()
