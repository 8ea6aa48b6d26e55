"""Tasks of lm-evaluation-harness in our record: retention suites like any other, paired, judged with the rest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from retain.data.preprocess import Preprocessor
from retain.errors import InputError
from retain.evaluate.pair import Pair
from retain.evaluate.runner import Measured
from retain.evaluate.scores.rows import keep_row
from retain.events import Events
from retain.jobs.harness.lm_eval import HarnessSettings, run_tasks
from retain.jobs.harness.samples import HarnessSuite
from retain.recipe import MeasureRecipe
from retain.records.items import Item
from retain.records.result import SuiteFacts
from retain.verdict.column import column_of_items
from retain.verdict.judge import judge_run
from retain.verdict.verdict import Margins


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
    settings = HarnessSettings(
        limit=recipe.lm_eval_limit,
        include_path=recipe.lm_eval_path,
        batch_size=recipe.evaluation_batch_size,
        max_length=preprocessor.positions.limit,  # the harness knows neither offsets of positions nor virtual tokens
        chat=recipe.keep_format == "chat",
    )
    harness = run_tasks(pair, preprocessor.tokenizer, recipe.lm_eval, settings)
    bar.update(total=1, done=1)
    of_suites = {suite.name: tuple(_items(suite)) for suite in harness}
    columns = [column_of_items(suite.name, suite.metric, of_suites[suite.name], suite.chance) for suite in harness]
    kept = [keep_row(column, measured.resampling_seed) for column in columns]
    evidence = replace(measured.evidence, keep=(*measured.evidence.keep, *(one for one, _ in kept)))
    return replace(
        measured,
        items=(*measured.items, *(item for items in of_suites.values() for item in items)),
        keep=(*measured.keep, *(score for _, score in kept)),
        evidence=evidence,
        judgement=judge_run(
            evidence, Margins(*measured.margins, *measured.smallest_gains), measured.judgement.aa_check
        ),
        suites=(*measured.suites, *(_facts(suite) for suite in harness)),
    )


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


def _facts(suite: HarnessSuite) -> SuiteFacts:
    source = f"lm-evaluation-harness, task {suite.name}, version {suite.version}"
    return SuiteFacts(name=suite.name, task_type="lm-eval", part="keep", title=suite.name, source=source)
