"""Methods as a whole and shifts: by hand, and against numpy's interpolation."""

from __future__ import annotations

import json

import numpy as np
import pytest

from full_samples import breakdowns, full_run
from report_samples import bare, eighteen, keep_score, named, sample_run, task_score
from retain.compare.aggregate import group_runs
from retain.compare.method_curves import wholes
from retain.records.metrics_table import ACCURACY
from retain.records.result import MethodRecord
from retain.records.scores import Breakdown, Shift
from retain.report.comparison import compare_runs
from retain.report.page.comparison_page import comparison_page
from retain.report.page.markdown import comparison_markdown, run_markdown
from retain.report.page.run_page import run_page
from retain.report.page.summary_files import summary_json
from retain.report.tables.methods_as_a_whole import whole_data, whole_tables
from retain.report.tables.shift_tables import shift_tables, worst_table


def run(method, rate, gain, change, kl=0.1, seed=0, **changes):
    """A run that gained `gain` nats and changed capitals by `change` (base .727, chance .25)."""
    made = sample_run(seed=seed, task=(task_score(gain),), keep=(keep_score(change),))
    drift = made.drift.model_copy(update={"kl_nats_per_token": kl, "kl_interval": (kl / 2, 2 * kl)})
    method = MethodRecord(name=method)
    return made.model_copy(update={"method": method, "learning_rate": rate, "drift": drift, **changes})


def found(*results):
    return {whole.axis.suite: whole for whole in wholes(group_runs(named(list(results))))}


TWO = (
    run("a", 1e-4, 1.0, 0.0, 0.1), run("a", 1e-3, 2.0, -0.04, 0.3), run("a", 1e-2, 3.0, -0.1, 0.5),
    run("b", 1e-4, 0.5, -0.01, 0.2), run("b", 1e-3, 2.5, -0.02, 0.6),
)  # fmt: skip
CAPITALS = ("capitals", ACCURACY)


def retained(change):
    return 1 + change / 0.477


def test_the_area_is_the_sum_of_rectangles_over_the_bases_score_and_no_retention():
    whole = found(*TWO)[CAPITALS]
    a, b = whole.lines
    by_hand = 1.0 * retained(0.0) + 1.0 * retained(-0.04) + 1.0 * retained(-0.1)
    assert a.hypervolume == pytest.approx(by_hand)
    assert b.hypervolume == pytest.approx(0.5 * retained(-0.01) + 2.0 * retained(-0.02))
    assert whole.held_out_text == (0, 0)
    assert whole.base == 5.38
    kl = found(*TWO)[None]
    assert kl.held_out_text == (0, 0.6)
    assert kl.lines[0].hypervolume == pytest.approx(1.0 * (0.6 - 0.1) + (0.6 - 0.3) + (0.6 - 0.5))


def test_methods_are_matched_where_the_lesser_one_ends():
    whole = found(*TWO)[CAPITALS]
    a, b = whole.lines
    assert whole.level == pytest.approx(2.5)
    assert b.matched == pytest.approx(retained(-0.02))
    curve = {"gain": [1.0, 2.0, 3.0], "kept": [retained(c) for c in (0.0, -0.04, -0.1)]}
    assert a.matched == pytest.approx(np.interp(2.5, curve["gain"], curve["kept"]))
    ends = [np.interp(2.5, curve["gain"], [k + side * 0.033 / 0.477 for k in curve["kept"]]) for side in (-1, 1)]
    assert a.matched_interval == pytest.approx(ends)
    assert found(*TWO)[None].lines[0].matched == pytest.approx(0.4)
    assert found(*TWO)[None].lines[0].matched_interval == pytest.approx((0.2, 0.8))


def test_seeds_of_one_rate_are_one_setting():
    residual = run("a", 1e-3, 2.4, -0.06, 0.3, seed=1)
    line = found(*TWO, residual)[CAPITALS].lines[0]
    assert (line.runs, line.rates) == (4, (1e-4, 1e-3, 1e-2))
    assert line.stops[1].gain == pytest.approx(2.2)
    assert line.stops[1].kept == pytest.approx(retained(-0.05))
    unknown = [run("a", rate, gain, 0.0, seed=None) for rate, gain in ((1e-4, 1.0), (1e-4, 2.0), (1e-3, 3.0))]
    assert [(stop.runs, stop.gain) for stop in found(*unknown)[CAPITALS].lines[0].stops] == [(2, 1.5), (1, 3.0)]


def test_the_safe_band_counts_points_lost():
    a, b = found(*TWO)[CAPITALS].lines
    assert a.safe == (pytest.approx(1 / 3), 3)
    assert b.safe == (1.0, 2)
    assert [row[-1] for row in whole_tables([found(*TWO)[CAPITALS]])[0].rows] == ["1 of 3", "2 of 2"]


def test_there_is_nothing_to_compare_without_a_sweep():
    assert found() == {}
    assert found(bare()) == {}
    assert found(run("a", 1e-4, 1, 0), run("b", 1e-4, 2, 0)) == {}
    assert found(bare(), *TWO).keys() == {CAPITALS, None}
    assert "Methods as a whole" not in comparison_markdown(compare_runs(named([sample_run()])))


def test_a_method_that_never_meets_the_level_says_why():
    others = (
        run("one", 1e-4, 2.9, -0.3),
        run("least", 1e-4, 0.1, 0.0),
        run("worse", 1e-4, -1, 0),
        run("worse", 1, -2, 0),
    )
    whole = found(*TWO, *others)[CAPITALS]
    assert whole.level == pytest.approx(2.5)
    cells = {row[0]: row[4] for row in whole_tables([whole])[0].rows}
    assert cells["one"] == "gains more at every rate"
    assert cells["least"] == cells["worse"] == "not reached"
    assert {line.title: line.hypervolume for line in whole.lines}["worse"] == 0


def test_no_method_gained_anything():
    whole = found(run("a", 1e-4, -1, 0.0), run("a", 1e-3, -2, 0.0))[CAPITALS]
    assert whole.level is None
    assert whole_tables([whole])[0].rows[0][4] == "—"


def test_missing_figures_are_left_out():
    without = run(
        "a", 1e-1, 9.0, 0.0, keep=(keep_score(0, status="base at chance", retention=None),), drift=bare().drift
    )
    gone = run("c", 1e-4, 1.0, 0.0, task=())
    wholes_found = found(*TWO, without, gone)
    assert wholes_found[CAPITALS].lines[0].rates == (1e-4, 1e-3, 1e-2)
    assert [line.title for line in wholes_found[CAPITALS].lines] == ["a", "b"]
    unbounded = run("a", 1e-3, 2.0, -0.04, keep=(keep_score(-0.04, retention_interval=None),))
    line = found(TWO[0], unbounded, TWO[2], *TWO[3:])[CAPITALS].lines[0]
    assert line.matched is not None
    assert line.matched_interval is None


def test_other_bases_are_other_methods():
    moved = [one.model_copy(update={"model": "other", "provenance": one.provenance.model_copy(
        update={"model_hash": "0"})}) for one in TWO]  # fmt: skip
    titles = sorted(line.title for line in found(*TWO, *moved)[CAPITALS].lines)
    assert titles == ["a on SmolLM2-135M", "a on other", "b on SmolLM2-135M", "b on other"]


def test_the_figures_are_shown_everywhere_and_kept_as_data():
    comparison = compare_runs(named(eighteen()))
    assert len(comparison.wholes) == 2
    assert "Methods as a whole" in comparison_markdown(comparison)
    assert "<h2>Methods as a whole</h2>" in comparison_page(comparison, [])
    record = json.loads(summary_json(named(eighteen()), comparison.groups, [], comparison.wholes))
    first = record["wholes"][0]
    assert first == json.loads(json.dumps(whole_data(comparison.wholes)))[0]
    assert first["reference_point"] == {"gain": 0, "task": 5.38, "kept": 0}
    assert first["level"]["task"] == pytest.approx(5.38 - first["level"]["gain"])
    assert [one["method"] for one in first["methods"]] == ["LoRA", "LoRFA", "VeFA"]
    assert first["methods"][0]["safe_band"] == 1.0


# Shifts of one run ----------------------------------------------------------------------------------------------------

ERROR = Shift(
    suite="images", measure="corruption error", n=480, units=40, base=0.4, tuned=0.5, value=1.25,
    interval=(1.1, 1.4), by_kind={"fog": 1.2, "gaussian_noise": 1.3, "contrast": None},
    note="The base makes no error under contrast: left out.",
)  # fmt: skip
GAP = Shift(
    suite="twitter", measure="style gap", against="google", n=200, units=200, base=0.145, tuned=0.115, value=-0.03,
    interval=(-0.05, -0.01),
)  # fmt: skip


def test_shifts_are_shown_with_interval_and_reading():
    record = full_run(shifts=(GAP, ERROR))
    errors, gaps = shift_tables(record)
    assert errors.rows[0] == ("all 2 kinds, mean", "1.25 [1.10, 1.40]", "▼ worse")
    assert errors.rows[1:] == (("fog", "1.20", "—"), ("gaussian noise", "1.30", "—"), ("contrast", "—", "—"))
    assert ERROR.note in errors.note
    assert gaps.rows[0][3:] == ("+14.5", "+11.5", "−3.0 [−5.0, −1.0]", "▲ better")
    for text in (run_markdown(record, []), run_page(record, [])):
        assert "Where inputs differ" in text
        assert "The worst condition" in text
    assert "Where inputs differ" not in run_page(full_run(), [])
    assert shift_tables(full_run(shifts=(ERROR.model_copy(update={"interval": None, "value": None}),)))


def test_the_worst_condition_is_the_lowest_score_or_the_highest_loss():
    parts = breakdowns()
    pictures, trivia = worst_table(full_run()).rows
    lowest = min((part for part in parts if part.suite == "images"), key=lambda part: part.tuned)
    assert pictures[2] == f"{lowest.condition} (of 25)"
    assert (trivia[2], trivia[4], trivia[5]) == ("history (of 4)", "60.0", "54.0")
    assert trivia[-1] == "—"
    assert pictures[-1].split(", ")[1] == "40.0"
    kl = [
        Breakdown(suite="held-out text", metric="kl_nats_per_token", condition=domain, n=9, base=0, tuned=moved)
        for domain, moved in (("news", 0.1), ("poems", 0.4))
    ]
    assert worst_table(full_run(breakdowns=tuple(kl))).rows[0][2] == "poems (of 2)"
    assert worst_table(full_run(breakdowns=tuple(kl[:1]))) is None
    assert worst_table(sample_run()) is None
