"""SC-LoRA, subspace-constrained LoRA: arXiv 2505.23724.

On the outputs h = W0 x (+ b) of a frozen linear layer, W0 (m, n), take the second moments Cov+ over text to learn and
Cov− over text to keep. Q (m, r) holds the eigenvectors of the r largest signed eigenvalues of
ΔCov = (1 − β) Cov+ − β Cov−; it maximises the reward R(Q) = tr(Qᵀ ΔCov Q) = (1 − β) E₊‖Qᵀh‖² − β E₋‖Qᵀh‖².
Training begins at B0 = Q, A0 = Qᵀ W0, and the layer computes W0 x + s (B A − B0 A0) x, s = α/r.

Where we differ: each set is normalised by its tokens (the authors divide by samples, after dividing each sample by
|max y|, the magnitude of its largest element; `sample_norm="max"` divides by max |y|), the moments of the outputs are
computed from those of the inputs where that is less work, and W0 is not changed (the authors subtract s B0 A0 from it).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from retain.linalg.eigenspace import DENSE_LIMIT, Eigenspace, Outputs, output_eigenspace, sandwich
from retain.linalg.lanczos import Operator
from retain.linalg.subspaces import leading_subspace, subspace_overlap
from retain.methods.initialisations.config import SCLoRAConfig
from retain.methods.initialisations.factors import Factors, FrozenLayer, LayerFacts

SPECTRUM_HEAD = 8
"""Eigenvalues of ΔCov that are recorded."""


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
        r: the number of directions, r ≤ m.
        seed: of the solver's first vectors, where it is iterative.
    """
    return output_eigenspace(weight, moment, r, seed=seed)


def factors_in(Q: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """A0 = Qᵀ W0 (r, n) and B0 = Q (m, r), in the precision of Q; W0 is without the bias."""
    return Q.T.contiguous() @ weight.to(Q), Q


def captured(rows: Tensor, moment: Tensor) -> float:
    """tr(P C Pᵀ) of P (r, n) and C (n, n): E‖P x‖²; with P = Qᵀ W and the contrast for C, the reward of Q."""
    return float(((rows @ moment.to(rows)) * rows).sum())


def trace(weight: Tensor, moment: Tensor) -> float:
    """tr(W C Wᵀ) = E‖h‖², the mean squared length of a layer's output."""
    W = weight.float()
    return float((W * (W @ moment.to(W))).sum(dtype=torch.float64))


def initialise(layer: FrozenLayer, config: SCLoRAConfig) -> Factors:
    """The factors of one layer, and its facts.

    B0 A0 = Q Qᵀ W0 whatever the scale: the frozen part is W0 − s·B0 A0.
    """
    moments = layer.moments["learn"], layer.moments["keep"]
    W = with_bias(layer.weight, layer.bias).double()
    if layer.of_outputs or min(W.shape) <= DENSE_LIMIT:
        top, traces, overlap = _formed(W, moments, config, of_outputs=layer.of_outputs)
    else:
        top, traces, overlap = _unformed(W, moments, config)
    A0, B0 = factors_in(top.vectors, W)
    within = [captured(B0.T if layer.of_outputs else A0, part) for part in moments]
    shares = [part / total if total > 0 else 0.0 for part, total in zip(within, traces, strict=True)]
    facts = LayerFacts(
        layer=layer.name,
        trace_learn=traces[0],
        trace_keep=traces[1],
        eigenvalues=tuple(top.values[:SPECTRUM_HEAD].tolist()),
        reward=float(top.values.sum()),
        share_learn=shares[0],
        share_keep=shares[1],
        overlap=overlap,
        residual=top.residual,
        solver=top.method,
    )
    return Factors(A0[:, : layer.weight.shape[1]], B0, facts)


_Solved = tuple[Eigenspace, list[float], float]
"""Q; E‖h‖² on both texts; the overlap of the leading directions of both."""


def _formed(W: Tensor, moments: tuple[Tensor, Tensor], config: SCLoRAConfig, *, of_outputs: bool) -> _Solved:
    """From the outputs' ΔCov, given or formed at the smaller size of W."""
    outputs, operators = Outputs(W), list[Operator]()
    difference = contrast(*moments, config.beta)
    top = outputs.top(difference if of_outputs else outputs.moment(difference), config.r, seed=config.seed)
    if of_outputs:
        traces = [float(part.diagonal().sum()) for part in moments]
        operators = [part.float().matmul for part in moments]
    else:
        traces = [outputs.trace(part) for part in moments]
        operators = [outputs.rough_operator(part) for part in moments]
    return top, traces, _overlap(operators, outputs.size, config, W.device)


def _unformed(W: Tensor, moments: tuple[Tensor, Tensor], config: SCLoRAConfig) -> _Solved:
    """For layers too wide for a matrix of their outputs: products with thin blocks only."""
    top = subspace(W, contrast(*moments, config.beta), config.r, config.seed)
    rough, transposed = W.float(), W.T.float().contiguous()
    operators = [sandwich(rough, part.float(), transposed) for part in moments]
    return top, [trace(W, part) for part in moments], _overlap(operators, len(W), config, W.device)


def _overlap(operators: Sequence[Operator], size: int, config: SCLoRAConfig, device: torch.device) -> float:
    """The overlap of about the r leading directions of two moments; for a report."""
    rank = min(config.r, size)
    left, right = (
        leading_subspace(operator, size, rank, seed=config.seed + number, device=device)
        for number, operator in enumerate(operators)
    )
    return subspace_overlap(left, right)
