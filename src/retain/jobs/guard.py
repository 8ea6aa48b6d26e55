"""A forgetting budget for a Trainer of one's own: regularised while it trains, certified and kept afterwards.

Nothing is decided here: the regularisers are those of `retain.train.regularise`, the search along the scaling path is
that of `retain tune --budget`, and the record that of `retain measure`.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from transformers import Trainer

from retain.activations import distributed
from retain.budget.split import Parts, limit_problems, split
from retain.data.preprocess import Preprocessor
from retain.errors import InputError, is_number
from retain.evaluate.pair import Pair
from retain.evaluate.runner import measure_pair
from retain.evaluate.suites.suite import Settings, Suites
from retain.hf.models.describe import model_hash
from retain.hf.models.given import unwrapped
from retain.hf.scaling import adapter_to_write, ensure_scalable, scale_in_place
from retain.jobs.budget_search import BudgetSearch, Outcome, search
from retain.jobs.guard_regularisers import batches_of, regularisers_of
from retain.jobs.guarded_trainer import readers, trainer_problems
from retain.jobs.inputs.given import Given, Several, Texts, given_budget, given_preprocessor, given_suites
from retain.jobs.inputs.given_settings import given_settings
from retain.jobs.inputs.relearn_checks import relearn_problems
from retain.jobs.inputs.trainer_data import contained_in, texts_of, without_trained_text
from retain.jobs.measure import measuring_problems, name_of, notes_on, result_of
from retain.jobs.output_place import output_problem
from retain.jobs.progress import make_console, showing_progress
from retain.jobs.record import write_record
from retain.jobs.scale import ADAPTER, MODEL, write_setting
from retain.jobs.stopwatch import Stopwatch
from retain.recipe import ALPHAS, KL, Budget
from retain.recipe.budget_options import alpha_problems
from retain.records.items import Item
from retain.records.lock import output_folder
from retain.records.manifest import remove
from retain.records.result import Cost, Result
from retain.report.write import RUN_FILES, holding_problem
from retain.train.loop import curve_of
from retain.train.regularise.callback import RegulariserCallback, check_batches, refuse_sharded
from retain.train.regularise.divergence import Batch
from retain.train.regularise.kl_monitor import RetentionWarning


def guard(
    trainer: Trainer,
    *,
    budget: Budget | Mapping[str, float],
    keep: Several = None,
    gone: Several = None,
    held_out_text: Texts = None,
    test: Given | None = None,
    batches: Sequence[Batch] | None = None,
    base: Any = None,
    kl_weight: float | Literal["budget"] | None = "budget",
    update_limit: float | None = None,
    control_share: float = 0.5,
    alphas: Sequence[float] = ALPHAS,
    **settings: Any,
) -> Guard:
    """Prepare a Trainer to keep a forgetting budget; call it before `trainer.train()`, and `finish()` after it.

    It attaches a KL penalty that aims below the budget's limit of `kl`, a KL monitor, and an update limit if asked to.
    The data are divided: what the regularisers read, control data that will certify the limits, and evaluation data
    that will be reported. Whatever could keep the budget from being certified is said now.

    Args:
        trainer: transformers' `Trainer`, or one derived from it, as TRL's are.
        budget: limits by the names of retention suites and `kl`.
        keep: what must stay, as in `retain.measure`.
        gone: what should be gone, likewise; `finish` judges it in the model that the budget left.
        held_out_text: paths of other text, on which KL is measured; without `batches` the regularisers read a third.
        test: held-out task data, for the report.
        batches: the text (or images) that the regularisers read, as `text_batches` makes them.
        base: the model as it is now, once more: for a model without adapters, or whose adapter changed the base.
        kl_weight: weight of the penalty: a number, "budget" for one that follows the limit of `kl`, None for none.
        update_limit: largest size of the update beside the weights; None for no limit.
        control_share: share of each limited suite, and of the text, that is control data.
        alphas: interpolation coefficients to try, rising, in (0, 1].
        settings: fields of `retain measure` by name and in its units, as `margin=5` (points).

    Raises:
        InputError: with every problem of data, model and trainer.

    Examples:
        >>> guard = retain.guard(trainer, budget={"capitals": 5}, keep="capitals.jsonl")
        >>> _ = trainer.train()
        >>> result = guard.finish(show_progress=False)
        >>> result.budget[0].name, result.scaling.alpha
        ('capitals', 1.0)
    """
    if not isinstance(trainer, Trainer):
        raise InputError(f"{type(trainer).__name__} was given; give the trainer, as retain.guard(trainer, …).")
    limits = given_budget(budget)
    model, chosen, problems = unwrapped(trainer.model), given_settings(settings), list[str]()
    preprocessor = given_preprocessor(*readers(trainer.processing_class), settings, model)
    suites = given_suites(test, keep, held_out_text, problems, gone)
    text: list[str] = []
    batches = None if batches is None else check_batches(batches, "batches")
    if batches is None and suites.held_out_text:
        suites, text = without_trained_text(suites)
    problems += measuring_problems(model, preprocessor, suites, chosen)
    problems += relearn_problems(suites, chosen, preprocessor)
    problems += alpha_problems(alphas)
    if not (is_number(control_share) and 0 < control_share < 1):
        problems.append(f"control_share: {control_share!r}; give a share above 0 and below 1.")
    if kl_weight not in (None, "budget") and batches is None and not text:
        problems.append(
            "kl_weight: a KL penalty reads text to keep, and there is none: give batches= or held_out_text=."
        )
    problems += limit_problems(suites, limits.limits, limits.confidence, control_share, chosen.held_out_tokens)
    problems += contained_in(
        "train_dataset",
        texts_of(trainer.train_dataset, preprocessor.tokenizer if preprocessor.reads_text else None),
        suites,
    )
    problems += trainer_problems(trainer, base, kl_weight)
    if problems:
        raise InputError(problems)
    refuse_sharded(trainer.args, model, "certifying a budget")
    made = Guard(
        trainer=trainer,
        pair=Pair(model, base),
        preprocessor=preprocessor,
        parts=split(suites, limits.limits, control_share),
        settings=chosen,
        budget=limits,
        alphas=tuple(alphas),
    )
    ensure_scalable(model, base)
    given = batches if batches is not None else batches_of(preprocessor, text)
    for callback in regularisers_of(given, limits.limits.get(KL), kl_weight, update_limit, base):
        made.regularisers.append(callback.attach(trainer))
    return made


@dataclass
class Guard:
    """A Trainer whose update will be held to a budget; made by `retain.guard`.

    Attributes:
        trainer: it.
        pair: its model, and the base.
        preprocessor: makes the model's inputs.
        parts: evaluation and control data.
        settings: of measuring.
        budget: the limits.
        alphas: interpolation coefficients to try.
        regularisers: the callbacks that were attached.
        result: the record, once `finish` made it.

    Examples:
        >>> guard = retain.guard(trainer, budget={"capitals": 5}, keep="capitals.jsonl", update_limit=0.05)
        >>> [type(one).__name__ for one in guard.regularisers]
        ['UpdateLimit']
    """

    trainer: Trainer
    pair: Pair
    preprocessor: Preprocessor
    parts: Parts
    settings: Settings
    budget: Budget
    alphas: tuple[float, ...]
    regularisers: list[RegulariserCallback] = field(default_factory=list)
    result: Result | None = None
    _items: Sequence[Item] = field(default=(), init=False, repr=False)
    _trained: Any = field(default=None, init=False, repr=False)

    def finish(self, output: str | Path | None = None, *, show_progress: bool = True) -> Result:
        """Scale the model's update back until control data certify every limit, and measure it on the other data.

        The trainer's own model is scaled, in place, so `trainer.save_model()` saves what was certified. Where no
        coefficient could be certified the model stays as it was trained, with a warning. With several processes all
        call this; one writes.

        Args:
            output: folder for the record, the report and the adapter (or model); None writes nothing, and may be
                followed by a call that does.
            show_progress: whether bars are shown on a terminal.

        Returns:
            The record: `budget` has each limit with its bound, `scaling.alpha` the coefficient, 0 where none was
            certified, `judgement` the verdict. Called again, it is the same: a second look at the same control data
            would weaken the promise.

        Raises:
            InputError: the output cannot be written into; or the trainer has not trained, or has trained again since.
        """
        self._check_moment()
        if output is not None:
            adapter_to_write(self.pair.tuned_model)
        writes = output is not None and self.trainer.is_world_process_zero()
        if writes and (problems := [*output_problem(str(output)), *holding_problem(str(output), _HOLDERS)]):
            raise InputError(problems)
        with output_folder(Path(str(output)), (*RUN_FILES, ADAPTER, MODEL)) if writes else nullcontext():
            if self.result is None:
                self.result, self._items = self._finish(show_progress=show_progress)
                self._trained = self.trainer.state
            if writes:
                self._write(Path(str(output)), self.result)
            return self.result

    def _check_moment(self) -> None:
        """Refuse to certify what was not trained under this guard, or was trained after its control data were read.

        Raises:
            InputError: in a sentence.
        """
        if self.result is None and self.trainer.state.global_step == 0:
            raise InputError(
                "this trainer has not trained yet: call trainer.train() between retain.guard and finish. A model that "
                "was trained before is scaled and certified by retain.scale."
            )
        if self.result is not None and self.trainer.state is not self._trained:
            raise InputError(
                "this trainer has trained again since finish certified its update, and control data that were looked "
                "at certify nothing more: give other control data, with a new trainer, a new guard or retain.scale."
            )

    def _write(self, output: Path, result: Result) -> None:
        """Write adapter (or model), record and report; what an earlier guard delivered there is removed."""
        for old in (ADAPTER, MODEL):
            remove(output / old)
        if result.scaling is not None and result.scaling.alpha > 0:
            write_setting(self.pair, 1.0, self.preprocessor, output)
        self.result = write_record(output, result, self._items)

    def _finish(self, *, show_progress: bool) -> tuple[Result, Sequence[Item]]:
        """Search, scale and measure; the record and its items."""
        with showing_progress(make_console(quiet=not show_progress)) as events:
            with Stopwatch() as searching:
                outcome = self._search(events)
            alpha = distributed.gathered(outcome.scaling.alpha)[0]
            if 0 < alpha < 1:
                scale_in_place(self.pair.tuned_model, alpha, base=self.pair.separate_base)
            if alpha == 0:
                warnings.warn(_not_kept(outcome), RetentionWarning, stacklevel=3)
            with Stopwatch() as measuring:
                measured = measure_pair(
                    self.pair, self.preprocessor, self.parts.evaluation, self.settings, events
                )  # fmt: skip
        told = [*notes_on(self.pair), *([_not_kept(outcome)] if alpha == 0 else [])]
        measured = replace(measured, notes=(*measured.notes, *told))
        with self.pair.base() as base:
            hashed = model_hash(base)
        found = result_of(name_of(base), self.pair, self.parts.evaluation, measured, hashed, measuring.seconds)
        return self._with_training(found, outcome, searching.seconds), measured.items

    def _search(self, events: Any) -> Outcome:
        control, task = self.parts.control, self.parts.evaluation.of("task")
        job = BudgetSearch.among(
            self.preprocessor,
            Suites(control.of("keep"), control.held_out_text),
            task,
            self.settings,
            limits=self.budget.limits,
            confidence=self.budget.confidence,
            alphas=self.alphas,
        )
        return search(self.pair, job, events)[0]

    def _with_training(self, result: Result, outcome: Outcome, seconds: float) -> Result:
        """The record with the budget, the scaling path, and what the Trainer logged."""
        state, curve = self.trainer.state, curve_of(self.trainer.state.log_history)
        cost = Cost(
            steps=state.global_step,
            tokens=int(state.num_input_tokens_seen),
            measure_seconds=result.cost.measure_seconds,
            scaling_seconds=seconds,
            final_train_loss=curve[-1].loss if curve else None,
        )
        return result.model_copy(
            update={
                "seed": self.trainer.args.seed,
                "learning_rate": self.trainer.args.learning_rate,
                "budget": outcome.budget,
                "scaling": outcome.scaling,
                "curve": curve,
                "cost": cost,
            }
        )


_HOLDERS = ("run.json", "summary.json", "scaling.json")


def _not_kept(outcome: Outcome) -> str:
    told = " ".join(one.message for one in outcome.budget if not one.kept)
    return f"No interpolation coefficient could be certified, so the model stays as it was trained. {told}"
