"""`retain inspect`: draw what was calibrated, or how an adapter began."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

HELP = "Draw statistics that `retain calibrate` collected, or the directions that an sc-lora adapter started in."

RANK = 32


def make_parser() -> ArgumentParser:
    """The verb's options."""
    parser = ArgumentParser(description=HELP, epilog="Example: retain inspect runs/statistics --output look")
    parser.add_argument(
        "path",
        type=str,
        help="Folder that `retain calibrate` wrote (or its learn or keep alone), adapter with "
        "retain_initialisation.json in it, or run with such an adapter.",
    )
    parser.add_argument("--output", type=str, help="Folder for inspect.md and inspect.png. [PATH itself]")
    parser.add_argument(
        "--rank",
        type=int,
        default=RANK,
        help="How many of the strongest directions on text to learn and to keep are compared; of an adapter, its own.",
    )
    return parser


def run(given: Namespace) -> None:
    """Do it, print the table and where the page and the plot lie."""
    from retain.cli.screen import make_console, quiet_libraries, showing_progress
    from retain.cli.views.inspection_view import inspection_table
    from retain.jobs.inspect import inspect
    from retain.report.page.inspection import write_inspection

    quiet_libraries()
    console = make_console()
    with showing_progress(console) as progress:
        view = inspect(given.path, given.get("rank", RANK), progress)
    paths = write_inspection(Path(given.get("output") or given.path).expanduser(), view)
    console.print(inspection_table(view))
    for path in paths:
        console.print(f"{path.suffix[1:]:<8} {path}", markup=False, soft_wrap=True)
