"""KL(base ‖ tuned) of one model on one batch: the base is the same model with its adapters off, or a second model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule

from retain.errors import InputError
from retain.hf.models.given import unwrapped
from retain.hf.models.head import is_classifier
from retain.hf.models.inference import device_of, evaluating
from retain.hf.models.lm_head import head_of, head_stands_apart, hidden_states, logits_of
from retain.hf.models.sides import base_view, eval_mode, is_adapted, mutates_base, refuse_switched_off, root_of
from retain.kernels.kl_divergence import chunked_kl, logits_kl

Batch = Mapping[str, Tensor]
"""The inputs of a model: `input_ids` and `attention_mask`, or `pixel_values`, …; `labels` are left out."""


class Divergence:
    """KL(base ‖ tuned) of both sides of a model in eval mode, with a gradient to the tuned side.

    Where the head is a plain matrix and nothing follows it, logits are never made (`chunked_kl`); the first batch
    decides this, see `head_stands_apart`.

    Attributes:
        teacher: the base, or any model of the same outputs, as a second model; None for the model itself with its
            adapters off.
        temperature: T of T²·KL(softmax(z/T) ‖ softmax(y/T)).
        vocabulary: tokens that both sides have, where one pads its vocabulary with rows of no token; those are left out
            then. None: two sides of different sizes are refused.
        key: of the memory that a KL penalty keeps in checkpoints.
        penalty: what a KL penalty with it is called.
        bears_fsdp2: whether it runs the whole model alone, as FSDP2 allows at any time.
    """

    key = "retain.KLPenalty"
    penalty = "a KL penalty"
    bears_fsdp2 = True

    def __init__(
        self, teacher: nn.Module | None = None, temperature: float = 1.0, vocabulary: int | None = None
    ) -> None:
        if teacher is not None and not isinstance(teacher, nn.Module):
            raise InputError(
                f"teacher: a {type(teacher).__name__}, and a model is needed; load it first (retain tune takes a path)."
            )
        self.teacher = teacher
        self.temperature = temperature
        self.vocabulary = vocabulary
        self._apart: bool | None = None
        self._by_item = False

    def check(self, model: nn.Module) -> None:
        """Refuse a model without a base to compare with.

        Raises:
            InputError: the model gives no distribution; or no teacher was given, and the model has no adapters or its
                base weights were changed.
        """
        config = getattr(root_of(model), "config", None)
        if is_classifier(model) and (
            getattr(config, "num_labels", None) == 1 or getattr(config, "problem_type", None) == "regression"
        ):
            raise InputError(
                "this model's output is a number (a reward, or a regression) and no distribution, so there is no KL to "
                "its base: hold it with an UpdateLimit, or replay rows with mix_replay."
            )
        self.check_base(model)

    def check_base(self, model: nn.Module) -> None:
        """Refuse a model without a base.

        Raises:
            InputError: no teacher was given, and the model has no adapters, its adapters are switched off, or its base
                weights were changed.
        """
        if self.teacher is not None:
            return
        if not is_adapted(model):
            raise InputError(
                "the model has no adapters, so it cannot also be its own base: give teacher=, a second copy of the "
                "model as it was before training, or train with an adapter."
            )
        refuse_switched_off(model)
        if reason := mutates_base(model):
            raise InputError(f"with its adapters off the model is not its base: {reason} Give that base as teacher=.")

    def __call__(self, model: nn.Module, batch: Batch) -> Tensor:
        """KL in nats, averaged over attended positions (over items for a classifier of whole inputs).

        Train mode, requires_grad flags and the adapters' state are restored. No random numbers are drawn.

        Args:
            model: the model that is trained, wrapped for data parallelism or not.
            batch: its inputs; moved to its device.

        Returns:
            A scalar in float32 or float64, with a gradient where gradients are on.

        Raises:
            InputError: as `check`, or the outputs of the two sides cannot be compared.
        """
        model = unwrapped(model)
        self.check(model)
        inputs = {name: value for name, value in batch.items() if name != "labels"}
        if self._apart is None and isinstance(model, FSDPModule):
            self._apart = False  # its head is in pieces, but while the whole model runs
        if self._apart is None:
            sides = [model] if self.teacher is None else [model, self.teacher]
            self._apart = all(head_stands_apart(side, placed(side, inputs)) for side in sides)
        if self._apart:
            return self._by_hidden(model, inputs)
        return self._by_logits(model, inputs)

    def units(self, batch: Batch) -> int:
        """The number that a batch's KL is averaged over: attended positions, or items of a classifier.

        Args:
            batch: one like those that were seen before.
        """
        rows = min(len(value) for value in batch.values())
        mask = attention_of(batch)
        return rows if self._by_item or mask is None else int(mask.sum())

    def logged(self, kl: float, weight: float) -> dict[str, float]:
        """What a KL penalty writes into the Trainer's log."""
        return {"retain_penalty_kl": kl, "retain_kl_weight": weight}

    @contextmanager
    def base(self, model: nn.Module) -> Iterator[nn.Module]:
        """The side that is compared with, in eval mode and without gradients: the teacher, or the model's own base."""
        if self.teacher is not None:
            with evaluating(self.teacher):
                yield self.teacher
            return
        with base_view(model), evaluating(model):
            yield model

    def _by_hidden(self, model: nn.Module, inputs: Batch) -> Tensor:
        with self.base(model) as base:
            before = hidden_states(base, placed(base, inputs))
        with eval_mode(model):
            after = hidden_states(model, placed(model, inputs))
        head = head_of(model)
        own = None if self.teacher is None else head_of(self.teacher)
        device = head.weight.device
        size = None if own is None else self.common(len(own.weight), len(head.weight))
        return chunked_kl(
            before.to(device),
            after.to(device),
            head.weight[:size],
            None if head.bias is None else head.bias[:size],
            mask=_mask(inputs, after),
            teacher_weight=None if own is None else own.weight.to(device)[:size],
            teacher_bias=None if own is None or own.bias is None else own.bias.to(device)[:size],
            temperature=self.temperature,
        )

    def common(self, teacher: int, student: int) -> int | None:
        """How many of the outputs of two sides are compared; None for all."""
        fits = self.vocabulary is not None and self.vocabulary <= min(teacher, student)
        return self.vocabulary if fits and teacher != student else None

    def _by_logits(self, model: nn.Module, inputs: Batch) -> Tensor:
        with self.base(model) as base:
            before = logits_of(base, placed(base, inputs))
        with eval_mode(model):
            after = logits_of(model, placed(model, inputs))
        self._by_item = before.ndim == 2
        if self._by_item:
            return logits_kl(before, after, temperature=self.temperature)
        length = min(before.shape[1], after.shape[1])  # virtual tokens, which only one side may have, stand in front
        mask, size = _mask(inputs, after[:, -length:]), self.common(before.shape[-1], after.shape[-1])
        before, after = before[..., :size], after[..., :size]
        return logits_kl(before[:, -length:], after[:, -length:], mask, temperature=self.temperature)


def _mask(inputs: Batch, states: Tensor) -> Tensor:
    """Attended positions (B, T); the decoder's, of an encoder-decoder."""
    mask = attention_of(inputs)
    if mask is None:
        return torch.ones(states.shape[:2], dtype=torch.bool, device=states.device)
    if mask.shape != states.shape[:2]:
        raise InputError(
            f"attention_mask has the shape {tuple(mask.shape)}, the model's output {tuple(states.shape[:2])}: give "
            "batches with one mark for each token that the model reads."
        )
    return mask.bool()


def attention_of(inputs: Batch) -> Tensor | None:
    """The marks of attended tokens (B, T), the decoder's of an encoder-decoder; None where all are."""
    return inputs.get("decoder_attention_mask" if "decoder_input_ids" in inputs else "attention_mask")


def placed(model: nn.Module, inputs: Batch) -> dict[str, Tensor]:
    """The inputs on the model's device."""
    device = device_of(model)
    return {name: value.to(device) for name, value in inputs.items()}
