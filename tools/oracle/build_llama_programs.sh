#!/usr/bin/env bash
# Compiles the small programs of this folder that call llama.cpp's library.
# Usage: build_llama_programs.sh LLAMA_CPP_CHECKOUT OUTPUT_FOLDER
# The checkout must be built already (see README.md), in its folder "build".
set -eu

if [ $# -ne 2 ]; then
    echo "usage: $0 LLAMA_CPP_CHECKOUT OUTPUT_FOLDER" >&2
    exit 2
fi
here=$(cd "$(dirname "$0")" && pwd)
checkout=$(cd "$1" && pwd)
mkdir -p "$2"
for source in "$here"/llama_*.cpp; do
    program=$2/$(basename "$source" .cpp)
    "${CXX:-g++}" -std=c++17 -O2 -Wall -Wextra -I"$checkout/include" -I"$checkout/ggml/include" \
        "$source" -o "$program" -L"$checkout/build/bin" -Wl,-rpath,"$checkout/build/bin" \
        -lllama -lggml -lggml-base -pthread
    echo "$program"
done
