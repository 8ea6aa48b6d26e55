"""A0 and B0 of every layer of a model: from collected second moments, or while the texts are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from torch import Tensor, nn

from retain.activations import Statistics
from retain.activations import distributed as together
from retain.activations.stream import Streamed
from retain.hf.adapters.initialise import weight_of
from retain.hf.models.sides import root_of
from retain.linalg.threads import threads_for
from retain.methods.initialisations.config import SCLoRAConfig
from retain.methods.initialisations.factors import FrozenLayer, LayerFacts
from retain.methods.table import Initialisation

OnLayer = Callable[[int, int], None]
"""Called after each layer: how many are solved, of how many."""


@dataclass
class Solving:
    """The factors of the layers as they are solved, and the facts of each.

    Attributes:
        base: the model.
        config: the rank, scale and fields of the initialisation.
        initialisation: its row.
        layers: the layers to be adapted, by name.
        on_layer: called after each.
    """

    base: nn.Module
    config: SCLoRAConfig
    initialisation: Initialisation
    layers: Mapping[str, nn.Module]
    on_layer: OnLayer | None
    _done: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    _facts: dict[str, LayerFacts] = field(default_factory=dict)
    _count: int = 0

    def solve_part(self, part: Streamed) -> None:
        """Solve the layers of which both texts' moments are at hand."""
        for key in part.layers:
            moments = {text: part.of(text, key) for text in self.initialisation.reads}
            self._done[key] = self._solve(key, moments, of_outputs=key in part.outputs)

    def solve_all(self, statistics: Mapping[str, Statistics]) -> None:
        """Solve all layers from the statistics of each text, each layer in one of the processes."""

        def solve(key: str) -> dict[str, Tensor]:
            return self._solve(key, {text: part.second_moment(key) for text, part in statistics.items()})

        self._done = together.shared_out(self.layers, solve)

    def forget(self) -> None:
        """Drop all results, to begin anew."""
        self._done, self._facts, self._count = {}, {}, 0

    def together(self) -> tuple[dict[str, tuple[Tensor, Tensor]], list[dict[str, Any]]]:
        """A0 and B0 of every layer, and the facts that all processes recorded."""
        rows = {key: row for part in together.gathered(self._facts) for key, row in part.items()}
        solved = {key: (self._done[key]["A0"], self._done[key]["B0"]) for key in self.layers}
        return solved, [asdict(rows[key]) for key in self.layers if key in rows]

    def _solve(self, key: str, moments: Mapping[str, Tensor], *, of_outputs: bool = False) -> dict[str, Tensor]:
        W0, bias = weight_of(self.layers[key], root_of(self.base))
        moved = {text: moment.to(W0.device) for text, moment in moments.items()}
        with threads_for(*W0.shape):
            factors = self.initialisation.initialise(FrozenLayer(key, W0, bias, moved, of_outputs), self.config)
        if factors.facts is not None:
            self._facts[key] = factors.facts
        if self.on_layer is not None:
            self._count += 1
            self.on_layer(self._count, len(self.layers))
        return {"A0": factors.A.to(W0), "B0": factors.B.to(W0)}
