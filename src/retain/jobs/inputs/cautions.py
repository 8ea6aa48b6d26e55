"""Remarks on data and chat template that are no problems: a run goes on, and its record tells them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from retain.data.chat_template import learns_without_reasoning
from retain.data.preprocess import Preprocessor
from retain.data.template_source import binds, sources_of, variables_of
from retain.evaluate.suites.suite import Suite
from retain.evaluate.tasks.table import task_type_of
from retain.jobs.inputs.data import Data


def cautions(data: Data, preprocessor: Preprocessor) -> list[str]:
    """The remarks on a run: on its suites and on its chat template."""
    return [*suite_cautions(data.suites.all), *template_cautions(data, preprocessor)]


def template_cautions(data: Data, preprocessor: Preprocessor) -> list[str]:
    """The remarks on the chat template, where the training rows go through it."""
    chats: list[Any] = [item for item in data.train if item.is_chat]
    if not chats or not preprocessor.reads_text:
        return []
    found = _date_caution(preprocessor.tokenizer)
    if learns_without_reasoning(preprocessor.tokenizer, chats[0]):
        found.append(
            "train: the chat template opens a reasoning block in every prompt, and the rows bring no reasoning, so "
            "they are learned without the block that a prompt at inference has. Give the rows their reasoning, or a "
            "template that leaves the block out (--template, or --template-arguments where it has such an argument)."
        )
    return found


def suite_cautions(suites: Iterable[Suite]) -> list[str]:
    """The remarks on the items of suites."""
    return [f"{suite.name}: {remark}." for suite in suites for remark in task_type_of(suite).cautions(suite)]


def _date_caution(tokenizer: Any) -> list[str]:
    reads = frozenset().union(*map(variables_of, sources_of(tokenizer)))
    if "strftime_now" not in reads or all(binds(source, "date_string") for source in sources_of(tokenizer)):
        return []
    cure = (
        "--template-arguments date_string=… fixes it"
        if "date_string" in reads
        else "a copy of it with a fixed date, as --template FILE, would not"
    )
    return [f"train: the chat template writes the day's date into prompts, so another day's run differs; {cure}."]
