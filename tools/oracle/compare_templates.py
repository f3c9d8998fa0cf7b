#!/usr/bin/env python3
"""Compares the built-in chat templates with the Jinja texts that they stand for.

Usage: compare_templates.py RENDER_CHAT MODEL.gguf SHARED_DATA [--chats N]

RENDER_CHAT is the test tool of that name; SHARED_DATA the folder with `chat-templates`. Each text
there that the library recognises is rendered by jinja2, with random chats, and by the library; the
two must be equal byte for byte, and where the text raises an error so must the library. The library
also refuses system messages where the original would drop them silently or print an unknown role. The vocabulary of MODEL.gguf must have the texts of BOS
and EOS that --bos and --eos say. Needs the package jinja2.
"""
import argparse
import functools
import json
import os
import random
import subprocess
import sys

import jinja2
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


@functools.lru_cache(maxsize=None)
def compiled(text):
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
    environment.globals["raise_exception"] = raise_exception
    return environment.from_string(text)


def render(text, messages, bos, eos):
    try:
        return compiled(text).render(
            messages=messages, add_generation_prompt=True, bos_token=bos, eos_token=eos)
    except jinja2.TemplateError as error:
        return error


PIECES = ["Hello", "", " ", "\n", "  two  ", "\u00a0nbsp", "tab\t", "é è µg/m³", "<|im_end|>", "[/INST]",
          "line\nline", "\u2003wide", "\x1f", "{{ bos_token }}", "</s>", "日本語", "\x85", "\u200b"]


def random_chat(generator):
    messages = []
    if generator.random() < 0.5:
        messages.append("system")
    for i in range(generator.randrange(1, 6)):
        messages.append(["user", "assistant"][i % 2])
    if generator.random() < 0.25:
        messages = [generator.choice(["system", "user", "assistant"]) for _ in messages]
    return [{"role": role,
             "content": "".join(generator.choice(PIECES) for _ in range(generator.randrange(5)))}
            for role in messages]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("render_chat")
    parser.add_argument("model")
    parser.add_argument("shared_data")
    parser.add_argument("--chats", type=int, default=500)
    parser.add_argument("--bos", default="<s>", help="text of the model's BOS token")
    parser.add_argument("--eos", default="</s>", help="text of the model's EOS token")
    parser.add_argument("--texts", help="more texts: a JSON list of [name, text]")
    arguments = parser.parse_args()
    bos, eos = arguments.bos, arguments.eos
    texts = texts_in(os.path.join(arguments.shared_data, "chat-templates"))
    if arguments.texts:
        with open(arguments.texts, encoding="utf-8") as file:
            texts += [(name, text) for name, text in json.load(file)]
    generator = random.Random(1)
    requests = [(where, text, random_chat(generator))
                for where, text in texts for _ in range(arguments.chats)]
    lines = "".join(json.dumps({"template": text, "messages": chat}) + "\n"
                    for _, text, chat in requests)
    answers = subprocess.run([arguments.render_chat, arguments.model], input=lines.encode(),
                             stdout=subprocess.PIPE, check=True).stdout.decode().split("\n")
    compared, raised, stricter, wrong, known = 0, 0, 0, 0, {}
    for (where, text, chat), line in zip(requests, answers):
        answer = json.loads(line)
        if not answer:
            continue
        known[where] = answer["name"]
        expected = render(text, chat, bos, eos)
        compared += 1
        if isinstance(expected, jinja2.TemplateError):
            raised += 1
            same = "error" in answer
        elif "error" in answer:
            stricter += 1
            same = any(one["role"] == "system" for one in chat)
        else:
            same = answer.get("text") == expected
        if not same:
            wrong += 1
            if wrong <= 10:
                print(where, answer, repr(expected), json.dumps(chat), sep="\n  ")
    for where, name in known.items():
        print(f"{name:24} {where}")
    print(f"{len(known)} of {len(texts)} texts known; {compared} chats compared, {raised} of them "
          f"refused by the original, {stricter} by the library alone; {wrong} differ")
    sys.exit(wrong != 0)


if __name__ == "__main__":
    main()
