"""Base and tuned model as one value: two models, or one whose adapter is switched off for the base."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from retain.errors import InputError
from retain.hf.models.replaced import replaced_embeddings
from retain.hf.models.sides import base_view, is_adapted, mutates_base, refuse_switched_off


def carries_base(model: Any) -> bool:
    """True if a model with its adapters switched off is its base."""
    return is_adapted(model) and not mutates_base(model)


@dataclass(frozen=True)
class Pair:
    """The two sides. `separate_base` is None where the tuned model carries its base inside (a PEFT adapter)."""

    tuned_model: Any
    separate_base: Any = None

    def __post_init__(self) -> None:
        """Refuse a tuned side that is the base.

        Raises:
            InputError: its adapters are switched off.
        """
        refuse_switched_off(self.tuned_model)

    @classmethod
    def around(cls, tuned: Any, load_base: Callable[[], Any]) -> Pair:
        """Pair a tuned model with the base inside it, where that is there untouched, else with one that is loaded."""
        return cls(tuned, None if carries_base(tuned) else load_base())

    @classmethod
    def of(cls, base_or_adapted: Any, tuned: Any = None) -> Pair:
        """Pair a base with a tuned model, or an adapted model with the base inside it.

        Raises:
            InputError: only one model is given and it is no PEFT model, or one whose initialisation or loading rewrote
                the base's weights, so that the base can no longer be seen in it.
        """
        if tuned is not None:
            shared = {p.data_ptr() for p in base_or_adapted.parameters()} & {p.data_ptr() for p in tuned.parameters()}
            if not shared - {0}:
                return cls(tuned, base_or_adapted)
            if not is_adapted(tuned):
                raise InputError(
                    "base and tuned share their weights: tuning or merging changed the base in place, so nothing could "
                    "be seen between them. Load the base again: measure(from_pretrained(…), tuned, …)."
                )
            return cls.of(tuned)  # PEFT adapts in place: the base is inside
        if not is_adapted(base_or_adapted):
            raise InputError(
                "one model without an adapter was given: there is nothing to compare it with; give tuned too."
            )
        reason = mutates_base(base_or_adapted) or replaced_embeddings(base_or_adapted)
        if reason:
            raise InputError(
                f"the base cannot be measured inside this model: {reason}. Load the untouched base a second time and "
                "give both: measure(base, tuned, …)."
            )
        return cls(base_or_adapted)

    @contextmanager
    def base(self) -> Iterator[Any]:
        """The base model, as it was before any tuning."""
        if self.separate_base is not None:
            yield self.separate_base
        else:
            with base_view(self.tuned_model):
                yield self.tuned_model

    @contextmanager
    def tuned(self) -> Iterator[Any]:
        """The tuned model."""
        yield self.tuned_model
