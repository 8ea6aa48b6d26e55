"""A Trainer's loss with another term: for what regularises on the step's own batch, which callbacks do not see."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from transformers import Trainer

from retain.errors import InputError, is_number
from retain.train.ranks import sum_over_ranks

Own = Callable[[bool], Any]
"""The Trainer's own loss on the batch; with True it gives the model's outputs, too."""

Term = Callable[[nn.Module, Mapping[str, Any], Own, "Scale"], tuple[Tensor, Any]]
"""The changed loss, and the model's outputs where the term has them, else None."""

Scale = Callable[[Tensor, int], Tensor]
"""A mean over so many units of a micro-batch, in the share by which the Trainer counts the task's own loss."""


def change_loss(trainer: Trainer, term: Term) -> None:
    """Let a Trainer train on another loss; what it evaluates keeps its own.

    `compute_loss` is replaced on this one trainer, so it works for subclasses with a loss of their own (TRL's).

    Args:
        trainer: before it trains.
        term: makes the loss of one micro-batch.
    """
    compute: Any = trainer.compute_loss

    def changed(
        model: nn.Module, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None, **more: Any
    ) -> Any:
        def own(outputs: bool) -> Any:
            return compute(model, inputs, return_outputs=outputs, num_items_in_batch=num_items_in_batch, **more)

        if not model.training:
            return own(return_outputs)
        given = dict(inputs)  # the Trainer may take the labels out

        def scale(mean: Tensor, units: int) -> Tensor:
            return _scaled(trainer, mean, units, num_items_in_batch)

        loss, outputs = term(model, given, own, scale)
        if return_outputs and outputs is None:
            outputs = own(True)[1]  # noqa: FBT003 -- the one argument that `own` has
        return (loss, outputs) if return_outputs else loss

    trainer.compute_loss = changed


def weighted(task_weight: float) -> Term:
    """A loss that is the task's own times a weight."""

    def term(_model: nn.Module, _inputs: Mapping[str, Any], own: Own, _scale: Scale) -> tuple[Tensor, Any]:
        return task_weight * own(False), None  # noqa: FBT003 -- the one argument that `own` has

    return term


def check_task_weight(value: float) -> float:
    """A weight of the task's own loss.

    Raises:
        InputError: it is no number of 0 or more.
    """
    if not (is_number(value) and value >= 0):
        raise InputError(f"task_weight: {value!r}; it must be a number, 0 or more and finite.")
    return value


def check_temperature(value: float) -> float:
    """A temperature.

    Raises:
        InputError: it is no number above 0.
    """
    return _above_0("temperature", value)


def check_weight(value: float) -> float:
    """A weight of a penalty.

    Raises:
        InputError: it is no number above 0.
    """
    return _above_0("weight", value)


def _above_0(name: str, value: float) -> float:
    if not (is_number(value) and value > 0):
        raise InputError(f"{name}: {value!r}; it must be a number above 0 and finite.")
    return value


def sums_of_step(seen: Sequence[tuple[Tensor, int]]) -> tuple[float, float]:
    """The KL summed over the units of a step's micro-batches and processes, and the number of units.

    Args:
        seen: of each micro-batch here, the mean KL in nats and the units that it is of.
    """
    total = float(sum(kl.double() * units for kl, units in seen)) if seen else 0.0
    kl, count = sum_over_ranks([total, float(sum(units for _, units in seen))])
    return kl, count


def _scaled(trainer: Any, mean: Tensor, units: int, items: Any) -> Tensor:
    """As transformers scales a loss: by the items of all micro-batches and processes, where it counts them."""
    if items is None or not (trainer.model_accepts_loss_kwargs or trainer.compute_loss_func is not None):
        return mean
    number = items if not isinstance(items, Tensor) else items.flatten()[0].to(mean.device)
    share: Tensor = mean * units / number
    if trainer.args.average_tokens_across_devices:
        share = share * (trainer.accelerator.num_processes // trainer.get_tp_size())
    return share
