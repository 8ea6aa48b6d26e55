"""The share of an update inside the leading directions of W0: which zone of the matrix training wrote into.

With W0 = U S Vᵀ and k the fewest directions whose singular values make up half of Σ s, P_U and P_V project on the first
k left and right singular vectors. An update D is cut into four blocks at right angles to one another,

    D = P_U D P_V + P_U D (1 − P_V) + (1 − P_U) D P_V + (1 − P_U) D (1 − P_V),

so that their squared norms sum to ‖D‖². The first is zone I: leading outputs answering leading inputs, where what the
base uses most lies. (Projection merging of SMILE, Tang et al., arXiv:2408.10174; there only the first block, or the
rest, is kept. We measure all four and change nothing.)
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from retain.evaluate.drift.spectrum import DECOMPOSED_LIMIT

HALF = 0.5
"""The share of Σ s that the leading directions hold."""


class Zones(NamedTuple):
    """Shares of ‖D‖², which sum to 1, and how many directions lead.

    Attributes:
        k: leading directions.
        of: directions that W0 has, min(m, n).
        leading: both sides lead: zone I.
        outputs: leading outputs, other inputs.
        inputs: other outputs, leading inputs.
        rest: neither.
        random: the share of zone I that a change without any direction would have, k²/(m·n).
    """

    k: int
    of: int
    leading: float
    outputs: float
    inputs: float
    rest: float
    random: float


def zones(weight: Tensor, delta: Tensor) -> Zones | None:
    """The zones of an update; None where the matrix is too large to decompose, is 0, or did not move.

    Args:
        weight: W0 (m, n), any floating dtype; decomposed in float64.
        delta: D = W_eff − W0 (m, n), likewise.
    """
    W, D = weight.double(), delta.double()
    whole = float(D.square().sum())
    if min(W.shape) > DECOMPOSED_LIMIT or not whole or not W.any():
        return None
    U, S, Vt = torch.linalg.svd(W, full_matrices=False)
    k = leading_directions(S)
    U, Vt = U[:, :k], Vt[:k]
    by_outputs, by_inputs = U.T @ D, D @ Vt.T  # (k, n), (m, k)
    both = float((by_outputs @ Vt.T).square().sum()) / whole
    outputs = max(0.0, float(by_outputs.square().sum()) / whole - both)
    inputs = max(0.0, float(by_inputs.square().sum()) / whole - both)
    rest = max(0.0, 1 - both - outputs - inputs)
    return Zones(k, len(S), both, outputs, inputs, rest, k**2 / (W.shape[0] * W.shape[1]))


def leading_directions(singular_values: Tensor) -> int:
    """The fewest k with s_1 + … + s_k ≥ half of Σ s; singular values (r,), descending."""
    sums = singular_values.double().cumsum(0)
    return int((sums < HALF * sums[-1] * (1 - 1e-12)).sum()) + 1
