"""`python -m retain.cli.pull_request RUN`: what the GitHub Action says of a verdict, on its summary and pull request.

No verb: a step of `action.yml`. The token comes from the environment alone, and its exit code is 0 whether it may
comment or not; the verdict's own exit code is the step's before it.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from retain.errors import InputError, RetainError, sentence
from retain.jobs.pull_request import pull_request_of
from retain.records.result import read_result
from retain.report.page.pull_request import marker, refusal_comment, verdict_comment

REFUSED = frozenset({1, 2})
"""Exit codes of a verb that gave no verdict."""


def main(arguments: Sequence[str] | None = None, environment: Mapping[str, str] = os.environ) -> int:
    """Write the step summary and the comment; print what was done."""
    parser = argparse.ArgumentParser(prog="python -m retain.cli.pull_request", description=__doc__)
    parser.add_argument("run", type=Path, help="Folder of the verdict (result.json).")
    parser.add_argument("--code", type=int, default=0, help="Exit code of the verb that made it.")
    parser.add_argument("--problems", type=Path, help="File with what that verb printed where it refused.")
    parser.add_argument("--name", default="retain", help="Tells the comments of several checks apart. [retain]")
    parser.add_argument("--comment", choices=["true", "false"], default="true", help="Comment on the pull request.")
    given = parser.parse_args(arguments)
    text = _text(given, _link(environment))
    _summarise(text, environment)
    if given.comment == "false":
        return 0
    place = pull_request_of(environment)
    if isinstance(place, str):
        print(f"retain: no comment: {place}.")
        return 0
    try:
        print(f"retain: {place.comment(text, marker(given.name))}.")
    except RetainError as error:
        print(f"::warning::retain: no comment: {sentence(str(error))} The verdict does not depend on it.")
    return 0


def _text(given: argparse.Namespace, link: str) -> str:
    """The comment: the verdict, or why there is none."""
    problems = ""
    if given.problems is not None and given.problems.is_file():
        problems = given.problems.read_text(encoding="utf-8", errors="replace")
    if given.code in REFUSED:
        return refusal_comment(problems, given.name, link)
    try:
        return verdict_comment(read_result(given.run / "result.json"), given.name, link)
    except InputError as error:
        return refusal_comment(f"{error}\n{problems}", given.name, link)


def _link(environment: Mapping[str, str]) -> str:
    """The address of the run; empty where it is not known."""
    parts = [environment.get(name, "") for name in ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID")]
    return f"{parts[0]}/{parts[1]}/actions/runs/{parts[2]}" if all(parts) else ""


def _summarise(text: str, environment: Mapping[str, str]) -> None:
    """Append to the summary of the step, where there is one."""
    summary = environment.get("GITHUB_STEP_SUMMARY")
    if not summary:
        return
    try:
        with Path(summary).open("a", encoding="utf-8") as file:
            file.write(f"{text}\n")
    except OSError as error:
        print(sentence(f"::warning::retain: no summary: {error}"))


if __name__ == "__main__":
    sys.exit(main())
