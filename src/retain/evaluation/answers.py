"""One side's answers to every item: collected once for the base and once for each tuned model; plain values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict
from rich.progress import Progress

from retain.data.tokens import Encoded, encode_choice, encode_example, encode_prompt
from retain.evaluation.metrics.choice import units
from retain.evaluation.scoring import padding_id, score_nll, write_answers
from retain.evaluation.suites import Settings, Suites


class Answers(BaseModel):
    """What one model said.

    Attributes:
        task_nll: nats of each test completion, summed over its tokens.
        task_tokens: tokens of each test completion.
        task_texts: the answers written to the first test items.
        keep: for each suite and item, the log-likelihood of every choice, in nats, normalised as the settings say.
        truncated: for the task and each suite, how many items were longer than the longest sequence allowed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    task_nll: tuple[float, ...] = ()
    task_tokens: tuple[int, ...] = ()
    task_texts: tuple[str, ...] = ()
    keep: dict[str, tuple[tuple[float, ...], ...]] = {}
    truncated: dict[str, int] = {}


def collect_answers(
    model: torch.nn.Module, tokenizer: Any, suites: Suites, settings: Settings, progress: Progress, label: str
) -> Answers:
    """Put every item of task and keep suites to a model.

    Args:
        model: a causal language model as it stands (adapter on or off is the caller's choice).
        tokenizer: the model's tokenizer.
        suites: the items.
        settings: how they are put; the same for both sides.
        progress: display for the progress bar.
        label: whose answers these are, for the bar.
    """
    task = [encode_example(tokenizer, item, settings.max_length) for item in suites.task]
    prompts = [encode_prompt(tokenizer, item, settings.max_length) for item in suites.task[: settings.generate]]
    chat = settings.keep_format == "chat"
    keep = {
        name: [encode_choice(tokenizer, item, chat=chat, max_length=settings.max_length) for item in items]
        for name, items in suites.keep.items()
    }
    total = len(task) + len(prompts) + sum(len(options) for items in keep.values() for options in items)
    bar = progress.add_task(label, total=total)

    def tick(done: int) -> None:
        progress.advance(bar, done)

    pad_id = padding_id(tokenizer)
    task_nll = score_nll(model, task, pad_id, settings.batch_size, tick)
    texts = write_answers(model, tokenizer, prompts, settings.max_new_tokens, settings.batch_size, tick)
    scores = {}
    for name, items in keep.items():
        nll = iter(score_nll(model, [row for rows in items for row in rows], pad_id, settings.batch_size, tick))
        scores[name] = tuple(
            tuple(-next(nll) / unit for unit in _units(rows, item.choices, settings))
            for rows, item in zip(items, suites.keep[name], strict=True)
        )
    return Answers(
        task_nll=tuple(task_nll),
        task_tokens=tuple(len(row.ids) - row.start for row in task),
        task_texts=tuple(texts),
        keep=scores,
        truncated={
            suites.task_name: sum(row.truncated for row in task),
            **{name: sum(any(row.truncated for row in rows) for rows in items) for name, items in keep.items()},
        },
    )


def _units(rows: Sequence[Encoded], choices: Sequence[str], settings: Settings) -> Sequence[int]:
    tokens = [len(row.ids) - row.start for row in rows]
    return units(settings.keep_score, len(rows), tokens, choices)
