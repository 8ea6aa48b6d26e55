"""Let a model act at a part of its update inside a context, and restore it bit for bit afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from peft.tuners.lora.layer import VARIANT_KWARG_KEYS
from torch import Tensor, nn

from retain.errors import InputError
from retain.hf.models.sides import is_adapted
from retain.hf.models.vocabulary import embeddings_of
from retain.hf.scaling.parts import Alpha, Factor, alphas, check_scalable, factors, parts, tensors_of
from retain.hf.tuners.base_weight import at_least_float32

_NOT_FOR_BASE = frozenset({*VARIANT_KWARG_KEYS, "adapter_names"})


@contextmanager
def scaled(model: nn.Module, alpha: Alpha, *, base: nn.Module | None = None) -> Iterator[nn.Module]:
    """Let a model act with α of its update inside the context: W0 + α(W_eff − W0) in every changed layer.

    At 0 the adapters are off and the base's bits act; at 1 nothing is touched. In between, the factor that a method is
    linear in is multiplied by α (one rounding); for other methods (DoRA, OFT, HRA, …) each layer gives y0 + α(y − y0),
    with y0 the output of its base layer. Modules trained in full are interpolated between their original and their
    trained parameters, and so is a fully trained model when its base is given (WiSE-FT, arXiv 2109.01903, equation 1).

    Changes to the swapped tensors inside the context (by training, for one) are lost when it is left.

    Args:
        model: a model with PEFT adapters, or one that was trained in full.
        alpha: a finite number, or numbers by regular expressions of module names. Not confined to [0, 1].
        base: the model that a fully trained one came from. It may be on another device.

    Yields:
        The same model.

    Raises:
        InputError: alpha is no such thing, or the model's update cannot be scaled; see `check_scalable`.
        MergeError: adapters are merged.
    """
    with ExitStack() as undo:
        if base is not None:
            _enter(undo, interpolated(model, base, alpha))
        else:
            check_scalable(model)
            changed = parts(model)
            table = alphas([name for name, _ in changed], alpha)
            seen: set[int] = set()
            for name, module in changed:
                if table[name] == 0:
                    _switch_off(undo, module)
                elif table[name] != 1:
                    _turn(undo, module, table[name], seen)
        yield model


def ensure_scalable(model: nn.Module, base: nn.Module | None = None) -> None:
    """Refuse an update that cannot be scaled back to its base, before much is done with it.

    Args:
        model: a model with PEFT adapters, or one that was trained in full.
        base: what a fully trained model came from; not read for adapters, which have their base inside.

    Raises:
        InputError: its initialisation rewrote the base, it is no update of layers, or its tensors are not the base's by
            name.
        MergeError: adapters are merged.
    """
    with scaled(model, 0.5, base=None if is_adapted(model) else base):
        pass


def interpolated(model: nn.Module, base: nn.Module, alpha: Alpha) -> list[tuple[Factor, float]]:
    """All floating-point tensors of a fully trained model, each with the base's value and its α.

    Where the vocabulary grew, the rows of tokens that the base does not have keep their trained values at every α.

    Raises:
        InputError: the model has adapters, is quantised, or its tensors are not the base's by name and shape.
    """
    if is_adapted(model) or is_adapted(base):
        raise InputError(
            "base= is for a model that was trained in full, but one of the two has adapters, which have their base "
            "inside; leave base out."
        )
    now, before = tensors_of(model), tensors_of(base)
    before |= _grown(model, now, before)
    odd = [key for key, t in now.items() if key not in before or before[key].shape != t.shape]
    if odd := sorted({*odd, *(before.keys() - now.keys())}):
        raise InputError(f"The tuned model and its base differ in more than values: {', '.join(odd[:5])}.")
    if packed := [key for key, p in model.named_parameters() if not p.is_floating_point()]:
        raise InputError(f"{packed[0]} is quantised; interpolate the models before they are quantised.")
    names = [key.rpartition(".")[0] for key in now]
    table = alphas(sorted(set(names)), alpha)
    return [
        (Factor(tensor, before[key]), table[name])
        for name, (key, tensor) in zip(names, now.items(), strict=True)
        if tensor.is_floating_point() and table[name] != 1
    ]


def _grown(model: nn.Module, now: Mapping[str, Tensor], before: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The base's embeddings and output head with the trained rows of tokens that it does not have.

    Raises:
        InputError: the tuned model has fewer tokens than its base.
    """
    own = {id(parameter) for module in embeddings_of(model) for parameter in module.parameters(recurse=False)}
    found = {}
    for key, tensor in now.items():
        old = before.get(key)
        if id(tensor) not in own or old is None or old.shape[1:] != tensor.shape[1:] or len(old) == len(tensor):
            continue
        if len(tensor) < len(old):
            raise InputError(
                f"{key}: the tuned model has rows for {len(tensor)} tokens and its base for {len(old)}, so there is no "
                "way back to the base: tokens that it writes would be missing. Give the tuned model the base's "
                f"rows (resize_token_embeddings({len(old)})) before the two are interpolated."
            )
        found[key] = torch.cat([old.detach().to(tensor), tensor.detach()[len(old) :]])
    return found


def hold(undo: ExitStack, factor: Factor, alpha: float, seen: set[int]) -> None:
    """Give one tensor its value at α until `undo` gives it its old storage back; a shared tensor is changed once."""
    if id(factor.tensor) in seen:
        return
    seen.add(id(factor.tensor))
    undo.callback(_put, factor.tensor, factor.tensor.data)
    factor.tensor.data = factor.at(alpha)


def _put(tensor: Tensor, data: Tensor) -> None:
    tensor.data = data


def _enter(undo: ExitStack, pairs: Iterable[tuple[Factor, float]]) -> None:
    seen: set[int] = set()
    for factor, alpha in pairs:
        hold(undo, factor, alpha, seen)


def _switch_off(undo: ExitStack, module: Any) -> None:
    """As PEFT's `enable_adapters(False)`, without its effect on what is trainable."""
    undo.callback(setattr, module, "_disable_adapters", module._disable_adapters)  # noqa: SLF001 -- the property inverts
    module._disable_adapters = True  # noqa: SLF001 -- as above


def _turn(undo: ExitStack, module: Any, alpha: float, seen: set[int]) -> None:
    turned = factors(module, module.active_adapters)
    if turned is None:
        undo.callback(module.register_forward_hook(_blend(alpha), with_kwargs=True).remove)
        return
    for factor in turned:
        hold(undo, factor, alpha, seen)


def _blend(alpha: float) -> Any:
    """A hook that gives y0 + α(y − y0), exact because both are affine in the layer's weights."""

    def blend(layer: Any, args: tuple[Any, ...], kwargs: dict[str, Any], y: Tensor) -> Tensor:
        own = {key: value for key, value in kwargs.items() if key not in _NOT_FOR_BASE}
        before = at_least_float32(layer.base_layer(*args, **own))
        return torch.add(before, at_least_float32(y) - before, alpha=alpha).to(y.dtype)

    return blend
