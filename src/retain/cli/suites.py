"""`retain suites`: which suites there are, what each tells, and whether its data are here. No torch."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser, Namespace

from retain.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

    from retain.evaluate.suites.format import Found
    from retain.evaluate.suites.suite import Suite

HELP = "List the suites that come with retain, or describe one with its first items."

ITEMS = 3
WITHHELD = "refusal"
"""Kind of which no text is ever shown."""


def make_parser() -> ArgumentParser:
    """The verb's options."""
    parser = ArgumentParser(description=HELP, epilog="Example: retain suites capitals")
    parser.add_argument(
        "suite",
        nargs="?",
        type=str,
        help="Name of a suite, path of a suite file, or either with =COPY, your own copy of its data. [list all]",
    )
    parser.add_argument("--items", type=int, default=ITEMS, help="How many of its items are shown.")
    return parser


def run(given: Namespace) -> None:
    """List all, or describe one."""
    from rich.console import Console

    console = Console()
    if given.get("suite") is None:
        _list(console)
    else:
        _describe(console, given["suite"], given.get("items", ITEMS))


def _list(console: Console) -> None:
    """A table of all suites by area."""
    from rich.table import Table

    from retain.evaluate.suites.files import known_suites

    table = Table(
        "suite", "kind", "what it tells", "items here", "licence", box=None, header_style="bold", padding=(0, 1)
    )
    table.columns[0].no_wrap = True
    for area, suites in itertools.groupby(known_suites(), key=lambda found: found.file.area):
        table.add_section()
        table.add_row(f"[bold]{area}[/bold]")
        for found in suites:
            file = found.file
            table.add_row(file.name, file.task_type, file.about, _here(found), file.licence)
    console.print(table)
    console.print(
        "\nName one under keep or test of a recipe, or with --keep and --test; NAME=PATH reads your own copy of its "
        "data. `retain suites NAME` shows one. Text for --held-out-text is no suite: any plain text is.",
        soft_wrap=True,
    )


def _here(found: Found) -> str:
    """How many items are here, or where they would come from."""
    from retain.evaluate.suites.files import local_data

    there = local_data(found)
    if there is None:
        source = found.file.sources[-1]
        return f"on the hub: {source.hub}" if source.hub else f"not here: no {source.local}"
    rows = _count(there[1])
    rows = min(rows, found.file.limit or rows)
    spoilt = found.file.options.corruptions
    return f"{rows} × {len(spoilt.kinds) * len(spoilt.severities)}" if spoilt else str(rows)


def _count(path: Path) -> int:
    """Lines of a table, or files in a folder."""
    if path.is_dir():
        return sum(inner.is_file() for inner in path.rglob("*"))
    with path.open(encoding="utf-8") as lines:
        return sum(bool(line.strip()) for line in lines)


def _describe(console: Console, held_out_text: str, items: int) -> None:
    """What one suite is, and its first items.

    Raises:
        InputError: there is no such suite, or its file is wrong.
    """
    from retain.evaluate.suites.files import find_suite, load_suite
    from retain.evaluate.suites.format import SHIPPED

    problems: list[str] = []
    found = find_suite(held_out_text.partition("=")[0], problems)
    if found is None:
        raise InputError(problems)
    file = found.file
    facts = {
        "what it tells": file.about,
        "kind": f"{file.task_type}, to be {'learned' if file.part == 'task' else 'kept'}",
        "metrics": ", ".join(file.metrics),
        "chance": "" if file.chance is None else f"{file.chance:g}",
        "licence": file.licence,
        "data": ", or ".join(source.place for source in file.sources),
        "items drawn": str(file.limit or ""),
        "version": f"{file.version}, file {found.digest}",
    }
    console.print(f"{file.name}: {file.title}", style="bold", markup=False)
    for name, value in facts.items():
        if value:
            console.print(f"  {name:<14} {value}", markup=False, highlight=False, soft_wrap=True)
    if file.code and found.path.parent != SHIPPED:
        console.print(f"  {'items':<14} has code of its own; not run here", highlight=False)
        return
    suite = load_suite(held_out_text, problems)
    for problem in problems:
        console.print(f"  {'not here':<14} {problem}", markup=False, highlight=False, soft_wrap=True)
    if suite.items:
        console.print(f"  {'read':<14} {suite.facts['source']}", markup=False, highlight=False, soft_wrap=True)
        _show_items(console, suite, items)


def _show_items(console: Console, suite: Suite, count: int) -> None:
    """The number of items and the first of them as they are asked, without empty fields."""
    bank = f", and {len(suite.bank)} to look among" if suite.bank else ""
    console.print(f"  {'items':<14} {len(suite.items)}{bank}", highlight=False)
    if suite.task_type == WITHHELD:
        console.print("  The texts of requests are not shown.", highlight=False)
        return
    for item in suite.items[:count]:
        text = item.model_dump_json(exclude_none=True, exclude_defaults=True)
        console.print(f"  {text}", markup=False, highlight=False, soft_wrap=True)
