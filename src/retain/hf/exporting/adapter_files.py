"""The files of a stock PEFT adapter, LoRA or IA3, made from tensors; no path of this machine stands in them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import IA3Config, LoraConfig, PeftConfig
from peft.utils import SAFETENSORS_WEIGHTS_NAME
from peft.utils.other import ModulesToSaveWrapper
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from retain.errors import InputError
from retain.hf.adapters.origin import write_origin
from retain.hf.adapters.save import order_sets
from retain.hf.exporting.low_rank import LayerFactors
from retain.hf.models.sides import root_of
from retain.hf.tuners.base_weight import is_linear
from retain.hf.tuners.feature_layer import FeatureLayer

_KEY = "base_model.model."


@dataclass(frozen=True)
class AdapterTarget:
    """What an adapter's files tell beside its own tensors, taken down while the adapter is on its base.

    Attributes:
        root: the base, with the adapter or after it was taken off.
        fields: of the configuration.
        saved: tensors of modules that are trained in full.
    """

    root: nn.Module
    fields: dict[str, Any]
    saved: dict[str, Tensor]

    @classmethod
    def of(cls, model: Any, adapter: str, base_id: str | None, base: nn.Module | None = None) -> AdapterTarget:
        """Of a model's adapter.

        Args:
            model: a `PeftModel`.
            adapter: its name.
            base_id: the base's hub id; None where it has none.
            base: the untouched base, where it is not the one inside the model.
        """
        old = model.peft_config[adapter]
        saved = getattr(old, "modules_to_save", None)
        fields = {
            "task_type": old.task_type,
            "base_model_name_or_path": base_id,
            "modules_to_save": sorted(saved) if saved else None,
            "inference_mode": True,
        }
        return cls(base or root_of(model), fields, _saved(root_of(model), adapter))

    def write_lora(self, layers: Iterable[LayerFactors], rank: int, place: Path, dtype: torch.dtype) -> None:
        """Write a LoRA of one rank, alpha equal to it, without patterns.

        Args:
            layers: the update; fewer directions than the rank are filled up with zeros.
            rank: of every layer.
            place: an empty folder.
            dtype: of the weights.

        Raises:
            InputError: a value is too large for the dtype.
        """
        tensors = {}
        for one in layers:
            missing = rank - one.rank
            tensors[f"{_KEY}{one.name}.lora_A.weight"] = nn.functional.pad(one.A, (0, 0, 0, missing))
            tensors[f"{_KEY}{one.name}.lora_B.weight"] = nn.functional.pad(one.B, (0, missing))
        names = [key.removeprefix(_KEY).removesuffix(".lora_A.weight") for key in tensors if key.endswith("A.weight")]
        config = LoraConfig(
            r=rank,
            lora_alpha=rank,
            target_modules=_targets(self.root, names),
            fan_in_fan_out=any(isinstance(module, Conv1D) for module in self.root.modules()),
            **self.fields,
        )
        _write(self.root, config, tensors | self.saved, dtype, place)

    def write_ia3(self, scales: Mapping[str, Tensor], place: Path, dtype: torch.dtype) -> None:
        """Write scales of input features as stock PEFT's IA3, whose vectors scale the inputs of all its layers.

        Args:
            scales: 1 + λ by layer, as `input_scales` gives them.
            place: an empty folder.
            dtype: of the vectors.

        Raises:
            InputError: a value is too large for the dtype.
        """
        targets = _targets(self.root, list(scales))
        config = IA3Config(target_modules=targets, feedforward_modules=targets, **self.fields)
        tensors = {f"{_KEY}{name}.ia3_l": scale[None, :] for name, scale in scales.items()}
        _write(self.root, config, tensors | self.saved, dtype, place)


def input_scales(model: nn.Module, adapter: str) -> dict[str, Tensor]:
    """1 + sλ of every layer that a VeFA changes, float64 on the CPU, by the layer's name in the base."""
    return {
        name: 1 + layer.scaling[adapter] * layer.vefa_lambda[adapter].weight.detach().cpu().double()
        for name, layer in root_of(model).named_modules()
        if isinstance(layer, FeatureLayer) and adapter in layer.scaling and hasattr(layer, "vefa_lambda")
    }


def _targets(root: nn.Module, names: Collection[str]) -> list[str]:
    """The names, by their last parts alone where these mean just the same layers."""
    ends = {name.rpartition(".")[2] for name in names}
    meant = {
        name.replace(".base_layer", "")
        for name, module in root.named_modules()
        if is_linear(module) and name.replace(".base_layer", "").rpartition(".")[2] in ends
    }
    return sorted(ends if meant == set(names) and "" not in ends else names)


def _saved(root: nn.Module, adapter: str) -> dict[str, Tensor]:
    """The tensors of modules that the adapter trains in full, under the names that PEFT gives them in a file."""
    return {
        f"{_KEY}{name}.{key}": tensor.detach()
        for name, module in root.named_modules()
        if isinstance(module, ModulesToSaveWrapper) and adapter in module.modules_to_save
        for key, tensor in module.modules_to_save[adapter].state_dict().items()
    }


def _write(model: Any, config: PeftConfig, tensors: dict[str, Tensor], dtype: Any, place: Path) -> None:
    cast = {
        key: value.to(dtype).cpu().contiguous() if value.is_floating_point() else value.cpu()
        for key, value in tensors.items()
    }
    if wild := [key for key, value in cast.items() if not bool(torch.isfinite(value).all())]:
        raise InputError(
            f"dtype: {wild[0]} has values beyond the range of {str(dtype).removeprefix('torch.')}; take another "
            "--dtype."
        )
    save_file(cast, place / str(SAFETENSORS_WEIGHTS_NAME), metadata={"format": "pt"})
    config.save_pretrained(place)
    order_sets(place, config)
    write_origin(place, model)
