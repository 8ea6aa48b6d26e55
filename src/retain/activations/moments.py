"""Second moments of a layer's input: sums over tokens, which can be added in any order and from any number of places.

Gram = Σ_t x_t x_tᵀ and sum = Σ_t x_t over the tokens that count. With the bias as one more column, the output
h = W x + b has E[h hᵀ] = [W b] · E[x̃ x̃ᵀ] · [W b]ᵀ, x̃ = (x, 1), so the moments of all layers that read one tensor
follow from one pair (arXiv 2505.23724 takes the outputs themselves; the result is the same).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from retain.linalg.matrices import add_gram, mirrored


@dataclass
class Moments:
    """Sums over the tokens of one tensor.

    Attributes:
        gram: Σ w_t x_t x_tᵀ (n, n), of which only the upper triangle counts: the lower one is not updated.
        total: Σ w_t x_t (n,).
        weight: Σ w_t; the number of tokens where nothing scales the samples.
        tokens: the number of tokens.
        energy: the largest Σ_t w_t‖x_t‖² of one sample, to find a sample that outweighs the others.
    """

    gram: Tensor
    total: Tensor
    weight: float = 0.0
    tokens: int = 0
    energy: float = 0.0

    @property
    def nbytes(self) -> int:
        """Bytes of the sums."""
        return self.gram.nbytes + self.total.nbytes


def empty(features: int, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu") -> Moments:
    """Sums over nothing, for inputs of `features` numbers."""
    zeros = torch.zeros(features, features, dtype=dtype, device=device)
    return Moments(zeros, torch.zeros(features, dtype=dtype, device=device))


@torch.no_grad()
def update(moments: Moments, x: Tensor, samples: Tensor, scale: Tensor | None = None) -> None:
    """Add tokens, in place.

    Args:
        moments: of n features.
        x: (T, n), the tokens that count, in any float dtype; summed in that of the moments.
        samples: (T,) int64, the sample that each token belongs to.
        scale: (samples,) a factor for each sample's tokens; None for 1.
    """
    x = x.to(moments.gram.dtype)
    weight = float(len(x))
    if scale is not None:
        factor = scale.to(x.dtype)[samples]
        x = x * factor[:, None]
        moments.total += (x * factor[:, None]).sum(dim=0)
        weight = float(factor.square().sum())
    else:
        moments.total += x.sum(dim=0)
    add_gram(moments.gram, x)
    moments.weight += weight
    moments.tokens += len(x)
    if len(x):
        energies = torch.zeros(int(samples.max()) + 1, dtype=x.dtype, device=x.device)
        energies.index_add_(0, samples, torch.linalg.vector_norm(x, dim=1).square_())
        moments.energy = max(moments.energy, float(energies.max()))


def merge(left: Moments, right: Moments) -> Moments:
    """The moments of both sets of tokens together."""
    return Moments(
        left.gram + right.gram,
        left.total + right.total,
        left.weight + right.weight,
        left.tokens + right.tokens,
        max(left.energy, right.energy),
    )


def second_moment(moments: Moments, *, bias: bool) -> Tensor:
    """E[x xᵀ] a token, float64: (n, n), or with `bias` E[x̃ x̃ᵀ] of x̃ = (x, 1): (n + 1, n + 1).

    Args:
        moments: sums; the set is normalised by its number of tokens.
        bias: whether the layer adds one.
    """
    gram = mirrored(moments.gram, torch.float64)
    if bias:
        total = moments.total.double()[:, None]
        corner = torch.full((1, 1), moments.weight, dtype=torch.float64, device=gram.device)
        gram = torch.cat([torch.cat([gram, total], dim=1), torch.cat([total.T, corner], dim=1)])
    return gram.div_(max(moments.tokens, 1))
