#!/usr/bin/env bash
# Makes the Python environment in which the embedded model is trained, exported and evaluated.
# Usage: tools/model/make_env.sh [DIRECTORY]   (default: .venv-train in the current directory)
set -eu
directory=${1:-.venv-train}
[ -x "$directory/bin/python" ] || python3 -m venv "$directory"
"$directory/bin/pip" install --quiet torch numpy tokenizers gguf
"$directory/bin/python" -c 'import torch, tokenizers, gguf, numpy; print("torch", torch.__version__)'
