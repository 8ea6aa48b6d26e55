#!/bin/sh
# What the fused forms are worth on a GPU, in one go of under eight minutes. See benchmarks/gpu.py for what it does.
#
#   benchmarks/gpu.sh --wheels FOLDER     fetch the wheels that a GPU machine needs beside its torch (run this at home)
#   benchmarks/gpu.sh [options]           check and measure; --device cpu --tiny tries the script without a GPU
#
# PYTHON names the interpreter that has torch (python3). Where it lacks the other packages, they are installed without a
# network from the folder WHEELS (wheels, beside this checkout) into .gpu-packages; its torch and Triton are left alone.
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
wheels=${WHEELS:-wheels}
packages=.gpu-packages
needed="transformers peft accelerate tokenizers safetensors huggingface-hub hf-xet pydantic pydantic-core annotated-types
typing-inspection typing-extensions lazy-loader wrapt pyyaml regex tqdm packaging psutil numpy scipy filelock fsspec
jinja2 markupsafe anyio h11 idna httpx2 httpcore2 truststore"

if [ "${1:-}" = --wheels ]; then
    folder=${2:?"say where to, as: benchmarks/gpu.sh --wheels wheels"}
    # shellcheck disable=SC2086 -- a list of names
    "$python" -m pip download --quiet --no-deps --only-binary :all: --constraint constraints.txt --dest "$folder" $needed
    "$python" -m pip wheel --quiet --no-deps --wheel-dir "$folder" .
    ls "$folder"
    exit
fi

export PYTHONPATH="$PWD/src:$PWD/benchmarks${PYTHONPATH:+:$PYTHONPATH}"
"$python" -c 'import torch' || { echo "gpu.sh: $python has no torch; name one that has: PYTHON=… $0" >&2; exit 2; }
if ! "$python" -c 'import layer, model, serving' 2>/dev/null; then
    if [ ! -d "$wheels" ]; then
        echo "gpu.sh: packages are missing; carry the folder that 'benchmarks/gpu.sh --wheels wheels' makes" >&2
        "$python" -c 'import layer, model, serving' || exit 2
    fi
    "$python" -m pip install --quiet --no-index --no-deps --upgrade --target "$packages" "$wheels"/*.whl
    if "$python" -c 'import numpy' 2>/dev/null; then # the one that its torch was tried with
        rm -rf "$packages"/numpy "$packages"/numpy-* "$packages"/numpy.libs
    fi
    export PYTHONPATH="$PYTHONPATH:$PWD/$packages"
fi
exec "$python" benchmarks/gpu.py "$@"
