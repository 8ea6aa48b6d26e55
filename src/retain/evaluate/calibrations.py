"""The calibration of each side on a suite of classes: ECE, Brier score, likelihood, reliability bins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from retain.evaluate.columns import PairedSuite
from retain.evaluate.scores import calibration_error
from retain.evaluate.scores.rows import FEWEST_OF_A_CONDITION
from retain.evaluate.tasks.table import task_type_of
from retain.evaluate.tasks.task_type import ClassProbabilities, Response
from retain.records.scores import CalibrationScore

Side = Literal["base", "tuned"]


def calibrations(found: PairedSuite) -> list[CalibrationScore]:
    """The calibration of both sides, where the task type has class probabilities."""
    sides: tuple[tuple[Side, Sequence[Response]], ...] = (("base", found.base), ("tuned", found.tuned))
    task_type = task_type_of(found.suite)
    rows = []
    for side, responses in sides:
        known = task_type.probabilities(responses)
        if known is not None and len(known.truth) >= FEWEST_OF_A_CONDITION:
            rows.append(_calibration(found.suite.name, side, known))
    return rows


def _calibration(suite: str, side: Side, known: ClassProbabilities) -> CalibrationScore:
    probabilities, truth = known.probabilities, known.truth
    return CalibrationScore(
        suite=suite,
        side=side,
        n=len(truth),
        ece=calibration_error.ece(probabilities, truth),
        brier=calibration_error.brier(probabilities, truth),
        nll=calibration_error.nll(probabilities, truth),
        bins=tuple(calibration_error.reliability_bins(probabilities, truth)),
    )
