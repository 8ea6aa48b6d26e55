"""Gradients of a model's loss at chosen weights: their mean over batches, or their mean square over sequences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from retain.activations import distributed as together
from retain.errors import InputError
from retain.hf.models.head import is_classifier
from retain.hf.models.inference import device_of
from retain.hf.models.sides import eval_mode

Batch = Mapping[str, Tensor]

IGNORED = -100
"""The label of a token that is not learned."""


def mean_gradient(
    model: nn.Module,
    weights: Mapping[str, Tensor],
    batches: Sequence[Batch],
    tick: Callable[[], object] = lambda: None,
) -> dict[str, Tensor]:
    """The gradient of the loss by each weight, averaged over batches, float32 or better.

    Args:
        model: the model; in eval mode meanwhile, so that no dropout is in the choice.
        weights: parameters of it, by name.
        batches: the model's inputs; their `labels`, or else all their tokens, are learned.
        tick: called after each batch.

    Raises:
        InputError: there is no batch, or nothing is learned in them.
    """
    means = _mean(model, weights, batches, lambda gradient: gradient, _task_loss, tick)
    if means and not any(bool(mean.any()) for mean in means.values()):
        raise InputError(
            "the gradient of the loss is 0 at all chosen layers, so it prefers no entry: nothing is learned in these "
            "batches (labels that are all -100?), or the layers do not take part; give other data or layers."
        )
    return means


def batches_of(given: Iterable[Batch] | None, what: str) -> Iterator[Batch]:
    """The batches that were given, looked at one by one as they are taken.

    Raises:
        InputError: one is no batch, as where a single batch or texts were given.
    """
    if isinstance(given, Mapping):
        raise InputError(f"{what}: a single batch; give a list of batches, [batch].")
    for batch in given or ():
        if not isinstance(batch, Mapping) or not all(isinstance(value, Tensor) for value in batch.values()):
            raise InputError(
                f"{what}: a batch is a {type(batch).__name__} and no mapping of names to tensors; give the model's "
                "inputs (retain.text_batches makes them of texts)."
            )
        yield batch


@contextmanager
def own_weights(model: nn.Module, layers: Mapping[str, Any]) -> Iterator[dict[str, Tensor]]:
    """The weights of layers by name, each a parameter of its own inside.

    A weight that several modules use (a head tied to the embeddings) would have the gradient of all its uses; an
    adapter changes it in one. Such a layer has a parameter over the same numbers meanwhile.
    """
    users = Counter(id(weight) for module in model.modules() for weight in module.parameters(recurse=False))
    shared = {key: layer.weight for key, layer in layers.items() if users[id(layer.weight)] > 1}
    try:
        for key, weight in shared.items():
            layers[key].weight = nn.Parameter(weight.detach(), requires_grad=weight.requires_grad)
        yield {key: layer.weight for key, layer in layers.items()}
    finally:
        for key, weight in shared.items():
            layers[key].weight = weight


def mean_square_gradient(
    model: nn.Module,
    weights: Mapping[str, Tensor],
    batches: Sequence[Batch],
    tick: Callable[[], object] = lambda: None,
    seed: int = 0,
) -> dict[str, Tensor]:
    """The square of the gradient of each sequence's loss, averaged over sequences, float32 or better.

    A language model's loss is that of the next token of the text. For a classifier, labels are drawn from its own
    predictions, as the Fisher information has them, so the sequences need none.

    Args:
        model: the model.
        weights: parameters of it, by name.
        batches: the model's inputs, of any number of sequences each.
        tick: called after each sequence.
        seed: of the labels.

    Raises:
        InputError: there is no sequence.
    """
    rows = [row for batch in batches for row in _rows(batch)]
    generator = torch.Generator().manual_seed(seed)
    draws = {id(row): torch.rand((), generator=generator) for row in rows}

    def own_loss(root: nn.Module, row: Batch) -> Tensor:
        if is_classifier(root):
            return _loss_of_own_label(root, row, float(draws[id(row)]))
        hidden = {"labels"} if "input_ids" in row else set()  # of a text every token counts
        return _task_loss(root, {name: value for name, value in row.items() if name not in hidden})

    return _mean(model, weights, rows, torch.square, own_loss, tick)


def _mean(
    model: nn.Module,
    weights: Mapping[str, Tensor],
    parts: Sequence[Batch],
    what: Callable[[Tensor], Tensor],
    loss: Callable[[nn.Module, Batch], Tensor],
    tick: Callable[[], object],
) -> dict[str, Tensor]:
    """The mean of a function of the gradients of parts, which processes share out."""
    if not parts:
        raise InputError("there is no batch to take the gradient of; give at least one.")
    sums = {
        name: torch.zeros_like(weight, dtype=torch.promote_types(weight.dtype, torch.float32))
        for name, weight in weights.items()
    }
    with _collecting(model, weights, lambda name, gradient: sums[name].add_(what(gradient.to(sums[name])))):
        for part in parts[together.rank() :: together.processes()]:
            loss(model, part).backward()  # type: ignore[no-untyped-call]  # torch's
            tick()
    for total in sums.values():
        if together.processes() > 1:
            dist.all_reduce(total)
        total.div_(len(parts))
    return sums


@contextmanager
def _collecting(
    model: nn.Module, weights: Mapping[str, Tensor], take: Callable[[str, Tensor], object]
) -> Iterator[None]:
    """Let only these weights have gradients inside; each is taken and dropped as soon as it is there."""
    before = [(parameter, parameter.requires_grad, parameter.grad) for parameter in model.parameters()]
    handles = []
    try:
        for parameter, _, _ in before:
            parameter.requires_grad_(False)  # noqa: FBT003  (torch's own signature)
            parameter.grad = None
        for name, weight in weights.items():
            weight.requires_grad_(True)  # noqa: FBT003  (likewise)
            hook = _taker(name, take)
            handles.append(weight.register_post_accumulate_grad_hook(hook))  # type: ignore[no-untyped-call]  # torch's
        with eval_mode(model), torch.enable_grad():
            yield
    finally:
        for handle in handles:
            handle.remove()
        for parameter, wanted, gradient in before:
            parameter.requires_grad_(wanted)
            parameter.grad = gradient


def _taker(name: str, take: Callable[[str, Tensor], object]) -> Callable[[Any], None]:
    def hook(parameter: Any) -> None:
        take(name, parameter.grad.detach())
        parameter.grad = None

    return hook


def _task_loss(model: nn.Module, batch: Batch) -> Tensor:
    """The loss of the labels; without any, that of all tokens that are no padding.

    Raises:
        InputError: a classifier was given no labels.
    """
    inputs = {name: value.to(device_of(model)) for name, value in batch.items()}
    if "labels" not in inputs:
        if is_classifier(model) or "input_ids" not in inputs:
            raise InputError("the gradient of a classifier's loss needs labels; give batches with labels.")
        ids, mask = inputs["input_ids"], inputs.get("attention_mask")
        inputs["labels"] = ids if mask is None else ids.masked_fill(mask == 0, IGNORED)
    loss: Tensor = model(**inputs).loss
    return loss


def _loss_of_own_label(model: nn.Module, row: Batch, draw: float) -> Tensor:
    """−log p(y) of a label y that is drawn from the model's own prediction."""
    logits = model(**{name: value.to(device_of(model)) for name, value in row.items() if name != "labels"}).logits
    log_p = logits.float().log_softmax(-1)[0]
    label = int((log_p.detach().exp().cumsum(0) < draw).sum().clamp_max(len(log_p) - 1))
    chosen: Tensor = -log_p[label]
    return chosen


def _rows(batch: Batch) -> Iterable[Batch]:
    """The sequences of a batch, each as a batch of one."""
    count = len(next(iter(batch.values())))
    return [{name: value[index : index + 1] for name, value in batch.items()} for index in range(count)]
