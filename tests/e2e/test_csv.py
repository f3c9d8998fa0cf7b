"""radllm-label and its input: what is accepted, what is refused and with which words. The input is
checked before the model, so a model that does not exist shows that it was accepted."""
from e2e import *

ACCEPTED = "no-model.gguf"


def label(data, *more, prompt="{report}"):
    path = write("in.csv", data)
    return run("radllm-label", "-m", folder / ACCEPTED, "--input", path, "--output",
               folder / "out.csv", "--prompt", prompt, *more)


def accepted(data, what, *more, **keys):
    expect(label(data, *more, **keys), 1, what, ACCEPTED)


def refused(data, what, *texts, more=(), code=1, **keys):
    result = label(data, *more, **keys)
    expect(result, code, what, *texts)
    check(ACCEPTED not in result.err and not (folder / "out.csv").exists(),
          what + ": nothing was written", result)


accepted("report\nclear lungs\n", "one column, one row")
accepted("id,report\r\n1,clear\r\n2,\r\n", "CRLF and an empty field")
accepted("id,report\r1,clear\r2,x\r", "CR alone")
accepted("id,report\n1,clear", "no line break at the end")
accepted('id,report\n1,"a ""quoted"" word, a comma\nand a line"\n', "quotes, doubled and multiline")
accepted('id,report\n1,5" tube\n', "a quote inside a plain field")
accepted("\ufeffreport,id\nclear,1\n", "byte order mark")
accepted("id,report\n1,Größe 3 µm, é 漢\n".replace(", é", " é"), "UTF-8")
accepted("id;report\n1;a,b\n", "semicolons", "--delimiter", ";")
accepted("id\treport\n1\ta,b\n", "tabs", "--delimiter", "tab")
accepted("id,report\n1,a\n\n\n2,b\n\n", "blank lines are no rows")
accepted("id,Befund Text\n1,x\n", "a name with a blank", prompt="{{{Befund Text}}} {id}")
accepted("report,x,x\na,b,c\n", "a double name that is not used")
accepted("id,report\n" + "".join(f"{i},r\n" for i in range(20000)), "many rows")
accepted("report\n\"" + "x" * 5_000_000 + "\"\n", "a field of 5 MB")

refused('id,report\n1,"open\n2,b\n', "unclosed quote", "row 1 (line 2)", "never closed")
refused('id,report\n1,a\n2,"b\n\n\nc', "unclosed quote later", "row 2 (line 3)", "never closed")
refused('"id,report\n1,a\n', "unclosed quote in the header", "header (line 1)", "never closed")
refused(b"id,report\n1,a\n2,b\0c\n", "NUL byte", "row 2 (line 3)", "NUL byte")
refused(b'id,report\n1,"a\n\0"\n', "NUL byte in quotes", "row 1 (line 3)", "NUL byte")
refused(b"id,rep\0ort\n1,a\n", "NUL byte in the header", "header (line 1)", "NUL byte")
refused(b'id,report\n1,"a"\0\n', "NUL byte behind a quote", "row 1 (line 2)", "NUL byte")
refused("id,text\n1,a\n", "missing column", 'no column "report"', "id, text")
refused("id;report\n1;a\n", "wrong delimiter", 'no column "report"', "--delimiter ';'")
refused("id\treport\n1\ta\n", "tabs not told", 'no column "report"', "--delimiter tab")
refused("report,report\na,b\n", "double column", 'two columns "report"')
refused("id,report\n1,a\n2\n3,c\n", "too few fields", "row 2 (line 3)", "too few fields: 1", "2")
refused("id,report\n1,a\n2,b,c\n", "too many fields", "row 2 (line 3)", "too many fields: 3")
refused('id,report\n1,"a\nb"\n2,b,c\n', "line behind a multiline field", "row 2 (line 4)")
refused('id,report\n1,"a"b\n', "text behind a quote", "row 1 (line 2)", "closing quote")
refused(b"id,report\n1,a\n2,\xe9t\xe9\n", "Latin-1", "row 2 (line 3)", "0xE9", "UTF-8", "iconv")
refused(b"id,report\n1,\"a\n\nb\xff\"\n", "bad byte in a multiline field", "row 1 (line 4)", "0xFF")
refused("id,report\n1,a\n".encode("utf-16"), "UTF-16", "UTF-16")
refused("id,report\n", "header only", "no rows")
refused("id,report", "header only, no line break", "no rows")
refused("id,report\n\n\n", "header and blank lines", "no rows")
refused("", "empty file", "is empty")
refused("\n\n", "blank lines only", "is empty")
refused(b"\0" * 100, "zeros", "NUL byte")
refused("id,report\n1,a\n", "missing id column", 'no column "key"', more=["--id-column", "key"])
refused("id,report\n1,a\n", "missing kept column", 'no column "z"', more=["--keep", "id,z"])
refused("id,report\n1,a\n", "delimiter of two characters", "--delimiter", code=2,
        more=["--delimiter", ";;"])

ROW = "id,report\n1,a\n"
refused(ROW, "prompt without a column", "{NAME}", prompt="Is it there?", code=2)
refused(ROW, "open brace", "not closed", prompt="Is {report there?", code=2)
refused(ROW, "closing brace alone", "alone", prompt="Is {report}} there?", code=2)
refused(ROW, "unknown column in the prompt", 'no column "Report"', prompt="{Report}")
refused(ROW, "one choice", "--choices", more=["--choices", "yes"], code=2)
refused(ROW, "double choice", "twice", more=["--choices", "yes,no,yes"], code=2)
refused(ROW, "empty choice", "empty", more=["--choices", "yes,,no"], code=2)
refused(ROW, "no tokens", "-n", more=["-n", "0"], code=2)
accepted(ROW, "choices with commas", "--choices", '"yes, surely",no')
accepted(ROW, "braces doubled", prompt='{{"text": "{report}"}}')

result = run("radllm-label", "-m", folder / ACCEPTED, "--input", folder / "none.csv", "--output",
             folder / "out.csv", "--prompt", "{a}")
expect(result, 1, "no input file", "none.csv", "No such file")
path = write("same.csv", ROW)
result = run("radllm-label", "-m", folder / ACCEPTED, "--input", path, "--output", path,
             "--prompt", "{report}", "--overwrite")
expect(result, 2, "output is the input", "is the input itself")
check(path.read_text() == ROW, "the input is as it was")
big = write("big.txt", b"{report}" + b"x" * (100 << 20))
result = run("radllm-label", "-m", folder / ACCEPTED, "--input", path, "--output",
             folder / "out.csv", "--prompt-file", big)
expect(result, 1, "prompt file of 100 MB", "big.txt", "at most")
big.unlink()

finish()
