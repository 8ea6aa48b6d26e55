"""Cross-entropy of next tokens, as a loss whose memory does not grow with tokens times vocabulary.

L = (1/n) Σ_i (log Σ_v exp z_iv − z_i,y_i), with z_i = W h_i + b and y_i the label of position i. Its gradient with
respect to z_i is (softmax(z_i) − onehot(y_i)) / n: all that it needs is there as soon as z_i is. So positions are taken
a chunk at a time, and each chunk's gradient with respect to h (and W and b, where they ask for it) is made at once, in
the forward pass; the chunk's logits are then dropped. So does FusedLinearCrossEntropy in Hsu et al., "Liger Kernel:
Efficient Triton Kernels for LLM Training", arXiv 2410.10989. Other than there, no kernels are needed, positions without
a label are left out before the head multiplies anything, and the weight's gradient is summed in float32.

torch 2.13 has `torch.nn.functional.linear_cross_entropy`. In float32 and with the same chunk it is this one's equal in
time and memory. In 16 bits it sums the loss over the chunks in 16 bits (bfloat16: .9 % off after 8 chunks), and it
knows neither autocast nor a head of another dtype; so this one stays until that is otherwise.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from retain.errors import InputError
from retain.kernels.eligibility import full_types

LOGITS = 2**23
"""Logits that exist at once where `chunk_tokens` is not given: 32 MB in float32."""

FEWEST = 16
"""Tokens of a chunk at least, however large the vocabulary: fewer would read the head's weight too often."""


def cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    labels: Tensor,
    *,
    ignored: int = -100,
    num_items: Tensor | float | None = None,
) -> Tensor:
    """The equation: Σ −log softmax(hidden Wᵀ + b)[label] over the labelled positions, by `num_items` or their number.

    As transformers' `ForCausalLMLoss` computes it: logits in the model's precision, all else in float32 (or float64).

    Args:
        hidden: what the head reads, (…, d).
        weight: the head (V, d).
        bias: its (V,), or None.
        labels: int64 (…): the token that each position is to predict.
        ignored: the label of positions that do not count.
        num_items: what the sum is divided by; None for the number of labelled positions.

    Returns:
        Nats, a scalar; without any labelled position nan, or 0 / `num_items`.
    """
    logits = nn.functional.linear(hidden, weight, bias).to(_wide(hidden.dtype)).flatten(0, -2)
    total = nn.functional.cross_entropy(logits, labels.flatten(), ignore_index=ignored, reduction="sum")
    return total / (labels.ne(ignored).sum() if num_items is None else num_items)


def chunked_cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    labels: Tensor,
    *,
    ignored: int = -100,
    num_items: Tensor | float | None = None,
    chunk_tokens: int | None = None,
) -> Tensor:
    """`cross_entropy`, with the logits of `chunk_tokens` positions at a time.

    Kept for the backward pass: one gradient of the size of the labelled hidden states, and of the weight and the bias
    where they ask for theirs (float32, summed over the chunks). It cannot be differentiated twice. Under autocast the
    product is made in autocast's precision, else in the weight's. Rounding aside, values and gradients are those of
    `cross_entropy`; gradients come in the dtypes of `hidden`, `weight` and `bias`.

    Args:
        hidden: what the head reads, (…, d), any floating dtype.
        weight: the head (V, d).
        bias: its (V,), or None.
        labels: int64 (…): the token that each position is to predict.
        ignored: the label of positions that do not count.
        num_items: what the sum is divided by (under gradient accumulation the labels of all micro-batches); None for
            the number of labelled positions.
        chunk_tokens: positions at once; None for about `LOGITS` logits.

    Returns:
        Nats, a scalar in float32 or float64; without any labelled position nan, or 0 / `num_items`.

    Raises:
        InputError: shapes that do not belong together, a label outside the vocabulary, or a chunk of no tokens.
    """
    _check_shapes(hidden, weight, bias, labels, chunk_tokens)
    labels = labels.to(hidden.device)
    chosen = labels.ne(ignored)
    targets = labels[chosen]
    _check_labels(targets, len(weight))
    chunk = chunk_tokens or max(FEWEST, LOGITS // len(weight))
    gradients = torch.is_grad_enabled()
    wants = tuple(gradients and part is not None and part.requires_grad for part in (hidden, weight, bias))
    total: Tensor = _ChunkedSum.apply(  # type: ignore[no-untyped-call]  # torch has no types here
        hidden[chosen], weight, bias, targets, chunk, wants
    )
    if num_items is None:
        return total / len(targets)
    return total / (num_items.to(total.device) if isinstance(num_items, Tensor) else num_items)


class _Sums(NamedTuple):
    """The losses (N,) and their sum's gradients; None where nobody asks."""

    losses: Tensor
    hidden: Tensor | None
    weight: Tensor | None
    bias: Tensor | None


class _ChunkedSum(torch.autograd.Function):
    """The sum of −log softmax(hidden Wᵀ + b)[target] over N labelled positions."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        chunk: int,
        wants: tuple[bool, bool, bool],
    ) -> Tensor:
        device = hidden.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype
        with full_types(hidden):
            sums = _sums(hidden, weight.to(dtype), None if bias is None else bias.to(dtype), targets, chunk, wants)
        ctx.save_for_backward(*sums[1:])
        ctx.dtypes = (hidden.dtype, weight.dtype, None if bias is None else bias.dtype)
        ctx.empty = len(targets) == 0
        return sums.losses.sum()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        scale = torch.zeros_like(upstream[0]) if ctx.empty else upstream[0]  # it is infinite there: the mean of none
        slopes = [
            None if made is None else (made.to(scale.dtype) * scale).to(dtype)
            for made, dtype in zip(ctx.saved_tensors, ctx.dtypes, strict=True)
        ]
        return (*slopes, None, None, None)


def _sums(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, chunk: int, wants: tuple[bool, bool, bool]
) -> _Sums:
    """Losses and gradients, chunk by chunk. All products are in the weight's dtype, as torch's own backward's are."""
    wide = _wide(weight.dtype)
    losses = torch.empty(len(hidden), dtype=wide, device=hidden.device)
    to_hidden = torch.empty(hidden.shape, dtype=weight.dtype, device=hidden.device) if wants[0] else None
    to_weight = torch.zeros_like(weight, dtype=wide) if wants[1] else None
    to_bias = torch.zeros_like(bias, dtype=wide) if wants[2] and bias is not None else None
    for start in range(0, len(hidden), chunk):
        part = slice(start, start + chunk)
        states = hidden[part].to(weight.dtype)
        losses[part], slope = _losses_and_slopes(nn.functional.linear(states, weight, bias).to(wide), targets[part])
        if to_bias is not None:
            to_bias += slope.sum(dim=0)
        slope = slope.to(weight.dtype)
        if to_hidden is not None:
            torch.mm(slope, weight, out=to_hidden[part])
        if to_weight is not None:
            _add_product(to_weight, slope.T, states)
        del slope  # before the next chunk's logits are made
    return _Sums(losses, to_hidden, to_weight, to_bias)


def _losses_and_slopes(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The losses (N,) of logits (N, V) and their slopes, which take the logits' place in memory."""
    target = targets[:, None]
    top, right = logits.amax(dim=-1, keepdim=True), logits.gather(1, target)
    weights = logits.sub_(top).exp_()
    total = weights.sum(dim=-1, keepdim=True)
    slope = weights.div_(total).scatter_add_(1, target, torch.full_like(total, -1))
    return (total.log() + top - right)[:, 0], slope


def _add_product(total: Tensor, one: Tensor, other: Tensor) -> None:
    """Total += one @ other, without a second tensor of its size where the dtypes allow."""
    if total.dtype == one.dtype:
        total.addmm_(one, other)
    else:
        total += one @ other


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


def _check_shapes(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, labels: Tensor, chunk_tokens: int | None
) -> None:
    problems = []
    if hidden.ndim < 2 or weight.ndim != 2 or hidden.shape[-1] != weight.shape[1]:
        problems.append(
            f"hidden has the shape {tuple(hidden.shape)}, weight {tuple(weight.shape)}: give (…, d) and (V, d)."
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        problems.append(f"bias has the shape {tuple(bias.shape)}, weight {tuple(weight.shape)}: give (V,) and (V, d).")
    if labels.shape != hidden.shape[:-1]:
        problems.append(
            f"labels have the shape {tuple(labels.shape)}, hidden {tuple(hidden.shape)}: give one label a position."
        )
    if chunk_tokens is not None and chunk_tokens < 1:
        problems.append(f"chunk_tokens: {chunk_tokens} asked; it is a number of tokens, 1 or more.")
    if problems:
        raise InputError(problems)


def _check_labels(targets: Tensor, vocabulary: int) -> None:
    if len(targets) and not 0 <= int(targets.min()) <= int(targets.max()) < vocabulary:
        raise InputError(
            f"labels lie between {int(targets.min())} and {int(targets.max())}, the head has {vocabulary} outputs: "
            "the tokenizer does not belong to the model, or labels to be left out are marked otherwise than `ignored`."
        )
