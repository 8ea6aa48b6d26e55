"""The scores of a matrix's entries: from weights and gradients to the k entries that are trained.

With W the weight, G the gradient of the loss on the data to learn, averaged over batches, F the mean square gradient of
single sequences to keep (the diagonal of the empirical Fisher information, as EWC has it), all (m, n):

    gradient        |G|                  SIFT, arXiv 2312.11875, its published code: k largest of each matrix
    small           −|W|                 SaRA, arXiv 2409.06633: there a threshold for all tensors, here a share of each
    small-gradient  |G| / (|W| + ε)      our reading of GaLLoP, arXiv 2510.19778, whose abstract says "largest gradient
                                         magnitudes" and "smallest pre-trained magnitudes"; its formula we have not read
    learn-not-keep  |G| / (√F + ε)       ours: the sparse counterpart of SC-LoRA's contrast
    random          uniform
    large           |W|

ε is the mean of what it is added to. So an entry whose denominator is nearly 0 counts at most |G|/ε, and does not win
by a gradient of nearly nothing; and no choice depends on the scale of W or of the loss.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from retain.errors import InputError
from retain.methods.sparse.config import ScoreName


def scored(
    name: ScoreName, weight: Tensor, learn: Tensor | None, keep: Tensor | None, *, seed: int = 0, layer: str = ""
) -> Tensor:
    """The score of each entry; the largest are to be trained.

    Args:
        name: of the score.
        weight: W (m, n).
        learn: G (m, n), where the score reads what is to be learned.
        keep: F (m, n), where it reads what must stay.
        seed: of random.
        layer: the layer's name; every layer has a draw of its own.

    Returns:
        (m, n), float32 or better.

    Raises:
        InputError: a gradient or a weight is not finite.
    """
    for which, given in (("learn", learn), ("keep", keep)):
        if given is not None and not bool(torch.isfinite(given).all()):
            raise InputError(f"{layer}: the gradient on the data to {which} is not finite; try another dtype.")
    W = weight.abs().to(torch.promote_types(weight.dtype, torch.float32))
    if not bool(torch.isfinite(W).all()):
        raise InputError(
            f"{layer}: the base has weights that are not finite; its file is damaged, or its type too narrow."
        )
    if name == "random":
        return _drawn(weight, seed, layer)
    if learn is None:
        return -W if name == "small" else W
    G = learn.abs().to(W)
    if name == "small-gradient":
        return G / (W + W.mean())
    return G if keep is None else _over(G, keep.to(W).sqrt())


def _over(G: Tensor, spread: Tensor) -> Tensor:
    """|G| / (√F + ε); |G| alone where F is 0 everywhere."""
    mean = spread.mean()
    return G / (spread + mean) if bool(mean > 0) else G


def _drawn(weight: Tensor, seed: int, layer: str) -> Tensor:
    """A uniform number for each entry, drawn on the CPU so that every device has the same."""
    own = int.from_bytes(hashlib.sha256(f"{seed} {layer}".encode()).digest()[:6])
    generator = torch.Generator().manual_seed(own)
    return torch.rand(weight.shape, generator=generator, dtype=torch.float64).to(weight.device)


def largest(score: Tensor, count: int) -> Tensor:
    """The flat places (count,) of the largest entries of a score (m, n), int64, in ascending order."""
    return torch.topk(score.reshape(-1), count, sorted=False).indices.sort().values
