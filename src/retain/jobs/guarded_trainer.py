"""What a Trainer of one's own brings for a budget: what reads its data, and the reasons against it."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedTokenizerBase, Trainer

from retain.errors import InputError
from retain.evaluate.pair import carries_base
from retain.hf.models.sides import is_adapted, mutates_base
from retain.hf.scaling import bent


def readers(reader: Any) -> tuple[Any, Any]:
    """(tokenizer, processor) of a Trainer's `processing_class`; of one that reads text and images its tokenizer.

    Args:
        reader: the `processing_class`.

    Raises:
        InputError: there is none.
    """
    reader = getattr(reader, "tokenizer", reader)
    if reader is None:
        raise InputError(
            "the trainer has no processing_class: give it the tokenizer (or the image processor), "
            "Trainer(…, processing_class=tokenizer)."
        )
    return (reader, None) if isinstance(reader, PreTrainedTokenizerBase) else (None, reader)


def trainer_problems(trainer: Trainer, base: Any, kl_weight: Any) -> list[str]:
    """A sentence for each reason why this model in this trainer cannot be held to a budget.

    Args:
        trainer: with its model.
        base: the base as a model of its own; None where it is inside.
        kl_weight: as `retain.guard` takes it.
    """
    model, problems = trainer.model, []
    if base is None and not carries_base(model):
        reason = mutates_base(model) or "the trainer's model has no adapters, so its base is not inside it"
        problems.append(f"{reason.rstrip('.')}: give base=, the model as it is now, loaded a second time.")
    if is_adapted(model) and (shape := bent(model)):
        problems.append(f"{shape} Here: train without a guard, then retain.scale(…, output=…) writes the whole model.")
    if trainer.args.fp16 and kl_weight is not None:
        problems.append("fp16=True scales the loss, and a KL penalty's gradient cannot be scaled with it: use bf16.")
    is_number = isinstance(kl_weight, (int, float)) and not isinstance(kl_weight, bool)
    if kl_weight not in (None, "budget") and not (is_number and kl_weight > 0):
        problems.append(f"kl_weight: {kl_weight!r}; give a number above 0, 'budget', or None for no penalty.")
    return problems
