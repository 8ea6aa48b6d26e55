"""One layer's start, and what there is to say of it: how much of each data set it holds, and how well it was solved."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from retain.linalg.eigenspace import DENSE_LIMIT, Eigenspace, Outputs
from retain.linalg.subspaces import leading_subspace, subspace_overlap
from retain.methods.sc_lora import equations
from retain.methods.sc_lora.config import SCLoRAConfig

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
    name: str,
    W0: Tensor,
    bias: Tensor | None,
    moments: tuple[Tensor, Tensor],
    config: SCLoRAConfig,
    *,
    of_outputs: bool = False,
) -> tuple[Tensor, Tensor, LayerFacts]:
    """A0 (r, n) and B0 (m, r), float64, and the facts.

    B0 A0 = Q Qᵀ W0 whatever the scale: the frozen part is W0 − s·B0 A0.

    Args:
        name: the layer's.
        W0: (m, n).
        bias: (m,) or None.
        moments: second moments of its input (with 1 appended where there is a bias) over the text to learn and the text
            to keep, float64; or of its output.
        config: r, beta, seed.
        of_outputs: whether they are of its output.
    """
    W = equations.with_bias(W0, bias).double()
    if of_outputs or min(W.shape) <= DENSE_LIMIT:
        outputs = Outputs(W[:, : W0.shape[1]] if of_outputs else W)
        formed = moments if of_outputs else (outputs.moment(moments[0]), outputs.moment(moments[1]))
        found, traces, captured, overlap = _formed(outputs, formed, config)
    else:
        found, traces, captured, overlap = _unformed(W, moments, config)
    shares = [part / whole if whole > 0 else 0.0 for part, whole in zip(captured, traces, strict=True)]
    A0, B0 = equations.start(found.vectors, W0)
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
            overlap=overlap,
            residual=found.residual,
            solver=found.method,
        ),
    )


_Solved = tuple[Eigenspace, list[float], list[float], float]
"""Q; E‖h‖² and E‖Qᵀh‖² on both texts; the overlap of the leading directions of both."""


def _formed(outputs: Outputs, M: tuple[Tensor, Tensor], config: SCLoRAConfig) -> _Solved:
    """From both outputs' moments, formed once, at the smaller size of W; all that is asked is asked of them."""
    found = outputs.top(equations.contrast(*M, config.beta), config.r, seed=config.seed)
    rank = min(config.r, len(M[0]))
    leading = []
    for number, rough in enumerate(part.float() for part in M):
        leading.append(leading_subspace(rough.matmul, len(rough), rank, seed=config.seed + number, device=rough.device))
    traces = [float(part.trace()) for part in M]
    return found, traces, [outputs.captured(part, found.vectors) for part in M], subspace_overlap(*leading)


def _unformed(W: Tensor, moments: tuple[Tensor, Tensor], config: SCLoRAConfig) -> _Solved:
    """Layers too wide for a matrix of their outputs: products with thin blocks only."""
    found = equations.subspace(W, equations.contrast(*moments, config.beta), config.r, config.seed)
    leading = [_leading(W.float(), C.float(), config.r, config.seed + i) for i, C in enumerate(moments)]
    traces = [equations.trace(W, C) for C in moments]
    captured = [equations.reward(found.vectors, W, C) for C in moments]
    return found, traces, captured, subspace_overlap(*leading)


def _leading(W: Tensor, C: Tensor, r: int, seed: int) -> Tensor:
    transposed = W.T.contiguous()  # makes Wᵀ v more than twice as fast
    return leading_subspace(lambda v: W @ (C @ (transposed @ v)), len(W), r, seed=seed, device=W.device)
