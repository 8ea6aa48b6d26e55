"""Scores of hidden states: retrieval and neighbours by cosine, and their movement from the base's.

Sums run in float64: cosines of near neighbours differ by less than float32 resolves, and a tie must be a tie.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

CHUNK_ELEMENTS = 2**22
"""Similarities held at once: 32 MiB."""

CONSTANT = 1e-12
"""Centred features below this share of the features' norm are rounding: the features are constant."""


def retrieval_right(queries: Tensor, matches: Tensor) -> Tensor:
    """Queries that are nearer to their own match than to any other, by cosine: booleans (n,).

    A tie is wrong: a model that maps everything to one place finds nothing.

    Args:
        queries: (n, d), any floating dtype.
        matches: (n, d), row i belongs to query i.

    Raises:
        ValueError: the shapes differ, or a row is 0.
    """
    return reciprocal_ranks(queries, matches) == 1


def reciprocal_ranks(queries: Tensor, matches: Tensor) -> Tensor:
    """1/rank of match i among all matches of query i by cosine, float64 (n,); its mean is the MRR.

    rank = 1 + the number of other matches that are at least as near: among equals the right one counts as last.

    Args:
        queries: (n, d), any floating dtype.
        matches: (n, d), row i belongs to query i.

    Raises:
        ValueError: the shapes differ, or a row is 0.
    """
    _check_pair(queries, matches)
    targets = _unit(matches)
    ranks = []
    for part, start in _parts(_unit(queries), len(targets)):
        cosine = part @ targets.T
        own = cosine.diagonal(offset=start).unsqueeze(1)
        ranks.append((cosine >= own).sum(dim=1))
    return 1 / torch.cat(ranks).double()


def neighbours_right(bank: Tensor, bank_labels: Tensor, queries: Tensor, labels: Tensor, k: int) -> Tensor:
    """Queries whose label is that of most of their k nearest neighbours in a bank, by cosine: booleans (n,).

    Among equally near neighbours the one earlier in the bank is taken. Among labels with equally many votes the one of
    the nearest neighbour wins.

    Args:
        bank: (m, d) features whose labels are known.
        bank_labels: (m,) integers.
        queries: (n, d) features.
        labels: (n,) integers, the true ones.
        k: number of neighbours, 1 … m.

    Raises:
        ValueError: the shapes do not belong together, k is out of range, or a row is 0.
    """
    _check_neighbours(bank, bank_labels, queries, labels, k)
    names, votes = torch.unique(bank_labels, return_inverse=True)
    known = _unit(bank)
    chosen = []
    for part, _ in _parts(_unit(queries), len(bank)):
        near = votes[(part @ known.T).sort(dim=1, descending=True, stable=True).indices[:, :k]]
        count = torch.zeros(len(part), len(names), dtype=torch.int64, device=near.device)
        count.scatter_add_(1, near, torch.ones_like(near))
        most = count.gather(1, near) == count.max(dim=1, keepdim=True).values
        chosen.append(near.gather(1, most.int().argmax(dim=1, keepdim=True)).squeeze(1))
    right: Tensor = names[torch.cat(chosen)] == labels
    return right


def linear_cka(first: Tensor, second: Tensor) -> float | None:
    """Linear centred kernel alignment of two models' features of the same tokens, 0 … 1.

    CKA = ‖YᵀX‖²_F/(‖XᵀX‖_F ‖YᵀY‖_F), columns of X and Y centred; with more features than tokens by the equal form
    ⟨XXᵀ, YYᵀ⟩_F/(‖XXᵀ‖_F ‖YYᵀ‖_F). (Kornblith et al., "Similarity of Neural Network Representations Revisited", ICML
    2019.) 1 for features that differ by rotation, shift and one common scale. With few tokens for many features it is
    biased towards 1: take many more tokens than features.

    Args:
        first: X (n, d), any floating dtype.
        second: Y (n, e), the same tokens in the same order.

    Returns:
        The alignment, computed in float64; None where the features of one side are the same for all tokens.

    Raises:
        ValueError: the sides do not have the same number of tokens.
    """
    if first.ndim != 2 or second.ndim != 2 or len(first) != len(second):
        raise ValueError(f"features (n, d) and (n, e) expected, got {_shape(first)} and {_shape(second)}.")
    sides = [_centred(first), _centred(second)]
    if any(side is None for side in sides):
        return None
    X, Y = (side for side in sides if side is not None)
    if max(X.shape[1], Y.shape[1]) <= len(X):
        above, own = (Y.T @ X).square().sum(), (X.T @ X).norm() * (Y.T @ Y).norm()
    else:
        K, L = X @ X.T, Y @ Y.T
        above, own = (K * L).sum(), K.norm() * L.norm()
    return min(1.0, max(0.0, float(above / own)))


def cosine_drift(base: Tensor, tuned: Tensor) -> float:
    """Mean over tokens of 1 − cos(x, y), 0 … 2.

    Args:
        base: X (n, d), any floating dtype.
        tuned: Y (n, d), the same tokens.

    Raises:
        ValueError: the shapes differ, or a row is 0.
    """
    _check_pair(base, tuned)
    # ‖x̂ − ŷ‖²/2 = 1 − cos without the cancellation: equal features give exactly 0.
    return float((_unit(base) - _unit(tuned)).square().sum(dim=1).mean() / 2)


def relative_l2(base: Tensor, tuned: Tensor) -> float:
    """Mean over tokens of ‖y − x‖/‖x‖: each token counts alike, however large its state.

    Args:
        base: X (n, d), any floating dtype.
        tuned: Y (n, d), the same tokens.

    Raises:
        ValueError: the shapes differ, or a row of the base is 0.
    """
    _check_pair(base, tuned)
    wide = base.double()
    return float(((tuned.double() - wide).norm(dim=1) / _norms(wide).squeeze(1)).mean())


def _centred(features: Tensor) -> Tensor | None:
    """Columns centred, of norm 1 in all; None where nothing is left but rounding."""
    wide = features.double()
    centred = wide - wide.mean(dim=0, keepdim=True)
    size = centred.norm()
    return centred / size if size > CONSTANT * wide.norm() else None


def _unit(rows: Tensor) -> Tensor:
    wide = rows.double()
    return wide / _norms(wide)


def _norms(wide: Tensor) -> Tensor:
    norms: Tensor = wide.norm(dim=1, keepdim=True)
    if not (norms > 0).all():
        raise ValueError("a row of features is 0 or not a number: it has no direction.")
    return norms


def _parts(rows: Tensor, width: int) -> Iterator[tuple[Tensor, int]]:
    """Rows in chunks of at most `CHUNK_ELEMENTS` products with `width` others, each with the place it starts."""
    size = max(1, CHUNK_ELEMENTS // width)
    for start in range(0, len(rows), size):
        yield rows[start : start + size], start


def _check_pair(first: Tensor, second: Tensor) -> None:
    if first.ndim != 2 or first.shape != second.shape or not len(first):
        raise ValueError(f"two filled tables (n, d) of one shape expected, got {_shape(first)} and {_shape(second)}.")


def _check_neighbours(bank: Tensor, bank_labels: Tensor, queries: Tensor, labels: Tensor, k: int) -> None:
    fits = bank.ndim == queries.ndim == 2 and bank.shape[1] == queries.shape[1] and len(queries) > 0
    if not fits or bank_labels.shape != bank.shape[:1] or labels.shape != queries.shape[:1]:
        raise ValueError(
            f"bank (m, d), labels (m,), queries (n, d), labels (n,) expected, got {_shape(bank)}, "
            f"{_shape(bank_labels)}, {_shape(queries)}, {_shape(labels)}."
        )
    if not 1 <= k <= len(bank):
        raise ValueError(f"k must be from 1 to the {len(bank)} items of the bank, got {k}.")


def _shape(tensor: Tensor) -> tuple[int, ...]:
    return tuple(tensor.shape)
