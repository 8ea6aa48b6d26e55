"""Groups, means and intervals against numpy and scipy; the front against brute force; labels against their promise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from report_samples import bare, eighteen, keep_score, named, sample_run
from retain.compare.aggregate import group_runs, student_interval
from retain.compare.method_labels import method_labels, unique
from retain.compare.pareto import pareto_front
from retain.compare.pick import pick_drift, pick_keep, pick_keep_field, pick_kl, pick_task, sign_of
from retain.records.drift_record import Drift
from retain.records.metrics_table import ACCURACY, CROSS_ENTROPY
from retain.records.result import MethodRecord

CAPITALS = ("capitals", ACCURACY)
HEADLINES = ("headlines", CROSS_ENTROPY)


def test_runs_are_grouped_over_their_seeds():
    groups = group_runs(named(eighteen()))
    titles = ["LoRA 5e-4", "LoRA 2e-3", "LoRFA 5e-4", "LoRFA 2e-3", "VeFA 1e-2", "VeFA 3e-2"]
    assert [group.title for group in groups] == titles
    assert {group.seeds for group in groups} == {3}


@given(st.lists(st.floats(min_value=-1e3, max_value=1e3), min_size=2, max_size=8))
def test_the_interval_over_seeds_is_students(values):
    low, high = student_interval(values)
    if np.ptp(values) == 0:
        assert low == high == pytest.approx(values[0])
    elif np.ptp(values) > 1e-6:
        expected = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))
        np.testing.assert_allclose((low, high), expected, rtol=1e-9, atol=1e-9)


def test_no_interval_over_one_seed():
    assert student_interval([0.3]) is None
    estimate = group_runs(named([sample_run()]))[0].estimate(pick_task(HEADLINES))
    assert estimate.seeds is None
    assert estimate.interval == estimate.items == pytest.approx(sample_run().task[0].interval)


def test_a_group_has_the_mean_of_its_runs_and_the_mean_ends_of_their_intervals():
    results = [sample_run(seed=seed) for seed in range(3)]
    group = group_runs(named(results))[0]
    estimate = group.estimate(pick_keep(CAPITALS))
    changes = [result.keep[0].tuned - result.keep[0].base for result in results]
    assert estimate.mean == pytest.approx(np.mean(changes))
    assert estimate.items == pytest.approx(np.mean([result.keep[0].interval for result in results], axis=0))
    ends = [*estimate.seeds, *estimate.items]
    assert estimate.interval == pytest.approx((min(ends), max(ends)))


def test_a_repeated_seed_counts_once():
    results = [sample_run(seed=0), sample_run(seed=0), sample_run(seed=1)]
    kl = [result.drift.kl_nats_per_token for result in results]
    group = group_runs(named(results))[0]
    assert group.seeds == 2
    assert group.estimate(pick_kl).mean == pytest.approx((kl[0] + kl[2]) / 2)


def test_runs_that_were_trained_otherwise_are_no_seeds_of_one_setting():
    trainings = [{"replay": 0.25}, {"kl_weight": 3.0, "epochs": 1.0, "max_steps": 9, "training": {"report_to": "none"}}]
    trainings += [{"epochs": 2.0, "max_steps": 9, "training": {"weight_decay": 10.0}}, {}]
    runs = [sample_run(seed=seed).model_copy(update={"training": one}) for one in trainings for seed in (0, 1)]
    groups = group_runs(named(runs))
    assert [group.seeds for group in groups] == [2, 2, 2, 2]
    name = group_runs(named([sample_run()]))[0].method
    assert {group.method for group in groups} == {
        name, f"{name} (replay .25)", f"{name} (KL penalty 3, steps 9)", f"{name} (steps 9, decay 10)"
    }  # fmt: skip


def test_what_all_runs_share_is_in_no_label():
    runs = [sample_run(seed=seed).model_copy(update={"training": {"replay": 0.25, "epochs": 3.0}}) for seed in (0, 1)]
    assert [group.method for group in group_runs(named(runs))] == [group_runs(named([sample_run()]))[0].method]


def test_runs_of_unknown_seed_stand_alone():
    groups = group_runs(named([sample_run(seed=None), sample_run(seed=None)]))
    assert len(groups) == len({group.title for group in groups}) == 2


def test_another_base_model_is_another_setting():
    other = sample_run().model_copy(
        update={"model": "other", "provenance": sample_run().provenance.model_copy(update={"model_hash": "0"})}
    )
    titles = [group.title for group in group_runs(named([sample_run(), other]))]
    assert len(set(titles)) == 2
    assert titles[1].endswith("on other")


def test_what_no_run_has_is_no_estimate():
    group = group_runs(named([bare()]))[0]
    for pick in (pick_kl, pick_task(HEADLINES), pick_keep(CAPITALS), pick_keep_field(CAPITALS, "lost")):
        assert group.estimate(pick) is None


def test_a_figure_that_some_seeds_lack_is_averaged_over_the_others():
    results = [sample_run(seed=0), sample_run(seed=1, drift=Drift())]
    estimate = group_runs(named(results))[0].estimate(pick_drift("kl_nats_per_token", "kl_interval"))
    assert estimate.values == (results[0].drift.kl_nats_per_token,)


def test_the_sign_is_that_of_whichever_run_has_the_score():
    assert sign_of([bare(), sample_run()], HEADLINES) == -1
    assert sign_of([bare()], HEADLINES) == 1


def test_retention_keeps_its_interval():
    score = keep_score(-0.02)
    estimate = group_runs(named([sample_run(keep=(score,))]))[0].estimate(pick_keep_field(CAPITALS, "retention"))
    assert estimate.items == score.retention_interval


COORDINATES = st.integers(min_value=-3, max_value=3).map(float)


@given(st.lists(st.tuples(COORDINATES, COORDINATES), max_size=12))
def test_the_front_is_what_no_other_point_beats(points):
    def beaten(x, y):
        return any(a >= x and b >= y and (a, b) != (x, y) for a, b in points)

    assert pareto_front(points) == [index for index, point in enumerate(points) if not beaten(*point)]


VALUES = st.one_of(st.none(), st.booleans(), st.integers(0, 3), st.text(max_size=40), st.lists(st.integers(0, 2)))
METHODS = st.builds(
    MethodRecord,
    name=st.sampled_from(["lora", "vefa", "lora #2"]),
    config=st.dictionaries(st.sampled_from(["r", "alpha", "target_modules"]), VALUES, max_size=3),
)


@given(st.lists(METHODS, max_size=8))
def test_labels_are_equal_exactly_for_equal_methods(methods):
    labels = method_labels(methods)
    for one, label in zip(methods, labels, strict=True):
        for other, other_label in zip(methods, labels, strict=True):
            assert (label == other_label) == (repr(one) == repr(other) or _same(one, other))


def _same(one, other):
    import json

    def key(config):
        return json.dumps(config, sort_keys=True)

    return one.name == other.name and key(one.config) == key(other.config)


def test_labels_show_only_what_differs():
    methods = [
        MethodRecord(name="lora", config={"r": 8, "alpha": 16}),
        MethodRecord(name="lora", config={"r": 16, "alpha": 16}),
        MethodRecord(name="vefa"),
    ]
    assert method_labels(methods) == ["LoRA rank 8", "LoRA rank 16", "VeFA"]


def test_a_label_is_short_whatever_a_configuration_holds():
    """Two telling fields at most, symbols where readers know them; what these do not tell apart is numbered."""
    texts = {"keep_data": "c43eb4be", "learn_data": "4956f020", "keep_tokens": 16384, "save": "rank"}
    methods = [
        MethodRecord(name="sc-lora", config={"beta": 0.8, "r": 32, **texts}),
        MethodRecord(name="sc-lora", config={"beta": 0.0, "r": 32, **texts}),
        MethodRecord(name="sc-lora", config={"beta": 0.8, "r": 8, **texts}),
        MethodRecord(name="sc-lora", config={"beta": 0.8, "r": 8, **texts, "keep_data": "00aa11bb"}),
        MethodRecord(name="sc-lora", config={"beta": 1.0, "r": 8, **texts, "target_modules": ["q_proj"] * 9}),
    ]
    assert method_labels(methods) == [
        "SC-LoRA β .8 rank 32",
        "SC-LoRA β 0 rank 32",
        "SC-LoRA β .8 rank 8",
        "SC-LoRA β .8 rank 8 #2",
        "SC-LoRA β 1 rank 8",
    ]
    only_data = [MethodRecord(name="sc-lora", config={**texts, "keep_data": text}) for text in ("aa", "bb", "aa")]
    assert method_labels(only_data) == ["SC-LoRA text to keep 1", "SC-LoRA text to keep 2", "SC-LoRA text to keep 1"]
    long = [MethodRecord(name="oft", config={"layers_pattern": value * 40}) for value in "ab"]
    assert all(len(label) <= 40 for label in method_labels(long))


@given(st.lists(st.sampled_from(["a", "a #2", "a #3", "b"]), max_size=8))
def test_unique_names(names):
    made = unique(names)
    assert len(set(made)) == len(made) == len(names)


def test_where_a_base_lies_is_no_part_of_the_method():
    methods = [MethodRecord(name="lora", config={"r": 8, "base_model_name_or_path": path}) for path in ("a", "/b/a")]
    assert method_labels(methods) == ["LoRA", "LoRA"]
    runs = [sample_run(seed=seed).model_copy(update={"method": method}) for seed, method in enumerate(methods)]
    assert [group.seeds for group in group_runs(named(runs))] == [2]
