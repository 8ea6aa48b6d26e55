"""`retain measure --converted`: base, tuned model, and what was made of it, on the same items and in one record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from retain.data.preprocess import Preprocessor
from retain.data.tokens import Encoded
from retain.errors import InputError, RetainError
from retain.evaluate.columns import paired
from retain.evaluate.held_out import windows_of
from retain.evaluate.runner import Measured, measure_pair
from retain.evaluate.served.sides import ServedSides
from retain.evaluate.suites.suite import Suites
from retain.events import Events
from retain.hf.adapters.folder import is_adapter
from retain.hf.adapters.load import load_adapter
from retain.hf.models.describe import vocabulary_of
from retain.jobs.inputs.families import harness_problems
from retain.jobs.inputs.opening import Opening, TunedData, read_tuned_data
from retain.jobs.inputs.read import settings_of
from retain.jobs.junit_file import junit_problem, write_junit
from retain.jobs.measure import result_of
from retain.jobs.record import write_record
from retain.jobs.served.acting import acting, adapter_source
from retain.jobs.served.measure import KEPT
from retain.jobs.served.opening import ServedOpening, open_served
from retain.jobs.served.side_record import served_record
from retain.jobs.stopwatch import Stopwatch
from retain.recipe import MeasureRecipe
from retain.recipe.served_options import is_served_source
from retain.records.conversion_record import Conversion
from retain.records.items import Item, Side
from retain.records.lock import output_folder
from retain.records.metrics_table import CROSS_ENTROPY
from retain.records.result import Result
from retain.records.served_record import ActingCheck, ServedSide
from retain.report.write import RUN_FILES, holding_problem
from retain.served.gguf_server import is_gguf
from retain.served.transport import ServerError
from retain.verdict.conversion import conversion_scores
from retain.verdict.judge import HELD_OUT_PART


@dataclass(frozen=True)
class _Converted:
    """The third side, and how all three are asked because of it.

    Attributes:
        model: of transformers, or served.
        what: its kind, in words.
        suites: the items in the form in which all three can be asked.
        preprocessor: makes the inputs of all three; None: as of the two others.
        opened: what was found of a server; None for a folder.
        acting: whether the tuned model acts there; None for a folder.
    """

    model: Any
    what: str
    suites: Suites
    preprocessor: Preprocessor | None = None
    opened: ServedOpening | None = None
    acting: ActingCheck | None = None

    def keeping_answers(self) -> _Converted:
        """The same, what it answers kept in the output folder."""
        if self.opened is None:
            return self
        self.opened.keep_answers()
        return replace(self, model=self.opened.tuned)


def measure_three(recipe: MeasureRecipe, events: Events) -> Result:
    """Measure base, tuned and converted model and write the record.

    Raises:
        InputError: with every problem of data and models.
    """
    problems: list[str] = []
    data = read_tuned_data(recipe, problems)
    problems += harness_problems(recipe.lm_eval, data.family, data.suites)
    problems += junit_problem(recipe.junit)
    if data.family != "causal-lm":
        problems.append("converted: language models are compared so; measure other converted models as --tuned.")
    if recipe.lm_eval:
        problems.append("lm_eval: the converted model is not asked its tasks; leave --lm-eval or --converted out.")
    problems += [] if problems else holding_problem(recipe.output, ["summary.json", "scaling.json"])
    if problems:
        raise InputError(problems)
    with _converted(recipe, data, events) as opened, output_folder(Path(recipe.output), RUN_FILES):
        third = opened.keeping_answers()
        try:
            return _written(recipe, data, third, events)
        except ServerError as error:
            raise RetainError(f"{error} {KEPT.capitalize()}; the same command goes on from there.") from error
        finally:
            if third.opened is not None:
                third.opened.close()  # while the folder is held


def _written(recipe: MeasureRecipe, data: TunedData, third: _Converted, events: Events) -> Result:
    """Measure, write the record, and let go of the answers that were kept for it."""
    result, items = _measured(recipe, replace(data, suites=third.suites), third, events)
    written = write_record(Path(recipe.output), result, items)
    write_junit(recipe.junit, {written.method.name: written})
    for side in [] if third.opened is None else third.opened.served:
        side.store.forget()
    return written


@contextmanager
def _converted(recipe: MeasureRecipe, data: TunedData, events: Events) -> Iterator[_Converted]:
    """Open the third side before the others, since it may say in which form all are asked."""
    source = str(recipe.converted)
    with ExitStack() as held:
        if not is_served_source(source):
            yield _Converted(None, "a folder", data.suites)
            return
        fields = {"tuned": source, "tuned_model": recipe.converted_model, "adapter": recipe.tuned, "converted": None}
        opened = held.enter_context(open_served(recipe.model_copy(update=fields), events))
        base, _ = opened.load_base()
        found = acting(opened, base, events)
        del base
        what = "a GGUF file in llama.cpp" if is_gguf(source) else "a served model"
        yield _Converted(opened.tuned, what, opened.suites, opened.preprocessor, opened, found)


def _measured(
    recipe: MeasureRecipe, data: TunedData, third: _Converted, events: Events
) -> tuple[Result, Sequence[Item]]:
    opened, settings = Opening(recipe, data, events), settings_of(recipe)
    pair, preprocessor = opened.pair(), third.preprocessor or opened.preprocessor
    with Stopwatch() as measuring:
        measured = measure_pair(pair, preprocessor, data.suites, settings, events)
        model = _loaded(recipe, opened) if third.model is None else third.model
        sides = ServedSides(
            base=None,
            tuned=model,
            preprocessor=preprocessor,
            suites=data.suites,
            settings=settings,
            events=events,
            vocabulary=vocabulary_of(opened.base),
            ends=() if third.opened is None else third.opened.ends(opened.base),
            concurrency=recipe.concurrency,
        )
        items = _three_sided(measured, sides)
    told = [] if third.opened is None else list(third.opened.told)
    measured = replace(measured, notes=(*measured.notes, *opened.notes, *told, *sides.notes()))
    result = result_of(recipe.model, pair, data.suites, measured, opened.base_hash, measuring.seconds)
    scores = conversion_scores(items, measured.task, measured.keep, measured.resampling_seed, measured.gone)
    served: Mapping[str, ServedSide] = (
        {} if third.opened is None else {"converted": served_record(third.opened.tuned, third.opened.looked.cautions)}
    )
    conversion = Conversion(source=str(recipe.converted), what=third.what, scores=tuple(scores))
    return result.model_copy(update={"conversion": conversion, "served": served, "acting": third.acting}), items


def _loaded(recipe: MeasureRecipe, opened: Opening) -> Any:
    """The converted model of a folder."""
    source = adapter_source(str(recipe.converted), field="converted")
    if is_adapter(source):
        return load_adapter(opened.spec.load()[0], source)
    return opened.spec.at(source, "converted").load()[0]


def _three_sided(measured: Measured, sides: ServedSides) -> list[Item]:
    """The items of a measurement with the third side's answers and scores."""
    found = sides.predictions(of_base=False)
    third: dict[tuple[str, str, int], Side] = {}
    for suite in sides.suites.all:
        for item in paired(suite, found, found).items:
            third[item.part, item.suite, item.index] = item.tuned
    windows = windows_of(sides.preprocessor, sides.suites.held_out_text, sides.settings)
    rows = [Encoded(tuple(window.ids), max(window.start, 1)) for window in windows]
    bar = sides.events.task("held-out text, the converted model", total=len(rows))
    for index, (row, nats) in enumerate(zip(rows, sides.window_nats(sides.tuned, rows, bar), strict=True)):
        tokens = len(row.ids) - row.start
        scores = {CROSS_ENTROPY.name: nats / tokens, "tokens": float(tokens)}
        third[HELD_OUT_PART, "held-out text", index] = Side(scores=scores)
    return [
        item.model_copy(update={"converted": third.get((item.part, item.suite, item.index))}) for item in measured.items
    ]
