"""The answer that a model picks of a multiple-choice question, from the log-likelihoods of its options."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from retain.errors import RetainError

Normalisation = Literal["total", "token", "character"]


def pick(
    log_likelihoods: Sequence[float],
    normalisation: Normalisation = "total",
    *,
    tokens: Sequence[int] | None = None,
    choices: Sequence[str] | None = None,
    right: int | None = None,
) -> int:
    """Index of the option with the highest log-likelihood; among equals the first that is not the right one.

    A model that finds options equally likely has told nothing, and where the right one stands must not tell it for it.

    argmax_i ℓ_i / u_i with ℓ_i = Σ log P(token | question, tokens before) over option i, and u_i = 1 ("total": `acc` of
    lm-evaluation-harness), its tokens ("token"), or its characters ("character": `acc_norm` there). "total" favours
    short options, "character" does not depend on the tokenizer.

    Args:
        log_likelihoods: ℓ (options,), in nats.
        normalisation: what ℓ is divided by.
        tokens: length of each option in tokens, for "token".
        choices: the options' text, for "character".
        right: index of the right option; None: simply the first of equals.

    Raises:
        RetainError: a log-likelihood is not finite.
        ValueError: the lengths are missing, not positive, or not one for each option.
    """
    values = [float(value) for value in log_likelihoods]
    broken = [index for index, value in enumerate(values) if not math.isfinite(value)]
    if broken:
        raise RetainError(
            f"the model's log-likelihood of option {broken[0]} is {values[broken[0]]}: its output is not finite, so it "
            "has no answer. Was the training stable? Try a lower learning rate, or a dtype with more range."
        )
    lengths = units(normalisation, len(values), tokens, choices)
    scores = np.asarray(values) / np.asarray(lengths)
    best = np.flatnonzero(scores == scores.max()).tolist()
    return int(next((index for index in best if index != right), best[0]))


def units(
    normalisation: Normalisation, options: int, tokens: Sequence[int] | None, choices: Sequence[str] | None
) -> Sequence[int]:
    """The divisor of each option's log-likelihood; see `pick`.

    Raises:
        ValueError: there is no option, or the lengths are missing, not positive, or not one for each option.
    """
    if options == 0:
        raise ValueError("a question needs at least one option.")
    if normalisation == "total":
        return [1] * options
    lengths = tokens if normalisation == "token" else None if choices is None else [len(choice) for choice in choices]
    if lengths is None or len(lengths) != options or min(lengths) < 1:
        raise ValueError(f"normalisation by {normalisation!r} needs the length, above 0, of each of {options} options.")
    return lengths
