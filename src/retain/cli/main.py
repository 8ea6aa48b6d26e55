"""`retain VERB …`: the entry point.

Exit codes: 0 done, 1 failed while running, 2 bad input, 130 interrupted; of a gate 3 something was lost or changed its
format, 4 too few items to say; with a budget 3 it could not be kept.
"""

from __future__ import annotations

import difflib
import sys

from retain.cli import (
    advise,
    calibrate,
    check,
    compare,
    gate,
    inspect,
    measure,
    report,
    scale,
    sequence,
    suites,
    tune,
)
from retain.cli.flags import read_arguments
from retain.cli.help_text import help_topic, overview
from retain.errors import InputError, RetainError

VERBS = {
    "suites": suites,
    "check": check,
    "advise": advise,
    "calibrate": calibrate,
    "inspect": inspect,
    "tune": tune,
    "compare": compare,
    "scale": scale,
    "measure": measure,
    "gate": gate,
    "report": report,
    "sequence": sequence,
}
"""Verbs in the order of work."""


def main(arguments: list[str] | None = None) -> int:
    """Run one verb and return the exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    if not words or words[0] in {"-h", "--help"}:
        print(overview({name: module.HELP for name, module in VERBS.items()}))
        return 0 if words else 2
    verb, rest = words[0], words[1:]
    if verb not in VERBS:
        near = difflib.get_close_matches(verb, VERBS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"verbs are {', '.join(VERBS)}."
        print(f"retain: there is no verb {verb!r}; {hint}", file=sys.stderr)
        return 2
    try:
        words, topic = help_topic(rest)
        return VERBS[verb].run(read_arguments(VERBS[verb].make_parser(topic), words)) or 0
    except (RetainError, OSError, MemoryError, KeyboardInterrupt) as error:
        return _report(verb, error)


def _report(verb: str, error: BaseException) -> int:
    """Print what went wrong, without a traceback, and return the exit code."""
    if isinstance(error, InputError):
        count = len(error.problems)
        print(f"retain {verb}: {'one problem' if count == 1 else f'{count} problems'}:", file=sys.stderr)
        for problem in error.problems:
            print(f"  - {problem}", file=sys.stderr)
        return 2
    if isinstance(error, KeyboardInterrupt):
        print(f"\nretain {verb}: interrupted; the same command goes on from here.", file=sys.stderr)
        return 130
    print(f"retain {verb}: failed: {error}", file=sys.stderr)  # a full disk, a folder without permission among them
    return 1


if __name__ == "__main__":
    sys.exit(main())
