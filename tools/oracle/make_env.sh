#!/usr/bin/env bash
# Makes the Python environment in which the golden files of tests/golden are made.
# Usage: tools/oracle/make_env.sh TARGET_FOLDER
# The tests themselves never need it. It is large (PyTorch) and may take minutes; run twice, it
# repairs what is missing and changes nothing else.
set -eu

if [ $# -ne 1 ] || [ "$1" = "-h" ] || [ "$1" = "--help" ]; then
    echo "usage: $0 TARGET_FOLDER" >&2
    exit 2
fi
target=$1
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python3}

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || {
    echo "$0: $python is older than Python 3.10; set PYTHON to a newer one" >&2
    exit 1
}
if [ ! -x "$target/bin/python" ]; then
    echo "making the virtual environment $target"
    "$python" -m venv "$target" || {
        echo "$0: cannot make a virtual environment; on Debian: apt-get install python3-venv" >&2
        exit 1
    }
fi
echo "installing the pinned packages (PyTorch is large)"
"$target/bin/python" -m pip install --quiet -r "$here/requirements.txt"
"$target/bin/python" - <<'PYTHON'
import gguf, jinja2, numpy, safetensors, sentencepiece, tokenizers, torch, transformers
print("ready: torch", torch.__version__, "transformers", transformers.__version__,
      "tokenizers", tokenizers.__version__, "numpy", numpy.__version__)
PYTHON
