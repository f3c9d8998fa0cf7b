#!/usr/bin/env python3
"""How many guesses are right in real work: radllm-generate answers the same three questions about each
report of a table, without guesses and with them. The answers must be the same.

  speculation_work.py RADLLM_GENERATE MODEL REPORTS.csv [--draft-model FILE] [--tokens 64]

Prints a Markdown table: tokens of all answers, guesses, right ones, and tokens for each step."""
import argparse
import csv
import json
import subprocess

WORK = {
    "summarise": "Write a one-line impression of the following radiology report.\n\n{report}",
    "repeat with corrections": "Repeat the following radiology report word for word, with spelling "
                               "mistakes corrected.\n\n{report}",
    "extract as JSON": "Name the findings present in the following radiology report as a JSON list."
                       "\n\n{report}",
}


def misspell(text):
    """Every twelfth word loses its second letter."""
    words = text.split(" ")
    return " ".join(word[:1] + word[2:] if i % 12 == 5 and len(word) > 4 else word
                    for i, word in enumerate(words))


def answer(options, prompt, *more):
    done = subprocess.run([options.generate, "-m", options.model, "--chat", "-p", prompt, "-n",
                           str(options.tokens), "--temp", "0", "--json", *more],
                          check=True, capture_output=True)
    return json.loads(done.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("generate")
    parser.add_argument("model")
    parser.add_argument("reports")
    parser.add_argument("--draft-model")
    parser.add_argument("--tokens", type=int, default=64)
    options = parser.parse_args()
    with open(options.reports, newline="", encoding="utf-8") as file:
        reports = [row["report"] for row in csv.DictReader(file)]
    ways = {"lookup": ["--speculate", "lookup"]}
    if options.draft_model:
        ways["draft"] = ["--draft-model", options.draft_model]
    print("| work | guesses by | tokens | guessed | right | share | tokens a step |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: |")
    for work, question in WORK.items():
        totals = {way: [0, 0, 0, 0] for way in ways}
        for report in reports:
            text = misspell(report) if "corrections" in work else report
            prompt = question.replace("{report}", text)
            plain = answer(options, prompt)
            for way, more in ways.items():
                guessed = answer(options, prompt, *more)
                if guessed["tokens"] != plain["tokens"]:
                    raise SystemExit(f"{work}, {way}: another answer than without guesses")
                total = totals[way]
                ends = plain["finish"] == "end"      # the end itself is chosen as well
                total[0] += len(plain["tokens"]) + ends
                total[1] += guessed["speculation"]["drafted_tokens"]
                total[2] += guessed["speculation"]["accepted_tokens"]
                total[3] += 1                        # the first token comes with the prompt
        for way, (tokens, guessed, right, first) in totals.items():
            share = f"{100 * right / guessed:.0f} %" if guessed else "-"
            print(f"| {work} | {way} | {tokens} | {guessed} | {right} | {share} | "
                  f"{(tokens - first) / max(tokens - first - right, 1):.2f} |")


if __name__ == "__main__":
    main()
