"""`retain VERB …`: the entry point.

Exit codes: 0 done, 1 failed while running, 2 bad input, 130 interrupted; of a gate 3 something was lost or changed its
format, 4 too few items to say; with a budget 3 it could not be kept.
"""

from __future__ import annotations

import sys

from jsonargparse import ArgumentParser

from retain.cli import advise, calibrate, check, compare, gate, inspect, measure, report, sequence, suites, tune
from retain.cli import scale as scaling
from retain.cli.flags import bare_switches, named_method
from retain.errors import InputError, RetainError
from retain.recipe import AdviseRecipe, CalibrateRecipe, MeasureRecipe, Recipe, ScaleRecipe

VERBS = {
    "tune": tune,
    "compare": compare,
    "measure": measure,
    "scaling": scaling,
    "report": report,
    "gate": gate,
    "sequence": sequence,
    "suites": suites,
    "check": check,
    "advise": advise,
    "calibrate": calibrate,
    "inspect": inspect,
}


def make_parser() -> ArgumentParser:
    """The parser of all verbs."""
    parser = ArgumentParser(
        prog="retain",
        description="Fine-tune a pretrained model without losing what it knew, and prove it.",
        epilog="Start with: retain check RECIPE.yaml, then retain tune RECIPE.yaml. "
        "`retain VERB --help` explains every field.",
    )
    verbs = parser.add_subcommands(dest="verb", title="verbs", metavar="VERB")
    for name, module in VERBS.items():
        verbs.add_subcommand(name, module.make_parser(), help=module.HELP)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run one verb and return the exit code."""
    words = bare_switches(
        sys.argv[1:] if arguments is None else arguments,
        (Recipe, AdviseRecipe, MeasureRecipe, CalibrateRecipe, ScaleRecipe),
    )
    given = make_parser().parse_args(named_method(words), defaults=False)
    verb = given.verb
    try:
        code: int | None = VERBS[verb].run(given[verb])
    except InputError as error:
        count = len(error.problems)
        print(f"retain {verb}: {'one problem' if count == 1 else f'{count} problems'}:", file=sys.stderr)
        for problem in error.problems:
            print(f"  - {problem}", file=sys.stderr)
        return 2
    except RetainError as error:
        print(f"retain {verb}: failed: {error}", file=sys.stderr)
        return 1
    except (OSError, MemoryError) as error:  # a full disk, a folder without permission: nothing that a traceback helps
        print(f"retain {verb}: failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\nretain {verb}: interrupted; the same command goes on from here.", file=sys.stderr)
        return 130
    return code or 0


if __name__ == "__main__":
    sys.exit(main())
