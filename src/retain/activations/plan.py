"""The plan of a collection: model, data, layers and settings; and its division into parts where memory is short."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn
from transformers import PreTrainedModel

from retain.activations import distributed as together
from retain.activations.batches import Runner
from retain.activations.capture import Capture, SharingChangedError, capturing
from retain.errors import InputError
from retain.hf.models.sides import base_view, root_of
from retain.hf.tuners.base_weight import features

Batches = Iterable[Mapping[str, Any]]
Tick = Callable[[int, int, int], None]
"""Called after each batch with the pass over the data (from 0), the number of passes, and the batches done in it."""


@dataclass(frozen=True)
class Plan:
    """Model, data, layers and settings of a collection."""

    model: nn.Module
    batches: Batches
    layers: Mapping[str, nn.Module]
    model_hash: str
    dtype: torch.dtype
    sample_norm: Literal["none", "max"]
    memory_limit: int | None = None
    share: bool = True
    name: str = ""
    tick: Tick | None = None

    @property
    def identity(self) -> str:
        """All that must be the same when an interrupted collection goes on, as JSON."""
        return json.dumps([self.model_hash, str(self.dtype), self.sample_norm, list(self.layers)])

    @property
    def division(self) -> str:
        """All that the division of the work depends on, as JSON; where it changes, the work begins anew."""
        return json.dumps([self.memory_limit, together.processes()])

    @property
    def scaled(self) -> bool:
        """True if each sample is divided by its largest |output|."""
        return self.sample_norm == "max"

    @property
    def regular(self) -> bool:
        """True if every pass runs each layer as often as the first pass did, so that it may be broken off."""
        return isinstance(root_of(self.model), PreTrainedModel)

    def capture(self, part: Iterable[str], *, dry: bool = False) -> Capture:
        """An empty capture of some of the layers."""
        chosen = {key: self.layers[key] for key in part}
        return Capture(chosen, self.dtype, self.share, scaled=self.scaled, dry=dry, stops=self.regular)


def watching(plan: Plan, capture: Capture) -> ExitStack:
    """The context in which a capture observes the base."""
    stack = ExitStack()
    stack.enter_context(base_view(plan.model))
    stack.enter_context(capturing(root_of(plan.model), capture))
    return stack


def parts_of(plan: Plan, runner: Runner) -> Iterator[list[str]]:
    """Divide the layers, in the model's order, so that each part's sums fit into the limit; sharers stay together."""
    limit = plan.memory_limit
    if limit is None:
        yield list(plan.layers)
        return
    probe, changed = plan.capture(plan.layers, dry=True), False
    first = next(iter(plan.batches), None)
    if first is not None:
        with watching(plan, probe):
            try:
                probe.run(runner.part_for(plan.layers), runner.inputs(first))
            except SharingChangedError:
                changed = True
    if together.anywhere(changed):
        raise SharingChangedError
    leaders = next(filter(None, together.gathered(probe.leader)), {})  # the parts must be the same in all processes
    groups: dict[str, list[str]] = {}
    for key in plan.layers:
        groups.setdefault(leaders.get(key, key), []).append(key)
    part: list[str] = []
    used = 0
    for leader, group in groups.items():
        size = features(plan.layers[leader])[0]
        needed = (size * size + size) * plan.dtype.itemsize
        if needed > limit:
            raise InputError(
                f"memory_limit={limit:,} bytes: the sums of {leader} alone take {needed:,}; give that much."
            )
        if used + needed > limit:
            yield part
            part, used = [], 0
        part += group
        used += needed
    yield part
