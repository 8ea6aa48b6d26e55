"""Two models' logits token by token: negative log-likelihood, KL divergence, churn.

Logits are large (tokens × vocabulary) and often bfloat16. Every function here works through the positions in chunks,
so that a float32 copy exists of one chunk only, and computes in float32 at least (float64 stays float64).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from retain.data.tokens import IGNORED
from retain.errors import InputError

CHUNK_ELEMENTS = 2**22
"""Logits raised to float32 at once: 16 MiB a copy, unless a single position of the whole batch is more."""


class TokenComparison(NamedTuple):
    """Two models at each position of a text, all (B, T − 1): nats, KL in nats, churn as booleans.

    Of `mask` true are the positions whose next token is scored; elsewhere both likelihoods are 0.
    """

    base_nll: Tensor
    tuned_nll: Tensor
    kl: Tensor
    churn: Tensor
    mask: Tensor


def compare_tokens(base_logits: Tensor, tuned_logits: Tensor, labels: Tensor) -> TokenComparison:
    """`shifted_nll` of both models, `kl` and `churn` at once: the softmax of each is taken one time.

    Args:
        base_logits: (B, T, V), any floating dtype.
        tuned_logits: (B, T, V).
        labels: y (B, T), integers; −100 is not scored.

    Raises:
        InputError: the vocabularies differ.
        ValueError: the shapes do not belong together.
    """
    _check_pair(base_logits, tuned_logits)
    _check_labels(base_logits, labels)
    targets = labels[:, 1:]
    mask = targets != IGNORED
    chunks = _chunks(base_logits[:, :-1], tuned_logits[:, :-1], targets.masked_fill(~mask, 0))
    found = [_compared(base, tuned, wanted) for base, tuned, wanted in chunks]
    base_nll, tuned_nll, divergence, differs = (torch.cat(parts, dim=1) for parts in zip(*found, strict=True))
    scored = (base_nll.masked_fill(~mask, 0), tuned_nll.masked_fill(~mask, 0))
    return TokenComparison(*scored, divergence, differs, mask)


def shifted_nll(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Negative log-likelihood of each next token.

    −log softmax(z_t)[y_{t+1}], t = 1 … T−1: the logits at a position predict the token *after* it, so the labels
    are the input ids themselves and the shift by one happens here and nowhere else.

    Args:
        logits: z (B, T, V), any floating dtype.
        labels: y (B, T), integers; −100 is not scored.

    Returns:
        Nats (B, T−1), 0 where nothing is scored, in float32 or float64; and the mask (B, T−1), true where scored.

    Raises:
        ValueError: the shapes do not belong together.
    """
    _check_labels(logits, labels)
    targets = labels[:, 1:]
    return token_nll(logits[:, :-1], targets), targets != IGNORED


def token_nll(logits: Tensor, targets: Tensor) -> Tensor:
    """Negative log-likelihood −log softmax(z_t)[y_t] of each target.

    Args:
        logits: z (B, T, V), any floating dtype.
        targets: y (B, T), integers; −100 is not scored.

    Returns:
        Nats (B, T), 0 where nothing is scored, in float32 or float64.
    """
    mask = targets != IGNORED
    nll = _by_chunks(_nll, logits, targets.masked_fill(~mask, 0))
    return nll.masked_fill(~mask, 0)


def kl(base_logits: Tensor, tuned_logits: Tensor) -> Tensor:
    """Kullback–Leibler divergence of the tuned prediction from the base's, position by position.

    KL(p‖q) = Σ_v p_v log(p_v/q_v) with p = softmax(base), q = softmax(tuned), summed as Σ_v p_v log(p_v/q_v) +
    (Σ_v q_v − Σ_v p_v). The bracket is 0 but for the rounding of the two softmaxes, which enters the first sum with the
    opposite sign: in float32 the error falls from about 1e-6 to 2e-7 nats at 49,152 tokens. Equal logits give exactly
    0; what rounding leaves below 0 is set to 0. A logit may be −∞ (a token ruled out); where only the tuned model rules
    a token out, the divergence is infinite.

    Args:
        base_logits: (B, T, V), any floating dtype.
        tuned_logits: (B, T, V).

    Returns:
        Nats (B, T), in float32 or float64. Position t predicts token t + 1: leave the last out to match `shifted_nll`.

    Raises:
        InputError: the vocabularies differ.
        ValueError: the shapes differ otherwise.
    """
    _check_pair(base_logits, tuned_logits)
    return _by_chunks(_kl, base_logits, tuned_logits)


def churn(base_logits: Tensor, tuned_logits: Tensor) -> Tensor:
    """Positions at which the most likely next token differs: argmax_v base ≠ argmax_v tuned; of equals the lowest.

    Args:
        base_logits: (B, T, V), any floating dtype.
        tuned_logits: (B, T, V).

    Returns:
        Booleans (B, T). Position t predicts token t + 1, as in `kl`.

    Raises:
        InputError: the vocabularies differ.
        ValueError: the shapes differ otherwise.
    """
    _check_pair(base_logits, tuned_logits)
    return _by_chunks(_churn, base_logits, tuned_logits)


def _by_chunks(function: Callable[[Tensor, Tensor], Tensor], first: Tensor, second: Tensor) -> Tensor:
    """Apply a position-wise function (B, t, …) → (B, t) to chunks of positions and join the results to (B, T)."""
    return torch.cat([function(one, other) for one, other in _chunks(first, second)], dim=1)


def _chunks(logits: Tensor, *others: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Logits (B, T, V), and tensors (B, T, …) beside them, some positions at a time."""
    size = max(1, CHUNK_ELEMENTS // max(1, logits.shape[0] * logits.shape[-1]))
    return zip(*(torch.split(tensor, size, dim=1) for tensor in (logits, *others)), strict=True)


def _nll(logits: Tensor, targets: Tensor) -> Tensor:
    return _picked(_log_softmax(logits), targets)


def _picked(log_probabilities: Tensor, targets: Tensor) -> Tensor:
    return -log_probabilities.gather(-1, targets.unsqueeze(-1)).squeeze(-1)


def _kl(base: Tensor, tuned: Tensor) -> Tensor:
    return _divergence(_log_softmax(base), _log_softmax(tuned))


def _divergence(log_p: Tensor, log_q: Tensor) -> Tensor:
    p = log_p.exp()
    cross = torch.where(p > 0, p * (log_p - log_q), p).sum(dim=-1)
    return (cross + (log_q.exp().sum(dim=-1) - p.sum(dim=-1))).clamp_min(0)


def _compared(base: Tensor, tuned: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    log_p, log_q = _log_softmax(base), _log_softmax(tuned)
    return _picked(log_p, targets), _picked(log_q, targets), _divergence(log_p, log_q), _churn(base, tuned)


def _churn(base: Tensor, tuned: Tensor) -> Tensor:
    return base.argmax(dim=-1) != tuned.argmax(dim=-1)


def _log_softmax(logits: Tensor) -> Tensor:
    return logits.log_softmax(dim=-1, dtype=torch.promote_types(logits.dtype, torch.float32))


def _check_labels(logits: Tensor, labels: Tensor) -> None:
    if logits.ndim != 3 or logits.shape[:2] != labels.shape:
        raise ValueError(f"logits (B, T, V) and labels (B, T) expected, got {_shape(logits)} and {_shape(labels)}.")


def _check_pair(base: Tensor, tuned: Tensor) -> None:
    if base.ndim == tuned.ndim == 3 and base.shape[:2] == tuned.shape[:2] and base.shape[2] != tuned.shape[2]:
        raise InputError(
            f"base and tuned model have different vocabularies ({base.shape[2]} and {tuned.shape[2]} tokens), so their "
            "predictions cannot be compared token by token: give both the same tokenizer, or no held-out text."
        )
    if base.ndim != 3 or base.shape != tuned.shape:
        raise ValueError(f"two logits of shape (B, T, V) expected, got {_shape(base)} and {_shape(tuned)}.")


def _shape(tensor: Tensor) -> tuple[int, ...]:
    return tuple(tensor.shape)
