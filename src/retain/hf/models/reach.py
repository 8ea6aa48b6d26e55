"""The modules of a model that a text does not go through, such as the vision tower of a model that also sees.

A forward pass of a few tokens tells. It is made with a hollow twin: the model's own modules and code, on the CPU, with
weights that take no memory and linear layers that give zeros of the right shape. So it costs next to nothing whatever
the size of the model, works for one without weights (meta device), quantised or spread over devices, and neither runs
the model's hooks nor touches it.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.other import AuxiliaryTrainingWrapper
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.utils import logging

from retain.hf.models.direct_reads import read_directly
from retain.hf.models.experts import is_experts
from retain.hf.models.sides import root_of

_TOKENS = 4
"""Tokens in the text that is passed through."""


def unreached(model: nn.Module) -> list[str]:
    """The outermost modules with weights that a text does not go through, in the model's order.

    A module of which one like it, held by the same parent, is called counts as reached: experts and layers between
    which a model chooses are not all called by one text.

    Args:
        model: any model, with adapters or without; nothing of it is changed.

    Returns:
        Names in the transformers model. None where all are called, where the model reads no text, and where the pass
        cannot be made.
    """
    root = root_of(model)
    if not isinstance(root, PreTrainedModel) or root.main_input_name != "input_ids":
        return []
    try:
        twin = _hollow(root)
        called = _called(twin)
    except Exception:  # noqa: BLE001 -- other people's code in an unusual setting; not knowing is an answer
        return []
    return list(_outermost(twin, called))


def _outermost(twin: nn.Module, called: set[str]) -> Iterator[str]:
    used = {id(parameter) for name in called for parameter in twin.get_submodule(name).parameters(recurse=False)}
    inside: tuple[str, ...] = ("\0",)
    for name, module in twin.named_modules():
        if not name or name.startswith(inside) or all(id(parameter) in used for parameter in module.parameters()):
            continue
        if any(key == name or key.startswith(f"{name}.") for key in called) or _alternative(twin, name, called):
            continue
        if _by_weight(twin, name):
            continue
        inside += (f"{name}.",)
        yield name


def _by_weight(twin: nn.Module, name: str) -> bool:
    parent, _, own = name.rpartition(".")
    return read_directly(twin.get_submodule(parent), own)


def _alternative(twin: nn.Module, name: str, called: set[str]) -> bool:
    """Tell whether the same parent holds another module of the same class that is called."""
    parent, _, own = name.rpartition(".")
    kind, siblings = type(twin.get_submodule(name)), twin.get_submodule(parent).named_children()
    return any(
        type(child) is kind and key != own and f"{parent}.{key}".removeprefix(".") in called for key, child in siblings
    )


def _called(twin: PreTrainedModel) -> set[str]:
    """The names of the modules that are called for a text."""
    seen: set[str] = set()
    for name, module in twin.named_modules():
        module.register_forward_pre_hook(_noting(name, seen))
    with torch.no_grad(), torch.random.fork_rng(devices=[]), _quiet():
        twin(**_text(twin.config))
    return seen


def _noting(name: str, seen: set[str]) -> Callable[..., None]:
    def note(*_: Any) -> None:
        seen.add(name)

    return note


def _text(config: Any) -> dict[str, Tensor]:
    """A few tokens that stand for nothing special in the model."""
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    special = {
        value
        for part in (config, text)
        for key, value in part.to_dict().items()
        if isinstance(value, int) and key.endswith(("_token_id", "_token_index"))
    }
    size = int(getattr(text, "vocab_size", 0) or 2**15)
    ids = [token for token in range(min(size, _TOKENS + len(special) + 1)) if token not in special][:_TOKENS] or [0]
    tokens = torch.tensor([ids])
    given = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
    return {**given, "decoder_input_ids": tokens} if getattr(config, "is_encoder_decoder", False) else given


def _hollow(root: PreTrainedModel) -> PreTrainedModel:
    """A copy of a model's structure in eval mode, without its weights and hooks."""
    memo: dict[int, Any] = {}
    for owner in root.modules():
        for parameter in owner._parameters.values():  # noqa: SLF001 -- also those that a library has put away
            if parameter is not None:
                memo[id(parameter)] = nn.Parameter(_empty(parameter), requires_grad=False)
        for buffer in owner._buffers.values():  # noqa: SLF001 -- as above
            if buffer is not None:
                memo[id(buffer)] = _empty(buffer)
        memo |= {id(value): _empty(value) for value in vars(owner).values() if isinstance(value, Tensor)}
        if hook := getattr(owner, "_hf_hook", None):  # accelerate's, which would fetch weights
            memo[id(hook)] = None
    twin: PreTrainedModel = copy.deepcopy(root, memo)
    _take_off_adapters(twin)
    for module in twin.modules():
        _without_hooks(module)
        if stand_in := _stand_in(module):
            module.forward = stand_in
    twin.set_attn_implementation("eager")
    return twin.eval()


def _take_off_adapters(twin: nn.Module) -> None:
    """Put base layers, and originals of modules that are trained in full, where PEFT's wrappers stand."""
    for parent in list(twin.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, BaseTunerLayer):
                setattr(parent, name, child.get_base_layer())
            elif isinstance(child, AuxiliaryTrainingWrapper):
                setattr(parent, name, child.original_module)


def _empty(tensor: Tensor) -> Tensor:
    """Zeros of a tensor's shape in the memory of one number, in a type that the CPU computes with."""
    kept = tensor.dtype if not tensor.is_floating_point() else torch.float32
    return torch.zeros((), dtype=kept).expand(tensor.shape)


def _without_hooks(module: nn.Module) -> None:
    for hooks in (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks):  # noqa: SLF001 -- of a copy
        hooks.clear()
    module.__dict__.pop("forward", None)  # a forward of its own calls such hooks


def _stand_in(module: nn.Module) -> Callable[..., Any] | None:
    """A forward that gives zeros of the right shape, for modules whose own would read large weights."""
    if is_experts(module):
        return lambda x, *_, **__: torch.zeros_like(x)
    outside = getattr(module, "out_features", None) or getattr(module, "nf", None)
    if isinstance(outside, int) and not any(True for _ in module.children()):
        return lambda x, *_, **__: x.new_zeros((*x.shape[:-1], outside))
    return None


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what a model's code says of the odd text to itself."""
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(before)
