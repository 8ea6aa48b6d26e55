"""Put feature-space adapters into a model: PEFT's tuner, once for all such methods."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from peft.tuners.tuners_utils import BaseTuner
from peft.utils import NoMatchingPeftModuleError
from peft.utils.constants import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING
from peft.utils.other import AuxiliaryTrainingWrapper
from torch import nn

from retain.errors import AdapterError, TargetError
from retain.hf.tuners import targets
from retain.hf.tuners.adapter_name import check_adapter_name
from retain.hf.tuners.all_linear import ALL_LINEAR, all_linear_excludes, is_all_linear, without_default
from retain.hf.tuners.base_weight import quantization_backend
from retain.hf.tuners.feature_config import FeatureConfig
from retain.hf.tuners.feature_layer import BASE, FeatureLayer
from retain.hf.tuners.merge_loss import warn_of_loss
from retain.hf.tuners.shared_weights import refuse_shared

_LORAS = {
    "svd_rank": None,
    "svd_clamp": None,
    "svd_full_matrices": True,
    "svd_driver": None,
    "density": None,
    "majority_sign_method": "total",
}
"""Arguments that `add_weighted_adapter` of PEFT's LoRA takes besides, with their defaults."""


def _refused(name: str, value: Any) -> str:
    if name in _LORAS:
        return (
            f"{name}={value!r} is refused: it is for sums that are approximated, and this one is exact; leave it out."
        )
    known = "adapters, weights, adapter_name, combination_type"
    return f"{name}={value!r}: add_weighted_adapter takes no such argument; it takes {known}."


class NoMatchError(TargetError, NoMatchingPeftModuleError):  # type: ignore[misc]  # PEFT ships no types
    """No layer matches what an adapter was asked to change; also the error that PEFT raises for it."""


class FeatureTuner(BaseTuner):  # type: ignore[misc]  # PEFT ships no types
    """The tuner of a feature-space method.

    A subclass names its configuration, its prefix, its layer and the exact combination of adapters.
    """

    config_class: type[FeatureConfig]
    tuner_layer_cls: type[FeatureLayer]
    target_module_mapping = TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING
    combination: str
    """The one kind of `add_weighted_adapter` that is exact."""
    refused_combinations: ClassVar[dict[str, str]] = {}

    def inject_adapter(self, model: nn.Module, adapter_name: str, *args: Any, **kwargs: Any) -> None:
        """Add an adapter to all layers that its config names.

        Raises:
            AdapterError: no adapter can have that name.
            TargetError: no layer is named, or one that cannot be adapted; the model is unchanged then.
        """
        check_adapter_name(adapter_name)
        try:
            super().inject_adapter(model, adapter_name, *args, **kwargs)
        except TargetError:
            raise
        except ValueError as error:  # PEFT's complaints about targets
            kind = NoMatchError if isinstance(error, NoMatchingPeftModuleError) else TargetError
            raise kind(
                f"{error} This model's linear layers are named {', '.join(targets.linear_names(model))}; name some of "
                "them in target_modules, or use 'all-linear'."
            ) from error

    def _prepare_model(self, peft_config: Any, model: nn.Module) -> None:
        if problems := targets.problems(self, peft_config, model):
            raise TargetError(problems)

    def _prepare_adapter_config(self, peft_config: Any, model_config: dict[str, Any]) -> Any:
        kind = model_config.get("model_type")
        if peft_config.target_modules is None and kind not in self.target_module_mapping:
            if not without_default(self.model):
                raise TargetError(targets.no_default(kind, self.model))
            peft_config.target_modules = ALL_LINEAR
        if is_all_linear(peft_config.target_modules):
            peft_config.exclude_modules = all_linear_excludes(self.model, peft_config.exclude_modules)
        return super()._prepare_adapter_config(peft_config, model_config)

    def _create_and_replace(
        self,
        peft_config: Any,
        adapter_name: str,
        target: nn.Module,
        target_name: str,
        parent: nn.Module,
        current_key: str,
        **_: Any,
    ) -> None:
        if isinstance(target, self.tuner_layer_cls):
            target.update_layer(adapter_name, config=peft_config, key=current_key)
            return
        if reason := targets.unsupported(current_key, target, self.model):  # reached where a state dict names targets
            raise TargetError(f"{current_key}: {reason}")
        backend = quantization_backend(target, self.model)
        layer = self.tuner_layer_cls(target, adapter_name, config=peft_config, key=current_key, backend=backend)
        layer.train(target.training)
        if adapter_name not in self.active_adapters:
            layer.requires_grad_(requires_grad=False)
        setattr(parent, target_name, layer)

    def _replace_module(self, parent: nn.Module, child_name: str, new_module: nn.Module, child: nn.Module) -> None:
        # PEFT's moves every adapter to the base weight's device, to "meta" too where that is offloaded, and then its
        # values are lost. Our layers place themselves.
        del child
        setattr(parent, child_name, new_module)

    def _cast_adapter_dtype(self, adapter_name: str, autocast_adapter_dtype: bool = True) -> None:
        # Our layers are made in float32 in the first place; what is left is the user's wish for the base's dtype.
        if autocast_adapter_dtype:
            return
        for layer in self._layers().values():
            _, dtype = layer._get_base_layer_device_and_dtype(layer.base_layer)  # noqa: SLF001 -- PEFT's helper
            if dtype is not None and dtype.is_floating_point and adapter_name in layer.scaling:
                for name in layer.module_names:
                    getattr(layer, name)[adapter_name].to(dtype)

    def _layers(self) -> dict[str, FeatureLayer]:
        return {key: module for key, module in self.model.named_modules() if isinstance(module, FeatureLayer)}

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...  # what PEFT's untyped base has

    # Merging.

    def _check_merge_allowed(self) -> None:
        """Refuse to merge into a weight that another module uses too, as a tied output head does.

        Raises:
            MergeError: names the modules and the cure.
        """
        refuse_shared(self.model, self._layers())

    def merge_adapter(self, *args: Any, **kwargs: Any) -> None:
        """Merge as PEFT does; of a quantised base a warning says what quantising again takes of the update."""
        with self._telling_what_is_lost():
            super().merge_adapter(*args, **kwargs)

    def _unload_and_optionally_merge(self, *args: Any, **kwargs: Any) -> nn.Module:
        with self._telling_what_is_lost():
            unloaded: nn.Module = super()._unload_and_optionally_merge(*args, **kwargs)
            return unloaded

    @contextmanager
    def _telling_what_is_lost(self) -> Iterator[None]:
        layers = list(self._layers().values())
        yield
        found = [layer.rounded_away for layer in layers if layer.rounded_away is not None]
        for layer in layers:
            layer.rounded_away = None
        warn_of_loss(found)

    # Weighted combination.

    def add_weighted_adapter(
        self,
        adapters: Sequence[str],
        weights: Sequence[float],
        adapter_name: str,
        combination_type: str | None = None,
        **approximation: Any,
    ) -> None:
        """Add the adapter whose shift is exactly Σᵢ wᵢ sᵢ Tᵢ.

        Args:
            adapters: names of present adapters.
            weights: one a name, of any sign.
            adapter_name: the new adapter's name.
            combination_type: the method's exact kind; None for it.
            approximation: the arguments by which PEFT's LoRA approximates a sum (`svd_rank`, `density`, …), at their
                defaults; there is nothing to approximate here.

        Raises:
            AdapterError: the names or weights do not fit, or the sum would not be exact.
        """
        problems = self._combination_problems(adapters, weights, adapter_name, combination_type)
        problems += [_refused(name, value) for name, value in approximation.items() if value != _LORAS.get(name, ...)]
        if problems:
            raise AdapterError(problems)
        layers = {key: layer for key, layer in self._layers().items() if layer.scaling.keys() & set(adapters)}
        self.peft_config[adapter_name] = dataclasses.replace(
            self.peft_config[adapters[0]],
            target_modules=sorted(layers),
            exclude_modules=None,
            layers_to_transform=None,
            layers_pattern=None,
            **self.combined_fields(layers, list(adapters)),
        )
        try:
            self.inject_adapter(self.model, adapter_name)
        except Exception:
            del self.peft_config[adapter_name]
            raise
        for layer in layers.values():
            layer.combine(adapter_name, {a: w for a, w in zip(adapters, weights, strict=True) if a in layer.scaling})

    def combined_fields(self, layers: dict[str, FeatureLayer], adapters: list[str]) -> dict[str, Any]:  # noqa: ARG002 -- for subclasses
        """The config fields in which a combination of adapters differs from the first of them."""
        return {}

    def _combination_problems(
        self, adapters: Sequence[str], weights: Sequence[float], adapter_name: str, kind: str | None
    ) -> list[str]:
        problems = [f"There is no adapter {name!r}." for name in adapters if name not in self.peft_config]
        if not adapters or len(set(adapters)) < len(adapters) or len(adapters) != len(weights):
            problems.append(f"Give distinct adapters and one weight for each, not {adapters!r} and {weights!r}.")
        if adapter_name in self.peft_config:
            problems.append(f"An adapter {adapter_name!r} is there already; choose another name or delete it first.")
        if kind not in (None, self.combination):
            reason = self.refused_combinations.get(kind, "it would not give the sum of the adapters' changes")
            problems.append(
                f"combination_type={kind!r} is refused: {reason}. Use {self.combination!r}, which is exact."
            )
        problems += [
            f"Adapter {name!r} trains modules_to_save in full; those cannot be combined."
            for name in adapters
            if name in self.peft_config and self.peft_config[name].modules_to_save
        ]
        return problems

    # Mixed batches.

    @contextmanager
    def _enable_peft_forward_hooks(self, *_: Any, **kwargs: Any) -> Iterator[None]:
        """Hand `adapter_names` to every layer during one forward or generate; PEFT drops it silently otherwise."""
        names = kwargs.get("adapter_names")
        if names is None:
            yield
            return
        if self.training:
            raise AdapterError(
                "Cannot pass `adapter_names` when the model is in training mode. It is for inference; call "
                "model.eval() first."
            )
        unknown = set(names) - {BASE} - set(self.peft_config)
        if unknown:
            raise AdapterError(
                f"Trying to infer with non-existing adapter(s): {', '.join(sorted(unknown))}. There is no adapter "
                f"{', '.join(sorted(unknown))}; there are {', '.join(self.peft_config)}."
            )
        beams = kwargs.get("num_beams") or 1
        encoder = self.model.get_encoder() if hasattr(self.model, "get_encoder") else self.model
        unrepeated = set() if encoder is self.model or encoder is None else set(encoder.modules())
        with ExitStack() as hooks:
            for module in self.modules():
                if isinstance(module, (FeatureLayer, AuxiliaryTrainingWrapper)):
                    rows = list(names) if module in unrepeated else [name for name in names for _ in range(beams)]
                    handle = module.register_forward_pre_hook(_naming(rows), with_kwargs=True)
                    hooks.callback(handle.remove)
            yield


def _naming(rows: list[str]) -> Any:
    def add_names(_: nn.Module, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        return args, {**kwargs, "adapter_names": rows}

    return add_names
