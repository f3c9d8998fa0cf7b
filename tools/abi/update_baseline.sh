#!/usr/bin/env bash
# Writes tests/abi/libradllm.abi anew from the present source. Only after a deliberate change of the
# ABI, and at each release: removals and changes of what was released are not allowed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
command -v abidw >/dev/null || {
    echo "update_baseline: abidw is missing (Debian package abigail-tools)" >&2
    exit 1
}
[ -f build-abi/build.ninja ] ||
    CC=gcc meson setup build-abi -Dbuildtype=release -Ddebug=true -Dtests=false -Dexamples=false \
        -Dblas=disabled
ninja -C build-abi lib/libradllm.so.0.1.0
abidw --headers-dir include --drop-private-types --no-corpus-path --no-comp-dir-path \
    --no-show-locs --no-write-default-sizes --out-file tests/abi/libradllm.abi \
    build-abi/lib/libradllm.so.0.1.0
echo "tests/abi/libradllm.abi: $(wc -l <tests/abi/libradllm.abi) lines"
