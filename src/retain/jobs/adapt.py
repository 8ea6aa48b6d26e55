"""From a base to a trained model: a head where one is missing, the adapter, the training, the weights on disk."""

from __future__ import annotations

import contextlib
import shutil
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.progress import Progress
from transformers import set_seed

from retain.data.contamination import items_hash
from retain.data.examples import Example
from retain.data.preprocess import Preprocessor, TextPreprocessor
from retain.data.tokens import encode_example
from retain.errors import InputError
from retain.evaluate.encode import class_names
from retain.hf.adapters.accelerate import accelerate, has_lora
from retain.hf.adapters.attach import attach
from retain.hf.adapters.initialise import note_of
from retain.hf.adapters.load import load_adapter
from retain.hf.adapters.save import save_weights
from retain.hf.models.describe import adapter_config, parameter_counts
from retain.hf.models.head import BASE_HEAD, is_classifier, restore_head, save_head, saved_labels
from retain.hf.models.inference import padding_id
from retain.hf.models.sides import base_view, is_adapted, mutates_base
from retain.hf.scaling import ensure_scalable
from retain.jobs.calibrate import Calibration
from retain.jobs.inputs.calibration_texts import given_statistics
from retain.jobs.inputs.models import files_fingerprint, load_model, load_with_news
from retain.jobs.inputs.prepare import Data, adapter_fields, not_apart
from retain.jobs.regularisers import with_regularisers
from retain.jobs.run_folder import RunFolder, Trained, key_of
from retain.methods import lookup as choose
from retain.methods.initialisations.adapter import CalibrationWarning, sc_lora
from retain.recipe import Recipe
from retain.train.linear_probe import fit_head
from retain.train.loop import Lessons, train


def base_of(recipe: Recipe, data: Data, preprocessor: Preprocessor, shared: Path, progress: Progress) -> Any:
    """The base, with a head for the data's classes: its own, or a new one as the recipe says, fitted once and kept."""
    model, is_new = load_with_news(
        recipe.model,
        recipe.dtype,
        family=data.family,
        labels=data.labels,
        attention=recipe.attention,
        trust_remote_code=recipe.trust_remote_code,
    )
    if not is_new or recipe.head == "random":
        return model
    folder = _head_folder(recipe, data, shared)
    if saved_labels(folder) is None:
        fit_head(model, preprocessor, data.train, data.labels, recipe.evaluation_batch_size, progress)
        folder.mkdir(parents=True, exist_ok=True)
        save_head(model, data.labels, folder)
    restore_head(model, folder)
    return model


def _head_folder(recipe: Recipe, data: Data, shared: Path) -> Path:
    """Named by all that a fitted head depends on."""
    base = [files_fingerprint(recipe.model), recipe.dtype]
    return shared / f"head-{key_of(base, items_hash(data.train), data.labels, recipe.max_length)}"


def train_or_load(
    base: Any,
    base_hash: str,
    preprocessor: Preprocessor,
    recipe: Recipe,
    data: Data,
    folders: tuple[RunFolder, Path],
    progress: Progress,
) -> tuple[Any, Trained]:
    """The trained model and what is known of its training; from the folder, where that is done already."""
    folder, shared = folders
    done = folder.training()
    folder.restore(recipe.method_name)
    weights = folder.weights(recipe.method_name)
    if done is not None:
        if done.model_hash != base_hash:
            raise InputError(
                f"model: {recipe.model} is not the model that {folder.path} was trained on; give another --output."
            )
        if recipe.method_name == "full":
            return load_whole(weights, recipe, data), done
        return load_adapter(base, weights).eval(), done
    dtype = base.dtype
    began = time.perf_counter()
    start, told = _start((base, base_hash), preprocessor, recipe, data, shared, progress)
    heads = data.labels if is_classifier(base) else []
    set_seed(recipe.seed)
    model = _attached(base, recipe, start)
    if recipe.budget and recipe.method_name != "full":
        ensure_scalable(model)
    calibrated = time.perf_counter() - began if start is not None else 0.0
    trainable, total = parameter_counts(model)
    lessons, cut = lessons_of(model, preprocessor, data, recipe)
    rows, written = _keep_rows(model, base_hash, preprocessor, recipe, data, shared, progress)
    lessons, means = with_regularisers(
        lessons, rows, recipe, preprocessor, _teacher(model, recipe, data, preprocessor, shared, progress)
    )
    notes = [*told, *written, *(str(finding) for finding in (note_of(model) or {}).get("findings", ()))]
    if cut:
        notes.append(
            f"{cut} of {len(data.train)} training examples were longer than {recipe.max_length} tokens and were cut."
        )
    cost, curve = train(model, lessons, recipe, folder.path, progress, means)
    cost = cost.model_copy(update={"calibration_seconds": calibrated})
    if recipe.method_name == "full":
        for parameter in model.parameters():  # and no buffers, which have a type of their own
            parameter.data = parameter.data.to(dtype)
    record = Trained(
        cost=cost,
        trainable=trainable,
        total=total,
        config=adapter_config(model),
        model_hash=base_hash,
        notes=tuple(notes),
        curve=curve,
    )
    fitted = _head_folder(recipe, data, shared) / BASE_HEAD
    folder.save_weights(lambda path: _save(model, preprocessor, path, heads, fitted), recipe.method_name, record)
    return model, record


def _attached(base: Any, recipe: Recipe, start: Callable[[], Any] | None) -> Any:
    """The model as it is trained: with the method's adapter, or whole."""
    if recipe.method_name == "full":
        # 16-bit weights would round small steps away: train in float32, cast back afterwards.
        return base.float().requires_grad_(True)  # noqa: FBT003  (torch's own signature)
    model = attach(base, recipe.method_name, adapter_fields(recipe)) if start is None else start()
    if recipe.accelerate and has_lora(model):
        accelerate(model)
    return model


def _keep_rows(
    model: Any, base_hash: str, preprocessor: Preprocessor, recipe: Recipe, data: Data, shared: Path, progress: Progress
) -> tuple[list[Any], list[str]]:
    """The text (or images) to keep that the recipe's means read, and notes; nothing where none reads any."""
    if not recipe.needs_keep_text:
        return [], []
    folder = shared / "statistics"
    with base_view(model) if is_adapted(model) else contextlib.nullcontext(model):
        job = Calibration(model, preprocessor, recipe, recipe.max_length, data.everything, folder, progress, base_hash)
        return job.rows(data.passages.get("keep")), job.notes


def _teacher(
    model: Any, recipe: Recipe, data: Data, preprocessor: Preprocessor, shared: Path, progress: Progress
) -> Any:
    """The base as a model of its own, where means compare with it and it is not inside the model."""
    if not (recipe.kl_weight or recipe.kl_monitor) or (is_adapted(model) and not mutates_base(model)):
        return None
    return base_of(recipe, data, preprocessor, shared, progress)


def lessons_of(model: Any, preprocessor: Preprocessor, data: Data, recipe: Recipe) -> tuple[Lessons, int]:
    """What the model is trained on, and how many examples were cut."""
    if data.family == "causal-lm" and isinstance(preprocessor, TextPreprocessor):
        examples = [item for item in data.train if isinstance(item, Example)]
        rows = [encode_example(preprocessor.tokenizer, example, recipe.max_length) for example in examples]
        return Lessons.of_text(rows, padding_id(preprocessor.tokenizer)), sum(row.truncated for row in rows)
    cut = (
        sum(n > recipe.max_length for n in preprocessor.lengths(data.train))
        if isinstance(preprocessor, TextPreprocessor)
        else 0
    )
    return Lessons.of_classes(data.train, preprocessor, class_names(model)), cut


def _start(
    model: tuple[Any, str], preprocessor: Preprocessor, recipe: Recipe, data: Data, shared: Path, progress: Progress
) -> tuple[Callable[[], Any] | None, list[str]]:
    """How to put the adapter on, for a method that begins where texts say (None for the others), and notes.

    Statistics lie in `statistics` under the shared folder, so that runs with other β, ranks or seeds read them again.
    """
    (base, base_hash), name = model, recipe.method_name
    if not choose.is_data_driven(name):
        return None, []
    config = choose.initialisation_config(name, choose.with_head(base, name, adapter_fields(recipe)))
    needed = choose.calibration(name)
    if recipe.statistics is not None:
        made, told = given_statistics(recipe.statistics, needed), not_apart(recipe.statistics, data.everything)
    else:
        folder = shared / "statistics"
        job = Calibration(base, preprocessor, recipe, recipe.max_length, data.everything, folder, progress, base_hash)
        made, told = job.statistics(needed, data.passages, config.targets, config.sample_norm), job.notes

    def put_on() -> Any:
        bar = progress.add_task(f"{name} looks for directions", total=None)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CalibrationWarning)  # they stand in the record
            return sc_lora(
                base,
                config,
                learn=made.get("learn"),
                keep=made.get("keep"),
                on_layer=lambda done, total: progress.update(bar, completed=done, total=total),
            )

    return put_on, told if needed else []


def _save(model: Any, preprocessor: Preprocessor, path: Path, labels: Sequence[str], fitted: Path) -> None:
    """Write what was trained; beside a classifier's, the head that the base was measured with."""
    save_weights(model, path)
    (preprocessor.tokenizer if isinstance(preprocessor, TextPreprocessor) else preprocessor.processor).save_pretrained(
        path
    )
    if labels and is_adapted(model):
        with base_view(model):
            save_head(model, class_names(model), path)
    elif labels and fitted.is_file():  # a whole model no longer holds the head that its base was measured with
        shutil.copyfile(fitted, path / BASE_HEAD)


def load_whole(source: str | Path, recipe: Recipe, data: Data) -> Any:
    """A whole model that was trained, by its folder."""
    return load_model(
        str(source),
        recipe.dtype,
        family=data.family,
        labels=data.labels,
        attention=recipe.attention,
        trust_remote_code=recipe.trust_remote_code,
    )
