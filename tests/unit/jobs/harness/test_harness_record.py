"""Harness tasks in our record: one unit on the whole page, whatever the metric is called."""

from __future__ import annotations

import re

import pytest

from report_samples import sample_run
from retain.data.preprocess import TextPreprocessor
from retain.evaluate.pair import Pair
from retain.evaluate.runner import measure_pair
from retain.evaluate.suites.suite import Settings, Suites
from retain.events import SILENT
from retain.jobs.harness import harness_record
from retain.jobs.harness.harness_metric import harness_metric
from retain.jobs.harness.lm_eval import paired
from retain.recipe import MeasureRecipe
from retain.records.numbers import HUNDREDTHS, OTHER, POINTS
from retain.report.page.markdown import run_markdown
from retain.verdict.judge import replay
from tiny import make_llama, make_tokenizer


def harness(metric, values, way="none", **declared):
    """A result of the harness for one side."""
    samples = [
        {
            "doc_id": k, "filter": way, "prompt_hash": f"p{k}", "target_hash": "t",
            "arguments": [(f"question {k}", {})], "target": str(k), "filtered_resps": ["x"],
            "metrics": [metric], metric: value,
        }
        for k, value in enumerate(values)
    ]  # fmt: skip
    return {"samples": {"x": samples}, "higher_is_better": {"x": declared}}


def measured_with(monkeypatch, base, tuned):
    monkeypatch.setattr(harness_record, "run_tasks", lambda *_: [paired("x", base, tuned)])
    settings = Settings(seed=1, drift=False, aa_items=0)
    pair, preprocessor = Pair(make_llama(1), make_llama(0)), TextPreprocessor(make_tokenizer(), 60)
    alone = measure_pair(pair, preprocessor, Suites(), settings, SILENT)
    recipe = MeasureRecipe(model="m", tuned="t", output="o", lm_eval=["x"])
    return harness_record.with_harness_tasks(alone, pair, preprocessor, recipe, SILENT)


RIGHT = [1.0] * 90 + [0.0] * 10, [1.0] * 70 + [0.0] * 30
GRADED = [0.3 + k / 200 for k in range(100)], [0.1 + k / 200 for k in range(100)]


@pytest.mark.parametrize("name", ["acc", "em", "checklist_accuracy", "kl_free"])
def test_right_or_wrong_is_shown_in_points_in_table_and_verdict(monkeypatch, name):
    """`acc,none` was −0.100 in the table and −10.0 points in the verdict; `checklist_accuracy` was in nats."""
    found = measured_with(monkeypatch, *(harness(name, side) for side in RIGHT))
    (score,) = found.keep
    assert (score.metric.unit, score.metric.right_or_wrong, score.lost) == (POINTS, True, 0.2)
    page = run_markdown(sample_run(**found.fields()), found.items)
    assert "−20.0 [" in page
    assert "change −20.0 points" in page
    assert "−0.200" not in page
    assert "nats" not in re.sub(r"nats per token", "", page.split("Drift")[0])


@pytest.mark.parametrize(
    ("name", "scale", "unit"),
    [
        ("mrr", 1, POINTS),
        ("f1", 1, POINTS),
        ("f1", 100, HUNDREDTHS),
        ("checklist_accuracy", 1, OTHER),
        ("ter", 1, OTHER),
    ],
)
def test_degrees_are_shown_in_one_unit_too(monkeypatch, name, scale, unit):
    found = measured_with(monkeypatch, *(harness(name, [scale * x for x in side]) for side in GRADED))
    (score,) = found.keep
    assert score.metric.unit is unit
    page = run_markdown(sample_run(**found.fields()), found.items)
    if unit is OTHER:
        assert "−0.200 [" in page
        assert "20.0 points" not in page
    else:
        assert "improvement −20.0 points" in page
        assert "−20.0 [" in page


def test_it_is_judged_with_the_rest_and_the_record_alone_says_the_same(monkeypatch):
    found = measured_with(monkeypatch, *(harness("acc", side) for side in RIGHT))
    assert [one.suite for one in found.judgement.suites] == ["x"]
    assert found.judgement.overall == "lost"
    assert found.evidence.keep[0].interval == found.keep[0].interval
    assert replay(sample_run(**found.fields()), found.items) == found.judgement
    assert found.suites[-1].source.startswith("lm-evaluation-harness, task x")


def test_without_tasks_nothing_changes():
    recipe = MeasureRecipe(model="m", tuned="t", output="o", keep=["k"])
    marker = object()
    assert harness_record.with_harness_tasks(marker, None, None, recipe, SILENT) is marker


@pytest.mark.parametrize(("declared", "better"), [({"loss_of": False}, False), ({"loss_of": True}, True), ({}, True)])
def test_the_direction_is_the_harness_s_own(declared, better):
    sides = [[{"loss_of,strict": 0.4}, {"loss_of,strict": 3.0}]] * 2
    metric = harness_metric("loss_of,strict", "x", {"higher_is_better": {"x": declared}}, sides)
    assert (metric.name, metric.higher_is_better, metric.high) == ("loss_of,strict", better, None)


def test_errors_of_0_and_1_are_worse_where_there_are_more(monkeypatch):
    """An indicator of which less is better: more of it is a loss, and never a gain."""
    base, tuned = (harness("toxic", [1 - x for x in side], toxic=False) for side in RIGHT)
    found = measured_with(monkeypatch, base, tuned)
    (score,) = found.keep
    assert (score.metric.higher_is_better, score.metric.unit, score.lost) == (False, POINTS, None)
    assert (score.base, score.tuned) == pytest.approx((0.1, 0.3))
    assert found.judgement.overall == "lost"
