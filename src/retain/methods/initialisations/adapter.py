"""SC-LoRA adapters, and LoRAs of the other data-driven initialisations: read texts, solve every layer, attach."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from retain.activations import Statistics, collect
from retain.activations import distributed as together
from retain.activations.capture import SharingChangedError
from retain.activations.findings import alike, findings
from retain.activations.plan import Plan, Tick
from retain.activations.store import shape_of
from retain.activations.stream import CannotStreamError, stream
from retain.errors import InputError, TargetError
from retain.hf.adapters.attach import task_type
from retain.hf.adapters.initialise import NOTE_SCHEMA, attach_initialised, check_free
from retain.hf.models.describe import model_hash
from retain.hf.models.given import ensure, ensure_model
from retain.hf.models.head import is_classifier
from retain.hf.models.sides import root_of
from retain.hf.tuners.all_linear import is_all_linear
from retain.hf.tuners.base_weight import features
from retain.hf.tuners.targets import lora_targets
from retain.methods import table
from retain.methods.initialisations.config import SCLoRAConfig, without_effect
from retain.methods.initialisations.solving import OnLayer, Solving

Data = Iterable[Mapping[str, Any]] | Statistics
"""A calibration text: batches of a model's inputs, or the statistics of it."""


class CalibrationWarning(UserWarning):
    """The statistics may mislead: too few tokens, the same data twice, one sample that outweighs all others.

    Examples:
        >>> import warnings
        >>> warnings.simplefilter("error", retain.CalibrationWarning)  # stop where the calibration data mislead
    """


def sc_lora(
    base: nn.Module,
    config: SCLoRAConfig,
    *,
    learn: Data | None = None,
    keep: Data | None = None,
    adapter_name: str = "default",
    memory_limit: int | None = None,
    on_batch: Tick | None = None,
    on_layer: OnLayer | None = None,
) -> Any:
    """Attach an SC-LoRA adapter to a model, or a LoRA of the initialisation that `config` names.

    The base is not changed: with the adapter off it is what it was, bit for bit, and before training also with it on.
    `save_pretrained` writes a LoRA of rank 2r that stock PEFT loads; `retain.load_adapter` goes on training it.

    Args:
        base: the model; or a `PeftModel` of LoRA adapters, beside which this one is put and made active.
        config: rank, layers and initialisation.
        learn: batches of the text to learn: mappings of the model's inputs, with attention masks; or statistics.
        keep: batches of the text whose knowledge must stay; or statistics.
        adapter_name: the adapter's name.
        memory_limit: bytes that second moments may take at once while batches are read. Where the initialisation is
            "sc-lora" and both texts are batches that can be gone through again (a list, a DataLoader), they are read
            once, and layers are solved while they are read (`retain.activations.stream`); the moments of both texts,
            and the passes that wait meanwhile, are held to the limit. Where that cannot be done, or not within the
            limit, `retain.activations.collect` reads one text after the other, in as many passes as the limit needs;
            `on_batch` and `on_layer` then count anew.
        on_batch: called after each batch read.
        on_layer: called after each layer solved.

    Returns:
        A `PeftModel`, ready to train.

    Raises:
        InputError: data that the initialisation reads are missing, statistics do not fit this model, or there is an
            adapter of that name or beside it one that is no LoRA.
        TargetError: a layer cannot be adapted, or has fewer outputs than r.

    Warns:
        CalibrationWarning: the statistics may mislead.

    Examples:
        >>> new, old = (retain.text_batches(tokenizer, part) for part in (texts[:4], texts[4:]))
        >>> initialised = retain.sc_lora(base, retain.SCLoRAConfig(r=4), learn=new, keep=old)
        >>> initialised.save_pretrained("initialised")  # a LoRA of rank 8 that stock PEFT loads
    """
    base = ensure_model(base, "base")
    ensure(config, SCLoRAConfig, "config", "give an SCLoRAConfig, and batches as learn= and keep=")
    initialisation = table.initialisations()[config.initialisation]
    given = {"learn": learn, "keep": keep}
    if missing := [text for text in initialisation.reads if given[text] is None]:
        raise InputError(
            f"initialisation={config.initialisation!r} needs {' and '.join(missing)}: batches of text, or statistics "
            "of it."
        )
    check_free(base, adapter_name)
    layers = check_targets(base, config)
    hashed = model_hash(base)
    solving = Solving(base, config, initialisation, layers, on_layer)
    texts = {text: given[text] for text in initialisation.reads}
    read = _read_and_solve(solving, texts, {"memory_limit": memory_limit, "tick": on_batch, "known_hash": hashed})
    factors, facts = solving.together()
    warned = [*findings(read), *alike(_beyond_chance(facts, layers, config.r))]
    for sentence in warned:
        warnings.warn(sentence, CalibrationWarning, stacklevel=2)
    note = _note(hashed, config, read, facts, warned)
    return attach_initialised(base, _lora_fields(base, config, layers), factors, note, adapter_name)


def _lora_fields(base: nn.Module, config: SCLoRAConfig, layers: Mapping[str, nn.Module]) -> dict[str, Any]:
    """The fields of PEFT's `LoraConfig` for these layers of this model."""
    # A classifier's type is not added here: PEFT would train its head in full, which was just solved for as a layer.
    own_type = None if is_classifier(base) else task_type(root_of(base))
    fields = config.lora_fields | {"task_type": config.task_type or own_type}
    if config.target_modules is None or is_all_linear(config.target_modules):
        # PEFT would take experts, routers, and a trained copy of the head for layers.
        fields["target_modules"] = list(layers)
    return fields


def _read_and_solve(solving: Solving, texts: Mapping[str, Any], collecting: dict[str, Any]) -> dict[str, Statistics]:
    """Solve all layers, while the texts are read or from their statistics; the statistics, perhaps without moments."""
    streamed = _stream(solving, texts, collecting)
    if streamed is not None:
        _check_fit(solving, streamed, collecting["known_hash"])
        return streamed
    with tempfile.TemporaryDirectory() as scratch:
        statistics = {text: _statistics(solving, text, texts[text], Path(scratch), collecting) for text in texts}
        _check_fit(solving, statistics, collecting["known_hash"])
        solving.solve_all(statistics)
    return statistics


def _statistics(solving: Solving, text: str, data: Any, scratch: Path, collecting: dict[str, Any]) -> Statistics:
    if isinstance(data, Statistics):
        return data
    config = solving.config
    folder = None if collecting["memory_limit"] is None else scratch / text
    what: dict[str, Any] = {
        "targets": config.targets,
        "sample_norm": config.sample_norm,
        "folder": folder,
        "name": text,
    }
    return collect(solving.base, data, **what, **collecting)


def _stream(solving: Solving, texts: Mapping[str, Any], collecting: dict[str, Any]) -> dict[str, Statistics] | None:
    """Solve all layers while the texts are read, once; their statistics without moments. None where it cannot be."""
    config = solving.config
    if not solving.initialisation.streamed or together.processes() > 1:
        return None
    if any(isinstance(data, (Statistics, Iterator)) for data in texts.values()):
        return None
    plans = {
        text: Plan(
            solving.base, data, solving.layers, collecting["known_hash"],
            torch.float32, config.sample_norm, collecting["memory_limit"], name=text, tick=collecting["tick"],
        )
        for text, data in texts.items()
    }  # fmt: skip
    try:
        return stream(plans, solving.solve_part)
    except (CannotStreamError, SharingChangedError):
        solving.forget()
        return None


def check_targets(model: nn.Module, config: SCLoRAConfig) -> dict[str, nn.Module]:
    """The layers that an adapter would change; nothing is changed.

    Raises:
        TargetError: none matches, one cannot be adapted, or one is too small for the rank.
    """
    found = lora_targets(model, config.targets)
    spans_outputs = table.initialisations()[config.initialisation].spans_outputs
    layers, problems = {}, []
    for key, layer in found.items():
        inputs, outputs = features(layer)
        if outputs == 1 < config.r and is_all_linear(config.target_modules):
            continue  # a gate, such as the one before a shared expert
        layers[key] = layer
        most = outputs if spans_outputs else min(inputs, outputs)
        if config.r > most:
            problems.append(f"{key}: rank {config.r} is larger than the {most} that this layer allows; lower r.")
    if problems:
        raise TargetError(problems)
    return layers


def _check_fit(solving: Solving, statistics: Mapping[str, Statistics], model_hash: str) -> None:
    """Refuse statistics of another model or of other layers, or with another `sample_norm`."""
    shapes = {key: shape_of(layer) for key, layer in solving.layers.items()}
    problems = [problem for part in statistics.values() for problem in part.misfits(model_hash, shapes)]
    for text, part in statistics.items():
        if part.manifest.sample_norm != solving.config.sample_norm:
            problems.append(
                f"{text}: the statistics were made with sample_norm={part.manifest.sample_norm!r}, asked for is "
                f"{solving.config.sample_norm!r}; calibrate again, or change sample_norm."
            )
    if problems:
        raise InputError(problems)


def _beyond_chance(facts: list[dict[str, Any]], layers: Mapping[str, nn.Module], r: int) -> list[float]:
    """Each layer's overlap beyond that of two random subspaces, 1 at most; none where the rank takes all outputs."""
    shapes = {key: shape_of(layer) for key, layer in layers.items()}
    chances = {key: r / min(inputs + bias, outputs) for key, (inputs, outputs, bias) in shapes.items()}
    return [
        (row["overlap"] - chances[row["layer"]]) / (1 - chances[row["layer"]])
        for row in facts
        if chances[row["layer"]] < 1
    ]


def _note(
    model_hash: str,
    config: SCLoRAConfig,
    statistics: Mapping[str, Statistics],
    facts: list[dict[str, Any]],
    warned: list[str],
) -> dict[str, Any]:
    """The content of the note beside a saved adapter."""
    settings = {
        key: sorted(value) if isinstance(value, set) else value
        for key, value in asdict(config).items()
        if key not in without_effect(config.initialisation)
    }
    data = {
        text: {
            "data_hash": part.manifest.data_hash,
            "tokens": part.tokens,
            "sequences": len(part.manifest.sequences),
        }
        for text, part in statistics.items()
    }
    return {
        "schema": NOTE_SCHEMA,
        "config": settings,
        "model_hash": model_hash,
        "data": data,
        "findings": warned,
        "layers": facts,
    }
