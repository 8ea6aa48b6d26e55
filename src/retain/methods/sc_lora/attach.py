"""Make an SC-LoRA adapter: statistics of what to learn and keep, a subspace a layer, an adapter that starts there."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from retain.activations import Statistics, collect
from retain.activations import distributed as together
from retain.activations.capture import SharingChangedError
from retain.activations.findings import alike, findings
from retain.activations.plan import Plan, Tick
from retain.activations.store import shape_of
from retain.activations.stream import CannotStreamError, Streamed, stream
from retain.errors import InputError, TargetError
from retain.hf.adapters.attach import task_type
from retain.hf.adapters.initialise import attach_initialised, check_free, weight_of
from retain.hf.models.describe import model_hash
from retain.hf.models.head import is_classifier
from retain.hf.models.sides import is_adapted, root_of
from retain.hf.tuners.base_weight import features
from retain.hf.tuners.targets import lora_targets
from retain.methods.sc_lora import equations, relatives
from retain.methods.sc_lora.config import STARTS, SCLoRAConfig, without_effect
from retain.methods.sc_lora.solve import LayerFacts, sc_start

Data = Iterable[Mapping[str, Any]] | Statistics

Solved = Callable[[int, int], None]
"""Told how many layers are done, of how many."""


class CalibrationWarning(UserWarning):
    """The statistics may not say what they should: too few tokens, the same data twice, one sample above all others."""


def sc_lora(
    base: nn.Module,
    config: SCLoRAConfig,
    *,
    learn: Data | None = None,
    keep: Data | None = None,
    adapter_name: str = "default",
    memory_limit: int | None = None,
    on_batch: Tick | None = None,
    on_layer: Solved | None = None,
) -> Any:
    """Put an SC-LoRA adapter (or a relative, `config.start`) on a model.

    The base is not changed: with the adapter off it is what it was, bit for bit, and at the start also with it on.
    `save_pretrained` writes a LoRA of rank 2r that stock PEFT loads; `retain.load_adapter` goes on training from it.

    Args:
        base: the model; or a `PeftModel` of LoRA adapters, beside which this one is put and made active.
        config: what to make.
        learn: batches of the text to learn: mappings of the model's inputs, with attention masks; or statistics.
        keep: batches of the text whose knowledge must stay; or statistics.
        adapter_name: the adapter's name.
        memory_limit: bytes that the sums may take at once while batches are read. Where `start` is "sc-lora" and both
            texts are batches that can be gone through again (a list, a DataLoader), they are read once, and layers are
            solved while they are read (`retain.activations.stream`); sums of both texts, and what waits meanwhile, are
            held to the limit. Where that cannot be done, or not within the limit, `retain.activations.collect` sums up
            one text after the other, in as many passes as the limit needs; `on_batch` and `on_layer` then begin anew.
        on_batch: told after each batch read.
        on_layer: told after each layer solved.

    Returns:
        A `PeftModel`, ready to train.

    Raises:
        InputError: data that `config.start` needs are missing, statistics do not fit this model, or there is an adapter
            of that name or beside it one that is no LoRA.
        TargetError: a layer cannot be adapted, or has fewer outputs than r.

    Warns:
        CalibrationWarning: what speaks against trusting the statistics.
    """
    needed = STARTS[config.start]
    given = {"learn": learn, "keep": keep}
    if missing := [name for name in needed if given[name] is None]:
        raise InputError(f"start={config.start!r} needs {' and '.join(missing)}: batches of text, or statistics of it.")
    check_free(base, adapter_name)
    layers = check_targets(base, config)
    hashed = model_hash(base)
    solving = _Solving(base, config, layers, on_layer)
    collecting = {"memory_limit": memory_limit, "tick": on_batch, "known_hash": hashed}
    found = _streamed(solving, given, collecting)
    if found is not None:
        _check_fit(hashed, config, found, layers)
        told = findings(found)
    else:
        with tempfile.TemporaryDirectory() as scratch:
            found = {name: _statistics(base, config, name, given[name], Path(scratch), collecting) for name in needed}
            _check_fit(hashed, config, found, layers)
            told = findings(found)
            solving.solve_all(found)
    solved, facts = solving.together()
    told += alike(_beyond_chance(facts, layers, config.r))
    for sentence in told:
        warnings.warn(sentence, CalibrationWarning, stacklevel=2)
    note = _note(hashed, config, found, facts, told)
    # A classifier's type is not added here: PEFT would train its head in full, which was just solved for as a layer.
    found_type = None if is_classifier(base) else task_type(root_of(base))
    fields = config.lora_fields | {"task_type": config.task_type or found_type}
    if is_adapted(base) and config.target_modules == "all-linear":
        fields["target_modules"] = list(layers)  # PEFT would take a trained copy of the head for a layer
    return attach_initialised(base, fields, solved, note, adapter_name)


def _statistics(
    base: nn.Module, config: SCLoRAConfig, name: str, data: Any, scratch: Path, collecting: dict[str, Any]
) -> Statistics:
    if isinstance(data, Statistics):
        return data
    folder = None if collecting["memory_limit"] is None else scratch / name
    return collect(
        base, data, targets=config.targets, sample_norm=config.sample_norm, folder=folder, name=name, **collecting
    )


def _streamed(
    solving: _Solving, given: Mapping[str, Data | None], collecting: dict[str, Any]
) -> dict[str, Statistics] | None:
    """Solve all layers while both texts are read, once; what their manifests say. None where that cannot be done."""
    config, ready = solving.config, {name: data for name, data in given.items() if data is not None}
    if config.start != "sc-lora" or together.processes() > 1:
        return None
    if any(isinstance(data, (Statistics, Iterator)) for data in ready.values()):
        return None
    plans = {
        name: Plan(
            solving.base, data, lora_targets(solving.base, config.targets, under_any=True), collecting["known_hash"],
            torch.float32, config.sample_norm, collecting["memory_limit"], name=name, tick=collecting["tick"],
        )
        for name, data in ready.items()
        if not isinstance(data, Statistics)
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
    layers = lora_targets(model, config.targets)
    found = []
    for key, layer in layers.items():
        inputs, outputs = features(layer)
        most = outputs if config.start in ("sc-lora", "random-start") else min(inputs, outputs)
        if config.r > most:
            found.append(f"{key}: rank {config.r} is larger than the {most} that this layer allows; lower r.")
    if found:
        raise TargetError(found)
    return layers


def _check_fit(
    hashed: str, config: SCLoRAConfig, found: Mapping[str, Statistics], layers: Mapping[str, nn.Module]
) -> None:
    shapes = {key: shape_of(layer) for key, layer in layers.items()}
    problems = [problem for statistics in found.values() for problem in statistics.misfits(hashed, shapes)]
    for name, statistics in found.items():
        if statistics.manifest.sample_norm != config.sample_norm:
            problems.append(
                f"{name}: the statistics were made with sample_norm={statistics.manifest.sample_norm!r}, asked for is "
                f"{config.sample_norm!r}; calibrate again, or change sample_norm."
            )
    if problems:
        raise InputError(problems)


@dataclass
class _Solving:
    """A0 and B0 of every layer as they are solved, and what there is to say of each."""

    base: nn.Module
    config: SCLoRAConfig
    layers: Mapping[str, nn.Module]
    on_layer: Solved | None
    _done: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    _facts: dict[str, LayerFacts] = field(default_factory=dict)
    _count: int = 0

    def solve_part(self, part: Streamed) -> None:
        """Solve the layers of which both texts' moments are at hand."""
        for key in part.layers:
            if key in self.layers:
                moments = {name: part.of(name, key) for name in STARTS["sc-lora"]}
                self._done[key] = self._solve(key, moments, of_outputs=key in part.outputs)

    def solve_all(self, found: Mapping[str, Statistics]) -> None:
        """Solve all layers from statistics, each in one of the processes."""

        def solve(key: str) -> dict[str, Tensor]:
            return self._solve(key, {name: statistics.second_moment(key) for name, statistics in found.items()})

        self._done = together.shared_out(self.layers, solve)

    def forget(self) -> None:
        """Begin anew."""
        self._done, self._facts, self._count = {}, {}, 0

    def together(self) -> tuple[dict[str, tuple[Tensor, Tensor]], list[dict[str, Any]]]:
        """A0 and B0 of every layer, and the facts of every process."""
        rows = {key: row for part in together.gathered(self._facts) for key, row in part.items()}
        solved = {key: (self._done[key]["A0"], self._done[key]["B0"]) for key in self.layers}
        return solved, [asdict(rows[key]) for key in self.layers if key in rows]

    def _solve(self, key: str, found: Mapping[str, Tensor], *, of_outputs: bool = False) -> dict[str, Tensor]:
        W0, bias = weight_of(self.layers[key], root_of(self.base))
        moments = {name: moment.to(W0.device) for name, moment in found.items()}
        if self.config.start == "sc-lora":
            both = moments["learn"], moments["keep"]
            A0, B0, self._facts[key] = sc_start(key, W0, bias, both, self.config, of_outputs=of_outputs)
        else:
            A0, B0 = _relative(key, self.config, W0, moments)
        if self.on_layer is not None:
            self._count += 1
            self.on_layer(self._count, len(self.layers))
        return {"A0": A0.to(W0), "B0": B0.to(W0)}


def _beyond_chance(facts: list[dict[str, Any]], layers: Mapping[str, nn.Module], r: int) -> list[float]:
    """Each layer's overlap, 0 where it is that of any two subspaces of that rank; none where the rank takes it all."""
    shapes = {key: shape_of(layer) for key, layer in layers.items()}
    chances = {key: r / min(inputs + bias, outputs) for key, (inputs, outputs, bias) in shapes.items()}
    return [
        (row["overlap"] - chances[row["layer"]]) / (1 - chances[row["layer"]])
        for row in facts
        if chances[row["layer"]] < 1
    ]


def _relative(key: str, config: SCLoRAConfig, W0: Tensor, moments: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    if config.start == "random-start":
        return equations.start(relatives.random_directions(W0, config.r, config.seed, key), W0)
    if config.start == "milora":
        return relatives.milora(W0, config.r, config.scale)
    kept = moments["keep"][: W0.shape[1], : W0.shape[1]]
    function = relatives.corda_kpm if config.start == "corda-kpm" else relatives.lora_null
    return function(W0, kept, config.r, config.scale)


def _note(
    hashed: str,
    config: SCLoRAConfig,
    found: Mapping[str, Statistics],
    facts: list[dict[str, Any]],
    told: list[str],
) -> dict[str, Any]:
    settings = {
        key: sorted(value) if isinstance(value, set) else value
        for key, value in asdict(config).items()
        if key not in without_effect(config.start)
    }
    data = {
        name: {
            "data_hash": statistics.manifest.data_hash,
            "tokens": statistics.tokens,
            "sequences": len(statistics.manifest.sequences),
        }
        for name, statistics in found.items()
    }
    return {
        "schema": "retain.start/1",
        "config": settings,
        "model_hash": hashed,
        "data": data,
        "findings": told,
        "layers": facts,
    }
