"""Fold a VeFA into the layers before it: a plain model of the base's own form that costs nothing more to run.

y = W0((1 + λ) ⊙ x) is W0 x' where the layer that makes x makes (1 + λ) ⊙ x instead: its rows (or a norm's weight, and
the bias) are multiplied by 1 + λ. That is exact only where nothing else reads x, or everything that does has the same
λ. Whether it is so is tried out on the model itself (`feeds`), and the folded model must give the same outputs.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from retain.errors import InputError
from retain.hf.exporting.adapter_files import input_scales
from retain.hf.exporting.feeds import Feed, Trace, alike, scale_outputs
from retain.hf.exporting.merge import refuse_quantised
from retain.hf.exporting.probe import outputs_of, probe_inputs
from retain.hf.models.inference import evaluating
from retain.hf.models.sides import root_of

_CURE = "Take --to merged (a plain model too, with the scales in the layers' own weights) or --to ia3."
_SAME = 1e-6
"""Largest difference between scales that count as the same, as float32 rounds them."""

_SHOWN = 4


def fold_in_place(model: Any, adapter: str) -> tuple[nn.Module, list[str]]:
    """Move the scales of a VeFA into the layers that make its inputs, and take the adapter off.

    Args:
        model: a `PeftModel` in float32 or float64 whose active adapter is that VeFA; of no use afterwards.
        adapter: its name.

    Returns:
        The plain model, and a sentence for each kind of layer that says where its scales went.

    Raises:
        InputError: a layer's scales cannot be folded exactly; each such layer is named, with the reason.
    """
    refuse_quantised(root_of(model))
    with evaluating(model):
        inputs = probe_inputs(model)
        expected = outputs_of(model, inputs)
        scales = {name: one for name, one in input_scales(model, adapter).items() if bool((one != 1).any())}
        root: nn.Module = model.unload()
        with evaluating(root):
            trace = Trace.of(root, inputs)
            done = _folded(root, trace, scales)
            found = outputs_of(root, inputs)
    if not alike(expected, found):
        raise InputError(
            f"--to folded: the folded model's outputs differ from the adapted model's by {_distance(expected, found)}, "
            f"so it is not the same function. {_CURE}"
        )
    return root, done


def _folded(root: nn.Module, trace: Trace, scales: dict[str, Tensor]) -> list[str]:
    """Fold all scales, or none.

    Raises:
        InputError: with every layer whose scales cannot be folded.
    """
    problems: list[str] = []
    todo: list[tuple[str, str, Tensor]] = []
    seen: set[str] = set()
    for layer, wanted in scales.items():
        if layer in seen:
            continue
        if layer not in trace.took:
            problems.append(f"{layer}: is not called for this input, so what feeds it cannot be told")
            continue
        group = trace.together(layer)
        seen |= set(group)
        feed = trace.feed(layer, wanted)
        told = _obstacle(trace, layer, group, feed, scales)
        if told:
            problems.append(told)
        elif feed is not None:
            todo.append((layer, feed.feeder, _spread(trace, feed, wanted)))
    for layer, feeder, scale in todo if not problems else []:
        if not scale_outputs(root.get_submodule(feeder), scale, trace.calls[feeder]):
            kind = type(root.get_submodule(feeder)).__name__
            problems.append(f"{layer}: it is fed by {feeder} ({kind}), whose weight does not scale its outputs")
    if problems:
        more = [f"--to folded: and {len(problems) - _SHOWN} more layers like these."] if problems[_SHOWN:] else []
        raise InputError([*(f"--to folded: {one}. {_CURE}" for one in problems[:_SHOWN]), *more])
    return [f"{layer} into {feeder}" for layer, feeder, _ in todo]


def _obstacle(trace: Trace, layer: str, group: list[str], feed: Feed | None, scales: dict[str, Tensor]) -> str | None:
    """The reason why the scales of a group of layers cannot be moved, or None."""
    others = [name for name in group if name != layer]
    unlike = [name for name in others if name not in scales or _distance(scales[name], scales[layer]) > _SAME]
    if unlike:
        without = [name for name in unlike if name not in scales]
        what = "has no scales" if len(without) == 1 else "have none"
        differ = (
            f"{' and '.join(_short(layer, name) for name in without)} {what}"
            if without
            else f"their scales differ by up to {max(_distance(scales[name], scales[layer]) for name in unlike):.2g}"
        )
        return f"{layer}: its input is that of {' and '.join(_short(layer, name) for name in unlike)} too, and {differ}"
    if feed is None:
        return (
            f"{layer}: no layer before it was found of which each output channel reaches this layer alone, and "
            "unchanged (a nonlinearity, a residual path or a router lies between)"
        )
    smallest, largest = _spread(trace, feed, scales[layer], "amin"), _spread(trace, feed, scales[layer], "amax")
    if _distance(smallest, largest) > _SAME:
        return (
            f"{layer}: each output of {feed.feeder} becomes several of its inputs (grouped heads share them), and the "
            f"scales of those differ by up to {_distance(smallest, largest):.2g}"
        )
    return None


def _spread(trace: Trace, feed: Feed, scale: Tensor, among: str = "amax") -> Tensor:
    """The scale of each of the feeder's output channels; 1 where the layer takes none of it."""
    start = torch.ones(trace.gave[feed.feeder].shape[-1], dtype=scale.dtype)
    return start.scatter_reduce(0, feed.taken, scale, among, include_self=False)


def _distance(one: Tensor, other: Tensor) -> float:
    if one.shape != other.shape:
        return float("inf")
    return float((one - other).abs().max())


def _short(layer: str, name: str) -> str:
    """A name without the parts that it shares with a layer's."""
    parent = layer.rpartition(".")[0]
    return name.removeprefix(f"{parent}.") if parent else name
