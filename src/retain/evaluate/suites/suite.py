"""What is measured: suites of items of one kind each, held-out text, and the settings both sides share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from retain.data.rows import AnyItem
from retain.recipe.marks import Decides

Part = Literal["task", "keep"]


@dataclass(frozen=True)
class Suite:
    """Items that are put to a model in one way.

    Attributes:
        name: by which the record knows it.
        kind: how it is put, a name of `retain.evaluate.tasks.TASK_TYPES`.
        part: whether it is to be learned or to be kept.
        items: all of the form that the kind takes.
        bank: labelled items that neighbours are looked for in (kind `neighbours`).
        options: what the kind can be told besides, see there.
        facts: title, version, source, licence and the like, for the record.
    """

    name: str
    task_type: str
    part: Part
    items: Sequence[AnyItem]
    bank: Sequence[AnyItem] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


def problems_of(suite: Suite) -> list[str]:
    """Why a suite's items cannot be asked together, one sentence for each reason."""
    items: Any = suite.items
    found = []
    if suite.task_type == "refusal" and len({item.harmful for item in items}) > 1:
        found.append("harmful and harmless requests are in one suite; they are scored apart, so split it in two files")
    if suite.task_type == "retrieval" and len(items) == 1:
        found.append("there is one pair, among which any model finds the match; give at least two")
    alone = sum(len(item.choices) == 1 for item in items) if suite.task_type == "question" else 0
    if alone:
        found.append(f"{alone} questions have one choice, which any model picks; give at least two, or none")
    return [f"{suite.name}: {problem}." for problem in found]


@dataclass(frozen=True)
class Suites:
    """All that is measured. All parts may be empty; what is empty is not measured.

    Attributes:
        all: task and retention suites, each name once.
        held_out_text: text on which the drift of the language is measured, by domain.
    """

    all: Sequence[Suite] = ()
    held_out_text: Mapping[str, str] = field(default_factory=dict)

    def of(self, part: Part) -> list[Suite]:
        """The suites of one part."""
        return [suite for suite in self.all if suite.part == part]

    @property
    def task_items(self) -> list[AnyItem]:
        """The items of all task suites."""
        return [item for suite in self.of("task") for item in suite.items]

    @property
    def keep_items(self) -> dict[str, Sequence[AnyItem]]:
        """The items of each retention suite by its name; neighbours' banks among them."""
        return {suite.name: [*suite.items, *suite.bank] for suite in self.of("keep")}

    @property
    def measured_items(self) -> list[AnyItem]:
        """The items of all suites, and neighbours' banks."""
        return [item for suite in self.all for item in (*suite.items, *suite.bank)]

    @property
    def held_out_text_joined(self) -> str:
        """The held-out text of all domains."""
        return "\n\n".join(self.held_out_text.values())


@dataclass(frozen=True)
class Settings:
    """How items are put to a model; the same for base and tuned.

    Attributes:
        keep_format: questions as plain text to go on with, or through the chat template.
        keep_score: log-likelihood that picks a choice: total, or mean per token or per character.
        generate: items of each suite for which an answer is written (of kind `completion`; other kinds write all).
        max_new_tokens: longest answer written, in tokens.
        max_length: longest sequence, in tokens.
        held_out_tokens: tokens of held-out text used at most, shared evenly by its domains.
        task_tokens: tokens of the task's own items on which the KL is measured, at most.
        window: tokens of held-out text seen at once.
        batch_size: sequences scored at once.
        margin: loss that still counts as kept, for right-or-wrong metrics as a share.
        margin_nats: the same for metrics in nats per token.
        aa_items: items of each suite that the base is asked twice, to see that nothing changes.
        drift: whether weights and hidden states are compared layer by layer.
        judge: command that judges answers instead of the built-in refusal detector.
        store_answers: whether written answers of safety suites are stored and shown.
        seed: of the bootstrap.
    """

    keep_format: Annotated[Literal["plain", "chat"], Decides("answers")] = "plain"
    keep_score: Annotated[Literal["total", "token", "character"], Decides("answers")] = "total"
    generate: Annotated[int, Decides("predictions")] = 64
    max_new_tokens: Annotated[int, Decides("answers")] = 48
    max_length: Annotated[int, Decides("answers")] = 512
    held_out_tokens: Annotated[int, Decides("scores")] = 8192
    task_tokens: Annotated[int, Decides("scores")] = 1024
    window: Annotated[int, Decides("scores")] = 256
    batch_size: Annotated[int, Decides("predictions")] = 32
    margin: Annotated[float, Decides("scores")] = 0.05
    margin_nats: Annotated[float, Decides("scores")] = 0.05
    aa_items: Annotated[int, Decides("scores")] = 8
    drift: Annotated[bool, Decides("scores")] = True
    judge: Annotated[str | None, Decides("answers", secret=True)] = None
    store_answers: Annotated[bool, Decides("predictions")] = False
    seed: Annotated[int, Decides("scores")] = 0
