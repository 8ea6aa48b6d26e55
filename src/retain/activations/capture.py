"""Capture of the inputs of linear layers while a model runs; the model is left as it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from retain.activations import moments as sums
from retain.activations.moments import Moments
from retain.errors import InputError
from retain.hf.models.sides import eval_mode


class SharingChangedError(Exception):
    """Two layers that read one tensor in one batch read different ones in another; their sums must be kept apart."""


class _EnoughError(Exception):
    """Raised inside a forward pass once every observed layer has run: the rest would be computed for nothing."""


class _Call(NamedTuple):
    """A layer's call that is summed up when the next one is known: its input and its output, and their versions."""

    name: str
    x: Tensor
    y: Tensor
    versions: tuple[int, int]


@dataclass
class Capture:
    """Sums over the inputs of layers, and the layers that share them.

    Attributes:
        layers: the observed linear layers by name.
        dtype: of the sums.
        share: whether layers that read one tensor share one sum.
        scaled: whether a sample's tokens are divided by the largest |output| of the layer, so that nothing is shared.
        outputs: layers whose outputs are summed up instead of their inputs; they share with none.
        undecided: layers that join `outputs` unless the layer called after them reads the same input. It is decided at
            a layer's first call; captures of one model have both sets in common.
        dry: only find out which layers share; sum nothing.
        stops: whether a forward pass may be broken off once every observed layer has run, in a model that runs each of
            them as often in every pass.
        leader: for each layer that ran, the one whose sums hold its input.
        moments: by leader.
        notes: what a reader of the statistics should know.
    """

    layers: Mapping[str, nn.Module]
    dtype: torch.dtype = torch.float32
    share: bool = True
    scaled: bool = False
    outputs: set[str] = field(default_factory=set)
    undecided: set[str] = field(default_factory=set)
    dry: bool = False
    stops: bool = False
    leader: dict[str, str] = field(default_factory=dict)
    moments: dict[str, Moments] = field(default_factory=dict)
    notes: dict[str, None] = field(default_factory=dict)
    _mask: list[Tensor] = field(default_factory=list)
    _last: tuple[str, Tensor, int] | None = None
    _held: _Call | None = None
    _calls: dict[str, int] = field(default_factory=dict)
    _reads: dict[str, int] = field(default_factory=dict)
    _whole_pass_seen: bool = False

    def run(self, model: Callable[..., Any], batch: Mapping[str, Any]) -> None:
        """Run the model on one batch and add to the sums; no more of the forward pass than needed is computed."""
        self._mask = [m for key, m in batch.items() if key.endswith("attention_mask") and isinstance(m, Tensor)]
        self._last, self._calls = None, dict.fromkeys(self.layers, 0)
        try:
            with suppress(_EnoughError):
                model(**batch)
                self._whole_pass_seen = self.stops and all(count == 1 for count in self._calls.values())
            self.decide(None)
        finally:
            self._last, self._held, self._mask = None, None, []
        if any(self._reads[name] != self._reads[leader] for name, leader in self.leader.items()):
            raise SharingChangedError

    def resumed(self) -> None:
        """Take given sums and leaders as begun: no layer may join a leader that has read something already."""
        self._reads = dict.fromkeys(self.leader, 1)

    @property
    def needs_output(self) -> frozenset[str]:
        """The layers whose outputs must be observed."""
        return frozenset(self.layers if self.scaled else self.outputs | self.undecided)

    def observe(self, name: str, x: Tensor, y: Tensor | None) -> None:
        """Observe one call of one layer: its input (…, n), and its output where that is needed."""
        self._calls[name] += 1
        self.decide(self._reading(name, x))
        leader = self._leader(name, x)
        if leader == name and y is not None and name in self.undecided:
            self._held = _Call(name, x, y, (x._version, y._version))  # noqa: SLF001 -- as in `_leader`
        elif leader == name and not self.dry:
            self._add(name, x, y)
        self.undecided.discard(name)
        if self._whole_pass_seen and all(self._calls.values()):
            raise _EnoughError

    def decide(self, read: str | None) -> None:
        """Sum up the call that is held, if one is, at its output; at its input where that is read again.

        Args:
            read: the layer whose input the next one reads.
        """
        call, self._held = self._held, None
        if call is None:
            return
        same = call.versions[0] == call.x._version, call.versions[1] == call.y._version  # noqa: SLF001 -- as above
        if read != call.name and same[1]:
            self.outputs.add(call.name)
            self._last = None
        elif not same[0]:
            raise SharingChangedError
        self._add(call.name, call.x, call.y)

    def _add(self, name: str, x: Tensor, y: Tensor | None) -> None:
        tokens, samples = self._tokens(name, y if y is not None and name in self.outputs else x)
        held = self.moments.get(name)
        if held is None:
            held = self.moments[name] = sums.empty(tokens.shape[-1], self.dtype, tokens.device)
        elif held.gram.device != tokens.device:  # resumed, in a model that is spread over devices
            held.gram, held.total = held.gram.to(tokens.device), held.total.to(tokens.device)
        sums.update(held, tokens, samples, self._scale(name, y) if y is not None and self.scaled else None)

    def _leader(self, name: str, x: Tensor) -> str:
        """The layer whose sums hold this input: another layer if it has just read the very same tensor."""
        read = self._reading(name, x)
        if name not in self.leader:  # who follows must have read all that its leader has
            self.leader[name] = read if self._reads.get(read, 0) == 1 else name
        leader = self.leader[name]
        self._reads[name] = self._reads.get(name, 0) + 1
        if leader == name and name not in self.outputs:
            self._last = (name, x, x._version)  # noqa: SLF001 -- a tensor changed in place has another version
        elif leader != read or self._reads[name] != self._reads[leader]:
            raise SharingChangedError
        return leader

    def _reading(self, name: str, x: Tensor) -> str:
        """The layer that has just read this very tensor, where sums may be shared; else this one."""
        apart = not self.share or self.scaled or name in self.outputs
        same = not apart and self._last is not None and _same(x, self._last[1], self._last[2])
        return self._last[0] if same and self._last is not None else name

    def _tokens(self, name: str, x: Tensor) -> tuple[Tensor, Tensor]:
        """The tokens that count (T, n) and their samples (T,)."""
        flat, counts = x.reshape(-1, x.shape[-1]), self._counting(name, x)
        samples = torch.arange(x.shape[0], device=x.device) if x.dim() > 1 else torch.zeros(1, dtype=torch.long)
        samples = samples.repeat_interleave(len(flat) // max(len(samples), 1)).to(x.device)
        if counts is None:
            return flat, samples
        if x.dim() == 2 and counts.dim() == 2:  # rows and positions in one dimension
            samples = torch.arange(len(counts), device=x.device).repeat_interleave(counts.shape[1])
        keep = counts.reshape(-1).to(x.device).bool()
        return (flat, samples) if bool(keep.all()) else (flat[keep], samples[keep])

    def _counting(self, name: str, x: Tensor) -> Tensor | None:
        """The mask that belongs to x (B, T, n) or (B·T, n); None where all tokens count."""
        for mask in self._mask:
            if mask.dim() == 2 and (x.shape[:-1] == mask.shape or x.shape[:-1] == (mask.numel(),)):
                return mask
        pooled = x.dim() == 2 and any(len(x) == len(mask) for mask in self._mask)
        if not pooled and any(not mask.bool().all() for mask in self._mask):
            self.notes[
                f"{name}: {tuple(x.shape)} fits no attention mask, so padding, if there was any, was counted."
            ] = None
        return None

    def _scale(self, name: str, y: Tensor) -> Tensor:
        """1 / max |y| of each sample over the tokens that count (B,)."""
        tokens, samples = self._tokens(name, y)
        largest = torch.zeros(int(samples.max()) + 1 if len(samples) else 1, dtype=self.dtype, device=y.device)
        largest.scatter_reduce_(0, samples, tokens.abs().amax(dim=1).to(self.dtype), "amax")
        return torch.where(largest > 0, 1 / largest.clamp_min(torch.finfo(self.dtype).tiny), 1)


class Observer(Protocol):
    """Observes each call of a layer; its fields are those of `Capture`."""

    @property
    def layers(self) -> Mapping[str, nn.Module]:
        """The observed layers by name."""
        ...

    @property
    def needs_output(self) -> frozenset[str]:
        """The layers whose outputs must be observed."""
        ...

    def observe(self, name: str, x: Tensor, y: Tensor | None) -> None:
        """Observe one call."""
        ...


@contextmanager
def capturing(model: nn.Module, capture: Observer) -> Iterator[None]:
    """Observe the layers inside the context, with the model in evaluation mode and without gradients.

    Afterwards hooks are gone and every module's mode is what it was, also after an exception.
    """
    with ExitStack() as undo:
        undo.enter_context(eval_mode(model))
        after = capture.needs_output
        for name, layer in capture.layers.items():
            if name in after:
                handle = layer.register_forward_hook(_after(capture, name), with_kwargs=True)
            else:
                handle = layer.register_forward_pre_hook(_before(capture, name), with_kwargs=True)
            undo.callback(handle.remove)
        undo.enter_context(torch.compiler.set_stance("force_eager"))  # hooks cannot be traced
        with torch.inference_mode(mode=False), torch.no_grad():  # tensors of inference mode have no version
            yield


def _before(capture: Observer, name: str) -> Callable[..., None]:
    def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        capture.observe(name, _input(name, args, kwargs), None)

    return hook


def _after(capture: Observer, name: str) -> Callable[..., None]:
    def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], y: Tensor) -> None:
        capture.observe(name, _input(name, args, kwargs), y)

    return hook


def _input(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    for value in (*args, *kwargs.values()):
        if isinstance(value, Tensor):
            return value
    raise InputError(f"{name} was called without a tensor; it cannot be calibrated, so leave it out of the targets.")


def _same(x: Tensor, last: Tensor, version: int) -> bool:
    """True if two tensors are one, by storage, shape and strides, and unchanged since.

    `last` is held, so that its memory cannot have been given to another tensor meanwhile.
    """
    places = [(t.data_ptr(), t.shape, t.stride(), t.dtype) for t in (x, last)]
    return places[0] == places[1] and last._version == version  # noqa: SLF001 -- as above
