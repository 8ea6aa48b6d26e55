"""Account for every tensor of an adapter's file, and for every name of its configuration, against the model.

PEFT drops what no layer takes, keeps what the file lacks as it was drawn, and passes over names that match nothing,
without a word. Here each of them is found, so that an adapter of another model is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from peft import PeftModel, get_peft_model_state_dict
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.other import AuxiliaryTrainingWrapper
from torch import Tensor, nn

from retain.hf.adapters.folder import Stored
from retain.hf.models.describe import base_tensors

_GIVEN_BY_TASK = frozenset({"classifier", "score", "qa_outputs"})
"""Heads that PEFT adds to `modules_to_save` itself for some tasks, whether the model has them or not."""

_PREFIX = "base_model.model."


class Accounting:
    """What became of an adapter's tensors when they were loaded.

    Attributes:
        left_over: names of tensors that no part of the model took.
        overwritten: names of base weights that took other values from the file.
    """

    def __init__(self) -> None:
        self.overwritten: list[str] = []
        self._unexpected: list[str] = []

    @property
    def left_over(self) -> list[str]:
        """Names of tensors that no part of the model took, as they stand in the file but for the adapter's name."""
        return [name.replace(".default", "") for name in self._unexpected]

    def watch_before(self, base: nn.Module, state: Mapping[str, Tensor], prefix: str) -> None:
        """Compare the base's weights with those that are about to take their place."""
        for name, tensor in base_tensors(base, plain=False):
            given = state.get(prefix + name)
            if given is not None and given.shape == tensor.shape and not _same(given, tensor):
                self.overwritten.append(name)

    def watch_after(self, unexpected: list[str]) -> None:
        """Remember the list that torch collects left-over names in; it is whole when all is loaded."""
        self._unexpected = unexpected


@contextmanager
def accounting(base: nn.Module) -> Iterator[Accounting]:
    """Watch what a file's tensors become while an adapter is loaded onto a model."""
    account = Accounting()
    module: Any = base  # torch gives these two methods no types
    handles = [
        module.register_load_state_dict_pre_hook(
            lambda loaded, state, prefix, *_: account.watch_before(loaded, state, prefix)
        ),
        module.register_load_state_dict_post_hook(lambda _, keys: account.watch_after(keys.unexpected_keys)),
    ]
    try:
        yield account
    finally:
        for handle in handles:
            handle.remove()


def _same(given: Tensor, tensor: Tensor) -> bool:
    if tensor.device.type == "meta":
        return False
    return bool(torch.equal(given.to(tensor.device, tensor.dtype), tensor.detach()))


def tensor_problems(model: PeftModel, stored: Mapping[str, Stored], account: Accounting) -> list[str]:
    """A sentence for each kind of mismatch between an adapter's file and the model that it was loaded onto.

    Args:
        model: with the adapter, named `default`.
        stored: the tensors of the file.
        account: of loading it.
    """
    config = model.peft_config["default"]
    expected = get_peft_model_state_dict(model, adapter_name="default", save_embedding_layers=False)
    if config.is_prompt_learning or config.is_adaption_prompt:  # their tensors do not go the way that was watched
        odd = sorted(stored.keys() - expected.keys())
    else:
        odd = account.left_over
    problems = []
    if odd:
        problems.append(
            f"this adapter was made for another model: {len(odd)} of its {len(stored)} tensors have no place in this "
            f"one ({_some(odd)})"
        )
    known = stored.keys() & expected.keys()
    missing = sorted(expected.keys() - stored.keys())
    if missing and known and len(known) == len(stored):  # PEFT renamed none of them
        problems.append(
            "this adapter was made for another model, or its file is cut: layers that it should change have no "
            f"weights in it ({_some(missing)})"
        )
    kinds = sorted(name for name in known if stored[name].is_float != expected[name].is_floating_point())
    if kinds:
        problems.append(f"tensors are whole numbers where weights should be, or the other way round ({_some(kinds)})")
    shapes = sorted(name for name in known if stored[name].shape != tuple(expected[name].shape))
    if shapes:
        problems.append(f"this adapter was made for another model: its sizes are others ({_some(shapes)})")
    return problems


def name_problems(model: PeftModel) -> list[str]:
    """A sentence for each field of an adapter's configuration that names modules which this model does not have.

    Where every tensor of a file has its place, and every place its tensor, these tell nothing: a list of targets that
    serves several architectures is common.

    Args:
        model: with the adapter, named `default`.
    """
    config = model.peft_config["default"]
    root = model.get_base_model()
    modules = [_plain(name) for name, _ in root.named_modules() if name]
    parameters = {_plain(name) for name, _ in root.named_parameters(remove_duplicate=False)}
    problems = []
    for field in ("target_modules", "modules_to_save", "trainable_token_indices", "target_parameters"):
        names = parameters if field == "target_parameters" else modules
        wanted = _listed(getattr(config, field, None))
        if field == "trainable_token_indices" and not isinstance(getattr(config, field, None), dict):
            continue  # the tokens' numbers
        if field == "modules_to_save" and config.task_type is not None:
            wanted = [name for name in wanted if name not in _GIVEN_BY_TASK]
        if unknown := [name for name in wanted if not _ends(names, name)]:
            problems.append(f"its {field} names {_some(unknown)}, which this model does not have")
    layers = getattr(config, "layers_to_transform", None)
    wanted_layers = [layers] if isinstance(layers, int) else list(layers or ())
    numbers = {int(part) for name in _adapted(root) for part in name.split(".") if part.isdecimal()}
    if unknown_layers := [number for number in wanted_layers if number not in numbers]:
        problems.append(f"its layers_to_transform names {_some(unknown_layers)}, which this adapter does not change")
    return problems


def pattern_problems(model: PeftModel) -> list[str]:
    """A sentence for each pattern of ranks or alphas that fits no layer of an adapter; an alpha stands in no tensor.

    Args:
        model: with the adapter, named `default`.
    """
    config, adapted = model.peft_config["default"], _adapted(model.get_base_model())
    problems = []
    for field in ("rank_pattern", "alpha_pattern"):
        patterns = {} if str(config.peft_type).endswith("ADALORA") else getattr(config, field, None) or {}
        if unknown := [one for one in patterns if not any(re.match(rf"(.*\.)?({one})$", name) for name in adapted)]:
            problems.append(f"its {field} names {_some(unknown)}, which this adapter does not change")
    return problems


def value_problems(model: PeftModel) -> list[str]:
    """A sentence for each layer whose scale is not finite."""
    scales = {
        name: scale
        for name, module in model.named_modules()
        if isinstance(module, BaseTunerLayer) and isinstance(getattr(module, "scaling", None), Mapping)
        for scale in module.scaling.values()
        if isinstance(scale, (int, float))
    }
    odd = [name for name, scale in scales.items() if not bool(torch.tensor(float(scale)).square().isfinite())]
    return [f"its scale (alpha) is no finite number that a weight can be multiplied by ({_some(odd)})"] if odd else []


def _adapted(root: nn.Module) -> list[str]:
    """The names that patterns are matched with: of layers with the adapter, and of parameters adapted on their own."""
    found = []
    for name, module in root.named_modules():
        if isinstance(module, BaseTunerLayer):
            parameter = getattr(module, "parameter_name", None)
            found += [_plain(name)] + ([f"{_plain(name)}.{parameter}"] if parameter else [])
        elif isinstance(module, AuxiliaryTrainingWrapper):
            found.append(_plain(name))
    return found


def _listed(value: Any) -> list[str]:
    """The names in a list, a set or the keys of an object; none in a regular expression, which PEFT checks."""
    return sorted(str(one) for one in value) if isinstance(value, (list, set, tuple, dict)) else []


def _ends(names: Iterable[str], wanted: str) -> bool:
    return any(name == wanted or name.endswith(f".{wanted}") for name in names)


def _plain(name: str) -> str:
    return re.sub(r"\.(base_layer|original_module|token_adapter)(?=\.|$)", "", name).removeprefix(_PREFIX)


def _some(names: Iterable[Any]) -> str:
    every = [str(name) for name in names]
    return ", ".join(every[:3]) + (f" and {len(every) - 3} more" if len(every) > 3 else "")
