"""Elastic weight consolidation: weights stay where the base's predictions on chosen text rest on them.

Kirkpatrick et al. 2017, arXiv 1612.00796, equation 3: L(θ) = L_new(θ) + Σ_i (λ/2) F_i (θ_i − θ*_i)², θ* the base's
weights and F the diagonal of its Fisher information on the old task.

Where we differ: θ_i − θ*_i is the change ΔW_ij of an adapted weight matrix, whatever parameters it is made of; the old
task is text (or images) to keep; and F is a mean over predictions, not a sum over a data set. So ½ Σ F ΔW² is, in nats
per token, the diagonal part of the second-order expansion of KL(base ‖ tuned), and λ has the unit of a KL penalty's
weight.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import TrainerState, TrainingArguments

from retain.errors import InputError, TrainingError
from retain.hf.models.given import ensure, unwrapped
from retain.hf.models.inference import device_of
from retain.hf.models.sides import is_adapted, mutates_base
from retain.hf.models.trained_parts import Part, trained_parts
from retain.train.regularise.callback import RegulariserCallback, refuse_sharded
from retain.train.regularise.fisher import Fisher
from retain.train.regularise.objective import check_weight


def ewc_penalty(delta: Tensor, fisher: Tensor) -> Tensor:
    """½ Σ_ij F_ij ΔW_ij²: equation 3 of arXiv 1612.00796 without λ.

    Args:
        delta: ΔW, of any shape.
        fisher: F, of the same shape; 0 or more.

    Returns:
        A scalar in the dtype of ΔW.
    """
    return (fisher.to(delta) * delta.square()).sum() / 2


class EWC(RegulariserCallback):
    """Adds w · ½ Σ F ΔW² to the objective: a callback for a Trainer, or a term for a loop of one's own.

    ΔW is the change of every weight matrix that adapters act on, and of every parameter that is trained in full; F
    tells how much the base's predictions on text to keep rest on each weight. As with a KL penalty the gradient is
    added when an optimizer step begins, and the loss that the Trainer logs stays the task's own. Nothing is run on the
    text to keep while training.

    In a loop: `loss = task_loss + penalty.weight * penalty.loss(model)`.

    Logged: `retain_penalty_ewc`, ½ Σ F ΔW², nats.

    Args:
        fisher: of the base, measured before training by `fisher_diagonal`.
        weight: w, the λ of the paper; in the unit of a KL penalty's weight.
        teacher: the base as a second model, where it is not inside the trained one: full fine-tuning, PiSSA and the
            like.

    Raises:
        InputError: the weight is out of range.

    Examples:
        >>> fisher = retain.fisher_diagonal(model, retain.text_batches(tokenizer, texts))
        >>> _ = retain.EWC(fisher, weight=300.0).attach(trainer)
        >>> _ = trainer.train()
    """

    def __init__(self, fisher: Fisher, *, weight: float = 1.0, teacher: nn.Module | None = None) -> None:
        super().__init__()
        self.weight = check_weight(weight)
        self._teacher = teacher
        ensure(fisher, Fisher, "fisher", "give what fisher_diagonal(model, batches) returns")
        self._diagonal = dict(fisher.diagonal)
        self.key = f"retain.EWC:{fisher.key}"

    def loss(self, model: nn.Module) -> Tensor:
        """½ Σ F ΔW² over all that is trained, in nats, with a gradient.

        ΔW is made anew in the backward pass, a part at a time, so that never more than one is held.

        Args:
            model: the model that is trained.

        Raises:
            InputError: it trains other weights than F is of, or its base is not there.
            TrainingError: the penalty is not finite.
        """
        model = unwrapped(model)
        with torch.autocast(device_of(model).type, enabled=False):
            terms = [
                checkpoint(self._of_part, part, use_reentrant=False, preserve_rng_state=False)
                for part in self._parts(model)
            ]
        total = torch.stack([term.to(terms[0]) for term in terms]).sum()
        _check_finite(float(total.detach()))
        return total

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, *_: Any, model: nn.Module, **__: Any
    ) -> None:
        """Refuse a Trainer or a model that cannot have the penalty; go on from a checkpoint.

        Raises:
            InputError: float16 (its loss scaling would not reach the penalty's gradient), a sharded model, another
                model than F is of, or no base.
        """
        if args.fp16:
            raise InputError(
                "fp16=True scales the loss, and EWC's gradient cannot be scaled with it: use bf16=True or float32."
            )
        refuse_sharded(args, model, "EWC", bears_fsdp2=False)
        self._parts(unwrapped(model))
        self.resume(state)

    def on_step_begin(
        self, _args: TrainingArguments, _state: TrainerState, *_: Any, model: nn.Module, **__: Any
    ) -> None:
        """Add the gradient of the penalty to the step that begins, a part at a time."""
        model, values = unwrapped(model), []
        with torch.autocast(device_of(model).type, enabled=False):
            for part in self._parts(model):
                term = self._of_part(part)
                torch.autograd.backward(self.weight * term)
                values.append(term.detach())
        total = math.fsum(map(float, values))  # only now, so that no device is waited for in between
        _check_finite(total)
        self.note(retain_penalty_ewc=total)

    def on_step_end(self, _args: TrainingArguments, state: TrainerState, *_: Any, **__: Any) -> None:
        """Put the numbers where the next checkpoint takes them from."""
        self.remember(state)

    def on_train_end(self, _args: TrainingArguments, state: TrainerState, *_: Any, **__: Any) -> None:
        """Write numbers that no log took."""
        self.flush(state)

    def _of_part(self, part: Part) -> Tensor:
        delta = part.change(self._teacher)
        self._diagonal[part.name] = self._diagonal[part.name].to(delta.device)
        return ewc_penalty(delta, self._diagonal[part.name])

    def _parts(self, model: nn.Module) -> list[Part]:
        """The parts of a model, which are those of F.

        Raises:
            InputError: they are not, or there is no base.
        """
        if self._teacher is None and is_adapted(model) and (reason := mutates_base(model)):
            raise InputError(f"with its adapters off the model is not its base: {reason} Give that base as teacher=.")
        parts = trained_parts(model)
        for part in parts:
            held = self._diagonal.get(part.name)
            if held is None or tuple(held.shape) != part.shape:
                raise InputError(
                    f"the Fisher information is not of the weights that this model trains ({part.name}): measure it "
                    "with fisher_diagonal on the model as it is trained, with its adapter."
                )
            part.watched(self._teacher)
        return parts


def _check_finite(penalty: float) -> None:
    if not math.isfinite(penalty):
        raise TrainingError(
            f"the EWC penalty became {penalty}: training diverged; try a smaller learning rate or bf16."
        )
