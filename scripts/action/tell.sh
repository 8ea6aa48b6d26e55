#!/usr/bin/env bash
# Tell the verdict on the step's summary and on the pull request, then end with its exit code.
set -uo pipefail
bin="$RUNNER_TEMP/retain/bin"
[ -d "$bin" ] || bin="$RUNNER_TEMP/retain/Scripts" # on Windows
"$bin/python" -m retain.cli.pull_request "$OUTPUT" --code "$CODE" --name "$NAME" --comment "$COMMENT" \
  --problems "$RUNNER_TEMP/retain-problems.txt" || echo "::warning::retain: the verdict could not be told."
exit "$CODE"
