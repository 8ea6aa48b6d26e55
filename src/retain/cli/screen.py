"""The output at the end of a verb, and the silence of libraries meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from retain.cli.views.run_view import comparison_table, run_table, scaling_view
from retain.compare.item_examples import clean
from retain.jobs.progress import make_console, showing_progress
from retain.records.budget_record import BudgetRecord, Scaling
from retain.records.result import Result
from retain.report.tables.budget import kept_sentence

__all__ = [
    "make_console",
    "show_comparison",
    "show_page",
    "show_path",
    "show_paths",
    "show_run",
    "show_scaling",
    "showing_progress",
]

PAGE = ".html"
"""The suffix of a page, which opens in a browser."""


def show_run(console: Console, result: Result, output: Path | None, weights: Path | None) -> None:
    """Print the table of one run and the paths of its files, where any were written."""
    console.print(run_table(result))
    if weights is not None:
        show_path(console, "weights", weights)
    if output is None:
        return
    for name in ("report.md", "plot.png", "result.json", "items.jsonl"):
        show_path(console, name.split(".")[-1], output / name)
    show_path(console, "card", output / "model_card.md")
    show_page(console, output / "report.html")


def show_scaling(console: Console, budget: Sequence[BudgetRecord], scaling: Scaling, paths: Sequence[Path]) -> None:
    """Print the limits, the curve and the paths of the files."""
    if budget:
        console.print(clean(kept_sentence(budget, scaling)), markup=False, soft_wrap=True)
    console.print(scaling_view(budget, scaling))
    show_paths(console, paths)


def show_comparison(console: Console, results: Sequence[Result], paths: Sequence[Path]) -> None:
    """Print the table of a comparison and the paths of its files."""
    console.print(comparison_table(results))
    show_paths(console, paths)


def show_paths(console: Console, paths: Sequence[Path]) -> None:
    """Print the paths of files, a page to be read in a browser last."""
    pages = [path for path in paths if path.suffix == PAGE]
    for path in paths:
        if path not in pages:
            show_path(console, path.suffix[1:], path)
    for path in pages:
        show_page(console, path)


def show_page(console: Console, path: Path) -> None:
    """Print where a page is as a link that terminals open."""
    show_path(console, PAGE[1:], path)
    console.print(path.resolve().as_uri(), markup=False, highlight=False, soft_wrap=True)


def show_path(console: Console, name: str, path: Path) -> None:
    """Print a path behind a name, whole, however narrow the terminal is."""
    console.print(f"{name:<8} {path}", markup=False, soft_wrap=True)
