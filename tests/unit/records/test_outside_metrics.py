"""Metrics of other programs: unit, range and direction from what is declared and seen, never from a part of a name."""

from __future__ import annotations

import pytest

from retain.records.numbers import HUNDREDTHS, OTHER, POINTS
from retain.records.outside_metrics import Seen, outside_metric


@pytest.mark.parametrize(
    ("name", "seen", "unit", "high"),
    [
        ("acc,none", Seen(0, 1), POINTS, 1),
        ("acc_norm", Seen(0.2, 0.7), POINTS, 1),
        ("exact_match,strict-match", Seen(0, 1), POINTS, 1),
        ("em", Seen(0.3, 1.0), POINTS, 1),
        ("mrr", Seen(0.1, 0.5), POINTS, 1),
        ("f1,none", Seen(0.3, 1.0), POINTS, 1),
        ("f1", Seen(0.3, 84.0), HUNDREDTHS, 100),
        ("bleu_max", Seen(0.3, 41.0), HUNDREDTHS, 100),
        ("chrf", Seen(0.0, 0.3), HUNDREDTHS, 100),
        ("mcc", Seen(-0.2, 0.6), POINTS, 1),
        ("ter", Seen(0.0, 0.3), OTHER, None),
        ("perplexity", Seen(3.0, 8.0), OTHER, None),
        ("f1", Seen(-1.0, 0.3), OTHER, None),
        ("checklist_accuracy", Seen(0.1, 0.8), OTHER, None),
        ("knowledge_klinik", Seen(0.1, 0.8), OTHER, None),
        ("nllb_score", Seen(0.1, 0.8), OTHER, None),
    ],
)
def test_units_and_ranges(name, seen, unit, high):
    metric = outside_metric(name, seen)
    assert (metric.unit, metric.high) == (unit, high)


@pytest.mark.parametrize("name", ["checklist_accuracy", "kl_free_hits", "anything at all"])
def test_what_is_0_or_1_on_every_item_is_right_or_wrong_and_in_points(name):
    metric = outside_metric(name, Seen(0, 1, only_0_and_1=True))
    assert metric.right_or_wrong
    assert metric.unit is POINTS


def test_an_indicator_of_errors_is_a_share_of_which_less_is_better():
    metric = outside_metric("toxic", Seen(0, 1, only_0_and_1=True), higher_is_better=False)
    assert (metric.right_or_wrong, metric.higher_is_better, metric.worst, metric.unit) == (False, False, 1, POINTS)


def test_chrf_of_hopeless_answers_stays_out_of_100():
    assert outside_metric("chrf", Seen(0, 0, only_0_and_1=True)).high == 100


def test_the_direction_is_what_is_declared_and_else_that_of_the_family():
    assert not outside_metric("word_perplexity", Seen(1, 9)).higher_is_better
    assert outside_metric("word_perplexity", Seen(1, 9), higher_is_better=True).higher_is_better
    assert outside_metric("something", Seen(1, 9)).higher_is_better
    assert not outside_metric("something", Seen(1, 9), higher_is_better=False).higher_is_better


def test_titles_are_names_with_spaces_or_the_usual_spelling():
    assert outside_metric("acc,none", Seen(0, 1)).title == "acc,none"
    assert outside_metric("rouge_l", Seen(0, 1)).title == "ROUGE-L"
    assert outside_metric("acc_norm", Seen(0, 1)).title == "acc norm"
