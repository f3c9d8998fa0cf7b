#!/usr/bin/env bash
# Writes tests/abi/libradllm.abi anew from the present header. Only after a deliberate change of the
# ABI, and at each release: removals and changes of what was released are not allowed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
command -v abidw >/dev/null || {
    echo "update_baseline: abidw is missing (Debian package abigail-tools)" >&2
    exit 1
}
view=$(mktemp -d)
trap 'rm -rf "$view"' EXIT
python3 tools/abi/public_view.py . "$view/libradllm.so.0"
abidw --no-corpus-path --no-comp-dir-path --no-show-locs --no-elf-needed \
    --out-file tests/abi/libradllm.abi "$view/libradllm.so.0"
python3 tests/abi/check_baseline.py --values . >tests/abi/libradllm.values.json
echo "tests/abi/libradllm.abi: $(grep -c '<elf-symbol ' tests/abi/libradllm.abi) functions"
