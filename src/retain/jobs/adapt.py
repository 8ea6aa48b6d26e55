"""From the base to a trained model: initialise, train, save. A training that is complete is read back."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import set_seed

from retain.activations import Statistics
from retain.activations.distributed import rank, wait
from retain.data.lengths import beyond_training
from retain.data.preprocess import Preprocessor
from retain.errors import InputError
from retain.evaluate.batching import training_batches_told
from retain.evaluate.encode import class_names
from retain.evaluate.pair import carries_base
from retain.hf.adapters.accelerate import accelerate, has_lora
from retain.hf.adapters.attach import attach
from retain.hf.adapters.initialise import note_of
from retain.hf.adapters.save import save_weights
from retain.hf.models.coverage import coverage
from retain.hf.models.describe import adapter_config, parameter_counts
from retain.hf.models.head import BASE_HEAD, is_classifier, save_head
from retain.hf.models.inference import padding_id
from retain.hf.models.sides import base_view, is_adapted
from retain.hf.scaling import ensure_scalable
from retain.jobs.calibrate import Calibration
from retain.jobs.gradient_batches import gradient_batches
from retain.jobs.inputs.calibration_texts import given_statistics
from retain.jobs.inputs.data import not_apart
from retain.jobs.inputs.prepare import adapter_fields
from retain.jobs.kept_fisher import kept_fisher
from retain.jobs.probing import feature_probe
from retain.jobs.regularisers import with_regularisers
from retain.jobs.run import Run
from retain.jobs.run_folder import Trained
from retain.jobs.stopwatch import Stopwatch
from retain.jobs.teaching import penalty_teacher
from retain.methods import lookup
from retain.methods.initialisations.adapter import CalibrationWarning, sc_lora
from retain.methods.sparse.update import sparse_update
from retain.recipe import Recipe
from retain.records.checkpoint_seal import remove_checkpoints
from retain.train.callbacks import StopOnSignal
from retain.train.gathered import whole_state
from retain.train.loop import TrainingSet, train


def train_or_load(run: Run, base: Any, base_hash: str) -> tuple[Any, Trained]:
    """The trained model and the facts of its training, read back from the folder where the training is complete.

    Args:
        run: the run.
        base: its base; an adapter is put on it.
        base_hash: of the base's weights.

    Raises:
        InputError: the folder holds a training of another base.
        TrainingError: the loss stopped being finite.
    """
    done = run.folder.training()
    if done is None:
        return _trained(run, base, base_hash)
    remove_checkpoints(run.folder.checkpoints)  # where the training before was stopped when it had just ended
    run.folder.check_weights(run.method)
    run.folder.restore(run.method)
    if done.model_hash != base_hash:
        raise InputError(
            f"model: {run.recipe.model} is not the model that {run.folder.path} was trained on; give another --output."
        )
    return run.trained(base, run.folder.weights(run.method)), done


def _trained(run: Run, base: Any, base_hash: str) -> tuple[Any, Trained]:
    """Train the base, write the weights, and give the trained model."""
    recipe, dtype, has_head = run.recipe, base.dtype, is_classifier(base)
    probe = feature_probe(run, base, base_hash, lambda: _keep_rows(run, base, Calibration.of(run, base, base_hash)))
    with Stopwatch() as initialising:
        attach_method, notes = _attachment(run, base, base_hash)
        set_seed(recipe.seed)
        model = attach_method()
    seconds = initialising.seconds if lookup.is_data_driven(run.method) or run.is_calibrated else 0.0
    if recipe.budget and run.method != "full":
        ensure_scalable(model)
    trainable, total = parameter_counts(model)
    job = Calibration.of(run, model, base_hash)
    rows = _keep_rows(run, model, job)
    learned = training_set_of(model, run.preprocessor, run.data.train, run.recipe)
    base_apart, teacher = _base(run, model), penalty_teacher(run, model, learned)
    learned, callbacks = with_regularisers(
        learned,
        rows,
        recipe,
        run.preprocessor,
        base_apart,
        teacher,
        probe,
        fisher=lambda batches: kept_fisher(job, model, batches, base_apart),
    )
    notes += [] if probe is None else [probe.note]
    notes += [*job.notes, *coverage(model), *(str(finding) for finding in (note_of(model) or {}).get("findings", ()))]
    notes += learned.cuts.sentences(len(run.data.train), of="training examples")
    notes += beyond_training(learned.cuts.longest, run.preprocessor.positions)
    notes += training_batches_told(model, run.preprocessor, run.data.train, recipe.batch_size)
    stopping = StopOnSignal()
    with stopping.listening():
        cost, curve = train(model, learned, recipe, run.folder.path, run.events, callbacks, stopping)
        state = whole_state(model)
        if run.method == "full" and state is None:
            for parameter in model.parameters():  # and no buffers, which have a type of their own
                parameter.data = parameter.data.to(dtype)
        elif run.method == "full" and state is not None:
            state = {name: value.to(dtype) if value.is_floating_point() else value for name, value in state.items()}
        record = Trained(
            cost=cost.model_copy(update={"calibration_seconds": seconds}),
            trainable=trainable,
            total=total,
            config=adapter_config(model),
            model_hash=base_hash,
            notes=tuple(notes),
            curve=curve,
        )
        labels = run.data.labels if has_head else []
        if rank() == 0:
            run.folder.save_weights(lambda path: _save(run, model, path, labels, state), run.method, record)
        wait()
    return model, record


def training_set_of(
    model: Any, preprocessor: Preprocessor, items: Sequence[Any], recipe: Recipe | None = None
) -> TrainingSet:
    """The items as a training set in the form that the model learns from; augmented as a recipe says."""
    if not is_classifier(model):
        return TrainingSet.of_text(preprocessor.encode(items), padding_id(preprocessor.tokenizer))
    augment, seed = ((), 0) if recipe is None else (recipe.augment, recipe.seed)
    return TrainingSet.of_classes(items, preprocessor, class_names(model), augment, seed)


def _attachment(run: Run, base: Any, base_hash: str) -> tuple[Callable[[], Any], list[str]]:
    """A function that gives the model as it is trained, and notes. What it reads of texts is made here already.

    Second moments lie under the shared folder, so that runs with other β, ranks or seeds read them again.
    """
    name = run.method
    if name == "full":
        # 16-bit weights would round small steps away: train in float32, cast back afterwards.
        return lambda: base.float().requires_grad_(True), []  # noqa: FBT003  (torch's own signature)
    fields = adapter_fields(run.recipe)
    if lookup.is_sparse(name):
        return _sparse_attachment(run, base, base_hash)
    if not lookup.is_data_driven(name):
        return lambda: _accelerated(run, attach(base, name, fields)), []
    config = lookup.initialisation_config(name, lookup.with_head(base, name, fields))
    moments, notes = _moments(run, base, base_hash, config)

    def attach_initialised() -> Any:
        task = run.events.task(f"{name} looks for directions")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CalibrationWarning)  # they stand in the record
            model = sc_lora(
                base,
                config,
                learn=moments.get("learn"),
                keep=moments.get("keep"),
                on_layer=lambda done, total: task.update(done=done, total=total),
            )
        return _accelerated(run, model)

    return attach_initialised, notes


def _sparse_attachment(run: Run, base: Any, base_hash: str) -> tuple[Callable[[], Any], list[str]]:
    """A function that chooses entries by their score and attaches the adapter, and notes on the texts it reads."""
    config = lookup.sparse_config(lookup.with_head(base, run.method, adapter_fields(run.recipe)))
    job = Calibration.of(run, base, base_hash)
    batches = gradient_batches(
        config, run.recipe, job, run.data.texts, lambda: training_set_of(base, run.preprocessor, run.data.train)
    )

    def attach_sparse() -> Any:
        task = run.events.task(f"{run.method} looks for entries", total=None)
        seen = itertools.count(1)
        learn, keep = batches.get("learn"), batches.get("keep")
        return sparse_update(base, config, learn=learn, keep=keep, on_batch=lambda: task.update(done=next(seen)))

    return attach_sparse, job.notes


def _accelerated(run: Run, model: Any) -> Any:
    """The model, its LoRA layers in fused form where the recipe says so."""
    if run.recipe.accelerate and has_lora(model):
        accelerate(model)
    return model


def _moments(run: Run, base: Any, base_hash: str, config: Any) -> tuple[dict[str, Statistics], list[str]]:
    """The second moments that the initialisation reads, given or collected now, and notes on them."""
    needed = lookup.calibration(run.method)
    if run.recipe.statistics is not None:
        notes = not_apart(run.recipe.statistics, run.data.everything)
        made = given_statistics(run.recipe.statistics, needed)
    else:
        job = Calibration.of(run, base, base_hash)
        made, notes = job.statistics(needed, run.data.texts, config.targets, config.sample_norm), job.notes
    return made, notes if needed else []


def _keep_rows(run: Run, model: Any, job: Calibration) -> list[Any]:
    """The text (or images) to keep that the regularisers read; nothing where none reads any."""
    if not run.recipe.needs_keep_text:
        return []
    with base_view(model) if is_adapted(model) else contextlib.nullcontext(model):
        return job.rows(run.data.texts.get("keep"))


def _base(run: Run, model: Any) -> Any:
    """The base as a model of its own, where a regulariser compares with it and it is not inside the model."""
    recipe = run.recipe
    compared = recipe.kl_monitor or recipe.ewc or recipe.feature_weight
    compared = compared or (recipe.kl_weight and recipe.teacher is None)
    return run.base() if compared and not carries_base(model) else None


def _save(
    run: Run, model: Any, path: Path, labels: Sequence[str], state: dict[str, torch.Tensor] | None = None
) -> None:
    """Write what was trained; beside a classifier's, the head that the base was measured with.

    `state` has the weights of a model whose own are in pieces.
    """
    save_weights(model, path, state=state)
    preprocessor, fitted = run.preprocessor, run.head_folder / BASE_HEAD
    preprocessor.save(path)
    if labels and is_adapted(model):
        with base_view(model):
            save_head(model, class_names(model), path)
    elif labels and fitted.is_file():  # a whole model no longer holds the head that its base was measured with
        shutil.copyfile(fitted, path / BASE_HEAD)
