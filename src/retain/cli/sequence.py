"""`retain sequence`: several tasks learned one after the other; what each stage left of the earlier ones."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

HELP = "Tasks learned one after the other: the matrix of their scores, ACC, BWT and forgetting, from records."


def make_parser() -> ArgumentParser:
    """The verb's options."""
    parser = ArgumentParser(
        description=HELP,
        epilog="Example: retain sequence runs/after-a runs/after-b --tasks a,b  (each a record of retain measure "
        "against the same base, with the test items of all tasks among its suites)",
    )
    parser.add_argument("runs", nargs="+", type=str, help="Folders of the stages' records, in order.")
    parser.add_argument("--tasks", type=str, required=True, help="Suites in the order they were learned: a,b,c.")
    parser.add_argument("--output", type=str, help="File for the figures as JSON.")
    return parser


def run(given: Namespace) -> None:
    """Print the matrix and the figures."""
    from rich.table import Table

    from retain.cli.screen import make_console
    from retain.jobs.sequence import read_sequence, write_sequence

    tasks = [part.strip() for part in given["tasks"].split(",") if part.strip()]
    report = read_sequence(given["runs"], tasks)
    table = Table("after", *report.tasks, title="Share of items right, in points", box=None)
    for stage, row in zip(report.stages, report.matrix, strict=True):
        table.add_row(stage, *(f"{100 * value:.1f}" for value in row))
    console = make_console()
    console.print(table)
    named = {
        "ACC, mean of the last row": report.average,
        "BWT, below 0 for loss": report.backward,
        "Forgetting, best earlier stage minus last": report.forgetting,
        "Forgetting, the base counted as a stage": report.forgetting_with_base,
        "FWT, against the base": report.forward,
    }
    for name, found in named.items():
        if found is not None:
            value, (low, high) = found
            console.print(f"{name}: {100 * value:.1f} points [{100 * low:.1f}, {100 * high:.1f}]", markup=False)
    console.print(
        "[ ]: 95% interval over items; other orders of the tasks and other seeds are not in it.", markup=False
    )
    if given.get("output"):
        write_sequence(report, Path(given["output"]))
        console.print(f"json     {given['output']}", markup=False)
