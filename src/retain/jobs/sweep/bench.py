"""One base for all candidates of a sweep: attach an adapter, train it a few steps, measure it, detach it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import set_seed

from retain.activations import Statistics
from retain.errors import RetainError, TrainingError
from retain.evaluate.encode import class_names, log_probabilities
from retain.evaluate.generate import score_nll
from retain.evaluate.input_hash import InputHash
from retain.events import Events
from retain.hf.adapters.attach import attach
from retain.hf.models.describe import parameter_counts
from retain.hf.models.head import is_classifier
from retain.hf.models.inference import evaluating, padding_id
from retain.hf.models.sides import mutates_base
from retain.hf.scaling import scaled
from retain.jobs.adapt import training_set_of
from retain.jobs.calibrate import Calibration
from retain.jobs.gradient_batches import gradient_batches
from retain.jobs.inputs.calibration_texts import Texts
from retain.jobs.inputs.prepare import adapter_fields
from retain.jobs.kept_fisher import kept_fisher
from retain.jobs.probing import Probe, feature_probe
from retain.jobs.regularisers import with_regularisers
from retain.jobs.run import Run
from retain.jobs.sweep.losses import Losses
from retain.jobs.sweep.seal import Seal, is_bare
from retain.jobs.sweep.sweep_data import SweepData
from retain.jobs.teaching import penalty_teacher
from retain.methods import lookup as choose
from retain.methods.initialisations.adapter import CalibrationWarning, sc_lora
from retain.methods.sparse.update import sparse_update
from retain.recipe import Recipe
from retain.records.sweep_record import Candidate, Point
from retain.train.loop import TrainingSet, train
from retain.train.regularise.divergence import Divergence

ALPHAS = (0.5, 1.0)
"""Interpolation coefficients at which a candidate is measured."""

WARM_UP = 2
"""Steps over which the learning rate rises to its constant value; none in sweeps of fewer than four times as many."""

SCHEDULE = ("lr_scheduler", "warmup")
"""Prefixes of the training arguments that a sweep replaces by a constant learning rate."""


class Bench:
    """Trains and measures the candidates of a sweep one after another on one base.

    Candidates of one method that follow one another share an adapter: its trained parameters are set back to their
    initial values, which is the same as a fresh adapter, bit for bit.

    Args:
        run: the sweep as a run, which loads the base, with a fitted head where it needs one.
        base: the base, loaded already.
        job: collects second moments; its model is the base.
        sweep_data: the rows that are learned and measured.
        folder: for checkpoints.
        steps: of each candidate.
    """

    def __init__(
        self,
        run: Run,
        base: Any,
        job: Calibration,
        sweep_data: SweepData,
        folder: Path,
        steps: int,
    ) -> None:
        self._run, self._base, self._job = run, base, job
        self.data, self._folder, self._steps = sweep_data, folder, steps
        self._seal = Seal(base)
        self._adapter: tuple[tuple[str, int], Any, dict[str, Tensor]] | None = None
        self._probes: dict[tuple[str, str, int], Probe] = {}
        self._teachers: dict[tuple[str, float], Any] = {}
        self.base_losses = self._losses(base)

    def bare(self, events: Events) -> Any:
        """The base, without an adapter."""
        self._detach(events)
        return self._base

    def candidate(self, run: Recipe, key: str, events: Events) -> Candidate:
        """Train one candidate and measure it. A failure is recorded in the candidate.

        Args:
            run: one run: method, learning rate, regularisers, replay.
            key: names its checkpoints, from which an interrupted candidate goes on.
            events: receives the progress.
        """
        facts = facts_of(run)
        try:
            probe = self._probe(run, events)
            model = self._attach(run, events)
            facts["trainable"] = parameter_counts(model)[0]
            facts["step_seconds"] = self._learn(model, run, self._folder / key, events, probe)
            facts["points"] = self._points(model)
        except RetainError as error:
            self._detach(events)
            return Candidate(**{**facts, "points": ()}, failed=str(error))
        if not self._seal.holds():
            self._detach(events)
            return Candidate(
                **{**facts, "points": ()}, failed="it changed the base's own weights, so it was not measured."
            )
        return Candidate(**facts)

    def _probe(self, run: Recipe, events: Events) -> Probe | None:
        """What the feature penalty of a candidate holds; found on the bare base, once for all that hold the same."""
        key = (run.feature_probe, run.feature_on, run.seed)
        if run.feature_weight and key not in self._probes:
            bare, kept = self.bare(events), self.data.kept
            found = feature_probe(self._as_run(run, events), bare, self._job.weights, lambda: kept)
            self._probes |= {} if found is None else {key: found}
        return self._probes.get(key) if run.feature_weight else None

    def _teacher(self, run: Recipe, model: Any, learned: TrainingSet, events: Events) -> Any:
        """What a candidate's KL penalty compares with in place of the base; asked once for all that ask the same."""
        key = (run.kl_on, run.kl_temperature)
        if run.kl_weight and run.teacher and key not in self._teachers:
            self._teachers[key] = penalty_teacher(self._as_run(run, events), model, learned)
        return self._teachers.get(key) if run.kl_weight else None

    def _as_run(self, run: Recipe, events: Events) -> Run:
        return replace(self._run, recipe=run, events=events)

    def _attach(self, run: Recipe, events: Events) -> Any:
        key = (run.method_key, run.seed)
        if self._adapter is not None and self._adapter[0] == key:
            _, model, start = self._adapter
            with torch.no_grad():
                for name, value in _trained(model):
                    value.copy_(start[name])
            return model
        self._detach(events)
        model = self._fresh_adapter(run, events)
        self._adapter = (key, model, {name: value.detach().clone() for name, value in _trained(model)})
        if reason := mutates_base(model):
            raise TrainingError(f"what {run.method_name} trains cannot be compared with its base: {reason}")
        return model

    def _fresh_adapter(self, run: Recipe, events: Events) -> Any:
        """The base with a fresh adapter, as at the start of `retain tune`."""
        name, fields = run.method_name, adapter_fields(run)
        if choose.is_sparse(name):
            return self._sparse(run, events)
        if not choose.is_data_driven(name):
            set_seed(run.seed)
            return attach(self._base, name, fields)
        config = choose.initialisation_config(name, choose.with_head(self._base, name, fields))
        made = self._statistics(choose.calibration(name), config, events)
        set_seed(run.seed)
        bar = events.task(f"{name} looks for directions", total=None)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CalibrationWarning)  # a sweep reads few texts, which its notes say
            return sc_lora(
                self._base,
                config,
                learn=made.get("learn"),
                keep=made.get("keep"),
                on_layer=lambda done, total: bar.update(done=done, total=total),
            )

    def _sparse(self, run: Recipe, events: Events) -> Any:
        config = choose.sparse_config(choose.with_head(self._base, run.method_name, adapter_fields(run)))
        learned = partial(training_set_of, self._base, self._job.preprocessor, self.data.learn)
        batches = gradient_batches(config, run, self._without_probes(events), self.data.texts, learned)
        set_seed(run.seed)
        return sparse_update(self._base, config, learn=batches.get("learn"), keep=batches.get("keep"))

    def _without_probes(self, events: Events) -> WithoutProbes:
        fields = {**vars(self._job), "model": self._base, "events": events}
        return WithoutProbes(**fields, kept=tuple(self.data.kept))

    def _statistics(self, needed: Sequence[str], config: Any, events: Events) -> dict[str, Statistics]:
        job = self._without_probes(events)
        return job.statistics(needed, self.data.texts, config.targets, config.sample_norm)

    def _detach(self, events: Events) -> None:
        """Restore the bare base: unwrap it if it is unchanged, else load it anew."""
        if self._adapter is None:
            bare = is_bare(self._base, self._seal)
        else:
            model, self._adapter = self._adapter[1], None
            unload = getattr(model, "unload", None)
            self._base = unload() if unload is not None else self._base
            bare = unload is not None and is_bare(self._base, self._seal)
        if not bare:
            self._base = replace(self._run, events=events).base()
            self._seal = Seal(self._base)

    def _learn(self, model: Any, run: Recipe, folder: Path, events: Events, probe: Probe | None) -> float:
        """Train in place and return the median seconds of a step."""
        preprocessor, kept = self._job.preprocessor, self.data.kept
        learned = training_set_of(model, preprocessor, self.data.learn, run)
        learned, callbacks = with_regularisers(
            learned,
            kept if run.needs_keep_text else (),
            run,
            preprocessor,
            teacher=self._teacher(run, model, learned, events),
            probe=probe,
            fisher=lambda batches: kept_fisher(self._job, model, batches),
        )
        cost, _ = train(model, learned, run_candidate(run, self._steps), folder, events, callbacks)
        return cost.step_seconds_median

    def _points(self, model: Any) -> tuple[Point, ...]:
        divergence, points = Divergence(), []
        for alpha in ALPHAS:
            with scaled(model, alpha):
                losses = self._losses(model)
                kl = self._kl(model, divergence)
            gain, error = losses.gain_over(self.base_losses)
            if not math.isfinite(gain) or not math.isfinite(kl):
                raise TrainingError(f"at α = {alpha:g} its gain is {gain} and its KL {kl}: it diverged.")
            scores = {"loss": losses.mean, "gain": gain, "gain_error": error, "kl": kl, "accuracy": losses.accuracy}
            points.append(Point(alpha=alpha, gains=losses.gains_over(self.base_losses), **scores))
        return tuple(points)

    def _kl(self, model: Any, divergence: Divergence) -> float:
        """KL(base ‖ tuned) in nats over all probes, per attended token, or per item of a classifier."""
        total, count = 0.0, 0
        with evaluating(model):
            for batch in self.data.probes:
                items = is_classifier(model) or "attention_mask" not in batch
                weight = len(next(iter(batch.values()))) if items else int(batch["attention_mask"].sum())
                total += weight * float(divergence(model, batch))
                count += weight
        return total / count

    def _losses(self, model: Any) -> Losses:
        """The losses of a model on the rows held out."""
        preprocessor, size = self._job.preprocessor, getattr(self._job.recipe, "evaluation_batch_size", 32)
        held = self.data.held
        if not is_classifier(model):
            rows = preprocessor.encode(held)
            nats = score_nll(model, rows, padding_id(preprocessor.tokenizer), size)
            return Losses(nats, [len(row.ids) - row.start for row in rows])
        log_p = log_probabilities(model, preprocessor, held, size, lambda _: None, InputHash())
        names = class_names(model)
        labelled: Any = held
        truth = torch.tensor([names.index(item.label) for item in labelled])
        nats = (-log_p.gather(1, truth[:, None]).squeeze(1)).tolist()
        return Losses(nats, [1] * len(nats), float((log_p.argmax(1) == truth).double().mean()))


@dataclass(frozen=True)
class WithoutProbes(Calibration):
    """Calibrates on the text to keep that is not measured on.

    Attributes:
        kept: the rows of that text.
    """

    kept: Sequence[Any] = ()

    def rows(self, texts: Texts | None) -> list[Any]:
        """The rows of text to learn; of text to keep, which is given as None, the rows set aside for it."""
        return list(self.kept) if texts is None else Calibration.rows(self, texts)


def facts_of(run: Recipe) -> dict[str, Any]:
    """The fields of a candidate that its recipe tells."""
    return {
        "method": run.method_name,
        "fields": run.method_fields,
        "rank": run.rank,
        "own": run.own_values(),
        "learning_rate": run.rate,
        "replay": run.replay or 0.0,
    }


def run_candidate(run: Recipe, steps: int) -> Recipe:
    """The recipe of a candidate: a few steps at a constant learning rate after a short warm-up, told to no tracker."""
    warm_up = WARM_UP if steps >= 4 * WARM_UP else 0
    constant = {"lr_scheduler_type": "constant_with_warmup", "warmup_steps": warm_up, "report_to": "none"}
    training = {key: value for key, value in run.training.items() if not key.startswith(SCHEDULE)} | constant
    return run.model_copy(update={"max_steps": steps, "training": training})


def _trained(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    return [(name, value) for name, value in model.named_parameters() if value.requires_grad]
