"""The tables of `retain inspect` on an update: the share of the change in each zone, by kind of layer and by layer."""

from __future__ import annotations

from collections import defaultdict

from retain.compare.inspection_rows import UpdateRow, UpdateView
from retain.records import numbers
from retain.report.tables.inspection_tables import brief_share, share, spread
from retain.report.tables.scores_table import Table

ZONES = ("leading", "outputs", "inputs", "rest")
"""The fields of a row that sum to 1."""

HEAD = ("Zone I", "Outputs only", "Inputs only", "Neither", "Zone I, no direction", "Leading directions")

MEANING = (
    "Shares of ‖ΔW‖², which sum to 100% in each layer. Leading: the fewest singular directions of W0 whose singular "
    "values make up half of their sum. Zone I: leading outputs and leading inputs, what the base uses most. Outputs "
    "only, inputs only: one side leads. Neither: directions that the base hardly uses. Zone I, no direction: the share "
    "that a random change of this shape would have there."
)


def zone_kinds(view: UpdateView) -> Table:
    """Each kind of layer over depth."""
    kinds: dict[str, list[UpdateRow]] = defaultdict(list)
    for row in view.rows:
        kinds[row.kind].append(row)
    rows = tuple(
        (
            kind,
            numbers.count(len(found)),
            *(spread((getattr(row, zone) for row in found), brief_share) for zone in (*ZONES, "random")),
            spread(row.k / row.of for row in found),
        )
        for kind, found in kinds.items()
    )
    note = f"The median over layers, and the range in parentheses. {MEANING} Leading directions: as a share of all."
    return Table("Where the change lies, by kind of layer", ("Layer", "Layers", *HEAD), rows, note)


def zone_rows(view: UpdateView) -> Table:
    """Every layer."""
    rows = tuple(
        (row.layer, *(share(getattr(row, zone)) for zone in (*ZONES, "random")), f"{row.k} of {row.of}")
        for row in view.rows
    )
    return Table("Where the change lies, every layer", ("Layer", *HEAD), rows)
