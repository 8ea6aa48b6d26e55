"""PEFT's LoRA tuner beside a quantised base, telling what merging loses; PEFT says only that something may differ."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from peft import PeftModel
from peft.tuners.lora import LoraLayer, LoraModel
from torch import nn

from retain.hf.adapters.residual_lora import ResidualLora
from retain.hf.tuners.base_weight import Original, as_matrix, at_least_float32, quantization_backend
from retain.hf.tuners.merge_loss import warn_of_loss
from retain.hf.tuners.storage import keep_storage


class ToldLoraModel(LoraModel):  # type: ignore[misc]  # PEFT ships no types
    """PEFT's LoRA tuner, whose merging into a quantised base ends in a warning with the share that was lost."""

    def merge_adapter(self, *args: Any, **kwargs: Any) -> None:
        """Merge as PEFT does, and tell what quantising again takes of the update."""
        with self._telling_what_is_lost():
            super().merge_adapter(*args, **kwargs)

    def _unload_and_optionally_merge(self, *args: Any, **kwargs: Any) -> nn.Module:
        with self._telling_what_is_lost():
            unloaded: nn.Module = super()._unload_and_optionally_merge(*args, **kwargs)
            return unloaded

    @contextmanager
    def _telling_what_is_lost(self) -> Iterator[None]:
        """Keep the stored weights of quantised layers inside, and compare them with what was written.

        From here on no layer is laid out anew by its library: PEFT, which merges and unmerges, reads such a one wrong.
        """
        quantised = list(_quantised_layers(self.model))
        for _, stored in quantised:
            keep_storage(stored.base_layer)
        before = [
            (layer, stored, Original(stored), list(layer.merged_adapters))
            for layer, stored in quantised
            if all(isinstance(variant, ResidualLora) for variant in layer.lora_variant.values())
        ]
        yield
        found = [_rounded_away(*each) for each in before]
        warn_of_loss([part for part in found if part is not None])


def _quantised_layers(model: nn.Module) -> Iterator[tuple[Any, Any]]:
    """The LoRA layers over quantised weights, each with what reads its weight."""
    for layer in [module for module in model.modules() if isinstance(module, LoraLayer)]:
        base = layer.get_base_layer()
        if (backend := quantization_backend(base, model)) is not None:
            yield layer, SimpleNamespace(base_layer=base, quantization_backend=backend)


def _rounded_away(layer: Any, stored: Any, original: Original, merged_before: list[str]) -> tuple[float, float] | None:
    """‖W − W'‖² and ‖W − W0‖² of the adapters that were merged just now; None where there are none."""
    names = [name for name in layer.merged_adapters if name not in merged_before]
    if not names:
        return None
    before = at_least_float32(original.matrix())
    changes = [as_matrix(layer.get_base_layer(), layer.get_delta_weight(name)).detach() for name in names]
    return original.rounded_away(stored, sum((change.to(before) for change in changes), before))


def tell_merge_loss(model: PeftModel) -> None:
    """Let a model with LoRA adapters over a quantised base tell what merging them loses.

    Args:
        model: any `PeftModel`; others than PEFT's own LoRA over a quantised base are left alone.
    """
    if type(model.base_model) is LoraModel and next(_quantised_layers(model.base_model.model), None) is not None:
        model.base_model.__class__ = ToldLoraModel
