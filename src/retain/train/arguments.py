"""Settings of transformers' Trainer: checked by their types and ranges, then by building a Trainer for real.

TrainingArguments checks few of its fields. Most mistakes come to light when the Trainer, its data loader or its
optimizer is made, which is after the base was measured; so they are made once before, around a model of one weight.
"""

from __future__ import annotations

import importlib.util
import math
import os
import random
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import Trainer, TrainingArguments

from retain.errors import InputError
from retain.hf.models.placement import random_states_kept
from retain.recipe import Recipe
from retain.recipe.field_types import type_problems, unknown_names
from retain.train.trackers.naming import name_of_run
from retain.train.trackers.problems import tracker_problems, trackers_named

REFUSALS = (TypeError, ValueError, ImportError, RuntimeError, AttributeError, KeyError, NotImplementedError, OSError)
"""What transformers, accelerate and torch raise for settings that they refuse."""

REMOVED = {
    "group_by_length": "say --training.train_sampling_strategy group_by_length",
    "warmup_ratio": "say --training.warmup_steps with a number below 1, a share of all steps",
    "no_cuda": "say --training.use_cpu true",
    "logging_dir": "the files of trackers lie in the run's folder; see TENSORBOARD_LOGGING_DIR",
    "evaluation_strategy": "what was learned is measured after training",
    "save_safetensors": "weights are always written as safetensors",
    "overwrite_output_dir": "the same command goes on in its folder; give another --output to begin anew",
    "fp16_opt_level": "say --training.fp16 true alone",
    "fp16_backend": "say --training.fp16 true alone",
    "half_precision_backend": "say --training.fp16 true or --training.bf16 true alone",
    "per_gpu_train_batch_size": "say --batch-size",
    "jit_mode_eval": "leave it out",
    "use_mps_device": "leave it out; the device is found by itself",
}
"""Fields that transformers had before version 5, each with what to do instead."""

RANGES: dict[str, tuple[float, float]] = {
    "weight_decay": (0, math.inf),
    "adam_epsilon": (0, math.inf),
    "adam_beta1": (0, 1),
    "adam_beta2": (0, 1),
    "max_grad_norm": (0, math.inf),
    "warmup_steps": (0, math.inf),
    "label_smoothing_factor": (0, 1),
    "neftune_noise_alpha": (0, math.inf),
    "gradient_accumulation_steps": (1, math.inf),
    "logging_steps": (0, math.inf),
    "dataloader_num_workers": (0, math.inf),
    "dataloader_prefetch_factor": (1, math.inf),
    "torch_empty_cache_steps": (1, math.inf),
    "data_seed": (0, 2**32 - 1),
    "ddp_timeout": (1, math.inf),
    "ddp_bucket_cap_mb": (1, math.inf),
}
"""Smallest and largest values of fields that are numbers."""

PACKAGES = {"use_liger_kernel": "liger_kernel", "deepspeed": "deepspeed"}
"""Packages that a field needs, where the Trainer asks for them only as training begins."""


def setting_problems(settings: Mapping[str, Any]) -> list[str]:
    """A sentence for each Trainer setting that cannot be meant: unknown, of another type, out of range, or unmet.

    Args:
        settings: fields of TrainingArguments, as a recipe gives them under `training`.
    """
    problems = []
    unknown = unknown_names(TrainingArguments, settings)
    for name, near in unknown.items():
        cure = REMOVED.get(name)
        hint = f"did you mean {' or '.join(near)}?" if near else "see transformers.TrainingArguments for what there is."
        problems.append(
            f"training.{name}: this version of transformers has no such field; {cure + '.' if cure else hint}"
        )
    known = {name: value for name, value in settings.items() if name not in unknown}
    problems += [
        f"training.{name}: a secret would stand in recipes and records; give it in the environment, as HF_TOKEN."
        for name in known
        if name.endswith("_token")
    ]
    wrong = type_problems(TrainingArguments, known, "training.")
    problems += wrong
    problems += [] if wrong else _range_problems(known)
    problems += tracker_problems(known.get("report_to"))
    for name, package in PACKAGES.items():
        if known.get(name) and importlib.util.find_spec(package) is None:
            problems.append(f"training.{name}: needs the package {package}, which is not installed; leave it out.")
    if known.get("fp16") is True and not torch.accelerator.is_available():
        problems.append(
            "training.fp16: needs an accelerator, and there is none here; say --training.bf16 true, or leave it out."
        )
    return problems


def _range_problems(settings: Mapping[str, Any]) -> list[str]:
    problems = []
    for name, (low, high) in RANGES.items():
        value = settings.get(name)
        if value is not None and not low <= value <= high:
            to = f"from {low:g} to {high:.10g}" if high < math.inf else f"of {low:g} or more"
            problems.append(f"training.{name}: expected a number {to} (found {value!r}).")
    return problems


def training_arguments(recipe: Recipe, directory: Path, *, pictures: bool = False) -> TrainingArguments:
    """The Trainer's settings for a recipe.

    Tokens are not counted in images, where transformers would count pixels.

    Raises:
        InputError: a field under `training` is unknown, of another type, out of range, or refused by transformers.
    """
    if problems := setting_problems(recipe.training):
        raise InputError(problems)
    run = name_of_run(recipe, directory)
    settings: dict[str, Any] = {
        "logging_steps": 5,
        "logging_nan_inf_filter": False,
        "save_strategy": "no",  # TimedCheckpoint requests them instead, by the clock
        "weight_decay": 0.0,
        "disable_tqdm": True,
        "use_cpu": not torch.accelerator.is_available()
        or os.environ.get("ACCELERATE_USE_CPU") == "true",  # without it transformers refuses bf16 where there is no GPU
        "dataloader_pin_memory": torch.cuda.is_available(),
        "include_num_input_tokens_seen": "no" if pictures else "non_padding",
        "restore_callback_states_from_checkpoint": True,  # for StepClock
        **recipe.training,
        "report_to": trackers_named(recipe.training.get("report_to")) or "none",
        "run_name": run.run,
        "project": run.project,
        "save_total_limit": None,  # SealCheckpoints removes older ones, when the next is whole
    }
    try:
        arguments = TrainingArguments(
            output_dir=str(directory / "checkpoints"),
            learning_rate=recipe.rate,
            num_train_epochs=recipe.epochs,
            max_steps=recipe.max_steps or -1,
            per_device_train_batch_size=recipe.batch_size,
            seed=recipe.seed,
            remove_unused_columns=False,
            **settings,
        )
        return on_one_device(arguments)
    except REFUSALS as error:
        raise refused(error) from error


def on_one_device(arguments: TrainingArguments) -> TrainingArguments:
    """The settings, for one device a process: with several transformers would multiply the batch by `DataParallel`."""
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1  # noqa: SLF001 -- transformers has no public way to use one of several devices
    return arguments


def unused_devices(processes: int = 1) -> str | None:
    """A note on accelerators of this machine that a training leaves idle, with how to use them; None where none are.

    Args:
        processes: of the training, on this machine.
    """
    present = torch.accelerator.device_count()
    if present <= processes:
        return None
    return (
        f"training used {processes} of {present} {torch.accelerator.current_accelerator()} devices of this machine: "
        f"each process uses one; --launch.processes {present} uses them all, with a batch {present // processes} times "
        "as large unless --batch-size is made smaller."
    )


def refused(error: BaseException) -> InputError:
    """The refusal of settings by transformers, as one sentence."""
    reason = " ".join(str(error).split()) or type(error).__name__
    return InputError(f"training: transformers refuses these settings: {reason}")


@contextmanager
def _random_states_kept() -> Iterator[None]:
    """A Trainer seeds every generator as it is built; afterwards they are as they were."""
    plain, numpys = random.getstate(), np.random.get_state()  # noqa: NPY002  (the state that transformers sets)
    with random_states_kept():
        try:
            yield
        finally:
            random.setstate(plain)
            np.random.set_state(numpys)  # noqa: NPY002  (likewise)


def try_settings(recipe: Recipe) -> None:
    """Build a Trainer with a recipe's settings around a model of one weight: its trackers, data loader and optimizer.

    Nothing is written and nothing is trained.

    Raises:
        InputError: something of it is refused, or needs a package that is not installed.
    """
    with tempfile.TemporaryDirectory() as folder, _random_states_kept():
        arguments = training_arguments(recipe, Path(folder))
        try:
            trainer = Trainer(
                model=torch.nn.Linear(1, 1), args=arguments, train_dataset=[{"x": 0}], data_collator=lambda rows: rows
            )
            trainer.get_train_dataloader()
            trainer.create_optimizer()
            trainer.create_scheduler(num_training_steps=recipe.max_steps or 100, optimizer=trainer.optimizer)
        except REFUSALS as error:
            raise refused(error) from error
