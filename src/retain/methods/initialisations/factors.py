"""The input and the result of an initialisation: a frozen layer with what texts do at it, and the factors A0, B0.

The adapted layer computes W0 x + s (B A − B0 A0) x, so with A = A0, B = B0 it is the base's, whatever they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from retain.methods.initialisations.config import SCLoRAConfig


@dataclass(frozen=True)
class FrozenLayer:
    """A linear layer and the second moments that calibration texts have at it.

    Attributes:
        name: in the base model.
        weight: W0 (m, n), float32 or better.
        bias: (m,), or None.
        moments: by the text, "learn" or "keep", float64: E[x̃ x̃ᵀ] over tokens, where x̃ is the input, with a 1 appended
            where there is a bias. (n, n) or (n + 1, n + 1).
        of_outputs: they are E[h hᵀ] (m, m) of the output instead; only where the initialisation can be streamed.
    """

    name: str
    weight: Tensor
    bias: Tensor | None
    moments: Mapping[str, Tensor]
    of_outputs: bool = False

    def input_moment(self, text: str) -> Tensor:
        """E[x xᵀ] (n, n) over the tokens of a text, without the 1 that stands for the bias."""
        inputs = self.weight.shape[1]
        return self.moments[text][:inputs, :inputs]


@dataclass(frozen=True)
class LayerFacts:
    """The record of one layer's initialisation, for `retain inspect`.

    Attributes:
        layer: its name.
        trace_learn: E₊‖h‖², the mean squared length of its output on the text to learn.
        trace_keep: E₋‖h‖², on the text to keep.
        eigenvalues: the largest signed eigenvalues of ΔCov.
        reward: tr(Qᵀ ΔCov Q) of the subspace taken.
        share_learn: E₊‖Qᵀh‖²/E₊‖h‖², the share of the output on the text to learn that lies in it.
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


class Factors(NamedTuple):
    """A0 (r, n) and B0 (m, r), float64 or of the layer's type, and what is to be recorded of them, if anything."""

    A: Tensor
    B: Tensor
    facts: LayerFacts | None = None


Initialise = Callable[[FrozenLayer, SCLoRAConfig], Factors]
"""The type of an initialisation's function: the factors of one layer under a configuration's r, scale and fields."""


def split_evenly(U: Tensor, S: Tensor, Vh: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """A0 and B0 with s·B0 A0 = U diag(S) Vᴴ, the singular values divided evenly between them.

    Args:
        U: (m, r).
        S: (r,), not negative.
        Vh: (r, n).
        scale: the adapter's s.
    """
    root = (S / scale).sqrt()
    return root[:, None] * Vh, U * root
