"""SC-LoRA, subspace-constrained LoRA: arXiv 2505.23724.

On the outputs h = W0 x (+ b) of a frozen linear layer, W0 (m, n), take the second moments Cov+ over text to learn and
Cov− over text to keep. Q (m, r) holds the eigenvectors of the r largest signed eigenvalues of
ΔCov = (1 − β) Cov+ − β Cov−; it maximises the reward R(Q) = tr(Qᵀ ΔCov Q) = (1 − β) E₊‖Qᵀh‖² − β E₋‖Qᵀh‖².
Training starts at B0 = Q, A0 = Qᵀ W0, and the layer computes W0 x + s (B A − B0 A0) x, s = α/r.

Where we differ: each set is normalised by its tokens (the authors divide by samples, after dividing each sample by
|max y|, the magnitude of its largest element; `sample_norm="max"` divides by max |y|), the moments of the outputs are
computed from those of the inputs where that is less work, and W0 is not changed (the authors subtract s B0 A0 from it).
"""

from __future__ import annotations

import torch
from torch import Tensor

from retain.linalg.eigenspace import Eigenspace, output_eigenspace


def with_bias(weight: Tensor, bias: Tensor | None) -> Tensor:
    """[W0 b] (m, n + 1), which takes (x, 1) to h; W0 (m, n) without a bias."""
    return weight if bias is None else torch.cat([weight, bias[:, None]], dim=1)


def contrast(plus: Tensor, minus: Tensor, beta: float) -> Tensor:
    """(1 − β) C+ − β C− of input moments (n, n) each; ΔCov is W (…) Wᵀ of it."""
    return (1 - beta) * plus - beta * minus


def subspace(weight: Tensor, moment: Tensor, r: int, seed: int = 0) -> Eigenspace:
    """Q: the r directions of the output with the largest signed eigenvalues of W C Wᵀ.

    Args:
        weight: [W0 b] or W0 (m, n).
        moment: the contrast of the input moments (n, n), float64, indefinite.
        r: how many, r ≤ m.
        seed: of the solver's start, where it is iterative.
    """
    return output_eigenspace(weight, moment, r, seed=seed)


def start(Q: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """A0 = Qᵀ W0 (r, n) and B0 = Q (m, r), in the precision of Q; W0 is without the bias."""
    return Q.T @ weight.to(Q), Q


def reward(Q: Tensor, weight: Tensor, moment: Tensor) -> float:
    """tr(Qᵀ W C Wᵀ Q): what a subspace Q (m, r) of the output is worth under the contrast C (n, n)."""
    projected = weight.to(Q).T @ Q
    return float((projected * (moment.to(Q) @ projected)).sum())


def trace(weight: Tensor, moment: Tensor) -> float:
    """tr(W C Wᵀ) = E‖h‖², the mean squared length of a layer's output."""
    W = weight.float()
    return float((W * (W @ moment.to(W))).sum(dtype=torch.float64))
