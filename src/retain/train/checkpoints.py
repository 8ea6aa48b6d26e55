"""Checkpoints that are complete: transformers' own leave the weights of some models out.

transformers saves models of some kinds (ViT, for one) under older names, and its Trainer reads a checkpoint back by the
names that the model has in memory. It misses them without an error, so a whole model would go on from its base.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch import nn
from transformers import PreTrainedModel, Trainer

from retain.errors import TrainingError


class CompleteTrainer(Trainer):  # type: ignore[misc]  # transformers is untyped here
    """transformers' Trainer with checkpoints that name weights as the model does; a missing weight is refused.

    Args:
        *args: as transformers' Trainer.
        **kwargs: as transformers' Trainer.
    """

    def _save(self, *args: Any, **kwargs: Any) -> None:
        with _names_in_memory(self.model):
            super()._save(*args, **kwargs)

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        """Refuse a checkpoint without all weights.

        Raises:
            TrainingError: with the first weight that is missing.
        """
        if missing := _missing_weights(self.model, set(load_result.missing_keys)):
            raise TrainingError(
                f"the checkpoint holds no values for {len(missing)} weights of this model, {missing[0]} first: it was "
                "written for another model or by another version. Remove the run's folder to begin anew."
            )
        super()._issue_warnings_after_load(load_result)


@contextmanager
def _names_in_memory(model: nn.Module) -> Iterator[None]:
    """Save a whole model under the names that it has in memory, and not under those of its first release."""
    if not isinstance(model, PreTrainedModel):
        yield
        return
    model.save_pretrained = partial(model.save_pretrained, save_original_format=False)
    try:
        yield
    finally:
        del model.save_pretrained


def _missing_weights(model: nn.Module, missing: set[str]) -> list[str]:
    """The names that a checkpoint lacks and that no other name stands for: tied weights are saved once."""
    state = model.state_dict()
    present = {value.data_ptr() for name, value in state.items() if name not in missing}
    return sorted(name for name in missing if name in state and state[name].data_ptr() not in present)
