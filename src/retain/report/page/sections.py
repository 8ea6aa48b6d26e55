"""The sections of a run's report in order, for Markdown and the page alike: drawings and tables."""

from __future__ import annotations

from dataclasses import dataclass

from retain.records.result import Result
from retain.report.plots.breakdown import breakdown_panels
from retain.report.plots.drift_map import drift_panels
from retain.report.plots.reliability import reliability_panels
from retain.report.plots.scaling_plot import scaling_panels
from retain.report.plots.style import Panel
from retain.report.plots.training_curve import curve_panels
from retain.report.tables.budget import budget_tables
from retain.report.tables.conversion_table import conversion_tables
from retain.report.tables.detail import breakdown_tables, calibration_table
from retain.report.tables.drift_tables import moved_tables
from retain.report.tables.gone_tables import gone_tables
from retain.report.tables.provenance_tables import (
    acting_table,
    conditions_table,
    provenance_table,
    served_table,
    size_table,
    suites_table,
)
from retain.report.tables.scores_table import Table, score_tables
from retain.report.tables.shift_tables import shift_tables, worst_table


@dataclass(frozen=True)
class Section:
    """A part of the report. Its drawings lie together in the file `png`, `columns` beside each other."""

    title: str
    tables: tuple[Table, ...] = ()
    panels: tuple[Panel, ...] = ()
    png: str = ""
    columns: int = 3


def measured_sections(result: Result) -> list[Section]:
    """The measurements, scores first; empty sections are left out."""
    found = [
        Section(
            "Budget", tuple(budget_tables(result)), tuple(scaling_panels(result.scaling, result.budget)), "scaling.png"
        ),
        Section("Scores", tuple(score_tables(result))),
        Section("What should be gone", tuple(gone_tables(result))),
        Section("Training and conversion", tuple(conversion_tables(result))),
        Section("Where inputs differ", tuple(shift_tables(result))),
        Section("By condition", _conditions(result), tuple(breakdown_panels(result)), "breakdown.png", 2),
        Section("Confidence", _given(calibration_table(result)), tuple(reliability_panels(result)), "calibration.png"),
        Section("How far it moved", tuple(moved_tables(result.drift)), tuple(drift_panels(result)), "drift.png"),
        Section("Training", (size_table(result),), tuple(curve_panels(result)), "curve.png", 2),
    ]
    return [section for section in found if section.tables or section.panels]


def origin_sections(result: Result) -> list[Section]:
    """The conditions under which both sides were run, and the provenance of the figures."""
    asked = (
        *_given(acting_table(result)),
        *_given(served_table(result)),
        *_given(conditions_table(result)),
        *_given(suites_table(result)),
    )
    found = [Section("How both were asked", asked), Section("How it was made", (provenance_table(result),))]
    return [section for section in found if section.tables]


def _conditions(result: Result) -> tuple[Table, ...]:
    return (*_given(worst_table(result)), *breakdown_tables(result))


def _given(table: Table | None) -> tuple[Table, ...]:
    return () if table is None else (table,)
