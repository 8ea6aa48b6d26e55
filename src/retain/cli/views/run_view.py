"""A run or a comparison in the terminal, within 100 columns."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.constrain import Constrain
from rich.table import Table
from rich.text import Text

from retain.cli.views.cells import STYLES
from retain.cli.views.cells import table as _table
from retain.cli.views.cells import text as _text
from retain.cli.views.gone_view import gone_parts, gone_settings
from retain.compare.aggregate import Group as Setting
from retain.compare.aggregate import NamedResult, group_runs
from retain.compare.method_curves import Whole, wholes
from retain.compare.pick import (
    Key,
    keep_keys,
    model_name,
    pick_ce_drift,
    pick_keep,
    pick_keep_field,
    pick_kl,
    pick_task,
    pick_task_field,
    sign_of,
    task_keys,
)
from retain.records import numbers
from retain.records.budget_record import BudgetRecord, Scaling
from retain.records.result import Result
from retain.records.scores import KeepScore, TaskScore
from retain.report.claims import SYMBOLS, Reading, read_keep, read_task, subtitle
from retain.report.tables import scores_table as tables
from retain.report.tables.budget import scaling_tables
from retain.report.tables.comparison_budgets import budgets_table
from retain.report.tables.comparison_tables import keep_reading, mean, task_reading
from retain.report.tables.conversion_table import conversion_tables
from retain.report.tables.drift_tables import drift_table
from retain.report.tables.methods_as_a_whole import whole_tables
from retain.report.tables.provenance_tables import size_table
from retain.report.verdict_words import headline, verdict_table

WIDTH = 100

_LEFT_OUT = frozenset({"Metric", "Test", "Items", "Units needed"})
"""Columns of the scaling tables for which the terminal is too narrow; the report has them."""

MOST_LIMITS = 2
"""Limits of a budget for which a comparison has room."""


_RUN_LEGEND = (
    "[ ]: 95% interval; where it includes 0, no change is shown, which does not prove that none happened.\n"
    "p: how easily luck makes lost and gained so uneven. retention: share left of the lead over guessing."
)
_COMPARISON_LEGEND = (
    "( ) change, [ ] its 95% interval over seeds and items. ▲ better, ▼ worse, = no change shown.\n"
    "lost: right before, wrong now. KL: how far predictions moved on held-out text, in nats per token;\n"
    "ΔCE: how much worse the held-out text is predicted, in nats per token."
)


def run_table(result: Result) -> RenderableType:
    """One run: what it learned, what it kept, how far it moved, what it took."""
    parts: list[RenderableType] = [_text(subtitle(result), "bold"), _text(headline(result)), Text()]
    judged = verdict_table(result)
    if judged is not None:
        parts.append(_verdict_table(judged))
    parts += gone_parts(result)
    if result.budget:
        parts.append(scaling_view(result.budget, result.scaling, curve=False))
    if result.task:
        parts.append(_task_table(result.task))
    if result.keep:
        parts.append(_keep_table(result.keep))
    parts += [_conversion_table(table) for table in conversion_tables(result)]
    if cut := tables.cut_off_note((*result.task, *result.keep, *result.gone)):
        parts.append(_text(f"{cut}\n", "yellow"))
    for table in (drift_table(result.drift), size_table(result)):
        shown = _table(table.caption, ("", ""))
        shown.show_header = False
        for row in table.rows:
            shown.add_row(_text(row[0]), _text(row[1]))
        parts.append(shown if shown.row_count else _text(f"{table.caption}: not measured\n"))
    return Constrain(Group(*parts, Text(_RUN_LEGEND, style="dim")), WIDTH)


def scaling_view(budget: Sequence[BudgetRecord], scaling: Scaling | None, *, curve: bool = True) -> RenderableType:
    """The limits with their certificates, what stood in the way of more, and the curve along the scaling path."""
    parts: list[RenderableType] = []
    for table in scaling_tables(budget, scaling if curve else None):
        shown = [index for index, name in enumerate(table.head) if name not in _LEFT_OUT]
        drawn = _table(table.caption, [table.head[index] for index in shown])
        for row in table.rows:
            drawn.add_row(*(_text(row[index]) for index in shown))
        parts.append(drawn)
    if scaling is not None and scaling.note:
        parts.append(_text(scaling.note, "dim"))
    return Constrain(Group(*parts), WIDTH)


def _verdict_table(judged: tables.Table) -> Table:
    """Suite, verdict, adjusted p and items needed; the reason beneath the suite."""
    table = _table(judged.caption, ("suite", "verdict", "p adjusted", "items", "needed"))
    for suite, verdict, reason, _, _, p, n, _, needed in judged.rows:
        table.add_row(Text.assemble(_text(suite), "\n", _text(reason, "dim")), *map(_text, (verdict, p, n, needed)))
    return table


def _name_cell(score: TaskScore | KeepScore) -> Text:
    metric = score.metric.title + ("" if score.metric.higher_is_better else ", lower is better")
    return Text.assemble(_text(score.name), (f"\n{metric}, {numbers.count(score.n)} items", "dim"))


def _conversion_table(table: tables.Table) -> Table:
    """Suite and metric, the three means, and both steps; the report has all columns."""
    shown = _table("What training changed, what the conversion", ("suite", "means", "by training", "by conversion"))
    for suite, metric, n, base, tuned, converted, training, conversion, _ in table.rows:
        name = Text.assemble(_text(suite), (f"\n{metric}, {n} items", "dim"))
        shown.add_row(name, *map(_text, (f"{base} → {tuned} → {converted}", training, conversion)))
    return shown


def _change_cell(score: TaskScore | KeepScore, reading: Reading) -> Text:
    marked = _text(tables.reading_cell(reading))
    if score.base is None or score.tuned is None:
        return marked
    unit = score.metric.unit
    return Text.assemble(numbers.change(score.tuned - score.base, score.interval, unit), "\n", marked)


def _both(score: TaskScore | KeepScore) -> Text:
    unit = score.metric.unit
    return _text(f"{numbers.plain(score.base, unit)} → {numbers.plain(score.tuned, unit)}")


def _task_table(scores: Sequence[TaskScore]) -> Table:
    table = _table("What it learned", ("task", "base → tuned", "change [95%]"))
    for score in scores:
        table.add_row(_name_cell(score), _both(score), _change_cell(score, read_task(score)))
    return table


def _keep_table(scores: Sequence[KeepScore]) -> Table:
    head = ("suite", "base → tuned", "change [95%]", "lost", "gained", "p", "retention")
    table = _table("What it kept", head)
    for score in scores:
        both = _both(score) if score.base is not None else _text(numbers.MISSING)
        lost, gained, p = tables.keep_row(score)[6:9]
        rest = (lost, gained, p, numbers.percent(score.retention))
        table.add_row(_name_cell(score), both, _change_cell(score, read_keep(score)), *map(_text, rest))
    return table


def comparison_table(results: Sequence[Result]) -> RenderableType:
    """A comparison, two lines a setting; what does not fit in 100 columns is in the report."""
    groups = group_runs([NamedResult(f"run {number}", result) for number, result in enumerate(results, start=1)])
    tasks, suites = task_keys(results), _most_lost(groups, keep_keys(results))
    shown_tasks, shown_suites = tasks[:1], suites[: 2 if tasks else 3]
    with_lost = len(shown_suites) == 1
    head = ["method\nlearning rate", "trained\nseeds"]
    head += [f"{_cut(key[0], 16)}\n{_cut(key[1].title, 16)}" for key in (*shown_tasks, *shown_suites)]
    head += ["lost\ngained"] if with_lost else []
    models = list(dict.fromkeys(model_name(result.model) for result in results))
    table = _table(f"Compared on {', '.join(models)}", [*head, "KL\nΔCE", "time\n"])
    table.add_row(*_base_row(groups, shown_tasks, shown_suites, with_lost=with_lost))
    for group in groups:
        trained = numbers.parameters(group.results[0].parameters.trainable)
        seeds = f"{trained}\n{group.seeds} seed{'s' if group.seeds > 1 else ''}"
        row = [_text(f"{_cut(group.method, 20)}\n{numbers.learning_rate(group.learning_rate)}"), _text(seeds)]
        row += [_task_cell(group, key) for key in shown_tasks]
        row += [_keep_cell(group, key) for key in shown_suites]
        table.add_row(*row, *map(_text, _rest(group, shown_suites[0] if with_lost else None)))
    parts: list[RenderableType] = [table, Text(_COMPARISON_LEGEND, style="dim"), *_budgets_table(results)]
    parts += gone_settings(groups)
    parts += [_whole_table(whole) for whole in wholes(groups) if whole.axis.suite in shown_suites[:1]]
    hidden = [f"{name} ({metric.title})" for name, metric in (*tasks[1:], *suites[len(shown_suites) :])]
    if hidden:
        parts.append(_text(f"In the report only: {', '.join(hidden)}.", "dim"))
    return Constrain(Group(*parts), WIDTH)


def _whole_table(whole: Whole) -> Table:
    """The methods as a whole, on the suite that lost most; without the notes, which the report has."""
    judged = whole_tables([whole])[0]
    *start, matched, last = judged.head
    table = _table(f"Methods as a whole: {judged.caption}", [*start, matched.replace(" at ", "\nat "), last])
    for method, *cells in judged.rows:
        table.add_row(_text(_cut(method, 24)), *map(_text, cells))
    return table


def _budgets_table(results: Sequence[Result]) -> list[Table]:
    """The share of each run's update that was delivered, and its first limits; the report has them all."""
    budgets = budgets_table((subtitle(result).rpartition(", on ")[0], result) for result in results)
    if budgets is None:
        return []
    table = _table(budgets.caption, [_cut(name, 24) for name in budgets.head[: 2 + MOST_LIMITS]])
    for row in budgets.rows:
        table.add_row(*map(_text, row[: 2 + MOST_LIMITS]))
    return [table]


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _most_lost(groups: Sequence[Setting], keys: Sequence[Key]) -> list[Key]:
    """Suites in the order of the largest mean loss of any setting; unscored ones last."""
    results = [result for group in groups for result in group.results]

    def worst(key: Key) -> float:
        found = [estimate.mean for group in groups if (estimate := group.estimate(pick_keep(key))) is not None]
        scale = sign_of(results, key) * key[1].unit.factor
        return min((scale * value for value in found), default=float("inf"))

    return sorted(keys, key=worst)


def _base_row(groups: Sequence[Setting], tasks: Sequence[Key], suites: Sequence[Key], *, with_lost: bool) -> list[Text]:
    whole = Setting("", None, "", tuple(run for group in groups for run in group.runs))
    cells = ["base, unchanged", ""]
    cells += [numbers.plain(mean(whole, pick_task_field(key, "base")), key[1].unit) for key in tasks]
    cells += [numbers.plain(mean(whole, pick_keep_field(key, "base")), key[1].unit) for key in suites]
    return [_text(cell, "italic") for cell in [*cells, *([""] if with_lost else []), "0", ""]]


def _task_cell(group: Setting, key: Key) -> Text:
    estimate = group.estimate(pick_task(key))
    reading = task_reading(group, key)
    if estimate is None or reading is None:
        return _text(numbers.MISSING)
    unit = key[1].unit
    tuned = numbers.plain(mean(group, pick_task_field(key, "tuned")), unit)
    change = numbers.signed(estimate.mean, unit)
    return _marked(f"{tuned} ({change})", SYMBOLS[reading], numbers.bracket(estimate.interval, unit))


def _keep_cell(group: Setting, key: Key) -> Text:
    estimate = group.estimate(pick_keep(key))
    reading = keep_reading(group, key)
    if reading is None:
        return _text(numbers.MISSING)
    if estimate is None:
        return _text(reading, "dim")
    unit = key[1].unit
    tuned = numbers.plain(mean(group, pick_keep_field(key, "tuned")), unit)
    change = numbers.signed(estimate.mean, unit)
    second = (
        reading
        if reading in {"base at chance", "answers cut off", "borderline"}
        else numbers.bracket(estimate.interval, unit)
    )
    return _marked(f"{tuned} ({change})", SYMBOLS[reading], second)


def _marked(first: str, symbol: str, second: str) -> Text:
    return Text.assemble(f"{first} ", (symbol, STYLES.get(symbol, "")), f"\n{second}")


def _rest(group: Setting, suite: Key | None) -> list[str]:
    cells = []
    if suite is not None:
        lost, gained = (mean(group, pick_keep_field(suite, field)) for field in ("lost", "gained"))
        cells.append(f"{numbers.percent(lost)}\n{numbers.percent(gained)}")
    kl, ce = mean(group, pick_kl), mean(group, pick_ce_drift)
    cells.append(f"{numbers.plain(kl, numbers.NATS)}\n{numbers.signed(ce, numbers.NATS)}")
    times = [result.cost.train_seconds for result in group.results]
    return [*cells, numbers.seconds(sum(times) / len(times))]
