#!/usr/bin/env bash
# Install retain, without torch, into an environment of its own, so that nothing of the job's is changed.
set -euo pipefail
place="$RUNNER_TEMP/retain"
"$PYTHON" -m venv "$place"
bin="$place/bin"
[ -d "$bin" ] || bin="$place/Scripts" # on Windows
"$bin/python" -m pip install --quiet --disable-pip-version-check "pip>=25.1"
"$bin/python" -m pip install --quiet --disable-pip-version-check \
  --group "$GITHUB_ACTION_PATH/pyproject.toml:judge" --constraint "$GITHUB_ACTION_PATH/constraints.txt"
"$bin/python" -m pip install --quiet --disable-pip-version-check --no-deps "$GITHUB_ACTION_PATH"
