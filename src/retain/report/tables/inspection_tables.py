"""The tables of `retain inspect` as plain text cells: each kind of layer over depth, every row, where it comes from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from statistics import median

from retain.compare.inspection_rows import InputFacts, InputRow, StartRow, StartView, StatisticsView, View
from retain.compare.item_examples import readable
from retain.records import numbers
from retain.report.tables.scores_table import Table

LONGEST_NAME = 12

Write = Callable[[float | None], str]

_MEANING = {
    "Inputs": "Inputs: how many there are, of how many numbers each.",
    "Mean square": "Mean square: of one number of the input.",
    "Strongest direction": "Strongest direction: the share of the mean square that it carries.",
    "Effective rank": "Effective rank: as many directions, equally strong, would be spread as widely.",
    "Mean squared output": "Mean squared output: of its length, on text to learn / to keep.",
    "Overlap": "Overlap: of the strongest directions on both texts, 0 to 1; below it, that of random ones.",
}


def size(value: float | None, digits: int = 3) -> str:
    """A size of unknown magnitude: `0.0139`, `12.8`, `1,256`, `2.2e+06`."""
    if value is not None and 10**digits <= abs(value) < 1e6:
        return f"{value:,.0f}".replace("-", numbers.MINUS)
    return numbers.three_digits(None if value is None else float(f"{value:.{digits}g}"))


def share(value: float | None, digits: int = 3) -> str:
    """A share, however small: `12.3%`, `0.00532%`."""
    return numbers.MISSING if value is None else f"{size(100 * value, digits)}%"


def brief(value: float | None) -> str:
    """A size in two digits."""
    return size(value, 2)


def brief_share(value: float | None) -> str:
    """A share in two digits."""
    return share(value, 2)


def spread(values: Iterable[float | None], write: Write = brief) -> str:
    """The median and, where there are several values, the range: `0.57 (0.50–0.73)`."""
    found = sorted(value for value in values if value is not None)
    if not found:
        return numbers.MISSING
    middle = write(median(found))
    return middle if len(found) == 1 else f"{middle} ({write(found[0]).removesuffix('%')}–{write(found[-1])})"


def two_digits(value: float | None) -> str:
    """An overlap: `0.57`."""
    return numbers.MISSING if value is None else f"{value:.2f}"


def by_kind(rows: Sequence[InputRow] | Sequence[StartRow]) -> dict[str, list[InputRow | StartRow]]:
    """Rows of each kind of layer, kinds in the model's order."""
    kinds: dict[str, list[InputRow | StartRow]] = {}
    for row in rows:
        kinds.setdefault(row.kind, []).append(row)
    return kinds


def layer_kind_table(view: View) -> Table:
    """Each kind of layer over depth: of statistics a line a set of texts, of an adapter a line."""
    if isinstance(view, StartView):
        return _start_kinds(view)
    rows = []
    for kind, of_kind in by_kind(view.rows).items():
        inputs = [row for row in of_kind if isinstance(row, InputRow)]
        sizes = numbers.count(inputs[0].n) if len({row.n for row in inputs}) == 1 else "several"
        for place, name in enumerate(name for name in view.sets if any(name in row.sets for row in inputs)):
            facts = [row.sets[name] for row in inputs if name in row.sets]
            first = (kind, f"{len(inputs)} of {sizes}") if place == 0 else ("", "")
            rows.append((*first, readable(name, LONGEST_NAME) or "", *_measures(facts), *_overlaps(inputs, place)))
    both = any(row.overlap is not None for row in view.rows)
    head: tuple[str, ...] = (
        "Input of",
        "Inputs",
        "Text",
        "Mean square",
        "Strongest direction",
        "Effective rank",
        "Overlap",
    )
    head = head if both else head[:-1]
    note = " ".join(
        ["The median over layers, and the range in parentheses.", *(_MEANING.get(name, "") for name in head)]
    )
    return Table("Each kind of input", head, tuple(row[: len(head)] for row in rows), " ".join(note.split()))


def without(table: Table, *columns: str) -> Table:
    """A table without some of its columns, and without what its note says of them."""
    places = [place for place, name in enumerate(table.head) if name not in columns]
    head, *rows = (tuple(row[place] for place in places) for row in (table.head, *table.rows))
    note = table.note
    for column in columns:
        note = note.replace(f" {_MEANING[column]}", "")
    return Table(table.caption, head, tuple(rows), note)


def _measures(facts: Sequence[InputFacts]) -> tuple[str, str, str]:
    return (
        spread(one.mean_square for one in facts),
        spread((one.top_share for one in facts), brief_share),
        spread(one.effective_rank for one in facts),
    )


def _overlaps(rows: Sequence[InputRow], place: int) -> tuple[str]:
    """The overlap in the line of the first set, that of random directions in the line of the second."""
    random = [row.random for row in rows if row.random is not None]
    second = f"random {two_digits(median(random))}" if random else ""
    return (spread((row.overlap for row in rows), two_digits) if place == 0 else second,)


def _start_kinds(view: StartView) -> Table:
    rows = []
    for kind, of_kind in by_kind(view.rows).items():
        layers = [row for row in of_kind if isinstance(row, StartRow)]
        traces = [(row.trace_learn, row.trace_keep) for row in layers]
        rows.append(
            (
                kind,
                numbers.count(len(layers)),
                spread((row.share_learn for row in layers), brief_share),
                spread((row.share_keep for row in layers), brief_share),
                spread((row.overlap for row in layers), two_digits),
                " / ".join(brief(median(found)) for found in zip(*traces, strict=True)),
            )
        )
    head = ("Layer", "Layers", "Share, learn", "Share, keep", "Overlap", "Mean squared output")
    note = (
        "The median over layers, and the range in parentheses. Share: how much of the mean squared output on that text "
        f"lies in the {view.rank} directions that training starts in. Overlap: of the {view.rank} strongest directions "
        "of the output on both texts, 0 to 1. " + _MEANING["Mean squared output"]
    )
    return Table("Each kind of layer", head, tuple(rows), note)


def row_table(view: View) -> Table:
    """Every row."""
    if isinstance(view, StartView):
        head: tuple[str, ...] = (
            *("Layer", "Outputs", "Share, learn", "Share, keep", "Overlap", "Random", "Output², learn"),
            *("Output², keep", "Reward", "Eigenvalues", "Residual", "Solver"),
        )
        note = (
            "Random: the share and the overlap of as many random directions. Output²: its mean squared length. "
            "Eigenvalues: the largest of ΔCov = (1 − β) Cov(learn) − β Cov(keep) of the outputs; Reward: the sum over "
            "all directions taken. Residual: how exactly the eigenvectors were found, relative."
        )
        return Table("Every layer", head, tuple(_start_cells(row, view.rank) for row in view.rows), note)
    names = list(view.sets)
    sides = f" ({' / '.join(names)})" if len(names) > 1 else ""
    head = (
        *("Input of", "Also read by", "Numbers", f"Tokens{sides}", f"Mean square{sides}", f"Strongest{sides}"),
        *(f"Effective rank{sides}", f"Largest sample{sides}", "Overlap", "Random"),
    )
    note = (
        "Largest sample: the share of the sum of squares that one sequence holds. Random: the overlap to be expected "
        "of random directions."
    )
    return Table("Every distinct input", head, tuple(_input_cells(row, names) for row in view.rows), note)


def _start_cells(row: StartRow, rank: int) -> tuple[str, ...]:
    return (
        row.layer,
        numbers.MISSING if row.outputs is None else numbers.count(row.outputs),
        share(row.share_learn),
        share(row.share_keep),
        two_digits(row.overlap),
        two_digits(None if row.outputs is None else rank / row.outputs),
        size(row.trace_learn),
        size(row.trace_keep),
        size(row.reward),
        ", ".join(map(size, row.eigenvalues)),
        f"{row.residual:.0e}".replace("-", numbers.MINUS),
        row.solver,
    )


def _input_cells(row: InputRow, names: Sequence[str]) -> tuple[str, ...]:
    def both(write: Callable[[InputFacts], str]) -> str:
        return " / ".join(write(row.sets[name]) if name in row.sets else numbers.MISSING for name in names)

    return (
        row.layers[0],
        ", ".join(layer.rsplit(".", 1)[-1] for layer in row.layers[1:]) or numbers.MISSING,
        numbers.count(row.n),
        both(lambda facts: numbers.count(facts.tokens)),
        both(lambda facts: size(facts.mean_square)),
        both(lambda facts: share(facts.top_share)),
        both(lambda facts: size(facts.effective_rank)),
        both(lambda facts: share(facts.largest_sample)),
        two_digits(row.overlap),
        two_digits(row.random),
    )


def source_table(view: View) -> Table:
    """The sources of what is shown: model, data, settings, versions."""
    if isinstance(view, StatisticsView):
        rows = [
            (f"{name}: {field.replace('_', ' ')}", _cell(value))
            for name, record in view.sets.items()
            for field, value in record.model_dump().items()
        ]
    else:
        rows = [("model hash", view.model_hash)]
        rows += [(f"setting: {field}", _cell(value)) for field, value in view.settings.items()]
        rows += [
            (f"{name}: {field.replace('_', ' ')}", _cell(value))
            for name, record in view.data.items()
            for field, value in record.items()
        ]
    return Table("Model, data and settings", ("What", "Value"), tuple(rows))


def _cell(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {one}" for key, one in value.items())
    return numbers.count(value) if isinstance(value, int) and not isinstance(value, bool) else str(value)
