"""The held-out set: for each finding as many reports with it as without, written from the held-out
bank of templates and synonyms, with seeds that training never uses. heldout.json defines it."""

import json
import random
from dataclasses import dataclass
from pathlib import Path

import reports

DEFINITION = json.loads((Path(__file__).parent / "heldout.json").read_text())


@dataclass
class Item:
    ident: str
    finding: str
    report: reports.Report
    label: bool
    kind: str

    def prompt(self, template=None):
        return (template or DEFINITION["prompt"]).format(x=self.finding, r=self.report.text)

    def evidence(self):
        """The sentences that speak of the finding, to diagnose errors."""
        start, found = 0, []
        for end, says in self.report.marks:
            if self.finding in says:
                found.append(self.report.text[start:end].strip())
            start = end
        return found


def held_out_items(per_finding=None, bank=None, seed=None):
    count = per_finding or DEFINITION["per_finding"]
    bank, seed = bank or DEFINITION["bank"], seed or DEFINITION["seed"]
    shares = DEFINITION["negatives"]
    items = []
    for number, finding in enumerate(reports.NAMES):
        for index in range(count):
            rng = random.Random(seed * 1_000_003 + number * 10_007 + index)
            label = index % 2 == 0
            kind = "present" if label else rng.choices(list(shares), list(shares.values()))[0]
            force = {finding: True if label else False if kind == "absent" else None}
            history = [finding] if kind == "history" or (kind != "unmentioned" and rng.random() < 0.15) else []
            report = reports.write_report(rng.getrandbits(48), bank, rng.choice([0, 1, 2, 3, 4, 6]),
                                          force, history)
            assert report.labels[finding] == label
            items.append(Item(f"{finding.replace(' ', '-')}-{index:03d}", finding, report, label, kind))
    return items


def list_reports(count=None, bank=None):
    seed = DEFINITION["seed"] + 5
    return [reports.write_report(seed * 1_000_033 + i, bank or DEFINITION["bank"])
            for i in range(count or DEFINITION["list_reports"])]
