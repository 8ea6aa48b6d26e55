"""`retain VERB …`: the entry point.

Exit codes: 0 done, 1 failed while running, 2 bad input, 130 interrupted; of a gate 3 something was lost or changed its
format, 4 too few items to say; with a budget 3 it could not be kept.
"""

from __future__ import annotations

import difflib
import os
import sys
from types import ModuleType

from retain.interruption import interruptible, raise_if_interrupted

INTERRUPTED = 130

RESUMED = {"tune", "compare", "advise", "calibrate"}
"""Verbs that go on where they were interrupted; the others begin anew."""


def main(arguments: list[str] | None = None) -> int:
    """Run one verb and return the exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    verb = words[0] if words else ""
    try:
        with interruptible():
            return _run(words)
    except KeyboardInterrupt as interruption:
        print(_interrupted(verb, interruption), file=sys.stderr)
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 -- no traceback reaches a user: it goes into a file
        return _failed(verb, error)


def _run(words: list[str]) -> int:
    # What this imports takes a second; imported here, so that Ctrl-C within it ends in a sentence too.
    from retain.cli.help_text import overview
    from retain.cli.processes import forget_launcher
    from retain.cli.verbs import VERBS

    if not words or words[0] in {"-h", "--help"}:
        print(overview({name: module.HELP for name, module in VERBS.items()}))
        return 0 if words else 2
    verb, rest = words[0], words[1:]
    if (refused := _not_begun(verb, rest)) is not None:
        if refused:
            print(refused, file=sys.stderr)
        return 2
    forget_launcher(os.environ)
    raise_if_interrupted()
    return _do(VERBS[verb], rest)


def _not_begun(verb: str, words: list[str]) -> str | None:
    """The reason why a verb is not begun: it is unknown, or one of several processes does it; empty for the others."""
    from retain.cli.processes import refusal
    from retain.cli.verbs import VERBS

    if verb not in VERBS:
        near = difflib.get_close_matches(verb, VERBS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"verbs are {', '.join(VERBS)}."
        return f"retain: there is no verb {verb!r}; {hint}"
    refused = refusal(verb, words, os.environ)
    return f"retain {verb}: {refused}" if refused else refused


def _do(verb: ModuleType, words: list[str]) -> int:
    from retain.cli.flags import read_arguments
    from retain.cli.help_text import help_topic
    from retain.jobs.quiet import quiet_libraries

    quiet_libraries()
    given, topic = help_topic(words)
    return verb.run(read_arguments(verb.make_parser(topic), given)) or 0


def _interrupted(verb: str, interruption: KeyboardInterrupt) -> str:
    """The sentence on an interruption: what was saved, and what the same command does next."""
    saved = f"{interruption.args[0]}; " if interruption.args else ""
    after = "goes on from there" if saved else "goes on from here" if verb in RESUMED else "begins anew"
    return f"\nretain {verb}: interrupted; {saved}the same command {after}."


def _failed(verb: str, error: Exception) -> int:
    """Tell an error in a sentence, and write the traceback of one that nobody foresaw to a file; the exit code."""
    from retain.errors import InputError, RetainError
    from retain.jobs.failure import sentence_on
    from retain.records.storage import StorageError, storage_sentence

    if isinstance(error, InputError):
        count = len(error.problems)
        print(f"retain {verb}: {'one problem' if count == 1 else f'{count} problems'}:", file=sys.stderr)
        for problem in error.problems:
            print(f"  - {_printable(problem)}", file=sys.stderr)
        return 2
    if isinstance(error, StorageError):
        after = "goes on from what was saved" if verb in RESUMED else "begins anew"
        told = f"{error} Then the same command {after}."
    elif isinstance(error, (RetainError, OSError, MemoryError)):  # a folder without permission among them
        told = storage_sentence(error) or str(error) or type(error).__name__
    else:
        told = sentence_on(error)
    print(f"retain {verb}: failed: {_printable(told)}", file=sys.stderr)
    return 1


def _printable(text: str) -> str:
    """A text that any terminal takes: half of a character becomes its code."""
    return text.encode("utf-8", errors="backslashreplace").decode("utf-8")


if __name__ == "__main__":
    sys.exit(main())
