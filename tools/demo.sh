#!/usr/bin/env bash
# What ./run demo does once the release is built: labels the sample reports with the embedded model.
# Usage: tools/demo.sh PROGRAMS OUTPUT   (folders; OUTPUT is made anew)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
programs=$1 output=$2
model=examples/models/radreport-q8_0.gguf
reports=examples/data/reports.csv
findings=(cirrhosis "pleural effusion" pneumothorax)
started=$SECONDS

rm -rf "$output"
mkdir -p "$output"

label() {
    "$programs/radllm-label" -m "$model" --input "$reports" --id-column id --keep modality "$@"
}

for finding in "${findings[@]}"; do
    echo "Asking about $finding: yes or no, with probabilities"
    label --output "$output/${finding// /-}.csv" --choices yes,no --prompt \
        "Classify if the following radiology report indicated the presence of $finding. Answer yes or no.

{report}"
done
echo "Asking for the findings as a JSON list: free text"
label --output "$output/findings.jsonl" -n 64 --prompt \
    "Name the findings present in the following radiology report as a JSON list.

{report}"
echo "Asking for an impression: free text"
label --output "$output/impression.csv" -n 64 --prompt \
    "Write a one-line impression of the following radiology report.

{report}"

echo
python3 tools/demo_table.py "$reports" "$output" "${findings[@]}"
echo
echo "Synthetic reports, and a model that shows how the library is used: not for clinical use."
echo "Written in $((SECONDS - started)) s:"
ls -l "$output" | awk 'NR > 1 && $NF !~ /\.state$/ { printf "  %8d bytes  '"$output"'/%s\n", $5, $NF }'
