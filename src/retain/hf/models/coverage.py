"""The share of a model's weights that training can change, in sentences for a user: what is adapted and what is not."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

from peft.tuners.lora.layer import ParamWrapper
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.other import AuxiliaryTrainingWrapper
from torch import nn

from retain.hf.models.direct_reads import passed_over, read_directly
from retain.hf.models.experts import expert_names, is_experts, is_router
from retain.hf.models.reach import unreached
from retain.hf.models.sides import root_of

MOST = 0.5
"""From this share of the weights in linear layers, experts and routers on, it is told that no adapter touches them."""
_SHOWN = 4
"""Names given in a sentence."""


class _Weights(NamedTuple):
    """The matrices of one module, or one parameter of experts.

    Attributes:
        name: as in the base.
        kind: "linear layers", "experts" or "routers".
        size: numbers in it.
        is_adapted: an adapter, or a copy trained in full, changes it.
        by_weight: "always" where an adapter would be passed over, "in part" where it is in some branch, else nothing.
    """

    name: str
    kind: str
    size: int
    is_adapted: bool
    by_weight: str


def coverage(model: nn.Module) -> list[str]:
    """Sentences on the weights that a model's adapters do not touch, or touch though one might not expect it.

    Args:
        model: with its adapters, before or after training, also without weights (meta device); or one that is trained
            in full.

    Returns:
        Notes for a check and a record; none where all linear layers are adapted, and none on adapters that are no
        changes of layers (prompts).
    """
    root = root_of(model)
    away = unreached(root)
    if not any(isinstance(module, (BaseTunerLayer, AuxiliaryTrainingWrapper)) for module in root.modules()):
        return _of_full(root, away) if root is model else []
    weights = [part for part in _weights(root) if part.name not in _heads(root)]
    inside = tuple(f"{name}." for name in away) or ("\0",)
    far = [part for part in weights if f"{part.name}.".startswith(inside)]
    near = [part for part in weights if not f"{part.name}.".startswith(inside)]
    return [
        *_unreached_notes(away, far),
        *_by_weight_notes(near),
        *_mixture_notes(near),
        *_untouched_notes(near, _size(root)),
    ]


def _of_full(root: nn.Module, away: list[str]) -> list[str]:
    if not away:
        return []
    count = sum(parameter.numel() for name in away for parameter in root.get_submodule(name).parameters())
    return [
        f"Text does not go through {_named(away)}: {count:,} of the model's {_size(root):,} weights stay as they are."
    ]


def _unreached_notes(away: list[str], far: list[_Weights]) -> list[str]:
    adapted = [part.name for part in far if part.is_adapted]
    if adapted:
        note = (
            f"{len(adapted)} adapters are on layers that text does not go through ({_named(adapted)}); they will not "
        )
        return [note + f"be trained. Leave out {_named(away)} by exclude_modules."]
    return [f"Text does not go through {_named(away)}: its layers have no adapter."] if far else []


def _by_weight_notes(near: list[_Weights]) -> list[str]:
    partly = sorted({_end(part.name) for part in near if part.by_weight == "in part" and part.is_adapted})
    if partly:
        note = f"In a branch of its own the model's code reads the weights of {_named(partly)} without calling them; "
        return [note + "there their adapters do not act."]
    ends = sorted({_end(part.name) for part in near if part.by_weight == "always" and not part.is_adapted})
    if not ends:
        return []
    note = f"No adapter is put on {_named(ends)}: the model's code reads their weights without calling them, always or "
    return [note + "in a fused kernel, and would pass over it."]


def _mixture_notes(near: list[_Weights]) -> list[str]:
    changed = [
        f"{kind} ({_named(sorted({_end(part.name) for part in near if part.kind == kind and part.is_adapted}))})"
        for kind in ("experts", "routers")
        if any(part.kind == kind and part.is_adapted for part in near)
    ]
    if not changed:
        return []
    note = f"Adapters also change the {' and the '.join(changed)} of this mixture; name target_modules to choose, for "
    return [note + "instance the attention's layers alone."]


def _untouched_notes(near: list[_Weights], total: int) -> list[str]:
    kinds: dict[str, list[_Weights]] = defaultdict(list)
    for part in near:
        if not part.is_adapted:
            kinds[part.kind].append(part)
    untouched = sum(part.size for part in near if not part.is_adapted)
    all_of_it = sum(part.size for part in near)
    if not untouched or not (kinds.get("experts") or untouched >= MOST * all_of_it):
        return []
    parts = [
        f"{sum(part.size for part in parts):,} in {kind} ({_named(sorted({_end(part.name) for part in parts}))})"
        for kind, parts in sorted(kinds.items())
    ]
    share = f"{untouched:,} of the base's {total:,} weights ({100 * untouched / total:.0f} %)"
    return [f"No adapter touches {share}: {', '.join(parts)}."]


def _weights(root: nn.Module) -> Iterator[_Weights]:
    """All matrices of linear layers, experts and routers, whatever adapters are around them."""
    for plain, module, over, holder in _plain(root):
        adapted = any(not isinstance(layer, ParamWrapper) for layer in over)
        own = plain.rpartition(".")[2]
        by_weight = "always" if passed_over(holder, own) else "in part" if read_directly(holder, own) else ""
        wrapped = {layer.parameter_name for layer in over if isinstance(layer, ParamWrapper)}
        if is_experts(module):
            for name in expert_names(module):
                count = getattr(module, name).numel()
                yield _Weights(f"{plain}.{name}", "experts", count, adapted or name in wrapped, by_weight="")
        elif is_router(module, holder):
            yield _Weights(plain, "routers", module.weight.numel(), bool(over), by_weight="")
        elif (count := _linear_size(module)) is not None:
            yield _Weights(plain, "linear layers", count, bool(over), by_weight)


def _plain(root: nn.Module) -> Iterator[tuple[str, Any, list[Any], nn.Module]]:
    """Each module of the base: its name there, itself, the adapters and trained copies over it, and its holder."""

    def walk(name: str, module: nn.Module, over: list[Any], holder: nn.Module) -> Iterator[Any]:
        if isinstance(module, BaseTunerLayer):
            yield from walk(name, module.base_layer, [*over, module], holder)
        elif isinstance(module, AuxiliaryTrainingWrapper):
            yield from walk(name, module.original_module, [*over, module], holder)
        else:
            yield name, module, over, holder
            for key, child in module.named_children():
                if not key.startswith("parametrizations"):
                    yield from walk(f"{name}.{key}".removeprefix("."), child, _kept(over), module)

    return walk("", root, [], root)


def _kept(over: list[Any]) -> list[Any]:
    """What is over the modules inside a module too: a copy of all of it."""
    return [layer for layer in over if isinstance(layer, AuxiliaryTrainingWrapper)]


def _linear_size(module: Any) -> int | None:
    """Numbers in the matrix of a linear layer, plain or quantised; None for any other module."""
    if any(True for _ in module.children()):
        return None
    sizes = [getattr(module, name, None) for name in ("in_features", "out_features")]
    if all(isinstance(size, int) for size in sizes):
        return int(sizes[0]) * int(sizes[1])  # type: ignore[arg-type]  # both are, as was just asked
    return int(module.weight.numel()) if type(module).__name__ == "Conv1D" else None


def _heads(root: Any) -> set[str]:
    """The names of the output head, which 'all-linear' does not mean."""
    head = getattr(root, "get_output_embeddings", lambda: None)()
    if head is None:
        return set()
    under = {id(head), id(getattr(head, "original_module", None)), id(getattr(head, "base_layer", None))}
    return {name for name, module, *_ in _plain(root) if id(module) in under}


def _size(root: nn.Module) -> int:
    """The number of the base's weights; what is shared counts once."""
    seen: dict[int, int] = {}
    for _, module, *_ in _plain(root):
        linear = _linear_size(module)
        own = list(module.named_parameters(recurse=False))
        seen |= {id(p): linear if linear is not None and name == "weight" else p.numel() for name, p in own}
    return sum(seen.values())


def _end(name: str) -> str:
    return name.rpartition(".")[2]


def _named(names: list[str]) -> str:
    return ", ".join([*names[:_SHOWN], *([f"and {len(names) - _SHOWN} more"] if len(names) > _SHOWN else [])])
