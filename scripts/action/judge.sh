#!/usr/bin/env bash
# Judge the two logs. The exit code is an output: the last step ends with it, after the verdict was told.
set -uo pipefail
bin="$RUNNER_TEMP/retain/bin"
[ -d "$bin" ] || bin="$RUNNER_TEMP/retain/Scripts" # on Windows
read -r -d '' -a further <<< "${ARGUMENTS:-}" || true # several lines, too
flags=(--output "$OUTPUT" --margin "$MARGIN")
[ -z "${TASK:-}" ] || flags+=(--task "$TASK")
[ -z "${JUNIT:-}" ] || flags+=(--junit "$JUNIT")
problems="$RUNNER_TEMP/retain-problems.txt"
code=0
"$bin/python" -m retain judge "$BASE" "$TUNED" "${flags[@]}" ${further[@]+"${further[@]}"} 2> "$problems" || code=$?
cat "$problems" >&2
case "$code" in
  0) verdict="kept" ;;
  3) verdict="lost or changed format" ;;
  4) verdict="too few items to say" ;;
  *) verdict="" ;;
esac
{
  echo "exit-code=$code"
  echo "verdict=$verdict"
} >> "$GITHUB_OUTPUT"
