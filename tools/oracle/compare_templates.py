#!/usr/bin/env python3
"""Compares the built-in chat templates with the Jinja texts that they stand for.

Usage: compare_templates.py RENDER_CHAT MODEL.gguf SHARED_DATA [--chats N]

RENDER_CHAT is the test tool of that name; SHARED_DATA the folder with `chat-templates`; --folder one
with more texts (*.jinja). Each text that the library recognises is rendered by jinja2, with random
chats, and by the library; the two must be equal byte for byte, and where the text raises an error so
must the library. The library also refuses what the original would drop silently, print as an unknown
role, or lay out in a way of its own: system messages, answers at the end or that do not follow a
message of the user, empty ones, thoughts in earlier ones; how often is printed. Then each text must be recognised with comments added and with other white space in its tags. The
vocabulary of MODEL.gguf must have the texts of BOS and EOS that --bos and --eos say. Where a text asks
for today's date, it is 26 July 2024, as for the library. Needs the package jinja2.
"""
import argparse
import datetime
import functools
import hashlib
import json
import os
import random
import re
import subprocess
import sys

import jinja2
import jinja2.ext
import jinja2.sandbox


def texts_in(folder):
    """All template texts of the test data, as (where, text)."""
    found = []
    templates = os.path.join(folder, "goldens", "templates")
    for name in sorted(os.listdir(templates)):
        with open(os.path.join(templates, name), newline="", encoding="utf-8") as file:
            found.append((name, file.read()))
    for name in sorted(os.listdir(folder)):
        if not name.endswith(".json"):
            continue
        with open(os.path.join(folder, name), encoding="utf-8") as file:
            data = json.load(file)
        for case in data.get("cases", []) if isinstance(data, dict) else []:
            if isinstance(case, dict) and isinstance(case.get("template"), str):
                found.append((name + ": " + str(case.get("name")), case["template"]))
    return found


def raise_exception(message):
    raise jinja2.TemplateError(message)


class Generation(jinja2.ext.Extension):
    """The tag around what an assistant says, which renders nothing itself."""
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_call"), [], [], body).set_lineno(line)

    def _call(self, caller):
        return caller()


@functools.lru_cache(maxsize=None)
def compiled(text):
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", Generation])
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = datetime.datetime(2024, 7, 26).strftime
    environment.filters["tojson"] = lambda value, **_: json.dumps(value, ensure_ascii=False)
    return environment.from_string(text)


def render(text, messages, bos, eos):
    try:
        return compiled(text).render(
            messages=messages, add_generation_prompt=True, bos_token=bos, eos_token=eos)
    except (jinja2.TemplateError, TypeError) as error:
        return error


PIECES = ["Hello", "", " ", "\n", "  two  ", "\u00a0nbsp", "tab\t", "é è µg/m³", "<|im_end|>", "[/INST]",
          "line\nline", "\u2003wide", "\x1f", "{{ bos_token }}", "</s>", "日本語", "\x85", "\u200b",
          "<think>\n", "\n</think>\n\n", "</think>"]


@functools.lru_cache(maxsize=None)
def literals(text):
    """The short strings in a template, which it may look for in messages."""
    found = re.findall(r"'((?:[^'\\]|\\.){1,60})'|\"((?:[^\"\\]|\\.){1,60})\"", text)
    return sorted({(one or other).replace("\\n", "\n") for one, other in found}) or [""]


def random_chat(generator, text):
    messages = []
    if generator.random() < 0.5:
        messages.append("system")
    for i in range(generator.randrange(1, 6)):
        messages.append(["user", "assistant"][i % 2])
    if generator.random() < 0.25:
        messages = [generator.choice(["system", "user", "assistant"]) for _ in messages]
    return [{"role": role,
             "content": "".join(generator.choice(literals(text) if generator.random() < 0.3 else PIECES)
                                for _ in range(generator.randrange(5)))}
            for role in messages]


def may_refuse(chat):
    """Whether something is in it that only some templates have a form for."""
    behind = [("user" if i == 0 or chat[i - 1]["role"] == "system" else chat[i - 1]["role"])
              for i in range(len(chat))]
    return chat[-1]["role"] != "user" or any(
        one["role"] == "system" or one["role"] == "assistant" and (
            before != "user" or i == 0 or "</think>" in one["content"] or
            "<|channel" in one["content"] or "<channel|>" in one["content"] or
            not one["content"].strip()) or
        one["content"].strip().startswith("<tool_response>")
        for i, (one, before) in enumerate(zip(chat, behind)))


def disguised(text, generator):
    """The same template: comments, and other white space and quotes within tags."""
    parts = re.split(r"(\{[%{].*?[%}]\})", text, flags=re.DOTALL)
    for i in range(1, len(parts), 2):
        tag = parts[i]
        if "'" not in tag and '"' not in tag and "{" not in tag[2:]:
            words = tag[2:-2].strip("-").split()
            space = generator.choice([" ", "  ", "\n", "\t "])
            left, right = ("-" if tag[2] == "-" else ""), ("-" if tag[-3] == "-" else "")
            tag = tag[:2] + left + space + space.join(words) + space + right + tag[-2:]
        elif "\\" not in tag and '"' not in tag:
            tag = tag.replace("'", '"')
        parts[i] = tag
        quoted = "'" in tag or '"' in tag  # the text may be cut within a string
        if generator.random() < 0.3 and not quoted and parts[i + 1][:1] not in ("", " ", "\n", "\t") and tag[-3] != "-":
            parts[i] += "{# {{ no }} tag {% #}"
    return "".join(parts)


SAID = {"system": ["Be brief.", " Be brief.\n"], "user": ["Hi", " Why?\n"],
        "assistant": ["Ho", "\n Ho ", "<think>\nhm\n</think>\n\nHo", "a</think>b</think>\nHo"]}


def fixed_chats():
    """The chats of tests/unit/chat_goldens.json."""
    chats = []
    for roles in (["user"], ["system", "user"], ["user", "assistant", "user"],
                  ["system", "user", "assistant", "user", "assistant", "user"]):
        for variant in range(4 if "assistant" in roles else 2):
            chats.append([[role, SAID[role][(variant + i // 2) % len(SAID[role])]]
                          for i, role in enumerate(roles)])
    return chats + [[["user", "Hi"], ["assistant", "Ho"]], [["user", "Hi"], ["user", "Why?"]],
                    [["user", "Hi"], ["system", "Be brief."], ["user", "Why?"]],
                    [["system", ""], ["user", "Hi"], ["assistant", ""], ["user", "Why?"]]]


def write_goldens(path, arguments, texts, names):
    """Hashes of what jinja2 renders for each template, "!" where the library refuses a chat."""
    chats = [[dict(zip(("role", "content"), one)) for one in chat] for chat in fixed_chats()]
    by_name = {name: text for text, name in names.items()}
    order = sorted(by_name)
    lines = "".join(json.dumps({"name": name, "messages": chat}) + "\n"
                    for name in order for chat in chats)
    answers = subprocess.run([arguments.render_chat, arguments.model], input=lines.encode(),
                             stdout=subprocess.PIPE, check=True).stdout.decode().split("\n")
    hashes = {}
    for i, name in enumerate(order):
        whole = "".join(
            "!" if "error" in json.loads(answers[i * len(chats) + j])
            else render(by_name[name], chat, arguments.bos, arguments.eos)
            for j, chat in enumerate(chats))
        hashes[name] = hashlib.sha256(whole.encode()).hexdigest()[:16]
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"chats": fixed_chats(), "hashes": hashes}, file, indent=0)
        file.write("\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("render_chat")
    parser.add_argument("model")
    parser.add_argument("shared_data")
    parser.add_argument("--chats", type=int, default=500)
    parser.add_argument("--bos", default="<s>", help="text of the model's BOS token")
    parser.add_argument("--eos", default="</s>", help="text of the model's EOS token")
    parser.add_argument("--golden", help="write tests/unit/chat_goldens.json")
    parser.add_argument("--folder", help="more texts: a folder with files *.jinja")
    parser.add_argument("--texts", help="more texts: a JSON list of [name, text]")
    arguments = parser.parse_args()
    bos, eos = arguments.bos, arguments.eos
    texts = texts_in(os.path.join(arguments.shared_data, "chat-templates"))
    if arguments.texts:
        with open(arguments.texts, encoding="utf-8") as file:
            texts += [(name, text) for name, text in json.load(file)]
    for name in sorted(os.listdir(arguments.folder)) if arguments.folder else []:
        if name.endswith(".jinja"):
            with open(os.path.join(arguments.folder, name), newline="", encoding="utf-8") as file:
                texts.append((name, file.read()))
    generator = random.Random(1)
    requests = [(where, text, random_chat(generator, text))
                for where, text in texts for _ in range(arguments.chats)]
    lines = "".join(json.dumps({"template": text, "messages": chat}) + "\n"
                    for _, text, chat in requests)
    answers = subprocess.run([arguments.render_chat, arguments.model], input=lines.encode(),
                             stdout=subprocess.PIPE, check=True).stdout.decode().split("\n")
    compared, raised, stricter, wrong, known, refused, names = 0, 0, 0, 0, {}, {}, {}
    for (where, text, chat), line in zip(requests, answers):
        answer = json.loads(line)
        if "name" not in answer:
            continue
        known[where] = answer["name"]
        names[text] = answer["name"]
        expected = render(text, chat, bos, eos)
        compared += 1
        if isinstance(expected, jinja2.TemplateError):
            raised += 1
            same = "error" in answer
        elif "error" in answer:
            stricter += 1
            same = may_refuse(chat) or "of its own where" in answer["error"]
            refused[where] = refused.get(where, 0) + 1
        else:
            same = answer.get("text") == expected
        if not same:
            wrong += 1
            if wrong <= 10:
                print(where, answer, repr(expected), json.dumps(chat), sep="\n  ")
    lost = 0
    lines = "".join(json.dumps({"template": disguised(text, generator), "messages": []}) + "\n"
                    for where, text in texts)
    answers = subprocess.run([arguments.render_chat, arguments.model], input=lines.encode(),
                             stdout=subprocess.PIPE, check=True).stdout.decode().split("\n")
    for (where, text), line in zip(texts, answers):
        if text in names and json.loads(line).get("name") != names[text]:
            lost += 1
            print("not recognised in disguise:", where)
    for where, name in known.items():
        print(f"{name:24} {where} ({100 * refused.get(where, 0) // arguments.chats} % refused)")
    print(f"{len(names)} of {len(texts)} texts known; {compared} chats compared, {raised} of them "
          f"refused by the original, {stricter} by the library alone; {wrong} differ")
    if arguments.golden:
        write_goldens(arguments.golden, arguments, texts, names)
    sys.exit(wrong != 0 or lost != 0)


if __name__ == "__main__":
    main()
