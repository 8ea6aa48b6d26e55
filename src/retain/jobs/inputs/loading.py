"""How a model is quantised and placed as it is loaded: checked before, and told to transformers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from retain.errors import InputError
from retain.hf.models.placement import (
    OffloadFolder,
    computing_device,
    current_device,
    map_problems,
    memory_limits,
    resolved,
)
from retain.hf.models.quantised_heads import leaving_heads
from retain.hf.models.quantization import (
    already_problem,
    known_configuration,
    loading_problems,
    unmatched_modules,
)
from retain.hf.models.quantization_config import quantization_config
from retain.recipe import ExportRecipe, MeasurementOptions


def device_of(recipe: MeasurementOptions | ExportRecipe) -> torch.device:
    """The device that a recipe's base computes on: of a run that trains also by what the Trainer is told."""
    training: Mapping[str, Any] = getattr(recipe, "training", {})
    return computing_device(recipe.device_map, use_cpu=training.get("use_cpu") is True)


@dataclass(frozen=True)
class Told:
    """What transformers is told, and the folder that it may offload to.

    Attributes:
        options: arguments of `from_pretrained`; none for a model that is neither quantised nor spread.
        folder: for weights on disk; None where nothing is spread.
    """

    options: dict[str, Any]
    folder: OffloadFolder | None = None

    def keep_for(self, model: nn.Module) -> None:
        """Keep what was offloaded for as long as the model lives."""
        if self.folder is not None:
            self.folder.keep_for(model)


@dataclass(frozen=True)
class Loading:
    """How a model is quantised and placed.

    Attributes:
        quantization: a name or fields; None as the checkpoint is.
        device_map: where its layers lie; None for all on one device.
        max_memory: the most memory of each device, where the layers are spread.
        offload_beside: a folder on the disk that weights are offloaded to, should they have to be written anew.
        device: that it computes on; None for where a model is placed by default.
    """

    quantization: str | Mapping[str, Any] | None = None
    device_map: str | Mapping[str, Any] | None = None
    max_memory: Mapping[str, Any] = field(default_factory=dict)
    offload_beside: str | None = field(default=None, compare=False)
    device: torch.device | None = field(default=None, compare=False)

    @classmethod
    def of(cls, recipe: MeasurementOptions | ExportRecipe) -> Loading:
        """How the base of a recipe is loaded."""
        return cls(recipe.quantization, recipe.device_map, recipe.max_memory, recipe.output, device_of(recipe))

    @property
    def offloads(self) -> bool:
        """True if a device map puts layers into memory or on disk beside a device; what auto does is not known yet."""
        places = {str(place) for place in self.device_map.values()} if isinstance(self.device_map, Mapping) else set()
        return "disk" in places or ("cpu" in places and len(places) > 1)

    def problems(self, own: Mapping[str, Any] | None, empty: Callable[[], nn.Module]) -> list[str]:
        """A sentence for each reason why a model cannot be loaded so.

        Args:
            own: the quantisation that the checkpoint has already.
            empty: gives the model without weights, for the names of its modules.
        """
        mapped = isinstance(self.device_map, Mapping)
        problems = map_problems(self.device_map, self.max_memory, empty() if mapped else None)
        if problems or (own is None and self.quantization is None):
            return problems + self._quantization_faults()
        if self.quantization is None:
            return loading_problems(own, self._device_map(empty), quantised_before=True)
        if problems := self._quantization_faults():
            return problems
        wanted = quantization_config(self.quantization)
        if own is None:
            unmatched = unmatched_modules(wanted, empty())
            return unmatched + loading_problems(wanted, self._device_map(empty), quantised_before=False)
        already = already_problem(own, wanted)
        return [already] if already else loading_problems(own, self._device_map(empty), quantised_before=True)

    def _quantization_faults(self) -> list[str]:
        try:
            if self.quantization is not None:
                quantization_config(self.quantization)
        except InputError as error:
            return list(error.problems)
        return []

    def quantization_in_use(self, own: Mapping[str, Any] | None) -> Any:
        """The configuration by which a model will be quantised, its own or the one asked for; None for a plain one.

        Raises:
            InputError: there is no such configuration.
        """
        if own is not None:
            return known_configuration(own)
        return None if self.quantization is None else quantization_config(self.quantization)

    @contextmanager
    def told(self, own: Mapping[str, Any] | None, empty: Callable[[], nn.Module]) -> Iterator[Told]:
        """What transformers is told of quantisation and places; what was offloaded goes if the loading fails.

        Args:
            own: as for `problems`.
            empty: likewise.
        """
        options: dict[str, Any] = {}
        if self.quantization is not None and own is None:
            options["quantization_config"] = leaving_heads(quantization_config(self.quantization), empty())
        if options or own is not None or self.device_map is not None:
            options |= {"device_map": self._device_map(empty), "max_memory": memory_limits(self.max_memory)}
        folder = None if self.device_map is None else OffloadFolder(self.offload_beside)
        if folder is not None:
            options["offload_folder"] = str(folder.path)
        yield Told(options, folder)

    def _device_map(self, empty: Callable[[], nn.Module]) -> Any:
        """Where the model is to lie: a quantised one at once, for it cannot be moved later."""
        if self.device_map is None:
            return {"": current_device()}
        return resolved(self.device_map, empty() if isinstance(self.device_map, Mapping) else None)


PLAIN = Loading()
"""Neither quantised nor spread."""
