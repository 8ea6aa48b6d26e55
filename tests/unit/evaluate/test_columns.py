"""From responses to items, columns and rows: each item scored once, each figure computed once."""

from __future__ import annotations

import numpy as np
import pytest

from retain.data.examples import Example
from retain.data.item_types import Choice
from retain.evaluate.columns import breakdowns, domain_breakdowns, held_out_items, paired, set_scores
from retain.evaluate.held_out import Window, WindowSums
from retain.evaluate.predictions import Predictions
from retain.evaluate.suites.suite import Suite
from retain.evaluate.tasks.table import TASK_TYPES
from retain.evaluate.tasks.task_type import Response
from retain.records.metrics_table import ACCURACY, CHRF, CROSS_ENTROPY
from retain.records.result import Conditions
from retain.verdict.evidence import evaluate
from retain.verdict.judge import held_out_columns

CONDITIONS = Conditions(engine="", dtype="", attention="", device="", preprocessor_hash="", input_hash="")


def predictions(suite, responses):
    return Predictions(responses={suite.name: tuple(responses)}, truncated={suite.name: 0}, conditions=CONDITIONS)


def choices(options, **fields):
    def made(k, n):
        own = {name: value(k) for name, value in fields.items()}
        return Choice(question=f"q{k}", choices=tuple("abcd"[:n]), answer=k % n, **own)

    return [made(k, n) for k, n in enumerate(options)]


def chosen(suite, right):
    """Responses of which the items `right` names are right."""
    picked = [(item.answer + (k not in right)) % len(item.choices) for k, item in enumerate(suite.items)]
    return [
        Response(options=tuple(0.0 if place == pick else -1.0 for place in range(len(item.choices))))
        for item, pick in zip(suite.items, picked, strict=True)
    ]


def test_chance_is_the_mean_over_the_items():
    suite = Suite("s", "choice", "keep", choices([4] * 20 + [2] * 20))
    same = predictions(suite, chosen(suite, range(40)))
    (column,) = paired(suite, same, same).columns
    assert (column.metric, column.chance) == (ACCURACY, 0.375)
    given = Suite("s", "choice", "keep", choices([4] * 20 + [2] * 20), options={"chance": 0.5})
    assert paired(given, same, same).columns[0].chance == pytest.approx(0.5)
    too_low = Suite("s", "choice", "keep", choices([4] * 20 + [2] * 20), options={"chance": 0.1})
    assert paired(too_low, same, same).columns[0].chance == 0.375  # no statement makes picking at random worse


def test_each_item_is_scored_once_a_side(monkeypatch):
    suite = Suite("s", "choice", "keep", choices([3] * 30, condition=lambda k: "ab"[k % 2]))
    calls = []
    score = TASK_TYPES["choice"].score
    monkeypatch.setattr(TASK_TYPES["choice"], "score", lambda *given: calls.append(given[1]) or score(*given))
    found = paired(suite, predictions(suite, chosen(suite, range(20))), predictions(suite, chosen(suite, range(10))))
    assert [row.n for row in breakdowns(found, seed=0)] == [15, 15]
    assert sorted(calls) == sorted([*range(30), *range(30)])


def test_only_items_that_have_a_metric_are_in_its_column():
    items = [Example(prompt=f"word{k}", completion=" a b") for k in range(4)]
    suite = Suite("s", "completion", "task", items)
    texts = ["a b", "a", None, None]
    said = [Response(answer=text, values={"nats": 6.0, "tokens": 2.0 + k}) for k, text in enumerate(texts)]
    found = paired(suite, predictions(suite, said), predictions(suite, said))
    columns = {column.metric: column for column in found.columns}
    assert next(iter(columns)) == CROSS_ENTROPY
    assert columns[CROSS_ENTROPY].weights.tolist() == [2, 3, 4, 5]
    assert (len(columns[CHRF].base), columns[CHRF].weights) == (2, None)
    assert found.items[0].tuned.scores["tokens"] == 2


def test_a_breakdown_is_the_evidence_of_its_part():
    groups = {"condition": lambda k: "ab"[k % 2], "group": lambda k: f"g{k // 4}"}
    suite = Suite("s", "choice", "keep", choices([3] * 60, **groups))
    found = paired(suite, predictions(suite, chosen(suite, range(40))), predictions(suite, chosen(suite, range(20))))
    column = found.columns[0]
    row = breakdowns(found, seed=3)[1]
    evidence = evaluate(column.where(np.arange(60) % 2 == 1), np.random.default_rng(3))
    assert (row.condition, row.n, row.base, row.tuned, row.interval) == (
        "b", 30, evidence.base, evidence.tuned, evidence.interval
    )  # fmt: skip
    assert evidence.groups == 15


def test_small_parts_and_single_conditions_have_no_breakdown():
    for condition in (lambda k: "a", lambda k: None, lambda k: f"c{k // 5}"):
        suite = Suite("s", "choice", "keep", choices([3] * 30, condition=condition))
        same = predictions(suite, chosen(suite, range(30)))
        assert breakdowns(paired(suite, same, same), seed=0) == []
    assert set_scores(paired(suite, same, same), seed=0) == []


def test_each_domain_has_its_rows_and_the_language_that_of_its_verdict():
    windows = [Window([1, 2, 3], domain) for domain in ("news", "law") for _ in range(12)]
    tokens = [2 + k % 3 for k in range(24)]
    sums = WindowSums(
        [3.0 * n for n in tokens], [(3.0 + 0.01 * k) * n for k, n in enumerate(tokens)], [0.1 * n for n in tokens],
        [1.0] * 24, tokens,
    )  # fmt: skip
    items = list(held_out_items(windows, ["…"] * 24, sums))
    columns = held_out_columns(items)
    assert [column.suite for column in columns] == ["held-out text: news", "held-out text: law"]
    rows = domain_breakdowns(windows, sums, columns, seed=0)
    names = ("cross_entropy_nats_per_token", "kl_nats_per_token", "churn")
    assert [(row.condition, row.metric.name) for row in rows] == [(d, name) for d in ("news", "law") for name in names]
    assert {row.suite for row in rows} == {"held-out text"}
    evidence = evaluate(columns[1], np.random.default_rng(0))
    assert (rows[3].base, rows[3].tuned, rows[3].interval) == (evidence.base, evidence.tuned, evidence.interval)
    assert rows[4].tuned == pytest.approx(0.1)
    assert rows[5].interval[0] <= rows[5].tuned <= rows[5].interval[1]


def test_one_domain_has_no_name_and_no_rows():
    sums = WindowSums([6.0, 6.0], [6.0, 7.0], [0.1, 0.1], [0.0, 1.0], [2, 2])
    windows = [Window([1, 2, 3])] * 2
    columns = held_out_columns(list(held_out_items(windows, ["…"] * 2, sums)))
    assert [column.suite for column in columns] == ["held-out text"]
    assert domain_breakdowns(windows, sums, columns, seed=0) == []
