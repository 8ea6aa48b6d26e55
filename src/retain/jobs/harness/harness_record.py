"""Tasks of lm-evaluation-harness in our record: retention suites like any other, paired, judged with the rest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from retain.data.preprocess import Preprocessor
from retain.errors import InputError
from retain.evaluate.pair import Pair
from retain.evaluate.runner import Measured
from retain.evaluate.scores.keep import graded_keep_score, keep_score
from retain.events import Events
from retain.jobs.harness.lm_eval import Asking, HarnessSuite, run_tasks
from retain.recipe import MeasureRecipe
from retain.records.items import Item
from retain.records.result import SuiteFacts
from retain.records.scores import KeepScore
from retain.verdict.judge import judge_record, largest_of


def with_harness_tasks(
    measured: Measured, pair: Pair, preprocessor: Preprocessor, recipe: MeasureRecipe, events: Events
) -> Measured:
    """The measurement with the tasks of lm-evaluation-harness that the recipe names; without any, as it was.

    Raises:
        InputError: there is no such task, the harness is not installed, or the model reads no text.
        RetainError: the two sides were not asked the same.
    """
    if not recipe.lm_eval:
        return measured
    if not preprocessor.reads_text:
        raise InputError("lm_eval: its tasks are put to language models only.")
    bar = events.task("lm-evaluation-harness asks both models", total=None)
    asking = Asking(
        limit=recipe.lm_eval_limit,
        include_path=recipe.lm_eval_path,
        batch_size=recipe.evaluation_batch_size,
        chat=recipe.keep_format == "chat",
    )
    harness = run_tasks(pair, preprocessor.tokenizer, recipe.lm_eval, asking)
    bar.update(total=1, done=1)
    items = (*measured.items, *(item for suite in harness for item in _items(suite)))
    keep = (*measured.keep, *(_score(suite) for suite in harness))
    share, nats = measured.margins
    judgement = judge_record(
        measured.task,
        keep,
        items,
        margin=share,
        margin_nats=nats,
        aa_check=measured.judgement.aa_check,
    )
    facts = (*measured.suites, *(_facts(suite) for suite in harness))
    return replace(measured, items=items, keep=keep, judgement=judgement, suites=facts)


def _items(suite: HarnessSuite) -> Iterator[Item]:
    for index, (item, base, tuned) in enumerate(zip(suite.items, suite.base, suite.tuned, strict=True)):
        yield Item(
            part="keep",
            suite=suite.name,
            index=index,
            question=item.question,
            expected=item.expected,
            base=base,
            tuned=tuned,
        )


def _score(suite: HarnessSuite) -> KeepScore:
    base, tuned = (_column(suite, side) for side in ("base", "tuned"))
    generator = np.random.default_rng(0)
    if suite.right_or_wrong:
        return keep_score(suite.name, base == 1, tuned == 1, suite.chance, generator, metric=suite.metric)
    return graded_keep_score(
        suite.name,
        suite.metric,
        base,
        tuned,
        generator,
        higher_is_better=suite.higher_is_better,
        largest=largest_of(suite.metric, base, tuned),
    )


def _column(suite: HarnessSuite, side: str) -> np.ndarray:
    answers: Any = getattr(suite, side)
    return np.asarray([answer.scores[suite.metric] for answer in answers], dtype=np.float64)


def _facts(suite: HarnessSuite) -> SuiteFacts:
    source = f"lm-evaluation-harness, task {suite.name}, version {suite.version}"
    return SuiteFacts(name=suite.name, task_type="lm-eval", part="keep", title=suite.name, source=source)
