"""The configuration of a sparse update, and the scores by which its entries can be chosen. Read without torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from retain.errors import InputError, is_number, is_whole, layer_problems

Text = Literal["learn", "keep"]

ScoreName = Literal["gradient", "small", "small-gradient", "learn-not-keep", "random", "large"]


@dataclass(frozen=True)
class Score:
    """A score of a matrix's entries, of which the largest are trained.

    Attributes:
        summary: which entries it takes, in one line.
        reads: the data whose gradients it needs: "learn", what is to be learned, and "keep", what must stay.
        drawn: it is drawn at random, so each seed of a run gives another choice.
    """

    summary: str
    reads: tuple[Text, ...] = ()
    drawn: bool = False


SCORES: dict[ScoreName, Score] = {
    "gradient": Score("the largest gradients of the training loss (SIFT)", ("learn",)),
    "small": Score("the smallest weights (SaRA)"),
    "small-gradient": Score("large gradients at small weights (our reading of GaLLoP)", ("learn",)),
    "learn-not-keep": Score("large gradients on the new data, small ones on the text to keep", ("learn", "keep")),
    "random": Score("drawn at random: a control", drawn=True),
    "large": Score("the largest weights: a control, PEFT's own choice"),
}
"""The scores by name; `scores.py` has the function of each."""

_TARGETING = ("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern")


@dataclass
class SparseConfig:
    """Configuration of a sparse update. One density for all layers, so that stock PEFT loads the adapter.

    Examples:
        >>> retain.SparseConfig(density=0.05, score="small").density
        0.05
    """

    density: float = field(
        default=0.01, metadata={"help": "Share of each matrix's entries that is trained, above 0 and at most 1."}
    )
    score: ScoreName = field(
        default="gradient",
        metadata={"help": "Which entries: " + "; ".join(f"{key}, {row.summary}" for key, row in SCORES.items()) + "."},
    )
    batches: int = field(
        default=16,
        metadata={"help": "Batches of the new data over which gradients are averaged; 1 as SIFT's published code."},
    )
    seed: int = field(default=0, metadata={"help": "Seed of what is drawn: the batches, and the entries of random."})
    nuclear_weight: float = field(
        default=0.0,
        metadata={
            "help": "SaRA's penalty: weight of the nuclear norm of the matrix of the chosen entries, of one layer a "
            "step. [none]"
        },
    )
    reselect_after: float | None = field(
        default=None,
        metadata={
            "help": "SaRA's second choice, for the score small: share of the steps after which entries that have grown "
            "past the chosen ones are held where they are. [never]"
        },
    )
    target_modules: list[str] | str | None = field(
        default="all-linear",
        metadata={"help": "Layers to adapt, as PEFT's LoraConfig takes them; 'all-linear' for all but the head."},
    )
    exclude_modules: list[str] | str | None = field(default=None, metadata={"help": "Modules to leave out."})
    layers_to_transform: list[int] | int | None = field(default=None, metadata={"help": "Indices of layers to adapt."})
    layers_pattern: list[str] | str | None = field(default=None, metadata={"help": "Name of the model's layer list."})
    modules_to_save: list[str] | None = field(
        default=None, metadata={"help": "Modules to train in full and save with the adapter, e.g. a new head."}
    )
    task_type: str | None = field(
        default=None, metadata={"help": "PEFT's task type. None: that of the model, where it is a language model."}
    )

    def __post_init__(self) -> None:
        """Check the fields.

        Raises:
            InputError: with every field that is out of its range.
        """
        problems = layer_problems(vars(self))
        if not (is_number(self.density) and 0 < self.density <= 1):
            problems.append(f"density={self.density!r}: a share above 0 and at most 1.")
        known = self.score in get_args(ScoreName)
        if not known:
            problems.append(f"score={self.score!r}: known are {', '.join(get_args(ScoreName))}.")
        if not (is_whole(self.batches) and self.batches >= 1):
            problems.append(f"batches={self.batches!r}: a whole number ≥ 1.")
        if not is_whole(self.seed):
            problems.append(f"seed={self.seed!r}: a whole number.")
        if not (is_number(self.nuclear_weight) and self.nuclear_weight >= 0):
            problems.append(f"nuclear_weight={self.nuclear_weight!r}: a number of 0 or more.")
        if self.reselect_after is not None:
            if not (is_number(self.reselect_after) and 0 < self.reselect_after < 1):
                problems.append(f"reselect_after={self.reselect_after!r}: a share of the steps, above 0 and below 1.")
            if known and self.score != "small":
                problems.append(
                    f"reselect_after={self.reselect_after!r}: only the score small chooses by size (found "
                    f"{self.score}); leave it out, or take score small."
                )
        if problems:
            raise InputError(problems)
        self.batches, self.seed = int(self.batches), int(self.seed)  # numpy's numbers are no JSON
        self.density, self.nuclear_weight = float(self.density), float(self.nuclear_weight)

    @property
    def reads(self) -> tuple[Text, ...]:
        """The data whose gradients the score needs."""
        return SCORES[self.score].reads

    @property
    def targets(self) -> dict[str, Any]:
        """The fields that select layers, as PEFT's LoraConfig takes them."""
        return {name: getattr(self, name) for name in _TARGETING if getattr(self, name) is not None}
