"""The calibration of each side, for suites with class probabilities."""

from __future__ import annotations

import numpy as np
import pytest

from retain.data.item_types import Choice, LabelledText
from retain.evaluate.calibrations import calibrations
from retain.evaluate.columns import paired
from retain.evaluate.predictions import Predictions
from retain.evaluate.scores.calibration_error import brier, ece, nll, reliability_bins
from retain.evaluate.suites.suite import Suite
from retain.evaluate.tasks.task_type import Response
from retain.records.result import Conditions

CONDITIONS = Conditions(engine="", dtype="", attention="", device="", preprocessor_hash="", input_hash="")


def sides(suite, *responses):
    made = (Predictions(responses={suite.name: r}, truncated={}, conditions=CONDITIONS) for r in responses)
    return paired(suite, *made)


def response(p, truth):
    values = {"confidence": max(p), "nll": -float(np.log(p[truth])), "brier": 0.0}
    return Response(answer="ab"[int(np.argmax(p))], values=values, options=tuple(np.log(p)))


@pytest.mark.parametrize("n", [9, 30])
def test_each_side_has_the_figures_of_its_probabilities(n):
    suite = Suite("s", "labels", "keep", [LabelledText(text="x", label="ab"[k % 2]) for k in range(n)])
    truth = np.arange(n) % 2
    before = np.stack([np.linspace(0.1, 0.9, n), np.linspace(0.9, 0.1, n)], axis=1)
    after = np.tile([0.6, 0.4], (n, 1))
    found = calibrations(sides(suite, *(tuple(map(response, p, truth)) for p in (before, after))))
    if n < 10:
        assert found == []
        return
    assert [one.side for one in found] == ["base", "tuned"]
    for one, p in zip(found, (before, after), strict=True):
        expected = ece(p, truth), brier(p, truth), nll(p, truth)
        assert (one.ece, one.brier, one.nll) == pytest.approx(expected)
        assert len(one.bins) == len(reliability_bins(p, truth))


def test_what_has_no_classes_has_no_calibration():
    suite = Suite("s", "choice", "keep", [Choice(question="q", choices=("a", "b"), answer=0)] * 30)
    said = (Response(options=(0.0, -1.0)),) * 30
    assert calibrations(sides(suite, said, said)) == []
