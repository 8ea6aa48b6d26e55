"""`retain suites`: the suites that come with retain, what each tells, and where its data are. No torch."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import ArgumentParser, Namespace

from retain.cli.help_text import ALL, add_argument, plain_parser, wrapped
from retain.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

    from retain.evaluate.suites.format import LocatedSuite
    from retain.evaluate.suites.suite import Suite

HELP = "List the retention suites that come with retain, or show one."

ITEMS = 3
"""Items of a suite that are shown."""

NAME_WIDTH, TYPE_WIDTH = 20, 12
"""Columns of the list."""

TO_BE = {"task": "learned", "keep": "kept", "gone": "gone"}
"""What a suite's items are to be, by its part."""


def make_parser(topic: str = ALL) -> ArgumentParser:
    """The verb's options."""
    parser = plain_parser("[SUITE] [--items N]", HELP, "retain suites capitals", topic)
    text = "Name of a suite, path of a suite file, or either with =COPY, your own copy of its data. [list all]"
    add_argument(parser, "suite", text, nargs="?", type=str, metavar="SUITE")
    text = f"How many of its items are shown. [{ITEMS}]"
    add_argument(parser, "--items", text, type=int, default=ITEMS, metavar="N")
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
    """All suites by area: a line of facts for each, and below it the question that it answers."""
    from retain.evaluate.suites.loading import known_suites

    for area, suites in itertools.groupby(known_suites(), key=lambda located: located.file.area):
        console.print(area, style="bold", markup=False, highlight=False)
        for located in suites:
            file = located.file
            facts = f"  {file.name:<{NAME_WIDTH}}{file.task_type:<{TYPE_WIDTH}}{_here(located)}"
            for line in (facts, wrapped(_question(file.about), "      ", "      ")):
                console.print(line, markup=False, highlight=False, soft_wrap=True)
    print()
    print(
        wrapped(
            "Name one under keep or test of a recipe, or with --keep and --test; NAME=PATH reads your own copy of its "
            "data. `retain suites NAME` shows one, with its licence and its source. Any plain text serves as "
            "--held-out-text."
        )
    )


def _question(about: str) -> str:
    """What a suite asks, without the references after it."""
    question, mark, _ = about.partition("?")
    return re.sub(r"\s*\([^()]*$", "", re.sub(r"\s*\([^()]*\)", "", question)) + mark


def _here(located: LocatedSuite) -> str:
    """The number of items that are here, or the place they would come from."""
    from retain.evaluate.suites.loading import local_data

    there = local_data(located)
    if there is None:
        source = located.file.sources[-1]
        return f"on the hub: {source.hub}" if source.hub else f"not here: no {source.local}"
    rows = _count(there[1])
    rows = min(rows, located.file.limit or rows)
    corrupted = located.file.options.corruptions
    return f"{rows} × {len(corrupted.kinds) * len(corrupted.severities)} items" if corrupted else f"{rows} items"


def _count(path: Path) -> int:
    """Lines of a table, or files in a folder."""
    if path.is_dir():
        return sum(inner.is_file() for inner in path.rglob("*"))
    with path.open(encoding="utf-8") as lines:
        return sum(bool(line.strip()) for line in lines)


def _describe(console: Console, source: str, items: int) -> None:
    """Print the facts of one suite, and its first items.

    Raises:
        InputError: there is no such suite, or its file is wrong.
    """
    from retain.evaluate.suites.format import SHIPPED
    from retain.evaluate.suites.loading import find_suite, load_suite

    problems: list[str] = []
    located = find_suite(source.partition("=")[0], problems)
    if located is None:
        raise InputError(problems)
    file = located.file
    facts = {
        "what it shows": file.about,
        "task type": f"{file.task_type}, to be {TO_BE[file.part]}",
        "options": _options(file.options.model_dump(exclude_none=True, exclude={"corruptions"})),
        "metrics": ", ".join(file.metrics),
        "chance": "" if file.chance is None else f"{file.chance:g}",
        "licence": file.licence,
        "data": ", or ".join(source.place for source in file.sources),
        "items drawn": str(file.limit or ""),
        "version": f"{file.version}, file {located.digest}",
    }
    console.print(f"{file.name}: {file.title}", style="bold", markup=False)
    for name, value in facts.items():
        if value:
            console.print(f"  {name:<14} {value}", markup=False, highlight=False, soft_wrap=True)
    if file.code and located.path.parent != SHIPPED:
        console.print(f"  {'items':<14} has code of its own; not run here", highlight=False)
        return
    suite = load_suite(source, problems)
    for problem in problems:
        console.print(f"  {'not here':<14} {problem}", markup=False, highlight=False, soft_wrap=True)
    if suite.items:
        console.print(f"  {'read':<14} {suite.facts['source']}", markup=False, highlight=False, soft_wrap=True)
        _show_items(console, suite, items)


def _options(given: Mapping[str, Any]) -> str:
    """What a suite sets of its task type, as its file says it."""
    return ", ".join(f"{name}: {value}" for name, value in given.items())


def _show_items(console: Console, suite: Suite, count: int) -> None:
    """Print the number of items and the first of them, without empty fields."""
    from retain.evaluate.tasks.table import task_type_of

    bank = f", and {len(suite.bank)} to look among" if suite.bank else ""
    console.print(f"  {'items':<14} {len(suite.items)}{bank}", highlight=False)
    if task_type_of(suite).withheld:
        console.print("  The texts of requests are not shown.", highlight=False)
        return
    for item in suite.items[:count]:
        text = item.model_dump_json(exclude_none=True, exclude_defaults=True)
        console.print(f"  {text}", markup=False, highlight=False, soft_wrap=True)
