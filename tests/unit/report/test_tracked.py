"""What trackers are told of a record: every figure by its name, and the verdict in words."""

from __future__ import annotations

import math

from full_samples import full_run
from report_samples import bare, keep_score, sample_run, task_score
from retain.report.tracked import tracked_figures, tracked_texts


def test_learned_and_lost_are_above_zero_where_more_was_learned_or_lost():
    worse_when_higher = task_score(0.3)  # cross-entropy fell by .3
    run = sample_run(task=(worse_when_higher,), keep=(keep_score(-0.05), keep_score(0.02, name="dates")))
    figures = tracked_figures(run)
    assert math.isclose(figures["eval_learned/headlines/cross_entropy_nats_per_token"], 0.3)
    assert math.isclose(figures["eval_lost/capitals/accuracy"], 0.05)
    assert math.isclose(figures["eval_lost/dates/accuracy"], -0.02)
    assert figures["eval_tuned/capitals/accuracy"] == 0.727 - 0.05


def test_a_full_record_tells_drift_budget_and_verdicts():
    run = full_run()
    figures, texts = tracked_figures(run), tracked_texts(run)
    assert figures["eval_drift/kl_nats_per_token"] == run.drift.kl_nats_per_token
    assert figures["eval_update_scaling_coefficient"] == run.scaling.alpha
    assert figures["eval_budget_kept"] == float(all(one.kept for one in run.budget))
    for one in run.budget:
        assert figures[f"eval_budget/{one.name}/margin"] == one.limit - one.bound
        assert figures[f"eval_budget/{one.name}/kept"] == one.kept
    verdicts = [suite.verdict for suite in run.judgement.suites]
    assert figures["eval_suites/lost"] == verdicts.count("lost")
    assert (texts["verdict"], texts["learned"]) == (run.judgement.overall, run.judgement.learned)
    assert texts["verdict_reason"] == run.judgement.reason
    assert all(f"{suite.suite}: {suite.verdict}" in texts["suites"] for suite in run.judgement.suites)
    assert texts["budget"].startswith("Budget")
    assert all(type(value) is float and math.isfinite(value) for value in figures.values())


def test_what_was_not_measured_is_not_told():
    assert all("None" not in f"{name}{value}" for name, value in tracked_figures(bare()).items())
    nothing = keep_score(0, status="too few items", base=None, tuned=None, retention=None)
    assert not any("capitals" in name for name in tracked_figures(sample_run(keep=(nothing,))))
