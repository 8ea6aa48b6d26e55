"""The change of each weight matrix by training: W0 and W_eff − W0, layer by layer, measured and not assumed.

ΔW is the change that merging makes to a layer. Methods' own `get_delta_weight` is not relied on: DoRA's omits the
magnitude. The layer is merged in a copy, so the model is not touched at all.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from peft import PeftModel
from peft.tuners.lora.layer import ParamWrapper
from peft.tuners.tuners_utils import BaseTunerLayer, onload_layer
from peft.utils.other import ModulesToSaveWrapper
from torch import Tensor, nn

from retain.errors import InputError, RetainError
from retain.hf.models.experts import expert_names, is_experts, is_router
from retain.hf.models.layer_effects import effect_of, in_float32
from retain.hf.models.sides import eval_mode
from retain.hf.models.vocabulary import embeddings_of
from retain.hf.tuners.base_weight import as_matrix, at_least_float32, is_linear, quantization_backend
from retain.hf.tuners.storage import dequantised

_NOTHING: tuple[str, ...] = ("\0",)
"""Beginnings that no module's name has."""


class UpdatesUnavailableError(RetainError):
    """The change of a model's weights cannot be measured; the text says why, fit for a note in a report."""


class Update(NamedTuple):
    """The change of one linear layer, of one parameter of fused experts, or of a router.

    Attributes:
        module: the layer's name in the model that stands for the base; of experts, that of their parameter.
        weight: W0 (m, n), float32 (float64 where the model is); of experts (experts, m, n).
        delta: W_eff − W0, likewise.
    """

    module: str
    weight: Tensor
    delta: Tensor


def changed_layers(tuned: nn.Module, base: nn.Module | None = None) -> list[str]:
    """The names that `weight_updates` will give, without large computations.

    Args:
        tuned: as for `weight_updates`.
        base: as for `weight_updates`.

    Returns:
        Module names in `base`, or in `tuned` where the base is inside it.

    Raises:
        UpdatesUnavailableError: there is nothing to measure.
    """
    if base is None:
        return [name for name, _ in _adapted(tuned)]
    return [name for name, _, _ in _pairs(base, tuned)]


def weight_updates(tuned: nn.Module, base: nn.Module | None = None) -> Iterator[Update]:
    """Measure the change of each linear layer, expert and router, one layer at a time; only that layer is copied.

    A copy of the layer is merged in float32, also over a bf16 base, so that ΔW is the adapter's and not the
    rounding's. Fully trained copies (`modules_to_save`) count too, and the experts and routers of mixtures.
    Embeddings and other modules that hold no matrices are left out: see `left_out`.

    Args:
        tuned: a model with adapters, or a fully trained one.
        base: the model it was made from. None: it is inside `tuned`, under the adapters.

    Yields:
        One `Update` a layer, in the model's order. With `base`, unchanged layers are not given.

    Raises:
        UpdatesUnavailableError: no adapter lives in weights (prompts do not), or a layer cannot be merged (forward-only
            quantisation, some methods).
        InputError: the linear layers of the two models do not match.
    """
    if base is not None:
        head = next(iter(embeddings_of(base)[1:]), None)
        for name, before, after in _pairs(base, tuned):
            W0, W = _matrix(before), _effective(name, after)[1]
            if before is head:  # one side may have rows for tokens that the other does not have
                rows = min(len(W0), len(W))
                W0, W = W0[:rows], W[:rows]
            if W0.shape != W.shape:
                raise InputError(f"{name}: shape {tuple(W0.shape)} became {tuple(W.shape)}; compare like with like.")
            yield Update(name, W0, W.to(W0.device) - W0)
        return
    for name, module in _adapted(tuned):
        W0, W = _effective(name, module)
        yield Update(name, W0, W - W0)


def left_out(model: nn.Module) -> list[str]:
    """Names of adapted modules that `weight_updates` leaves out because they hold no matrices, embeddings for one."""
    return [key for key, module in _outermost(model) if isinstance(module, BaseTunerLayer) and not _measurable(module)]


class _Saved(NamedTuple):
    """A linear layer inside a module that was trained in full beside its original."""

    before: nn.Module
    after: nn.Module


class _Bare(NamedTuple):
    """A matrix, or one for each expert, that is a parameter of a module which is no linear layer."""

    owner: Any
    name: str


def _adapted(model: nn.Module) -> list[tuple[str, Any]]:
    layers: list[tuple[str, Any]] = []
    for key, module in _outermost(model):
        if isinstance(module, ParamWrapper):
            layers += [(_name(key, inner), inner) for inner in _nested(module)]
        elif isinstance(module, BaseTunerLayer):
            layers += [(key, module)] if _measurable(module) else []
        else:
            layers += list(_saved(key, module))
    if not layers:
        raise UpdatesUnavailableError(
            "This model's adapter changes no linear layer's weights (prompts, for one, do not)."
        )
    return layers


def _nested(wrapper: Any) -> list[Any]:
    """PEFT's wrappers of one module's parameters, each around the one before."""
    inner = wrapper.base_layer
    return [*(_nested(inner) if isinstance(inner, ParamWrapper) else []), wrapper]


def _name(key: str, wrapper: Any) -> str:
    """The name of a wrapped parameter; a router's weight is named as a layer's, by its module."""
    return f"{key}.{wrapper.parameter_name}" if is_experts(wrapper.get_base_layer()) else key


def _outermost(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """Tuner layers and saved modules that do not lie within another one."""
    inside = _NOTHING
    for key, module in model.named_modules():
        if isinstance(module, (BaseTunerLayer, ModulesToSaveWrapper)) and not key.startswith(inside):
            inside += (f"{key}.",)
            yield key, module


def _measurable(layer: Any) -> bool:
    own = is_linear(layer.get_base_layer()) or isinstance(layer, ParamWrapper)
    return own or getattr(layer, "quantization_backend", None) is not None


def _saved(key: str, wrapper: Any) -> Iterator[tuple[str, _Saved]]:
    name = next(iter(wrapper.active_adapters), None)
    if name in wrapper.modules_to_save:
        trained = wrapper.modules_to_save[name]
        for inner, old in wrapper.original_module.named_modules():
            if is_linear(old):
                yield f"{key}.{inner}".rstrip("."), _Saved(old, trained.get_submodule(inner))


def _matrices(model: nn.Module, wrapped: Sequence[str] = ()) -> dict[str, Any]:
    """Linear layers by name, and the parameters of experts and routers; none of those in wrapped modules."""
    found: dict[str, Any] = {}
    inside = tuple(f"{key}." for key in wrapped) or _NOTHING
    for key, module in model.named_modules():
        if f"{key}.".startswith(inside):
            continue
        if is_linear(module):
            found[key] = module
        elif is_router(module, model.get_submodule(key.rpartition(".")[0])):
            found[key] = _Bare(module, "weight")
        else:
            found |= {f"{key}.{name}": _Bare(module, name) for name in expert_names(module)}
    return found


def _pairs(base: nn.Module, tuned: nn.Module) -> list[tuple[str, Any, Any]]:
    """Matrices of two models by name, the changed ones; `tuned` may carry adapters over rewritten weights."""
    root = tuned.get_base_model() if isinstance(tuned, PeftModel) else tuned
    adapted = dict(_adapted(root)) if any(_outermost(root)) else {}
    wrapped = [key for key, _ in _outermost(root)]
    beside = {
        f"{key}.{name}": _Bare(module.get_base_layer(), name)
        for key, module in _outermost(root)
        if isinstance(module, ParamWrapper)
        for name in expert_names(module.get_base_layer())
    }
    before, after = _matrices(base), {**_matrices(root, wrapped), **beside, **adapted}
    if odd := sorted(before.keys() ^ after.keys()):
        raise InputError(f"The two models' linear layers differ, so they cannot be compared: {', '.join(odd[:5])}.")
    return [
        (key, module, after[key])
        for key, module in before.items()
        if key in adapted or not torch.equal(_stored(module), _stored(after[key]).to(_stored(module)))
    ]


def _stored(module: Any) -> Tensor:
    if isinstance(module, _Bare):
        bare: Tensor = getattr(module.owner, module.name)
        return bare.detach()
    backend = quantization_backend(module, module)
    stored: Tensor = module.weight if backend is None else dequantised(module, backend)
    return stored.detach()


def _matrix(module: Any) -> Tensor:
    """(m, n) in float32 or better; of experts (experts, m, n), whichever way they are stored."""
    weight = at_least_float32(_stored(module))
    if isinstance(module, _Bare):
        return weight.mT if getattr(module.owner, "is_transposed", False) and is_experts(module.owner) else weight
    return as_matrix(module, weight)


@torch.no_grad()
def _effective(name: str, module: Any) -> tuple[Tensor, Tensor]:
    """W0 and W_eff of a linear layer, a trained copy, or a layer with adapters."""
    if isinstance(module, _Saved):
        return _matrix(module.before), _matrix(module.after)
    if not isinstance(module, BaseTunerLayer):
        return _matrix(module), _matrix(module)
    try:
        with onload_layer(module):
            if _is_quantised_otherwise(module):
                return _by_its_outputs(module)
            copied = _float_copy(module)
            base = copied.get_base_layer()
            changed = _Bare(base, copied.parameter_name) if isinstance(copied, ParamWrapper) else base
            if copied.merged:
                copied.unmerge()
            before = _matrix(changed).clone()
            copied.merge()
            return before, _matrix(changed)
    except (NotImplementedError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        kind = type(module).__name__
        raise UpdatesUnavailableError(f"{name}: {kind} cannot be merged to measure its change: {error}") from error


def _is_quantised_otherwise(module: Any) -> bool:
    """Tell whether a quantised layer has classes of PEFT's own for it, whose merging writes quantised weights."""
    base = module.get_base_layer()
    return getattr(module, "quantization_backend", None) is None and quantization_backend(base, base) is not None


def _by_its_outputs(layer: Any) -> tuple[Tensor, Tensor]:
    """W0 and W_eff of a layer over a quantised base, by what it makes of the unit vectors over W0 in float32."""
    if layer.merged:
        raise ValueError("it is merged into a quantised weight")
    base = layer.get_base_layer()
    weight = at_least_float32(dequantised(base, quantization_backend(base, base)))
    copied = in_float32(layer, weight, base)
    with eval_mode(copied):
        units = torch.eye(weight.shape[1], dtype=weight.dtype, device=weight.device)
        return weight, weight + effect_of(copied, units, copied(units)).T


def _float_copy(layer: Any) -> Any:
    """The layer in float32 (or float64 as it is), over a dequantised weight if its base is quantised."""
    backend = getattr(layer, "quantization_backend", None)
    base = layer.get_base_layer()
    shared = {id(m._hf_hook): m._hf_hook for m in layer.modules() if hasattr(m, "_hf_hook")}  # noqa: SLF001 -- accelerate's
    if backend is None:
        copied = copy.deepcopy(layer, memo=shared)
        return copied if any(p.dtype == torch.float64 for p in base.parameters()) else copied.float()
    weight = dequantised(base, backend).detach().float()
    unpacked = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    unpacked.weight = nn.Parameter(weight.clone(), requires_grad=False)
    copied = copy.deepcopy(layer, memo={**shared, id(base): unpacked, id(backend): backend}).float()
    copied.quantization_backend = None
    return copied
