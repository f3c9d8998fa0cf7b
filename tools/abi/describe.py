#!/usr/bin/env python3
"""Writes a machine-readable description of the public ABI, for authors of bindings.

  describe.py HEADER [OUTPUT]

HEADER is include/radllm/radllm.h; OUTPUT (standard output without it) becomes a JSON object with
the constants, enumerations, types, callbacks, structures and functions of the header, each with the
comment that documents it. Only the C that the header is written in is understood; anything else is
an error, so that a declaration can never be left out silently. Python's standard library suffices.
"""
import json
import re
import sys

TOKEN = re.compile(r"""
    (?P<comment>/\*.*?\*/)
  | (?P<directive>^[ \t]*\#(?:[^\n\\]|\\\n|\\.)*)
  | (?P<string>"(?:[^"\\]|\\.)*")
  | (?P<number>-?\b(?:0[xX][0-9a-fA-F]+|[0-9]+)[uUlL]*\b)
  | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
  | (?P<sign>[-{}()\[\];,*=])
  | (?P<space>\s+)
""", re.VERBOSE | re.DOTALL | re.MULTILINE)

QUALIFIERS = {"const", "volatile"}


class HeaderError(Exception):
    pass


class Token:
    def __init__(self, kind, text, line, end_line):
        self.kind, self.text, self.line, self.end_line = kind, text, line, end_line


def tokenize(text):
    position, line = 0, 1
    tokens = []
    while position < len(text):
        match = TOKEN.match(text, position)
        if not match:
            raise HeaderError(f"line {line}: cannot read {text[position:position + 20]!r}")
        end_line = line + match.group().count("\n")
        if match.lastgroup != "space":
            tokens.append(Token(match.lastgroup, match.group(), line, end_line))
        line, position = end_line, match.end()
    return tokens


def comment_text(comment):
    """The words of a comment, its paragraphs and list items on lines of their own."""
    body = comment[2:-2]
    lines = [re.sub(r"^\s*\*? ?", "", line).rstrip() for line in body.split("\n")]
    paragraphs, current = [], ""
    for line in lines:
        if not line.strip() or re.match(r"\s*- ", line):
            if current:
                paragraphs.append(current)
            current = line.strip()
        else:
            current = (current + " " + line.strip()).strip()
    return "\n".join(paragraphs + ([current] if current else []))


class Parser:
    def __init__(self, text):
        self.tokens = self.active(tokenize(text))
        self.position = 0
        self.result = {"constants": [], "enums": [], "types": [], "callbacks": [], "structs": [],
                       "functions": []}
        self.section = None
        self.doc = None           # comment that waits for the declaration behind it
        self.experimental = False

    # -- preprocessor ---------------------------------------------------------------------------

    def active(self, tokens):
        """Drops what only some compilers see (C++, the choice of RADLLM_API); keeps #define lines
        and marks what needs RADLLM_EXPERIMENTAL."""
        kept, stack = [], []
        for token in tokens:
            if token.kind != "directive":
                if "skip" not in stack:
                    kept.append(token)
                continue
            words = token.text.strip().lstrip("#").split()
            if words[0] in ("if", "ifdef", "ifndef"):
                if words[-1] == "RADLLM_EXPERIMENTAL":
                    stack.append("experimental")
                    kept.append(Token("experimental", "on", token.line, token.end_line))
                else:
                    guard = words[0] == "ifndef" and words[1].endswith("_H")
                    stack.append("keep" if guard else "skip")
            elif words[0] == "endif":
                if stack.pop() == "experimental":
                    kept.append(Token("experimental", "off", token.line, token.end_line))
            elif words[0] == "define" and "skip" not in stack:
                kept.append(token)
        if stack:
            raise HeaderError("an #if without its #endif")
        return kept

    # -- walking --------------------------------------------------------------------------------

    def peek(self):
        return self.tokens[self.position] if self.position < len(self.tokens) else None

    def next(self, expected=None):
        token = self.peek()
        if token is None:
            raise HeaderError("the header ends within a declaration")
        self.position += 1
        if expected is not None and token.text != expected:
            raise HeaderError(f"line {token.line}: {expected!r} expected, found {token.text!r}")
        return token

    def accept(self, text):
        token = self.peek()
        if token is not None and token.text == text:
            self.position += 1
            return True
        return False

    def note(self, name):
        """What every entry has: name, documentation, section."""
        entry = {"name": name}
        if self.doc:
            entry["doc"] = self.doc
        if self.section:
            entry["section"] = self.section
        if self.experimental:
            entry["experimental"] = True
        self.doc = None
        return entry

    # -- declarations ---------------------------------------------------------------------------

    def parse(self):
        last_line = 0
        while (token := self.peek()) is not None:
            if token.kind == "comment":
                self.position += 1
                heading = re.match(r"/\* -{2,} (.*?) -{2,} ?\*/$", token.text)
                if heading:
                    self.section, self.doc = heading.group(1), None
                elif token.line != last_line:
                    self.doc = comment_text(token.text)
                elif self.previous is not None:   # behind a declaration, on its line
                    self.previous.setdefault("doc", comment_text(token.text))
                continue
            if token.kind == "experimental":
                self.position += 1
                self.experimental = token.text == "on"
                continue
            self.previous = None
            if token.kind == "directive":
                self.define()
            elif token.text == "typedef":
                self.typedef()
            elif token.text == "enum":
                self.enum()
            elif token.text == "RADLLM_API":
                self.function()
            else:
                raise HeaderError(f"line {token.line}: not understood: {token.text!r}")
            last_line = self.tokens[self.position - 1].end_line
        return self.result

    def define(self):
        token = self.next()
        match = re.match(r"\s*#\s*define\s+(\w+)\s*(.*)$", token.text, re.DOTALL)
        if not match:
            raise HeaderError(f"line {token.line}: not understood: {token.text!r}")
        name, value = match.group(1), match.group(2).strip()
        if not value:
            return                # the include guard
        if "/*" in value:
            value, comment = value.split("/*", 1)
            self.doc = self.doc or comment_text("/*" + comment)
        entry = self.note(name)
        value = value.strip()
        try:
            entry["value"] = int(value.rstrip("uUlL"), 0)
        except ValueError:
            size = re.match(r"\(\((\w+)\)\s*(-?\d+)\)$", value)
            if not size:
                raise HeaderError(f"line {token.line}: the value of {name} is no number")
            entry["type"], entry["value"] = size.group(1), int(size.group(2))
        self.result["constants"].append(entry)
        self.previous = entry

    def type_and_name(self):
        """TYPE NAME, TYPE NAME[COUNT], TYPE (no name), as an object without documentation."""
        words, stars = [], ""
        name = None
        while True:
            token = self.peek()
            if token.kind == "word":
                base = [w for w in words if w not in QUALIFIERS]
                if stars and token.text in QUALIFIERS:      # `char *const *`
                    stars += self.next().text + " "
                elif token.text in QUALIFIERS or not base or base == ["unsigned"]:
                    words.append(self.next().text)
                else:
                    name = self.next().text
                    break
            elif token.text == "*":
                stars += self.next().text
            else:
                break
        entry = {"name": name, "type": " ".join(words + ([stars.strip()] if stars else []))}
        if self.accept("["):
            entry["count"] = int(self.next().text)
            self.next("]")
        return entry

    def parameters(self):
        self.next("(")
        result = []
        while not self.accept(")"):
            entry = self.type_and_name()
            if entry["type"] == "void":
                self.next(")")
                break
            result.append(entry)
            if not self.accept(",") and self.peek().text != ")":
                raise HeaderError(f"line {self.peek().line}: ',' or ')' expected")
        return result

    def function(self):
        self.next("RADLLM_API")
        declared = self.type_and_name()
        entry = self.note(declared["name"])
        entry["returns"] = declared["type"]
        entry["parameters"] = self.parameters()
        self.next(";")
        self.result["functions"].append(entry)
        self.previous = entry

    def typedef(self):
        line = self.next("typedef").line
        if self.peek().text == "struct":
            self.next("struct")
            tag = self.next().text
            if self.peek().text == "{":
                entry = self.note(tag)
                entry["members"] = self.members()
                if self.next().text != tag:
                    raise HeaderError(f"line {line}: struct {tag} has another name as a type")
                self.result["structs"].append(entry)
            else:
                entry = self.note(self.next().text)
                entry["kind"] = "opaque"
                self.result["types"].append(entry)
            self.next(";")
            self.previous = entry
            return
        declared = self.type_and_name()
        if declared["name"] is None and self.accept("("):
            self.next("*")
            entry = self.note(self.next().text)
            self.next(")")
            entry["returns"] = declared["type"]
            entry["parameters"] = self.parameters()
            self.result["callbacks"].append(entry)
        else:
            entry = self.note(declared["name"])
            entry["kind"], entry["type"] = "alias", declared["type"]
            self.result["types"].append(entry)
        self.next(";")
        self.previous = entry

    def items(self, read_item):
        """The items between braces with their comments, before an item or behind it on its line."""
        self.next("{")
        result, waiting, last = [], None, None
        while not self.accept("}"):
            token = self.peek()
            if token.kind == "comment":
                self.position += 1
                text = comment_text(token.text)
                if last is not None and token.line == last[1]:
                    last[0]["doc"] = text
                else:
                    waiting = text
                continue
            entry = read_item()
            if waiting:
                entry["doc"] = waiting
                waiting = None
            result.append(entry)
            last = (entry, self.tokens[self.position - 1].end_line)
        return result

    def members(self):
        def member():
            entry = self.type_and_name()
            self.next(";")
            return entry
        return self.items(member)

    def enum(self):
        self.next("enum")
        entry = self.note(None if self.peek().text == "{" else self.next().text)
        value = -1

        def item():
            nonlocal value
            name = self.next().text
            value += 1
            if self.accept("="):
                value = int(self.next().text.rstrip("uUlL"), 0)
            if self.peek().text != "}" and self.peek().kind != "comment":
                self.next(",")
            return {"name": name, "value": value}
        entry["values"] = self.items(item)
        self.next(";")
        if entry["name"] is None:
            del entry["name"]
        self.result["enums"].append(entry)
        self.previous = entry


def describe(path):
    with open(path, encoding="utf-8") as file:
        text = file.read()
    first = re.match(r"/\*.*?\*/", text, re.DOTALL)
    try:
        parsed = Parser(text).parse()
    except HeaderError as problem:
        raise SystemExit(f"describe.py: {path}: {problem}")
    constants = {entry["name"]: entry["value"] for entry in parsed["constants"]}
    version = [constants[f"RADLLM_VERSION_{part}"] for part in ("MAJOR", "MINOR", "PATCH")]
    return {"library": "libradllm",
            "soname": "libradllm.so.0",
            "header": "radllm/radllm.h",
            "version": ".".join(map(str, version)),
            "conventions": comment_text(first.group()) if first else "",
            **parsed}


def main():
    if len(sys.argv) not in (2, 3) or sys.argv[1].startswith("-"):
        print(__doc__, file=sys.stderr)
        return 2
    text = json.dumps(describe(sys.argv[1]), indent=1, ensure_ascii=False) + "\n"
    if len(sys.argv) == 3:
        with open(sys.argv[2], "w", encoding="utf-8") as output:
            output.write(text)
    else:
        sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
