"""`retain sequence`: several tasks learned one after the other, and what each stage left of the earlier ones."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from retain.cli.help_text import ALL, add_argument, plain_parser

HELP = "Tabulate tasks learned in sequence: ACC, BWT, forgetting."


def make_parser(topic: str = ALL) -> ArgumentParser:
    """The verb's options."""
    description = (
        HELP + " Each run is a record of `retain measure` against the same base, with the test items of all tasks "
        "among its suites."
    )
    example = "retain sequence runs/after-a runs/after-b --tasks a,b"
    parser = plain_parser("RUN… --tasks A,B,…", description, example, topic)
    add_argument(parser, "runs", "Folder of a stage's record; in order.", nargs="+", type=str, metavar="RUN")
    text = "Suites in the order they were learned."
    add_argument(parser, "--tasks", text, type=str, required=True, metavar="A,B,…")
    add_argument(parser, "--output", "File for the figures as JSON.", type=str, metavar="FILE")
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
    for name, figure in named.items():
        if figure is not None:
            value, (low, high) = figure
            console.print(f"{name}: {100 * value:.1f} points [{100 * low:.1f}, {100 * high:.1f}]", markup=False)
    console.print(
        "[ ]: 95% interval over items; other orders of the tasks and other seeds are not in it.", markup=False
    )
    if given.get("output"):
        write_sequence(report, Path(given["output"]))
        console.print(f"json     {given['output']}", markup=False)
