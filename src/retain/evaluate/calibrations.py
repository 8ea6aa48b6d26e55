"""The calibration of each side on a suite of classes: ECE, Brier score, likelihood, reliability bins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from retain.evaluate.columns import FEWEST_OF_A_CONDITION, PairedSuite
from retain.evaluate.scores import calibration_error
from retain.evaluate.tasks.task_type import Response
from retain.records.scores import Calibration


def calibrations(found: PairedSuite, seed: int) -> list[Calibration]:
    """How well each side's probabilities fit its hits, for classes."""
    if found.suite.task_type != "labels":
        return []
    sides: tuple[tuple[Literal["base", "tuned"], Sequence[Response]], ...] = (("base", found.base), ("tuned", found.tuned))
    rows = (_calibration(found.suite.name, side, responses, seed) for side, responses in sides)
    return [row for row in rows if row is not None]


def _calibration(
    suite: str, side: Literal["base", "tuned"], responses: Sequence[Response], seed: int
) -> Calibration | None:
    known = [response for response in responses if "nll" in response.values]
    if len(known) < FEWEST_OF_A_CONDITION:
        return None
    probabilities = np.exp(np.asarray([response.options for response in known]))
    truth = _truth(known)
    generator = np.random.default_rng(seed)
    return Calibration(
        suite=suite,
        side=side,
        n=len(known),
        ece=calibration_error.ece(probabilities, truth),
        ece_interval=calibration_error.ece_interval(probabilities, truth, generator),
        brier=calibration_error.brier(probabilities, truth),
        nll=calibration_error.nll(probabilities, truth),
        bins=tuple(calibration_error.reliability_bins(probabilities, truth)),
    )


def _truth(responses: Sequence[Response]) -> NDArray[np.int64]:
    """The right class of each item: the one whose log-probability is the noted NLL."""
    return np.asarray(
        [int(np.argmin(np.abs(np.asarray(response.options) + response.values["nll"]))) for response in responses]
    )
