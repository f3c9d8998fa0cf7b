"""Writes examples/data/reports.csv: synthetic sample reports with columns id, modality, report.

The seed is one that neither training nor the held-out set uses. Some reports carry quotes, line breaks
and characters beyond ASCII, as real exports do.
"""

import csv
import random
import sys

import reports

SEED = 880_001
COUNT = 24
EXTRAS = [
    "\nCreatinine 92 µmol/L before contrast.",
    "\nReported by Dr. André Lefèvre.",
    '\nCompared with the outside study labelled "baseline".',
    "\nSlice thickness 1.5 mm, matrix 512 × 512, dose ≥ 3 mGy·cm.",
    "\nTechnique: \"low-dose\" protocol, 37 °C room.",
    "\nSecond reader: Jürgen Müller, M.D.",
]
# What each sample must show, so that every finding is there at least once and some are only denied.
FORCED = [
    {"cirrhosis": True, "ascites": True, "splenomegaly": True}, {"pleural effusion": True, "pneumothorax": False},
    {"pneumonia": True}, {"cirrhosis": False, "gallstones": True}, {"cardiomegaly": True, "pulmonary edema": True},
    {"hydronephrosis": True, "renal calculus": True}, {"pneumothorax": True, "fracture": True}, {},
    {"aortic aneurysm": True}, {"hepatic steatosis": True, "cirrhosis": False}, {"pulmonary nodule": True},
    {"pneumonia": False, "pleural effusion": False}, {"cirrhosis": True}, {"fracture": True},
    {"ascites": False, "splenomegaly": True}, {"pulmonary edema": False, "cardiomegaly": True},
    {"renal calculus": True, "hydronephrosis": False}, {"cirrhosis": None}, {"gallstones": False},
    {"aortic aneurysm": False, "hepatic steatosis": True}, {"pneumothorax": False}, {"pulmonary nodule": False},
    {"pleural effusion": True, "ascites": True}, {"cirrhosis": True, "hepatic steatosis": False},
]


def main():
    with open(sys.argv[1], "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id", "modality", "report"])
        for index in range(COUNT):
            rng = random.Random(SEED + index)
            history = ["cirrhosis"] if index == 17 else []
            report = reports.write_report(rng.getrandbits(48), "plain", rng.choice([1, 2, 3]), FORCED[index],
                                          history, noise=False)
            extra = EXTRAS[index // 4 % len(EXTRAS)] if index % 4 == 1 else ""
            writer.writerow([f"R{index + 1:03d}", report.modality, report.text.strip() + extra])


if __name__ == "__main__":
    main()
