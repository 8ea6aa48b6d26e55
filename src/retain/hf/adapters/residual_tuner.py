"""PEFT's LoRA tuner, in which an adapter added from the configuration of a residual LoRA becomes one too.

TRL adds an adapter "ref" from the configuration of "default" and copies parameters by their names, and PEFT itself
would make an ordinary LoRA of rank 2r of it. The initial factors A0 and B0 stand in no configuration; they are copied
from the adapter that has them.
"""

from __future__ import annotations

import inspect
from typing import Any

from peft import PeftModel
from peft.tuners.lora import LoraLayer, LoraModel
from torch import nn

from retain.errors import AdapterError
from retain.hf.adapters.residual_lora import copy_residual, residual_layers
from retain.hf.adapters.told_lora import ToldLoraModel
from retain.hf.tuners.shared_weights import refuse_shared

_PRUNING = frozenset({"ties", "dare_ties", "dare_linear", "magnitude_prune"})


class ResidualLoraModel(ToldLoraModel):
    """PEFT's LoRA tuner for a model with a residual LoRA; other LoRAs beside it are PEFT's own."""

    def inject_adapter(self, model: nn.Module, adapter_name: str, *args: Any, **kwargs: Any) -> None:
        """Add an adapter; one with the note of a residual LoRA begins where that began, with ΔA = ΔB = 0.

        Raises:
            AdapterError: the configuration is of a residual LoRA that is not in this model, or asks for another rank or
                other layers than that has; nothing is changed then.
        """
        note = getattr(self.peft_config[adapter_name], "initialisation_note", None)
        source = None if note is None else self._holder(note, adapter_name)
        if source is None:
            super().inject_adapter(model, adapter_name, *args, **kwargs)
            return
        try:
            super().inject_adapter(model, adapter_name, *args, **kwargs)
        except BaseException:
            for layer in self.model.modules():  # PEFT leaves those that it had come to, ready to train
                if isinstance(layer, LoraLayer) and adapter_name in layer.r:
                    layer.delete_adapter(adapter_name)
            raise
        for layer in residual_layers(self.model, source).values():
            if adapter_name in layer.lora_A:
                copy_residual(layer, source, adapter_name)

    def add_weighted_adapter(
        self,
        adapters: list[str],
        weights: list[float],
        adapter_name: str,
        combination_type: str = "svd",
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """Add a weighted sum of adapters as an ordinary LoRA, as PEFT does; only `cat` is exact.

        Raises:
            AdapterError: the kind of sum prunes, and no density says how much.
        """
        given = inspect.signature(super().add_weighted_adapter).bind(
            adapters, weights, adapter_name, combination_type, *args, **kwargs
        )
        if combination_type.removesuffix("_svd") in _PRUNING and given.arguments.get("density") is None:
            raise AdapterError(
                f"combination_type={combination_type!r} prunes each adapter and needs density=, the share of values "
                "that stays, such as 0.5; combination_type='cat' sums without loss."
            )
        super().add_weighted_adapter(*given.args, **given.kwargs)

    def _check_merge_allowed(self) -> None:
        """Refuse to merge a residual LoRA into a weight that another module uses too; of others PEFT warns.

        Raises:
            MergeError: names the modules and the cure.
        """
        super()._check_merge_allowed()
        for name in self.peft_config:
            refuse_shared(self.model, residual_layers(self.model, name))

    def _holder(self, note: dict[str, Any], adapter: str) -> str:
        """The adapter with a note, of the rank that a new one asks for."""
        wanted = self.peft_config[adapter].r
        ranks = {
            str(name): config.r
            for name, config in self.peft_config.items()
            if name != adapter and getattr(config, "initialisation_note", None) == note
        }
        if found := next((name for name, rank in ranks.items() if rank == wanted), None):
            return found
        if ranks:
            raise AdapterError(
                f"r={wanted}: the initial factors that this configuration is of have r={max(ranks.values())}, twice "
                "the rank that they were made with; give that, or make a new adapter with retain.sc_lora."
            )
        raise AdapterError(NO_FACTORS)


NO_FACTORS = (
    "this configuration is of an adapter whose initial factors were computed from data, and they do not stand in it: "
    "put that adapter on the model with retain.load_adapter, make a new one with retain.sc_lora, or give a new "
    "peft.LoraConfig for an ordinary LoRA."
)


def refuse_new_layer(*_: Any, **__: Any) -> nn.Module:
    """Refuse to make a new layer for a residual LoRA: its initial factors are not at hand. PEFT calls it.

    Raises:
        AdapterError: always.
    """
    raise AdapterError(NO_FACTORS)


def watch_additions(model: PeftModel, adapter: str) -> None:
    """Let adapters that PEFT adds later from a residual LoRA's configuration become residual LoRAs.

    Args:
        model: with the residual LoRA.
        adapter: its name.
    """
    if type(model.base_model) in (LoraModel, ToldLoraModel):
        model.base_model.__class__ = ResidualLoraModel
    model.peft_config[adapter]._custom_modules = {nn.Module: refuse_new_layer}  # noqa: SLF001 -- PEFT's own way in
