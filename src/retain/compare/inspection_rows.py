"""The findings of `retain inspect` as plain values: a row an input, a row an initialised layer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ConfigDict


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class InputFacts(_Row):
    """One set of texts at one input x of n numbers; C = E[x xᵀ] per token, with eigenvalues λ.

    Attributes:
        tokens: summed over.
        mean_square: trace(C)/n, the mean square of one number.
        top_share: λ₁/Σλ.
        effective_rank: (Σλ)²/Σλ², from 1 to n; 0 where every input was 0.
        largest_sample: the share of Σ‖x‖² that the largest sample holds.
        spectrum: the largest eigenvalues over Σλ, descending.
    """

    tokens: int
    mean_square: float
    top_share: float
    effective_rank: float
    largest_sample: float
    spectrum: tuple[float, ...]


class InputRow(_Row):
    """One input, and the layers that read it.

    Attributes:
        layers: in the model's order.
        kind: the layers' own names, without those of the blocks that they lie in.
        depth: the number of their block; None where their names hold none.
        n: how many numbers the input has.
        sets: by set of texts: "learn", "keep".
        rank: of the two subspaces that are compared.
        overlap: of both sets' leading `rank` directions, 0 to 1; None where there are not two sets.
    """

    layers: tuple[str, ...]
    kind: str
    depth: int | None
    n: int
    sets: dict[str, InputFacts]
    rank: int | None = None
    overlap: float | None = None

    @property
    def random(self) -> float | None:
        """The overlap to be expected of two random subspaces: rank/n."""
        return None if self.rank is None else self.rank / self.n


class SetRecord(_Row):
    """The source of one set of second moments."""

    folder: str
    model: str
    model_hash: str
    data_hash: str
    tokens: int
    sequences: int
    dtype: str
    sample_norm: str
    versions: dict[str, str]


class StatisticsView(_Row):
    """Statistics, looked at. `rank` is the one asked for; a row's is lower where there is less to compare."""

    source: str
    rank: int
    sets: dict[str, SetRecord]
    rows: tuple[InputRow, ...]
    findings: tuple[str, ...] = ()


class StartRow(_Row):
    """One layer's row of the note, as `retain.methods.initialisations.factors.LayerFacts` has it.

    Attributes:
        kind: as in `InputRow`.
        depth: likewise.
        outputs: of the layer; None where the adapter's weights do not lie beside the note.
    """

    layer: str
    trace_learn: float
    trace_keep: float
    eigenvalues: tuple[float, ...]
    reward: float
    share_learn: float
    share_keep: float
    overlap: float
    residual: float
    solver: str
    kind: str
    depth: int | None
    outputs: int | None = None


class StartView(_Row):
    """The start of an adapter, looked at: its settings, its data, and a row a layer."""

    source: str
    rank: int
    settings: dict[str, Any]
    model_hash: str
    data: dict[str, dict[str, Any]]
    rows: tuple[StartRow, ...]
    findings: tuple[str, ...] = ()


class UpdateRow(_Row):
    """One layer's change against the leading directions of its weight, as `retain.evaluate.drift.zones` has it.

    Attributes:
        kind: as in `InputRow`.
        depth: likewise.
        k: leading directions.
        of: directions in all.
        leading: share of the change in leading outputs and inputs.
        outputs: in leading outputs and other inputs.
        inputs: in other outputs and leading inputs.
        rest: in neither.
        random: the share in leading outputs and inputs of a change without any direction.
    """

    layer: str
    kind: str
    depth: int | None
    k: int
    of: int
    leading: float
    outputs: float
    inputs: float
    rest: float
    random: float


class UpdateView(_Row):
    """An adapter's change, looked at layer by layer."""

    source: str
    model: str
    method: str
    rows: tuple[UpdateRow, ...]
    findings: tuple[str, ...] = ()


View = StatisticsView | StartView


def kinds_of(names: Iterable[str]) -> dict[str, str]:
    """The kind of layer of each name: its last part, or as many parts as tell it from others; numbers left out.

    `model.layers.3.mlp.up_proj` is `up_proj`; GPT-2's two `c_proj` are `attn.c_proj` and `mlp.c_proj`.
    """
    paths = {name: tuple(part for part in name.split(".") if not part.isdigit()) or (name,) for name in names}
    patterns = set(paths.values())
    short = {}
    for path in patterns:
        lengths = range(1, len(path) + 1)
        alone = (k for k in lengths if all(other[-k:] != path[-k:] for other in patterns - {path}))
        short[path] = ".".join(path[-next(alone, len(path)) :])
    return {name: short[path] for name, path in paths.items()}


def depth_of(name: str) -> int | None:
    """The number of the block that a layer lies in: the first number in its name."""
    return next((int(part) for part in name.split(".") if part.isdigit()), None)
