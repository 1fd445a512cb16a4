#!/usr/bin/env bash
# Prints the path of a Python with PyTorch and diffusers: the reference that benchmarks compare with, and what trains and tests the
# starter model. Made once in the cache; the usual torch package carries its CUDA libraries, about 5 GB. The editor itself needs none of it.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ -n "${OUTFRAME_PYTHON:-}" ]; then
    echo "$OUTFRAME_PYTHON"
    exit
fi
venv=${OUTFRAME_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/outframe}/python
wanted=$(sort -u tests/parity/requirements.txt models/starter/recipe/requirements.txt | grep -v '^#')
if [ "$(cat "$venv/outframe-requirements.txt" 2>/dev/null)" != "$wanted" ]; then
    echo "Making a Python environment with PyTorch in $venv (about 5 GB, once)" >&2
    [ -x "$venv/bin/python" ] || python3 -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --requirement <(printf '%s\n' "$wanted") >&2
    printf '%s\n' "$wanted" >"$venv/outframe-requirements.txt"
fi
echo "$venv/bin/python"
