"""`retain inspect`: draw activation second moments, or the initialisation of an adapter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser, Namespace

from retain.cli.help_text import ALL, add_argument, plain_parser
from retain.errors import InputError
from retain.records.paths import expanded

if TYPE_CHECKING:  # rich is imported only when a verb runs
    from rich.console import Console

HELP = "Draw second moments, where an adapter began, where it changed."

RANK = 32


def make_parser(topic: str = ALL) -> ArgumentParser:
    """The verb's options."""
    parser = plain_parser("PATH [--FLAG VALUE …]", HELP, "retain inspect runs/statistics --output look", topic)
    text = (
        "Folder that `retain calibrate` wrote (or its learn or keep alone), adapter with retain_initialisation.json in "
        "it, or run with such an adapter."
    )
    add_argument(parser, "path", text, type=str, metavar="PATH")
    text = "Folder for inspect.md and inspect.png. [PATH]"
    add_argument(parser, "--output", text, type=str, metavar="FOLDER")
    text = "Base of an adapter, of any method that lives in weights: show where in its weights the change lies."
    add_argument(parser, "--model", text, type=str, metavar="MODEL")
    text = f"Strongest directions of each text that are compared; of an adapter, its own rank. [{RANK}]"
    add_argument(parser, "--rank", text, type=int, default=RANK, metavar="N")
    return parser


def run(given: Namespace) -> None:
    """Do it, print the table and the paths of the page and the plot."""
    from retain.cli.screen import make_console, showing_progress
    from retain.cli.views.inspection_view import inspection_table
    from retain.jobs.inspect import inspect
    from retain.jobs.output_place import output_problem
    from retain.report.page.inspection import write_inspection

    output = given.get("output")
    if output is not None and (problems := output_problem(output)):
        raise InputError(problems)
    console = make_console()
    if given.get("model"):
        _show_update(given, console)
        return
    with showing_progress(console) as events:
        view = inspect(given.path, given.get("rank", RANK), events)
    paths = write_inspection(expanded(given.get("output") or given.path), view)
    console.print(inspection_table(view))
    for path in paths:
        console.print(f"{path.suffix[1:]:<8} {path}", markup=False, soft_wrap=True)


def _show_update(given: Namespace, console: Console) -> None:
    """Print where an adapter's change lies, and the path of the page."""
    from retain.cli.screen import showing_progress
    from retain.cli.views.inspection_view import update_table
    from retain.jobs.inspect_update import inspect_update
    from retain.report.page.update_page import write_update

    with showing_progress(console) as events:
        view = inspect_update(given.path, given.model, events)
    paths = write_update(expanded(given.get("output") or given.path), view)
    console.print(update_table(view))
    for path in paths:
        console.print(f"{path.suffix[1:]:<8} {path}", markup=False, soft_wrap=True)
