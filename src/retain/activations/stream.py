"""Second moments of several data sets, a few layers at a time, in one pass over the data: nothing is kept of them.

The forward passes of all batches wait for one another (`paused`): each runs up to the first layer whose sums would
exceed the limit, these sums are handed over and dropped, and all passes go on. So the sums of the whole model never
lie in memory at once, and no batch is read twice. A layer with fewer outputs than inputs is summed up at its outputs,
h hᵀ, which is less work, and its W C Wᵀ need not be formed. So is one with as many, if no other reads its input.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from retain.activations import moments as sums
from retain.activations.batches import Runner
from retain.activations.capture import Capture, SharingChangedError, capturing
from retain.activations.collect import manifest_of, refuse_broken, sources_of
from retain.activations.moments import Moments
from retain.activations.paused import Pass, wait
from retain.activations.plan import Plan
from retain.activations.resume import Part
from retain.activations.sequences import Sequences
from retain.activations.store import Source, Statistics, shape_of
from retain.errors import InputError
from retain.hf.models.sides import base_view, root_of
from retain.hf.tuners.base_weight import features

BLOCKS = 1.5
"""Where no limit is given, sums may take what those of this many of the model's larger blocks need."""


class CannotStreamError(Exception):
    """These sums cannot be handed over a few layers at a time, for the reason given. They can be collected."""


@dataclass(frozen=True)
class Streamed:
    """The sums of some layers, of every data set.

    Attributes:
        layers: their names, in the order in which they ran.
        outputs: the layers that were summed up at their outputs.
        of: E[x̃ x̃ᵀ] a token, float64, of a data set and a layer; E[h hᵀ] where the layer is one of `outputs`.
    """

    layers: list[str]
    outputs: frozenset[str]
    of: Callable[[str, str], Tensor]


def summed_at_outputs(layers: Mapping[str, nn.Module]) -> set[str]:
    """The layers with fewer outputs than inputs; without those whose outputs a bias in 16 bits has rounded."""
    return {key for key, layer in layers.items() if _more_inputs(layer) > 0 and not _rounds_to_a_bias(layer)}


def perhaps_summed_at_outputs(layers: Mapping[str, nn.Module]) -> set[str]:
    """The layers with as many outputs as inputs, likewise: they are, unless another layer reads the same input."""
    return {key for key, layer in layers.items() if _more_inputs(layer) == 0 and not _rounds_to_a_bias(layer)}


def _more_inputs(layer: nn.Module) -> int:
    inputs, outputs = features(layer)
    return inputs - outputs


def _rounds_to_a_bias(layer: nn.Module) -> bool:
    bias = getattr(layer, "bias", None)
    return isinstance(bias, Tensor) and bias.dtype in (torch.bfloat16, torch.float16)


def stream(plans: Mapping[str, Plan], hand_over: Callable[[Streamed], None]) -> dict[str, Statistics]:
    """Sum up several data sets, and hand over the sums of a few layers at a time.

    The model comes back as it was, as with `collect`.

    Args:
        plans: what to collect, by the name of its data set: of one model, the same layers, with the same settings. Of
            their batches every one is read once. `memory_limit` is what the sums of all sets may take at once; what
            waiting passes hold besides may take as much again. Where it is None: as little as is sensible, and
            everything at once where what waits would take more than the sums of all layers.
        hand_over: receives a part of the layers; the sums are dropped when it returns.

    Returns:
        Second moments without their sums, for their manifests.

    Raises:
        InputError: batches without content, no tokens, or values that are not finite.
        CannotStreamError, SharingChangedError: a layer ran again after its sums had been handed over, or waiting passes
            or the largest layer need more than the limit, or a layer runs in a mode of its own (autocast).
    """
    plan = next(iter(plans.values()))
    outputs, undecided = summed_at_outputs(plan.layers), perhaps_summed_at_outputs(plan.layers)
    parts = _Parts.of(plan, outputs, len(plans))
    common: dict[str, Any] = {
        "scaled": plan.scaled, "outputs": outputs, "undecided": undecided, "stops": plan.regular, "parts": parts,
    }  # fmt: skip
    captures = {name: _Waiting(plan.layers, plan.dtype, plan.share, **common) for name in plans}
    sources: dict[str, dict[str, Source]] = {name: {} for name in plans}
    run = _Run(plan, captures)
    with run.watching():
        sequences = {name: run.begin_all(own) for name, own in plans.items()}
        while True:
            if math.isinf(parts.limit):
                run.go_on()
            for name, capture in captures.items():
                sources[name] |= sources_of(capture)
                refuse_broken(name, sources[name])
            met = [key for key in parts.names() if all(key in capture.leader for capture in captures.values())]
            hand_over(Streamed(met, frozenset(outputs), _reader(plan.layers, captures)))
            for capture in captures.values():
                capture.moments.clear()
            if not run.waiting:
                break
            parts.begin_next()
            run.go_on()
    found = {}
    for name, capture in captures.items():
        part = Part(capture.leader, sources[name], list(capture.notes), sequences[name].data_hash)
        found[name] = Statistics(manifest_of(plans[name], [part], sequences[name]))
    return found


def block_of(name: str) -> str:
    """The block that a layer lies in: its name up to the first number in it; its own name where there is none."""
    words = name.split(".")
    return ".".join(words[: next((i for i, word in enumerate(words) if word.isdigit()), len(words)) + 1])


@dataclass
class _Parts:
    """The division of the layers into parts that are summed together, made while the first pass runs.

    A part begins with a block of the model where that is possible: there a waiting pass holds the least.

    Attributes:
        needs: bytes that a layer's sums take, in all data sets, by layer and by block.
        limit: bytes that a part's sums may take.
        most: bytes that waiting passes may take before there is no more waiting.
        strict: whether the limit is the user's; then there is no streaming instead.
        current: the part in hand.
        number: the part of each layer that was met.
        used: bytes that a part's sums take.
        waiting: bytes that waiting passes hold.
    """

    needs: Mapping[str, int]
    limit: float
    most: int
    strict: bool = False
    current: int = 0
    number: dict[str, int] = field(default_factory=dict)
    used: dict[int, int] = field(default_factory=dict)
    waiting: int = 0

    @classmethod
    def of(cls, plan: Plan, outputs: set[str], sets: int) -> _Parts:
        """The division before any layer was met."""
        sizes = {key: features(layer)[key in outputs] for key, layer in plan.layers.items()}
        layers = {key: sets * plan.dtype.itemsize * (size * size + size) for key, size in sizes.items()}
        blocks: dict[str, int] = {}
        for key, needed in layers.items():
            blocks[block_of(key)] = blocks.get(block_of(key), 0) + needed
        if plan.memory_limit is None:
            return cls(blocks | layers, BLOCKS * max(blocks.values()), sum(layers.values()))
        if (largest := max(layers.values())) > plan.memory_limit:
            raise CannotStreamError(f"the sums of the largest layer take {largest:,} bytes")
        return cls(blocks | layers, plan.memory_limit, plan.memory_limit, strict=True)

    def names(self) -> list[str]:
        """The layers of the part in hand."""
        return [key for key, part in self.number.items() if part == self.current]

    def place(self, name: str, *, own: bool) -> None:
        """Assign a layer that is met for the first time to a part; without sums of its own, to the part in hand."""
        if not own:
            self.number[name] = self.current
            return
        needed, block = self.needs[name], block_of(name)
        begins = all(block_of(key) != block for key in reversed(self.number))
        wanted = min(self.needs[block], self.limit) if begins else needed
        part = self.current
        while self.used.get(part, 0) and self.used[part] + (wanted if part == self.current else needed) > self.limit:
            part += 1
        self.number[name] = part
        self.used[part] = self.used.get(part, 0) + needed

    def begin_next(self) -> None:
        """Go on to the next part."""
        self.current += 1
        self.waiting = 0

    def waits(self, one: Pass) -> None:
        """Count the bytes of a waiting pass. Where they are too many, sum all further layers at once.

        Raises:
            CannotStreamError: the limit is the user's.
        """
        self.waiting += one.nbytes
        if self.waiting <= self.most:
            return
        if self.strict:
            raise CannotStreamError(f"passes that wait hold {self.waiting:,} bytes")
        self.limit = math.inf
        self.number = {key: min(part, self.current) for key, part in self.number.items()}


@dataclass
class _Waiting(Capture):
    """A capture whose passes wait before a layer of a later part."""

    parts: _Parts = field(kw_only=True)
    modes: tuple[Any, ...] = ()

    def observe(self, name: str, x: Tensor, y: Tensor | None) -> None:
        """As `Capture`, when it is this layer's turn."""
        read = self._reading(name, x)
        self.decide(read)
        if name not in self.parts.number:
            self.parts.place(name, own=read == name)
        while self.parts.number[name] > self.parts.current:
            if modes() != self.modes:
                raise CannotStreamError(f"{name} runs in modes of its own, which all passes would get while it waits")
            kept = self._mask, self._last, self._calls
            wait()
            self._mask, self._last, self._calls = kept
        if self.parts.number[name] < self.parts.current:
            raise CannotStreamError(f"{name} ran again after its sums had been handed over")
        if self.parts.number.get(read) != self.parts.current:
            raise SharingChangedError
        super().observe(name, x, y)


def modes() -> tuple[Any, ...]:
    """The modes of this thread that change the result of an operation."""
    other = torch.accelerator.current_accelerator()
    kinds = ("cpu",) if other is None else ("cpu", other.type)
    cast = [(torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)) for kind in kinds]
    return torch.is_grad_enabled(), torch.is_inference_mode_enabled(), *cast


class _Run:
    """The passes over all data sets, of which one runs at a time."""

    def __init__(self, plan: Plan, captures: Mapping[str, _Waiting]) -> None:
        self.layers = plan.layers
        self.waiting: list[tuple[_Waiting, Pass]] = []
        self._started: list[Pass] = []
        self._model, self._captures = plan.model, captures
        self._runner = Runner(root_of(plan.model))
        self._part = self._runner.part_for(plan.layers)
        self._active = next(iter(captures.values()))
        self.needs_output = self._active.needs_output
        self._runs = False

    def observe(self, name: str, x: Tensor, y: Tensor | None) -> None:
        """Observe one call of a layer by the pass that runs; with none, a progress callback runs the model itself."""
        if self._runs:
            self._active.observe(name, x, y)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Observe the base's layers; afterwards no pass waits any more."""
        with base_view(self._model), capturing(root_of(self._model), self):
            try:
                yield
            finally:
                for one in self._started:
                    one.drop()

    def begin_all(self, plan: Plan) -> Sequences:
        """Run every batch of a data set up to where it waits.

        Raises:
            InputError: there is nothing in it.
        """
        sequences, capture = Sequences(), self._captures[plan.name]
        for number, batch in enumerate(plan.batches, start=1):
            sequences.add(batch)
            given = _copied(self._runner.inputs(batch), batch)
            capture.modes = modes()
            one = Pass(partial(capture.run, self._part, given))
            self._started.append(one)
            self.waiting += self._still_waiting([(capture, one)])
            if plan.tick is not None:
                plan.tick(0, 1, number)
        if not capture.leader:
            raise InputError(f"{plan.name}: no tokens; give at least one batch with something in it.")
        return sequences

    def go_on(self) -> None:
        """Run all passes up to where they wait again."""
        self.waiting = self._still_waiting(self.waiting)

    def _still_waiting(self, passes: Iterable[tuple[_Waiting, Pass]]) -> list[tuple[_Waiting, Pass]]:
        found = []
        for capture, one in passes:
            self._active, self._runs = capture, True
            try:
                ended = one.go_on()
            finally:
                self._runs = False
            if not ended:
                found.append((capture, one))
                capture.parts.waits(one)
        return found


def _copied(given: Mapping[str, Any], batch: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs in tensors of our own: the owner of a batch may fill its tensors with the next one meanwhile."""
    theirs = [value for value in batch.values() if isinstance(value, Tensor)]
    return {key: value.clone() if any(value is other for other in theirs) else value for key, value in given.items()}


def _reader(layers: Mapping[str, nn.Module], captures: Mapping[str, Capture]) -> Callable[[str, str], Tensor]:
    """A function that gives second moments of the present sums; the last is cached, for layers that share it."""
    recent: dict[str, tuple[tuple[str, bool], Tensor]] = {}

    def read(name: str, key: str) -> Tensor:
        capture = captures[name]
        bias = shape_of(layers[key])[2] and key not in capture.outputs
        which = (capture.leader[key], bias)
        if name not in recent or recent[name][0] != which:
            held: Moments = capture.moments[which[0]]
            recent[name] = (which, sums.second_moment(held, bias=bias))
        return recent[name][1]

    return read
