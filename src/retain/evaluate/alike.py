"""Whether two ways of reading the same rows agree, but for rounding."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import Tensor

SHARE = 1e-3
"""Difference, relative to that between two texts, that rounding in 32 bits may make, at most."""

ROUNDING_STEPS = 16
"""The same in steps of the model's type, which decide in 16 bits."""

KEEPS_NOTHING = (RuntimeError, ValueError, TypeError, AttributeError, IndexError, KeyError, NotImplementedError)
"""What a model raises that cannot go on from what it kept of a text; it fails on trial, in whatever way."""


def differ(together: Tensor, alone: Tensor, model: Any) -> bool:
    """Tell whether rows read together (n, d) are others than the first of them alone (m, d), by more than rounding."""
    many, few = together.double().cpu(), alone.double().cpu()
    if not (many.isfinite().all() and few.isfinite().all()):
        return False  # the measurement itself refuses such a model
    between = torch.stack([_size(one - other) for one, other in itertools.combinations(many, 2)]).mean()
    step = torch.finfo(getattr(model, "dtype", torch.float32)).eps
    moved = torch.stack([_size(one - other) for one, other in zip(many, few, strict=False)]).max()
    return bool(moved > max(SHARE, ROUNDING_STEPS * step) * between and moved > ROUNDING_STEPS * step * _size(many))


def _size(values: Tensor) -> Tensor:
    return values.square().mean().sqrt()
