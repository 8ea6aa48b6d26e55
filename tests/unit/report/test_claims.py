"""What is claimed, and above all what is not."""

from __future__ import annotations

import pytest

from report_samples import AT_CHANCE, TOO_FEW, bare, eighteen, judged, keep_score, named, sample_run, task_score
from retain.compare.aggregate import group_runs
from retain.compare.cautions import comparison_cautions
from retain.records.drift_record import Drift
from retain.report.cautions import cautions
from retain.report.claims import claims, read_change, read_keep, read_task, subtitle
from retain.report.comparison import compare_runs
from retain.report.verdict_words import headline


@pytest.mark.parametrize(
    ("interval", "higher", "p", "reading"),
    [
        ((0.01, 0.02), True, None, "better"),
        ((0.01, 0.02), False, None, "worse"),
        ((-0.02, -0.01), True, 0.01, "worse"),
        ((-0.02, -0.01), False, None, "better"),
        ((-0.02, 0.01), True, None, "no change shown"),
        ((0.0, 0.02), True, None, "no change shown"),
        ((0.0, 0.0), True, 1.0, "no change shown"),
        ((-0.02, -0.01), True, 0.06, "borderline"),
        ((-0.02, 0.01), True, 0.04, "borderline"),
        (None, True, None, "no change shown"),
    ],
)
def test_a_change_is_shown_only_where_interval_and_test_agree(interval, higher, p, reading):
    assert read_change(interval, higher_is_better=higher, p=p) == reading


def test_lower_cross_entropy_is_better():
    assert read_task(task_score(2.3)) == "better"
    assert read_task(task_score(-2.3)) == "worse"


def test_unscored_suites_keep_their_status():
    assert read_keep(TOO_FEW) == "too few items"
    assert read_keep(AT_CHANCE) == "base at chance"


def test_each_claim_has_figure_interval_and_n():
    said = " ".join(claim.text for claim in claims(judged()))
    assert (
        "cross-entropy 5.380 → 3.080, a change of −2.300 [−2.380, −2.220] nats per token (lower is better), n = 200"
        in said
    )
    assert "It lost on capitals: accuracy 72.7 → 67.5, a change of −5.2 [−8.5, −1.9] points, n = 249" in said
    assert "7.6% of the items were lost and 2.4% gained" in said
    assert "p = 0.0012" in said


def test_no_change_is_no_proof_and_says_what_could_be_shown():
    text = next(claim.text for claim in claims(judged()) if "trivia" in claim.text)
    assert text.startswith("No change shown on trivia")
    assert "does not prove that nothing was lost: a loss of 2.3 points lies within the interval" in text
    assert "smallest net loss that the test could show on this many items is 2.4 points" in text
    assert "kept" not in text


def test_what_cannot_be_judged_is_said():
    said = " ".join(claim.text for claim in claims(judged()))
    assert "poems has too few items (n = 6) and is not scored. At least 20." in said
    assert "On arithmetic the base is no better than chance (25.0)" in said
    assert "So this suite cannot show a loss." in said
    assert headline(sample_run(keep=(TOO_FEW, AT_CHANCE))).endswith("So nothing is known about what it lost.")
    comparison = compare_runs(named([sample_run(keep=(TOO_FEW, AT_CHANCE))]))
    assert comparison.headline.endswith(
        "No retention suite could show a loss, so nothing is known about what was lost."
    )


def test_the_headline_has_every_reading_once():
    told = headline(judged())
    for part in (
        "It learned headlines (cross-entropy).", "No change shown in headlines (ROUGE-L).", "It lost on capitals.",
        "No change shown on trivia.", "Borderline on border.", "Too few items to judge: poems.", "on arithmetic.",
    ):  # fmt: skip
        assert told.count(part) == 1


def test_nothing_measured_is_nothing_known():
    told = headline(bare())
    assert "No task was measured." in told
    assert "nothing is known about what it lost" in told
    assert [claim.text for claim in claims(bare())] == ["Drift on held-out text was not measured."]
    assert cautions(bare()) == []
    assert subtitle(bare()) == "adapter, on base"


def test_drift_with_holes():
    drift = Drift(tokens=100, ce_drift_nats_per_token=0.01, ce_drift_interval=(-0.01, 0.03))
    texts = [claim.text for claim in claims(sample_run(task=(), keep=(), drift=drift))]
    assert texts[0] == "Drift on held-out text was not measured."
    assert texts[1].startswith("No change shown in how well it predicts general text")
    alone = Drift(tokens=100, kl_nats_per_token=0.2)
    assert "0.200 nats per token" in claims(sample_run(task=(), keep=(), drift=alone))[0].text


def test_a_graded_suite_has_neither_lost_nor_p():
    score = keep_score(
        -0.3, metric="cross_entropy_nats_per_token", base=3.0, tuned=2.7, interval=(-0.4, -0.2), lost=None,
        gained=None, p_value=None, retention=None, retention_interval=None, detectable_loss=None,
    )  # fmt: skip
    (claim,) = claims(sample_run(task=(), keep=(score,)))[:1]
    assert claim.reading == "better"
    assert "McNemar" not in claim.text


def test_a_comparison_says_who_lost_and_who_is_not_shown_to_be_best():
    comparison = compare_runs(named(eighteen()))
    said = " ".join([comparison.headline, *comparison.sentences])
    assert "Loss shown on capitals with VeFA 3e-2." in said
    assert "so it is not shown to be best" in said
    assert "18 runs, 6 settings" in said
    assert "Not beaten on both headlines and capitals at once" in said


@pytest.mark.parametrize("runs", [1, 3])
@pytest.mark.parametrize("interval", [(-0.01, 0.01), (0.0, 0.0), (-0.2, -0.1)])
def test_where_no_improvement_is_shown_that_is_said_once(runs, interval):
    base, mean = 2.0, sum(interval) / 2
    score = task_score(mean, base=base, tuned=base - mean, interval=tuple(-end for end in reversed(interval)))
    results = [sample_run(task=(score,), seed=seed, learning_rate=1e-3 * (seed + 1)) for seed in range(runs)]
    comparison = compare_runs(named(results))
    said = " ".join([comparison.headline, *comparison.sentences])
    assert said.count("o improvement shown") == 2  # in the headline, and in the one sentence on the metric
    assert "largest improvement" not in said
    assert "improved" not in said
    assert "shown to be best" not in said


def test_the_largest_improvement_is_the_largest_that_is_shown():
    """A setting with a larger mean and an interval around zero does not stand in front of one that is shown."""
    wide = task_score(2.0, base=3.0, tuned=1.0, interval=(-4.5, 0.5))
    narrow = task_score(1.0, base=3.0, tuned=2.0, interval=(-1.2, -0.8))
    results = [sample_run(task=(wide,), learning_rate=1e-2), sample_run(task=(narrow,), learning_rate=1e-3)]
    comparison = compare_runs(named(results))
    (sentence,) = [text for text in comparison.sentences if "largest improvement" in text]
    assert "VeFA 1e-3, −1.000" in sentence
    assert sentence.endswith("No improvement shown: VeFA 1e-2.")


def test_a_comparison_of_nothing():
    comparison = compare_runs(named([bare(), bare()]))
    said = " ".join(comparison.sentences)
    assert "nothing is known about what was learned" in said
    assert "nothing is known about what was lost" in said


def _cautions(results):
    runs = named(results)
    return " ".join(comparison_cautions(runs, group_runs(runs)))


def test_unlike_runs_are_pointed_out():
    provenance = sample_run().provenance
    other = sample_run(
        seed=1, provenance=provenance.model_copy(update={"model_hash": "other", "data_hashes": {"train": "zz"}}),
        keep=(keep_score(0.01, n=100, base=0.5, tuned=0.51),),
    )  # fmt: skip
    said = _cautions([sample_run(), other])
    assert "do not share one base model" in said
    assert "do not share the same data: train differ" in said
    assert "capitals (accuracy) was measured on different numbers of items" in said
    assert "The base's own score on capitals (accuracy) differs between runs (50.0 to 72.7)" in said


def test_a_thin_design_is_pointed_out():
    said = _cautions([sample_run("lora"), sample_run("vefa"), sample_run("vefa", task=())])
    assert "Every setting has fewer than 3 seeds" in said
    assert "at one learning rate only" in said
    assert "seed 0 is there 2 times" in said
    assert "headlines (cross-entropy) was measured in 2 of 3 runs" in said


def test_a_full_design_is_not_nagged_at():
    assert (
        _cautions(eighteen())
        == "Seeds vary the training, not the items asked; [ ] covers both the seeds and the items."
    )
