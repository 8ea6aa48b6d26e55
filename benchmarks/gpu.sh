#!/bin/sh
# What the fused forms are worth on a GPU, in one go of minutes (--minutes). See benchmarks/gpu.py for what it does.
#
#   benchmarks/gpu.sh --wheels FOLDER [3.12]      fetch the wheels that a GPU machine needs beside its torch, for its Python
#                                                 if that is another than this one (run this where there is a network)
#   benchmarks/gpu.sh [options]                   check and measure; --device cpu --tiny tries the script without a GPU
#
# PYTHON names the interpreter that has torch (python3). Where it lacks the other packages, they are installed without a
# network from the folder WHEELS (wheels, beside this checkout) into .gpu-packages; its torch and Triton are left alone,
# and so are the large packages that most machines with torch have: numpy, scipy, pandas, pyarrow, scikit-learn,
# matplotlib, pillow, pyyaml, rich, sacrebleu, requests, pytest with xdist and timeout, hypothesis.
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
wheels=${WHEELS:-wheels}
packages=.gpu-packages
needed="absl-py accelerate annotated-types anyio attrs click datasets defusedxml dill filelock fsspec gguf greenlet h11
hf-xet httpcore2 httpx2 huggingface-hub idna jinja2 jsonargparse lazy-loader markupsafe multiprocess nltk packaging peft
portalocker psutil pydantic pydantic-core regex safetensors tenacity threadpoolctl tokenizers tqdm transformers truststore
typing-extensions typing-inspection wrapt xxhash"

if [ "${1:-}" = --wheels ]; then
    folder=${2:?"say where to, as: benchmarks/gpu.sh --wheels wheels"}
    for_python=""
    if [ -n "${3:-}" ]; then # pip takes each platform by its very name
        for_python="--python-version $3 --implementation cp --abi cp$(echo "$3" | tr -d .) --abi abi3 --abi none
            --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 --platform any"
    fi
    # shellcheck disable=SC2086 -- lists of names and options
    "$python" -m pip download --quiet --no-deps --only-binary :all: --constraint constraints.txt --dest "$folder" \
        $for_python $needed
    # Of Python alone, and not there as wheels: the same for every version
    "$python" -m pip wheel --quiet --no-deps --constraint constraints.txt --wheel-dir "$folder" . rouge-score
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
    "$python" -m pip install --quiet --no-index --no-deps --no-compile --upgrade --target "$packages" "$wheels"/*.whl
    export PYTHONPATH="$PYTHONPATH:$PWD/$packages"
fi
exec "$python" benchmarks/gpu.py "$@"
