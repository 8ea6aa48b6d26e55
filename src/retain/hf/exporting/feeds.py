"""Which layer feeds which: where a scale of a layer's input features can be moved into the layer before it.

No architecture is known here. A forward pass tells which modules give and take the very same tensor; for the others a
trial decides. The outputs of a layer P that runs before L are multiplied by known numbers, channel by channel. P feeds
L if each channel of L's input is then multiplied by the number of one channel of P; and it feeds nothing else if, with
L's input divided by these numbers again, the smallest module that holds both gives the outputs that it gave before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from retain.hf.exporting.probe import outputs_of
from retain.hf.tuners.base_weight import is_linear

LEVELS = 3
"""How many modules above a layer its feeder is looked for in."""

NEAREST = 10
"""How many layers are tried in each of them, those that ran last."""

_TOLERANCE = {torch.float64: 1e-9, torch.float32: 2e-4}
_DIGITS = 48
"""Numbers that one pass can tell apart; channels are numbered in several passes, digit by digit."""


@dataclass(frozen=True)
class Feed:
    """A layer that feeds others, and nothing else.

    Attributes:
        feeder: its name.
        taken: the index of the feeder's output channel, by the channel of the input that it becomes.
    """

    feeder: str
    taken: Tensor


@dataclass
class Trace:
    """One forward pass of a model.

    Attributes:
        root: the model, without adapters.
        order: names of modules in the order in which they returned.
        gave: each module's output, where it is one tensor.
        took: each linear layer's input.
        calls: arguments of each module's first call.
    """

    root: nn.Module
    order: list[str] = field(default_factory=list)
    gave: dict[str, Tensor] = field(default_factory=dict)
    took: dict[str, Tensor] = field(default_factory=dict)
    calls: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = field(default_factory=dict)

    @classmethod
    def of(cls, root: nn.Module, inputs: dict[str, Tensor]) -> Trace:
        """Run a model once, in eval mode and without gradients; the caller sees to both."""
        trace = cls(root)
        with ExitStack() as undo:
            for name, module in root.named_modules():
                hook = module.register_forward_hook(trace._noting(name), with_kwargs=True)
                undo.callback(hook.remove)
            outputs_of(root, inputs)
        return trace

    def _noting(self, name: str) -> Callable[..., None]:
        def note(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            if name in self.calls:
                return
            self.order.append(name)
            self.calls[name] = (args, kwargs)
            if isinstance(output, Tensor):
                self.gave[name] = output
            if is_linear(module) and args:
                self.took[name] = args[0]

        return note

    def together(self, layer: str) -> list[str]:
        """The linear layers that take the very tensor which a layer takes, itself among them."""
        return [name for name, tensor in self.took.items() if tensor is self.took[layer]]

    def feed(self, layer: str, wanted: Tensor) -> Feed | None:
        """The layer whose output channels become a layer's input channels, and nothing else; None where none does.

        Args:
            layer: the layer that is fed.
            wanted: the scales that are to be moved; a ReLU lets positive ones through, and no others.
        """
        group = self.together(layer)
        for feeder, channels in self._candidates(layer):
            above = _common(self.root, [feeder, *group])
            if above not in self.calls:
                continue
            taken = self._taken(above, feeder, channels, layer)
            if taken is not None and self._feeds_nothing_else(above, feeder, taken, group, wanted):
                return Feed(feeder, taken.cpu())
        return None

    def _candidates(self, layer: str) -> Iterator[tuple[str, slice]]:
        """Modules that may feed a layer, nearest first, each with the outputs that may be meant."""
        width, before = self.took[layer].shape[-1], self.order[: self.order.index(layer)]
        same = [name for name in before if self.gave.get(name) is self.took[layer]]
        yield from ((name, slice(None)) for name in reversed(same) if scalable(self.root.get_submodule(name)))
        seen = {*same, layer}
        parts = layer.split(".")
        for level in range(1, min(LEVELS, len(parts)) + 1):
            inside = "".join(f"{part}." for part in parts[:-level])
            near = [name for name in reversed(before) if name.startswith(inside) and name in self.gave]
            for name in [name for name in near if scalable(self.root.get_submodule(name))][:NEAREST]:
                if name not in seen:
                    seen.add(name)
                    yield from ((name, part) for part in _parts(self.gave[name].shape[-1], width))

    def _taken(self, above: str, feeder: str, channels: slice, layer: str) -> Tensor | None:
        """The feeder's channel behind each channel of the layer's input; None where they are no multiples of any."""
        before = self.took[layer]
        width = self.gave[feeder].shape[-1]
        numbers = torch.arange(width, device=before.device)[channels]
        found = torch.zeros(before.shape[-1], dtype=torch.long, device=before.device)
        place = 1
        while place == 1 or place < len(numbers):
            scale = torch.ones(width, dtype=before.dtype, device=before.device)
            digits = (torch.arange(len(numbers), device=before.device) // place) % _DIGITS
            scale[channels] = 0.6 * 3.0 ** (digits.to(before.dtype) / (_DIGITS - 1))
            after = self._input(above, {feeder: scale}, layer)
            if after is None or (digit := _digit(before, after)) is None:
                return None
            found += digit * place
            place *= _DIGITS
        if bool((found >= len(numbers)).any()):
            return None
        return numbers[found]

    def _input(self, above: str, scales: Mapping[str, Tensor], layer: str) -> Tensor | None:
        """A layer's input where a module runs again with the outputs of some layers in it scaled."""
        held: list[Tensor] = []
        module = self.root.get_submodule(layer)
        with ExitStack() as undo:
            undo.callback(module.register_forward_pre_hook(lambda _, args: held.append(args[0])).remove)
            undo.enter_context(_scaling(self.root, scales, {}))
            args, kwargs = self.calls[above]
            self.root.get_submodule(above)(*args, **kwargs)
        return held[0] if held and held[0].shape == self.took[layer].shape else None

    def _feeds_nothing_else(self, above: str, feeder: str, taken: Tensor, group: list[str], wanted: Tensor) -> bool:
        """True if scaling the feeder's outputs changes nothing where the layers of the group divide by it again."""
        tensor = self.took[group[0]]
        draw = torch.Generator().manual_seed(1)
        scale = 0.5 + 1.5 * torch.rand(self.gave[feeder].shape[-1], generator=draw, dtype=torch.float64)
        scale = scale.to(tensor.device, tensor.dtype)
        used = torch.zeros_like(scale, dtype=torch.bool)
        used[taken] = True
        scale = torch.where(used, scale, torch.ones_like(scale))
        scale[taken] *= torch.where(wanted < 0, -1.0, 1.0).to(scale)
        args, kwargs = self.calls[above]
        module = self.root.get_submodule(above)
        before = _tensors(module(*args, **kwargs))
        with _scaling(self.root, {feeder: scale}, dict.fromkeys(group, scale[taken])):
            after = _tensors(module(*args, **kwargs))
        return len(before) == len(after) and all(map(alike, before, after))


def alike(one: Tensor, other: Tensor) -> bool:
    """Equal but for the rounding of the dtype, in units of the largest value."""
    if one.shape != other.shape or not one.is_floating_point():
        return one.shape == other.shape and bool(torch.equal(one, other))
    return bool((one - other).abs().max() <= _TOLERANCE.get(one.dtype, 2e-2) * one.abs().max().clamp_min(1e-30))


def scalable(module: nn.Module) -> bool:
    """Tell whether a module's outputs can be scaled by its own parameters: a linear layer, or a norm with weights."""
    own = dict(module.named_parameters(recurse=False))
    return is_linear(module) or ("weight" in own and own["weight"].dim() == 1 and set(own) <= {"weight", "bias"})


@torch.no_grad()
def scale_outputs(module: Any, scale: Tensor, given: tuple[tuple[Any, ...], dict[str, Any]]) -> bool:
    """Scale a module's outputs by its own parameters; False, and nothing is changed, where that cannot be done exactly.

    Args:
        module: a linear layer or a norm.
        scale: by output channel, float64.
        given: arguments of a call, on which a norm is tried.
    """
    weight, bias = module.weight, getattr(module, "bias", None)
    if is_linear(module):
        rows = scale.to(weight.device)
        rows = rows[None, :] if isinstance(module, Conv1D) else rows[:, None]
        weight.copy_((weight.double() * rows).to(weight.dtype))
        if bias is not None:
            bias.copy_((bias.double() * scale.to(bias.device)).to(bias.dtype))
        return True
    args, kwargs = given
    expected = module(*args, **kwargs) * scale.to(weight)
    old, old_bias = weight.clone(), None if bias is None else bias.clone()
    for offset in (0.0, 1.0):  # some norms multiply by 1 + weight
        weight.copy_(((old.double() + offset) * scale.to(old.device) - offset).to(old.dtype))
        if bias is not None and old_bias is not None:
            bias.copy_((old_bias.double() * scale.to(old_bias.device)).to(old_bias.dtype))
        if alike(expected, module(*args, **kwargs)):
            return True
        weight.copy_(old)
        if bias is not None and old_bias is not None:
            bias.copy_(old_bias)
    return False


def _parts(outside: int, width: int) -> Iterator[slice]:
    """All outputs, or the last or first so many of a fused layer, that may become an input of some width."""
    if width % outside == 0:
        yield slice(None)
    for shared in (1, 2, 3, 4, 5, 6, 7, 8, 12, 16):
        size, rest = divmod(width, shared)
        if rest == 0 and size < outside:
            yield slice(outside - size, outside)
            yield slice(0, size)


def _digit(before: Tensor, after: Tensor) -> Tensor | None:
    """The digit that each channel was multiplied by; None where one was not multiplied by any of them."""
    x, y = (one.reshape(-1, one.shape[-1]).double() for one in (before, after))
    size = x.square().sum(dim=0)
    if bool((size == 0).any()):
        return None  # a channel that is silent on this input tells nothing
    ratio = (x * y).sum(dim=0) / size
    off = (y - ratio * x).norm(dim=0) / size.sqrt()
    digit = torch.log(ratio.clamp_min(1e-9) / 0.6) / torch.log(torch.tensor(3.0, dtype=torch.float64)) * (_DIGITS - 1)
    nearest = digit.round()
    fits = (off < 1e-3) & ((digit - nearest).abs() < 0.2) & (nearest >= 0) & (nearest < _DIGITS)
    return nearest.long() if bool(fits.all()) else None


@contextmanager
def _scaling(root: nn.Module, outputs: Mapping[str, Tensor], inputs: Mapping[str, Tensor]) -> Iterator[None]:
    """Multiply the outputs of some modules, and divide the inputs of others, inside."""
    with ExitStack() as undo:
        for name, scale in outputs.items():
            undo.callback(root.get_submodule(name).register_forward_hook(_times(scale)).remove)
        for name, scale in inputs.items():
            undo.callback(root.get_submodule(name).register_forward_pre_hook(_over(scale)).remove)
        yield


def _times(scale: Tensor) -> Callable[..., Tensor]:
    return lambda _module, _args, output: output * scale


def _over(scale: Tensor) -> Callable[..., tuple[Any, ...]]:
    return lambda _module, args: (args[0] / scale, *args[1:])


def _common(root: nn.Module, names: list[str]) -> str:
    """The smallest module with code of its own that holds all of some modules."""
    parts = [name.split(".")[:-1] for name in names]
    shared: list[str] = []
    for level in zip(*parts, strict=False):
        if len(set(level)) > 1:
            break
        shared.append(level[0])
    while shared and isinstance(root.get_submodule(".".join(shared)), (nn.ModuleList, nn.ModuleDict)):
        shared.pop()
    return ".".join(shared)


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, Mapping):
        value = list(value.values())
    return [one for inner in value for one in _tensors(inner)] if isinstance(value, (list, tuple)) else []
