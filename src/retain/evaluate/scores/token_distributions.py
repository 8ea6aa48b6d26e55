"""Two models' logits token by token: negative log-likelihood, KL divergence, churn.

Logits are large (tokens × vocabulary) and often bfloat16. Every function here works through the positions in chunks,
so that a float32 copy exists of one chunk only, and computes in float32 at least (float64 stays float64).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from retain.data.tokens import IGNORED
from retain.errors import InputError

CHUNK_ELEMENTS = 2**22
"""Logits raised to float32 at once: 16 MiB a copy, unless a single position of the whole batch is more."""


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
    if logits.ndim != 3 or logits.shape[:2] != labels.shape:
        raise ValueError(f"logits (B, T, V) and labels (B, T) expected, got {_shape(logits)} and {_shape(labels)}.")
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
    nll = _by_chunks(_nll, logits.shape[-1], logits, targets.masked_fill(~mask, 0))
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
    return _by_chunks(_kl, base_logits.shape[-1], base_logits, tuned_logits)


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
    return _by_chunks(_churn, base_logits.shape[-1], base_logits, tuned_logits)


def _by_chunks(function: Callable[[Tensor, Tensor], Tensor], vocabulary: int, first: Tensor, second: Tensor) -> Tensor:
    """Apply a position-wise function (B, t, …) → (B, t) to chunks of positions and join the results to (B, T)."""
    size = max(1, CHUNK_ELEMENTS // max(1, first.shape[0] * vocabulary))
    pairs = zip(torch.split(first, size, dim=1), torch.split(second, size, dim=1), strict=True)
    return torch.cat([function(one, other) for one, other in pairs], dim=1)


def _nll(logits: Tensor, targets: Tensor) -> Tensor:
    return -_log_softmax(logits).gather(-1, targets.unsqueeze(-1)).squeeze(-1)


def _kl(base: Tensor, tuned: Tensor) -> Tensor:
    log_p, log_q = _log_softmax(base), _log_softmax(tuned)
    p = log_p.exp()
    cross = torch.where(p > 0, p * (log_p - log_q), p).sum(dim=-1)
    return (cross + (log_q.exp().sum(dim=-1) - p.sum(dim=-1))).clamp_min(0)


def _churn(base: Tensor, tuned: Tensor) -> Tensor:
    return base.argmax(dim=-1) != tuned.argmax(dim=-1)


def _log_softmax(logits: Tensor) -> Tensor:
    return logits.log_softmax(dim=-1, dtype=torch.promote_types(logits.dtype, torch.float32))


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
