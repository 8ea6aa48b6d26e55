"""Class probabilities and features of texts or images, of one model at a time in eval mode."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from retain.data.batches import Batching, in_batches
from retain.data.preprocess import Inputs, Preprocessor
from retain.errors import InputError, RetainError
from retain.evaluate.input_hash import InputHash
from retain.evaluate.shares import ALONE, Share
from retain.hf.models.features import body_of, pooled
from retain.hf.models.inference import device_of, evaluating

Tick = Callable[[int], None]


def class_names(model: Any) -> list[str]:
    """The classes of a model with a classification head, in the order of its outputs."""
    return [str(name) for _, name in sorted(model.config.id2label.items(), key=lambda pair: int(pair[0]))]


def log_probabilities(
    model: Any,
    preprocessor: Preprocessor,
    items: Sequence[Any],
    batch_size: int,
    tick: Tick,
    input_hash: InputHash,
    *,
    batching: Batching = "padded",
    share: Share = ALONE,
) -> Tensor:
    """Log-probability of each class for each item, in nats: float64 (n, classes).

    Args:
        model: with a classification head.
        preprocessor: makes inputs of items.
        items: labelled texts or images.
        batch_size: items in a batch.
        tick: called with the number of items just done.
        input_hash: covers the inputs.
        batching: which items may be together.
        share: the batches that this process runs.
    """

    def read(inputs: Inputs) -> Tensor:
        logits: Tensor = model(**inputs).logits
        return logits.double().log_softmax(dim=-1)

    found = _in_batches(model, preprocessor, items, batch_size, tick, input_hash, read, batching=batching, share=share)
    if not torch.isfinite(found).all():
        raise RetainError(
            "the classifier's output is not finite, so it has no answer. Was the training stable? Try a lower learning "
            "rate, or a dtype with more range."
        )
    return found


def features(
    model: Any,
    preprocessor: Preprocessor,
    items: Sequence[Any],
    batch_size: int,
    tick: Tick,
    input_hash: InputHash,
    *,
    batching: Batching = "padded",
    share: Share = ALONE,
) -> Tensor:
    """The body's last hidden states, averaged over tokens, patches or positions that are no padding: float32 (n, d).

    The head is left out, so that models with and without one, and with different ones, can be compared. The arguments
    are those of `log_probabilities`.

    Raises:
        InputError: the body gives no hidden states.
    """
    body = body_of(model, reads_text=preprocessor.reads_text)

    def read(inputs: Inputs) -> Tensor:
        hidden = getattr(body(**inputs), "last_hidden_state", None)
        if hidden is None:
            raise InputError(f"{type(body).__name__} gives no hidden states, so its features cannot be compared.")
        return pooled(hidden, inputs.get("attention_mask"))

    return _in_batches(model, preprocessor, items, batch_size, tick, input_hash, read, batching=batching, share=share)


def _in_batches(
    model: Any,
    preprocessor: Preprocessor,
    items: Sequence[Any],
    batch_size: int,
    tick: Tick,
    input_hash: InputHash,
    read: Callable[[Inputs], Tensor],
    *,
    batching: Batching = "padded",
    share: Share = ALONE,
) -> Tensor:
    """Items in batches of like length, the same for every model; the results in the items' own order."""
    if not items:
        return torch.zeros(0, 0)
    device = device_of(model)
    found: dict[int, Tensor] = {}
    most = preprocessor.max_length
    lengths = [length if most is None else min(length, most) for length in preprocessor.lengths(items)]
    for place, chosen in enumerate(in_batches(lengths, batch_size, batching)):
        inputs = {
            key: value.to(device) for key, value in preprocessor.batch([items[index] for index in chosen]).items()
        }
        input_hash.add(**inputs)
        if share.owns(place):
            with evaluating(model):
                found |= dict(zip(chosen, read(inputs).cpu(), strict=True))
        tick(len(chosen))
    return torch.stack(share.joined(found))
