"""The movement of the hidden states after each block, both sides on the same inputs (docs/concepts/measures.md)."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from retain.evaluate.scores.features import cosine_drift, linear_cka, relative_l2
from retain.hf.models.sides import root_of
from retain.records.drift_record import HiddenDrift

_MAPS = 4
"""Dimensions of a stack of feature maps (rows, channels, height, width)."""


def gives_states(model: nn.Module) -> bool:
    """True where a model gives its hidden states by `output_hidden_states`."""
    parameters = inspect.signature(root_of(model).forward).parameters
    return "output_hidden_states" in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def states_of(outputs: Any, length: int | None = None) -> list[Tensor]:
    """The hidden states after each block that a model gave with `output_hidden_states=True`.

    What goes into the first block, the embeddings, is left out. The last state is given as the model gives it: causal
    models apply their last norm to it. Of an encoder with a decoder the encoder's are taken.

    Args:
        outputs: what the model returned.
        length: tokens in a row of text, where it is text: an adapter may have put virtual tokens before them, which
            are cut off.

    Returns:
        One tensor a block, features last: (rows, tokens, features), or (rows, height, width, channels) of a
        convolutional network. Empty where the model gives none.
    """
    found = getattr(outputs, "hidden_states", None) or getattr(outputs, "encoder_hidden_states", None) or ()
    states = [state.movedim(1, -1) if state.ndim == _MAPS else state for state in found[1:]]
    return [state if length is None else state[:, -length:] for state in states]


def compare_blocks(base: Sequence[Tensor], tuned: Sequence[Tensor]) -> tuple[HiddenDrift, ...]:
    """The movement of each block's output, one block at a time.

    Args:
        base: after each block its output vectors (vectors, features) in the base.
        tuned: the same of the tuned model, for the same inputs; where one side has more vectors, its first are taken.

    Returns:
        One entry a block, counted from 1: block k is the state after k blocks. Vectors that are 0 on either side have
        no direction and are left out; so is a block whose features are the same for all vectors, where CKA is not
        defined. Empty where the two models' blocks are not of one number and width.
    """
    if [X.shape[1] for X in base] != [Y.shape[1] for Y in tuned]:
        return ()
    pairs = enumerate(zip(base, tuned, strict=True), start=1)
    return tuple(found for block, (X, Y) in pairs if (found := _compared(block, X, Y)) is not None)


def _compared(block: int, base: Tensor, tuned: Tensor) -> HiddenDrift | None:
    count = min(len(base), len(tuned))
    X, Y = base[:count], tuned[:count].to(base.device)
    present = X.any(dim=1) & Y.any(dim=1)
    X, Y = X[present], Y[present]
    cka = linear_cka(X, Y)
    if cka is None:
        return None
    return HiddenDrift(block=block, cka=cka, cosine_drift=cosine_drift(X, Y), relative_l2=relative_l2(X, Y))
