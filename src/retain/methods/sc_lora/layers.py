"""One layer's start, and what there is to say of it: how much of each data set it holds, and how well it was solved."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from retain.linalg.subspaces import leading_subspace, subspace_overlap
from retain.methods.sc_lora import equations
from retain.methods.sc_lora.config import ScLoraConfig

SPECTRUM_HEAD = 8


@dataclass(frozen=True)
class LayerFacts:
    """What the report says of one layer.

    Attributes:
        layer: its name.
        trace_learn: E₊‖h‖², the mean squared length of its output on the text to learn.
        trace_keep: E₋‖h‖², on the text to keep.
        eigenvalues: the largest signed eigenvalues of ΔCov.
        reward: tr(Qᵀ ΔCov Q) of the subspace taken.
        share_learn: E₊‖Qᵀh‖²/E₊‖h‖², how much of the output on the text to learn lies in it.
        share_keep: the same of the text to keep.
        overlap: of about the r leading directions of Cov+ with those of Cov−, 0 to 1.
        residual: of the eigenproblem, relative.
        solver: "eigh" or "lanczos".
    """

    layer: str
    trace_learn: float
    trace_keep: float
    eigenvalues: tuple[float, ...]
    reward: float
    share_learn: float
    share_keep: float
    overlap: float
    residual: float
    solver: str


def sc_start(
    name: str, W0: Tensor, bias: Tensor | None, plus: Tensor, minus: Tensor, config: ScLoraConfig
) -> tuple[Tensor, Tensor, LayerFacts]:
    """A0 (r, n) and B0 (m, r), float64, and the facts.

    B0 A0 = Q Qᵀ W0 whatever the scale: the frozen part is W0 − s·B0 A0.

    Args:
        name: the layer's.
        W0: (m, n).
        bias: (m,) or None.
        plus: second moment of its input (with 1 appended where there is a bias) over the text to learn, float64.
        minus: over the text to keep.
        config: r, beta, seed.
    """
    W = equations.with_bias(W0, bias).double()
    found = equations.subspace(W, equations.contrast(plus, minus, config.beta), config.r, config.seed)
    Q = found.vectors
    traces = equations.trace(W, plus), equations.trace(W, minus)
    shares = [
        equations.reward(Q, W, moment) / total if total > 0 else 0.0
        for moment, total in zip((plus, minus), traces, strict=True)
    ]
    leading = [leading_subspace(W, C, config.r, seed=config.seed + i) for i, C in enumerate((plus, minus))]
    A0, B0 = equations.start(Q, W0)
    return (
        A0,
        B0,
        LayerFacts(
            layer=name,
            trace_learn=traces[0],
            trace_keep=traces[1],
            eigenvalues=tuple(found.values[:SPECTRUM_HEAD].tolist()),
            reward=float(found.values.sum()),
            share_learn=shares[0],
            share_keep=shares[1],
            overlap=subspace_overlap(*leading),
            residual=found.residual,
            solver=found.method,
        ),
    )
