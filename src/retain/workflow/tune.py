"""One run: measure the base, adapt, train, measure again, write record and report. Every finished stage is kept."""

from __future__ import annotations

import contextlib
import shutil
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.progress import Progress
from transformers import set_seed

from retain.data.examples import Example
from retain.data.overlap import items_hash
from retain.data.readers import Reader, TextReader
from retain.data.tokens import encode_example
from retain.errors import InputError
from retain.evaluation.answers import Answers, collect_answers, engine, reader_hash
from retain.evaluation.pair import Pair
from retain.evaluation.reading import class_names
from retain.evaluation.runner import measure_pair
from retain.evaluation.scoring import device_of, padding_id
from retain.evaluation.suites import Settings, Suites
from retain.hf.adapt import attach
from retain.hf.describe import adapter_config, model_hash, parameter_counts
from retain.hf.head import BASE_HEAD, is_classifier, restore_head, save_head, saved_labels
from retain.hf.load import load_adapter
from retain.hf.sides import base_view, is_adapted, mutates_base
from retain.hf.starts import note_of
from retain.methods import choose
from retain.methods.sc_lora.attach import CalibrationWarning, sc_lora
from retain.recipe import Recipe
from retain.results import MethodRecord, Parameters, Result, write_text
from retain.training.loop import Lessons, train
from retain.training.probe import fit_head
from retain.workflow.calibrate import Calibration
from retain.workflow.folder import RunFolder, Trained, file_bytes, identity_of, key_of
from retain.workflow.models import files_fingerprint, load_model, load_reader, load_with_news
from retain.workflow.passages import given_statistics
from retain.workflow.prepare import Data, adapter_fields, is_calibrated, not_apart, prepare, settings_of, suite_hash
from retain.workflow.record import provenance, write_record

RECORDED_FIELDS = {"epochs", "max_steps", "batch_size", "max_length", "dtype", "training", "head"}
"""What the record says of the training, beside method, learning rate and seed."""

CALIBRATION = {"calibrate_keep", "calibrate_learn", "calibrate_tokens", "calibrate_seed", "statistics"}
"""What it says besides of a method that begins where texts say."""

NOT_OF_ANSWERS = {
    "tolerance", "tolerance_nats", "drift", "null_items", "seed", "reference_tokens", "task_tokens", "window",
}  # fmt: skip
"""Settings that leave the base's answers as they are."""


def tune(recipe: Recipe, progress: Progress, data: Data | None = None, base_folder: Path | None = None) -> Result:
    """Fine-tune as the recipe says and measure what it did; go on where an interrupted run stopped.

    Args:
        recipe: a recipe for one run.
        progress: display for progress bars.
        data: the recipe's data, where a comparison has read and checked them already.
        base_folder: where the base's answers are kept; runs on the same base and items share them.

    Raises:
        InputError: recipe, data or model cannot be used, with all problems; or the output holds another run.
        TrainingError: the loss stopped being finite.
    """
    recipe = recipe.single()
    folder = RunFolder(Path(recipe.output))
    if data is None:
        data = prepare(recipe)
    files = files_fingerprint(recipe.model)
    folder.claim(identity_of(recipe, data.hashes(), files, calibrated=is_calibrated(recipe)))
    finished = folder.finished()
    if finished is not None:
        return finished
    settings = settings_of(recipe)
    reader = load_reader(recipe.model, data.family, recipe.max_length, trust_remote_code=recipe.trust_remote_code)
    shared = base_folder or folder.path
    base = base_of(recipe, data, reader, shared, progress)
    base_hash = model_hash(base)
    began = time.perf_counter()
    answers = _base_answers(base, base_hash, reader, data.suites, settings, shared, progress)
    measuring = time.perf_counter() - began
    model, trained = _trained(base, base_hash, reader, recipe, data, (folder, shared), progress)
    pair = _paired(model, recipe, data, reader, shared, progress)
    began = time.perf_counter()
    measured = measure_pair(pair, reader, data.suites, settings, progress, answers)
    measuring += time.perf_counter() - began
    calibrated = is_calibrated(recipe)
    hashes = {key: value for key, value in data.hashes().items() if calibrated or not key.startswith("calibrate:")}
    result = Result(
        model=recipe.model,
        method=MethodRecord(name=recipe.method_name, config=trained.config),
        seed=recipe.seed,
        learning_rate=recipe.rate,
        training=recipe.model_dump(mode="json", include=RECORDED_FIELDS | (CALIBRATION if calibrated else set())),
        parameters=Parameters(
            trainable=trained.trainable,
            total=trained.total,
            adapter_bytes=file_bytes(folder.weights(recipe.method_name)),
        ),
        **measured.fields(),
        cost=trained.cost.model_copy(update={"measure_seconds": measuring}),
        curve=trained.curve,
        provenance=provenance(hashes, base_hash, [*trained.notes, *measured.notes]),
    )
    return write_record(folder.path, result, measured.items)


def base_of(recipe: Recipe, data: Data, reader: Reader, shared: Path, progress: Progress) -> Any:
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
        fit_head(model, reader, data.train, data.labels, recipe.evaluation_batch_size, progress)
        folder.mkdir(parents=True, exist_ok=True)
        save_head(model, data.labels, folder)
    restore_head(model, folder)
    return model


def _head_folder(recipe: Recipe, data: Data, shared: Path) -> Path:
    """Named by all that a fitted head depends on."""
    base = [files_fingerprint(recipe.model), recipe.dtype]
    return shared / f"head-{key_of(base, items_hash(data.train), data.labels, recipe.max_length)}"


def _base_answers(
    base: Any,
    base_hash: str,
    reader: Reader,
    suites: Suites,
    settings: Settings,
    shared: Path,
    progress: Progress,
) -> Answers:
    """The base's answers, from the file that another run on the same base and items left, or asked for now."""
    key = _answers_key(base, base_hash, reader, suites, settings)
    file = shared / f"base-{key}.json"
    if file.exists():
        with contextlib.suppress(ValueError):  # a damaged file is made anew
            return Answers.model_validate_json(file.read_text(encoding="utf-8"))
    answers = collect_answers(base, reader, suites.all, settings, progress, "the base answers")
    write_text(file, answers.model_dump_json())
    return answers


def _trained(
    base: Any,
    base_hash: str,
    reader: Reader,
    recipe: Recipe,
    data: Data,
    folders: tuple[RunFolder, Path],
    progress: Progress,
) -> tuple[Any, Trained]:
    folder, shared = folders
    done = folder.training()
    weights = folder.weights(recipe.method_name)
    if done is not None:
        if done.model_hash != base_hash:
            raise InputError(
                f"model: {recipe.model} is not the model that {folder.path} was trained on; give another --output."
            )
        if recipe.method_name == "full":
            return _load(str(weights), recipe, data), done
        return load_adapter(base, weights).eval(), done
    dtype = base.dtype
    began = time.perf_counter()
    start, told = _start((base, base_hash), reader, recipe, data, shared, progress)
    heads = data.labels if is_classifier(base) else []
    set_seed(recipe.seed)
    if recipe.method_name == "full":
        # 16-bit weights would round small steps away: train in float32, cast back afterwards.
        model = base.float().requires_grad_(True)  # noqa: FBT003  (torch's own signature)
    elif start is not None:
        model = start()
    else:
        model = attach(base, recipe.method_name, adapter_fields(recipe))
    calibrated = time.perf_counter() - began if start is not None else 0.0
    trainable, total = parameter_counts(model)
    lessons, cut = _lessons(model, reader, data, recipe)
    notes = [*told, *(str(finding) for finding in (note_of(model) or {}).get("findings", ()))]
    if cut:
        notes.append(
            f"{cut} of {len(data.train)} training examples were longer than {recipe.max_length} tokens and were cut."
        )
    cost, curve = train(model, lessons, recipe, folder.path, progress)
    cost = cost.model_copy(update={"calibration_seconds": calibrated})
    if recipe.method_name == "full":
        model = model.to(dtype)
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
    folder.save_weights(lambda path: _save(model, reader, path, heads, fitted), recipe.method_name, record)
    return model, record


def _lessons(model: Any, reader: Reader, data: Data, recipe: Recipe) -> tuple[Lessons, int]:
    """What the model is trained on, and how many examples were cut."""
    if data.family == "causal-lm" and isinstance(reader, TextReader):
        examples = [item for item in data.train if isinstance(item, Example)]
        rows = [encode_example(reader.tokenizer, example, recipe.max_length) for example in examples]
        return Lessons.of_text(rows, padding_id(reader.tokenizer)), sum(row.truncated for row in rows)
    cut = sum(n > recipe.max_length for n in reader.lengths(data.train)) if isinstance(reader, TextReader) else 0
    return Lessons.of_classes(data.train, reader, class_names(model)), cut


def _start(
    model: tuple[Any, str], reader: Reader, recipe: Recipe, data: Data, shared: Path, progress: Progress
) -> tuple[Callable[[], Any] | None, list[str]]:
    """How to put the adapter on, for a method that begins where texts say (None for the others), and notes.

    Statistics lie in `statistics` under the shared folder, so that runs with other β, ranks or seeds read them again.
    """
    (base, base_hash), name = model, recipe.method_name
    if not choose.is_start(name):
        return None, []
    config = choose.start_config(name, choose.with_head(base, name, adapter_fields(recipe)))
    needed = choose.calibration(name)
    if recipe.statistics is not None:
        made, told = given_statistics(recipe.statistics, needed), not_apart(recipe.statistics, data.suites)
    else:
        folder = shared / "statistics"
        job = Calibration(base, reader, recipe, recipe.max_length, data.suites, folder, progress, base_hash)
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


def _save(model: Any, reader: Reader, path: Path, labels: Sequence[str], fitted: Path) -> None:
    """Write what was trained; beside a classifier's, the head that the base was measured with."""
    model.save_pretrained(path)
    (reader.tokenizer if isinstance(reader, TextReader) else reader.processor).save_pretrained(path)
    if labels and is_adapted(model):
        with base_view(model):
            save_head(model, class_names(model), path)
    elif labels and fitted.is_file():  # a whole model no longer holds the head that its base was measured with
        shutil.copyfile(fitted, path / BASE_HEAD)


def _paired(model: Any, recipe: Recipe, data: Data, reader: Reader, shared: Path, progress: Progress) -> Pair:
    """The base inside the adapted model where it is there untouched, else the base loaded anew."""
    if recipe.method_name == "full" or mutates_base(model):
        return Pair(model, base_of(recipe, data, reader, shared, progress))
    return Pair(model)


def _load(source: str, recipe: Recipe, data: Data) -> Any:
    return load_model(
        source,
        recipe.dtype,
        family=data.family,
        labels=data.labels,
        attention=recipe.attention,
        trust_remote_code=recipe.trust_remote_code,
    )


def _answers_key(base: Any, base_hash: str, reader: Reader, suites: Suites, settings: Settings) -> str:
    """Names all that the base's answers depend on: weights, configuration, reader, suites in order, settings."""
    asked = [[suite.name, suite_hash(suite)] for suite in suites.all]
    put = {name: value for name, value in asdict(settings).items() if name not in NOT_OF_ANSWERS}
    attention = base.config._attn_implementation  # noqa: SLF001 -- transformers has no public name for it
    running = [base.config.to_json_string(), attention, str(base.dtype), engine(), device_of(base).type]
    return key_of(base_hash, running, reader_hash(reader), asked, put)
