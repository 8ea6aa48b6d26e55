"""KL divergence of two models' predictions, as a loss whose memory does not grow with the vocabulary.

KL(p‖q) = Σ_v p_v (z_v − y_v) − logΣexp(z) + logΣexp(y), with p = softmax(z) the teacher, q = softmax(y) the student,
z = h_t Wᵀ + b and y = h_s Wᵀ + b. Its gradient with respect to y is q − p. All three sums can be taken piece by piece
over the vocabulary (an online log-sum-exp: Milakov and Gimelshein, "Online normalizer calculation for softmax", arXiv
1805.02867), and q − p can be recomputed in the backward pass, so logits only ever exist for one piece.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from retain.errors import InputError
from retain.kernels.eligibility import full_types

CHUNK = 8192
"""Tokens of the vocabulary whose logits exist at once."""


def chunked_kl(
    teacher_hidden: Tensor,
    student_hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    mask: Tensor,
    chunk: int = CHUNK,
    teacher_weight: Tensor | None = None,
    teacher_bias: Tensor | None = None,
    temperature: float = 1.0,
) -> Tensor:
    """Mean over the masked positions of T²·KL(softmax(teacher/T) ‖ softmax(student/T)), logits = hidden @ Wᵀ + bias.

    The teacher's side is a constant: gradients go to `student_hidden` and, where they ask for them, to `weight` and
    `bias` through the student's logits alone. 16-bit inputs are multiplied and summed in float32; float64 stays.

    Args:
        teacher_hidden: the inputs of the teacher's head, (…, d), any floating dtype.
        student_hidden: the inputs of the student's head, (…, d).
        weight: the student's head (V, d).
        bias: the student's (V,), or None.
        mask: (…), true where a position counts.
        chunk: tokens of the vocabulary at once.
        teacher_weight: the teacher's head (V, d) where it is another one; None for the same weight and bias.
        teacher_bias: its bias (V,); used with `teacher_weight` only.
        temperature: T; above 1 it weighs the tokens more alike. T² keeps the size of the gradient (Hinton et al., arXiv
            1503.02531).

    Returns:
        Nats, a scalar, in float32 or float64.

    Raises:
        InputError: no position is masked in, or the two heads have different vocabularies.
    """
    own = (weight, bias) if teacher_weight is None else (teacher_weight, teacher_bias)
    if len(own[0]) != len(weight):
        raise InputError(_vocabularies(len(own[0]), len(weight)))
    chosen = mask.to(student_hidden.device).bool()
    _check_any(chosen)
    teacher, student = teacher_hidden.to(chosen.device)[chosen].detach(), student_hidden[chosen]
    if temperature != 1:  # logits / T = (hidden / T) Wᵀ + bias / T
        teacher, student = (_widened(states) / temperature for states in (teacher, student))
        bias = None if bias is None else bias / temperature
        own = own[0], None if own[1] is None else own[1] / temperature
    value: Tensor = _ChunkedKL.apply(  # type: ignore[no-untyped-call]  # torch has no types here
        teacher, *(part if part is None else part.detach() for part in own), student, weight, bias, chunk
    )
    return value if temperature == 1 else temperature**2 * value


def logits_kl(
    teacher_logits: Tensor, student_logits: Tensor, mask: Tensor | None = None, *, temperature: float = 1.0
) -> Tensor:
    """Mean over the masked positions of T²·KL(softmax(teacher/T) ‖ softmax(student/T)), for logits that exist anyway.

    For classifiers, and for models whose head does more than multiply by a matrix.

    Args:
        teacher_logits: (…, V), any floating dtype; a constant.
        student_logits: (…, V).
        mask: (…), true where a position counts; None for all.
        temperature: T, as for `chunked_kl`.

    Returns:
        Nats, a scalar, in float32 or float64.

    Raises:
        InputError: no position is masked in, or the two have different numbers of classes.
    """
    if teacher_logits.shape[-1] != student_logits.shape[-1]:
        raise InputError(_vocabularies(teacher_logits.shape[-1], student_logits.shape[-1]))
    device = student_logits.device
    chosen = (
        torch.ones(student_logits.shape[:-1], dtype=torch.bool, device=device)
        if mask is None
        else mask.to(device).bool()
    )
    _check_any(chosen)
    log_p = _log_softmax(teacher_logits.detach().to(device)[chosen], temperature)
    log_q = _log_softmax(student_logits[chosen], temperature)
    p = log_p.exp()
    mean = torch.where(p > 0, p * (log_p - log_q), p).sum(dim=-1).mean()
    return mean if temperature == 1 else temperature**2 * mean


class _DivergenceSums(NamedTuple):
    """The sums of one pass over the vocabulary, at each of N positions."""

    kl: Tensor
    teacher: Tensor
    student: Tensor


def online_sums(teacher: Iterator[Tensor], student: Iterator[Tensor]) -> _DivergenceSums:
    """KL and both log-sum-exps from logits that come in pieces of the vocabulary.

    With running maxima m, sums s and a = Σ exp(z − m)(z − y): KL = a/s − (m + log s) + (m′ + log s′), the primed ones
    the student's. Equal logits give exactly 0; values that rounding leaves below 0 are set to 0.

    Args:
        teacher: pieces z (N, c), float32 or float64, finite.
        student: pieces y (N, c), the same tokens in the same order.

    Returns:
        KL in nats and the log-sum-exps of the teacher and the student, each (N,).
    """
    z, y = next(teacher), next(student)
    top, low = z.amax(dim=-1), y.amax(dim=-1)
    weights = (z - top[:, None]).exp_()
    total, moved = weights.sum(dim=-1), (weights * (z - y)).sum(dim=-1)
    sum_student = (y - low[:, None]).exp_().sum(dim=-1)
    for z, y in zip(teacher, student, strict=True):
        new_top, new_low = torch.maximum(top, z.amax(dim=-1)), torch.maximum(low, y.amax(dim=-1))
        weights = (z - new_top[:, None]).exp_()
        shrink = (top - new_top).exp()
        total = total * shrink + weights.sum(dim=-1)
        moved = moved * shrink + (weights * (z - y)).sum(dim=-1)
        sum_student = sum_student * (low - new_low).exp() + (y - new_low[:, None]).exp_().sum(dim=-1)
        top, low = new_top, new_low
    teacher_lse, student_lse = top + total.log(), low + sum_student.log()
    return _DivergenceSums((moved / total - teacher_lse + student_lse).clamp_min(0), teacher_lse, student_lse)


class _ChunkedKL(torch.autograd.Function):
    """`chunked_kl` for positions already chosen; keeps hidden states, heads and two numbers a position, no logits."""

    @staticmethod
    def forward(
        ctx: Any,
        teacher: Tensor,
        teacher_weight: Tensor,
        teacher_bias: Tensor | None,
        student: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        chunk: int,
    ) -> Tensor:
        with full_types(student):
            sums = online_sums(
                _logits(teacher, teacher_weight, teacher_bias, chunk), _logits(student, weight, bias, chunk)
            )
        ctx.save_for_backward(teacher, teacher_weight, teacher_bias, student, weight, bias, sums.teacher, sums.student)
        ctx.chunk = chunk
        return sums.kl.mean()

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        teacher, teacher_weight, teacher_bias, student, weight, bias, teacher_lse, student_lse = ctx.saved_tensors
        wide = _wide(student.dtype)
        scale = upstream[0].to(wide) / len(student)
        wants_student, wants_weight, wants_bias = ctx.needs_input_grad[3:6]
        to_student = torch.zeros_like(student, dtype=wide) if wants_student else None
        to_weight = torch.empty_like(weight) if wants_weight else None
        to_bias = torch.empty_like(bias) if wants_bias else None
        with full_types(student):
            pieces = zip(
                range(0, len(weight), ctx.chunk),
                _logits(teacher, teacher_weight, teacher_bias, ctx.chunk),
                _logits(student, weight, bias, ctx.chunk),
                strict=True,
            )
            for start, z, y in pieces:
                part = slice(start, start + ctx.chunk)
                slope = ((y - student_lse[:, None]).exp_() - (z - teacher_lse[:, None]).exp_()) * scale
                if to_student is not None:
                    to_student += slope @ weight[part].to(wide)
                if to_weight is not None:
                    to_weight[part] = (slope.T @ student.to(wide)).to(weight.dtype)
                if to_bias is not None:
                    to_bias[part] = slope.sum(dim=0).to(to_bias.dtype)
        return None, None, None, None if to_student is None else to_student.to(student.dtype), to_weight, to_bias, None


def _logits(hidden: Tensor, weight: Tensor, bias: Tensor | None, chunk: int) -> Iterator[Tensor]:
    """Logits (N, c) of one piece of the vocabulary after another, at least float32."""
    wide = _wide(hidden.dtype)
    states = hidden.to(wide)
    for start in range(0, len(weight), chunk):
        piece = states @ weight[start : start + chunk].to(wide).T
        yield piece if bias is None else piece + bias[start : start + chunk].to(wide)


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


def _log_softmax(logits: Tensor, temperature: float) -> Tensor:
    scaled = logits if temperature == 1 else _widened(logits) / temperature
    return scaled.log_softmax(dim=-1, dtype=_wide(logits.dtype))


def _widened(values: Tensor) -> Tensor:
    return values.to(_wide(values.dtype))


def _check_any(chosen: Tensor) -> None:
    if not chosen.any():
        raise InputError("the mask leaves no position to compare; give batches with at least one attended token.")


def _vocabularies(teacher: int, student: int) -> str:
    return (
        f"teacher and student have different vocabularies or classes ({teacher} and {student} outputs), so their "
        "predictions cannot be compared: give a teacher with the same head."
    )
