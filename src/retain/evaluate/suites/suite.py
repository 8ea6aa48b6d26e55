"""Suites of items of one task type each, held-out text, and the settings that both sides share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from retain.data.family import Modality
from retain.data.item import DataItem, modality_of_items
from retain.recipe.marks import Decides

Part = Literal["task", "keep", "gone"]


@dataclass(frozen=True)
class Suite:
    """Items of one task type.

    Attributes:
        name: name in the record.
        task_type: name in `retain.evaluate.tasks.table.TASK_TYPES`.
        part: `task` for what is to be learned, `keep` for what is to be retained, `gone` for what is to be forgotten.
        items: items of one form that the task type takes.
        bank: labelled items beside those that are measured, where the task type needs them.
        options: options of the task type.
        facts: title, version, source, licence and the like, for the record.
        notes: remarks on how the rows were read, as clauses.
    """

    name: str
    task_type: str
    part: Part
    items: Sequence[DataItem]
    bank: Sequence[DataItem] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def modality(self) -> Modality:
        """The modality that a model must read to be measured on the items."""
        return modality_of_items(self.items)


@dataclass(frozen=True)
class Suites:
    """Everything that is measured. Each part may be empty and is not measured then.

    Attributes:
        all: task and retention suites, each name once.
        held_out_text: texts on which the drift of a language model is measured, by domain.
    """

    all: Sequence[Suite] = ()
    held_out_text: Mapping[str, str] = field(default_factory=dict)

    def of(self, part: Part) -> list[Suite]:
        """The suites of one part."""
        return [suite for suite in self.all if suite.part == part]

    @property
    def task_items(self) -> list[DataItem]:
        """The items of all task suites."""
        return [item for suite in self.of("task") for item in suite.items]

    @property
    def keep_items(self) -> dict[str, Sequence[DataItem]]:
        """The items of each retention suite by its name, with its bank."""
        return {suite.name: [*suite.items, *suite.bank] for suite in self.of("keep")}

    @property
    def gone_items(self) -> dict[str, Sequence[DataItem]]:
        """The items of each suite of what should be gone by its name."""
        return {suite.name: suite.items for suite in self.of("gone")}

    @property
    def measured_items(self) -> list[DataItem]:
        """The items of all suites, with their banks."""
        return [item for suite in self.all for item in (*suite.items, *suite.bank)]

    @property
    def held_out_text_joined(self) -> str:
        """The held-out text of all domains."""
        return "\n\n".join(self.held_out_text.values())


@dataclass(frozen=True)
class Settings:
    """Settings of a measurement; the same for base and tuned.

    Attributes:
        keep_format: questions as plain text to continue, or through the chat template.
        keep_score: log-likelihood that picks an option: total, or mean per token or per character.
        generate: examples of each suite for which an answer is written; questions and requests get one each.
        max_new_tokens: longest written answer, in tokens, of suites that set none; None: as their task type says.
        max_length: longest sequence, in tokens.
        held_out_tokens: tokens of held-out text used at most, shared evenly by its domains.
        task_tokens: tokens of the task's own items on which the KL is measured, at most.
        window: tokens of held-out text in one sequence.
        batch_size: sequences in a batch.
        margin: non-inferiority margin of right-or-wrong metrics, as a share.
        margin_nats: the same for metrics in nats per token.
        smallest_gain: smallest change of the task that is noticeable, as a share of the metric's range.
        smallest_gain_nats: the same for metrics in nats per token.
        gone_margin: largest share of what the base knew that counts as gone.
        relearn: steps of training on held-out text after which what should be gone is asked again.
        aa_items: items of each suite that the base answers a second time in the A/A check.
        drift: true to compare weights and hidden states layer by layer.
        judge: command that judges answers instead of the built-in refusal detector.
        store_answers: true to store and show written answers of safety suites.
        seed: of the bootstrap.
    """

    keep_format: Annotated[Literal["plain", "chat"], Decides("answers")] = "plain"
    keep_score: Annotated[Literal["total", "token", "character"], Decides("answers")] = "total"
    generate: Annotated[int, Decides("predictions")] = 64
    max_new_tokens: Annotated[int | None, Decides("answers")] = None
    max_length: Annotated[int, Decides("answers")] = 512
    held_out_tokens: Annotated[int, Decides("scores")] = 8192
    task_tokens: Annotated[int, Decides("scores")] = 1024
    window: Annotated[int, Decides("scores")] = 256
    batch_size: Annotated[int, Decides("predictions")] = 32
    margin: Annotated[float, Decides("scores")] = 0.05
    margin_nats: Annotated[float, Decides("scores")] = 0.05
    smallest_gain: Annotated[float, Decides("scores")] = 0.01
    smallest_gain_nats: Annotated[float, Decides("scores")] = 0.01
    gone_margin: Annotated[float, Decides("scores")] = 0.05
    relearn: Annotated[int, Decides("scores")] = 0
    aa_items: Annotated[int, Decides("scores")] = 8
    drift: Annotated[bool, Decides("scores")] = True
    judge: Annotated[str | None, Decides("answers", secret=True)] = None
    store_answers: Annotated[bool, Decides("predictions")] = False
    seed: Annotated[int, Decides("scores")] = 0
