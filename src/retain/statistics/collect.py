"""Summing up the inputs of a model's linear layers over data: streaming, resumable, in as little memory as told."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from retain.errors import InputError
from retain.hf.base_weight import features
from retain.hf.describe import model_hash
from retain.hf.sides import base_view, root_of
from retain.hf.targets import lora_targets
from retain.statistics import together
from retain.statistics.batches import Runner
from retain.statistics.capture import Capture, SharingChangedError, capturing
from retain.statistics.moments import Moments
from retain.statistics.sequences import Sequences
from retain.statistics.store import (
    MANIFEST,
    Layer,
    Manifest,
    Source,
    Statistics,
    dtype_named,
    load,
    shape_of,
    source_of,
    write_manifest,
    write_moments,
)
from retain.statistics.unfinished import Part, Unfinished

SECONDS_BETWEEN_SAVES = 60.0

Batches = Iterable[Mapping[str, Any]]
Tick = Callable[[int, int, int], None]
"""Told after each batch: which pass over the data (from 0), of how many, and how many batches of it are done."""


@dataclass(frozen=True)
class Plan:
    """What is collected of what, and how."""

    model: nn.Module
    batches: Batches
    layers: Mapping[str, nn.Module]
    model_hash: str
    dtype: torch.dtype
    sample_norm: Literal["none", "max"]
    memory_limit: int | None
    share: bool
    name: str
    tick: Tick | None

    @property
    def identity(self) -> str:
        """Names all that must be the same when an interrupted collection goes on."""
        named = [self.model_hash, str(self.dtype), self.sample_norm, self.memory_limit, self.share, list(self.layers)]
        return json.dumps([*named, together.processes()])

    def capture(self, part: Iterable[str], *, dry: bool = False) -> Capture:
        """An empty capture of some of the layers."""
        chosen = {key: self.layers[key] for key in part}
        return Capture(chosen, self.dtype, self.share, scaled=self.sample_norm == "max", dry=dry)


def collect(
    model: nn.Module,
    batches: Batches,
    *,
    targets: Mapping[str, Any] | None = None,
    dtype: str | torch.dtype = torch.float32,
    sample_norm: Literal["none", "max"] = "none",
    memory_limit: int | None = None,
    folder: str | Path | None = None,
    share_inputs: bool = True,
    name: str = "",
    tick: Tick | None = None,
) -> Statistics:
    """Second moments of the inputs of a model's linear layers over a data set.

    The result depends neither on batch size, padding side or order (to rounding) nor on adapters, which are switched
    off meanwhile. The model comes back as it was: modes, hooks, gradients, weights. In a process group every process
    gives its own share of the data, and all get the statistics of the whole.

    Args:
        model: the model, or a `PeftModel`, whose base is taken.
        batches: mappings of the model's inputs (a DataLoader, a list of tokenised dicts), tensors with a batch
            dimension. `attention_mask` (B, T) says what counts; `labels` are dropped.
        targets: `target_modules` and the like, as `LoraConfig` takes them; all linear layers but the head by default.
        dtype: float32 or float64, in which sums are held.
        sample_norm: "none", or "max" to divide each sample by its largest |output|, layer by layer (as the authors of
            SC-LoRA do); layers then share no sums.
        memory_limit: bytes that sums may take at once. The layers are then done in as many passes over the batches as
            that needs, and `folder` takes what is done. None: one pass.
        folder: where to write; an interrupted collection goes on where it stopped, a finished one is read.
        share_inputs: let layers that read one tensor (q, k, v; gate, up) share its sums.
        name: of the data set, for messages.
        tick: called after each batch.

    Returns:
        The statistics; in memory, or in their folder.

    Raises:
        InputError: batches without content, no tokens, a limit below the largest layer, or a folder that holds
            something else.
        TargetError: no layer to watch, or one that is not linear.
    """
    if sample_norm not in ("none", "max"):
        raise InputError(f"sample_norm={sample_norm!r}: give 'none' or 'max'.")
    if memory_limit is not None and (folder is None or iter(batches) is batches):
        raise InputError(
            "memory_limit needs a folder, and batches that can be gone through again (a list, a DataLoader)."
        )
    layers = lora_targets(model, dict(targets or {}))
    kind = dtype_named(dtype)
    plan = Plan(model, batches, layers, model_hash(model), kind, sample_norm, memory_limit, share_inputs, name, tick)
    target = None if folder is None else Path(folder).expanduser()
    if target is not None and (target / MANIFEST).exists():
        return _finished(target, plan)
    try:
        return _collect(plan, target)
    except SharingChangedError as error:
        if iter(batches) is batches:
            raise InputError(
                "two layers read one tensor in some batches and different ones in others; give share_inputs=False, or "
                "batches that can be gone through again."
            ) from error
        if target is not None:
            Unfinished(target, together.rank(), plan.identity).remove()
        return _collect(Plan(**{**plan.__dict__, "share": False}), target)


def _finished(folder: Path, plan: Plan) -> Statistics:
    found = load(folder)
    problems = found.misfits(plan.model_hash, {key: shape_of(layer) for key, layer in plan.layers.items()})
    if found.manifest.sample_norm != plan.sample_norm or found.manifest.dtype != _name(plan.dtype):
        problems.append(f"{folder}: made with other settings; give another folder.")
    sequences = Sequences()
    if not problems:
        for batch in plan.batches:
            sequences.add(batch)
        if together.reduce_sequences(sequences).data_hash != found.manifest.data_hash:
            problems.append(f"{folder}: holds statistics of other data; give another folder.")
    if problems:
        raise InputError(problems)
    return found


def _collect(plan: Plan, folder: Path | None) -> Statistics:
    unfinished = None if folder is None else Unfinished(folder, together.rank(), plan.identity)
    runner = Runner(root_of(plan.model))
    parts = list(_parts(plan, runner))
    done: list[Part] = unfinished.parts[: min(together.gathered(len(unfinished.parts)))] if unfinished else []
    held: dict[str, Moments] = {}
    sequences: Sequences | None = None
    for number in range(len(done), len(parts)):
        capture = plan.capture(parts[number])
        seen = _pass(plan, runner, capture, unfinished, (number, len(parts)))
        if sequences is not None and seen.data_hash != sequences.data_hash:
            raise InputError("the batches were others in the second pass; give batches that stay the same.")
        sequences = seen
        together.reduce_capture(capture)
        if folder is None or unfinished is None:
            held |= capture.moments
            done.append(Part(capture.leader, _sources(capture), list(capture.notes)))
        else:
            done.append(_write_part(folder, number, capture))
            unfinished.end_part(done[-1])
    if sequences is None:  # every part was done before
        sequences = Sequences()
        for batch in plan.batches:
            sequences.add(batch)
    manifest = _manifest(plan, done, together.reduce_sequences(sequences))
    if folder is not None and unfinished is not None:
        if together.rank() == 0:
            write_manifest(folder, manifest)
        together.wait()
        unfinished.remove()
    return Statistics(manifest, folder, held)


def _pass(
    plan: Plan, runner: Runner, capture: Capture, unfinished: Unfinished | None, place: tuple[int, int]
) -> Sequences:
    """One pass over the data for one part of the layers; goes on after the batches that are summed up already."""
    skipped, expected = unfinished.resume(capture, runner.device) if unfinished else (0, "")
    sequences, saved, index = Sequences(), time.monotonic(), 0
    with _watching(plan, capture):
        for index, batch in enumerate(plan.batches, start=1):
            sequences.add(batch)
            if index == skipped and sequences.data_hash != expected:
                break
            if index > skipped:
                capture.run(runner.part_for(capture.layers), runner.inputs(batch))
            if unfinished and index > skipped and time.monotonic() - saved >= SECONDS_BETWEEN_SAVES:
                unfinished.save(capture, sequences, index)
                saved = time.monotonic()
            if plan.tick is not None:
                plan.tick(*place, index)
    if index <= skipped and skipped and sequences.data_hash != expected:
        raise InputError(
            f"{plan.name or 'calibration'}: the first {skipped} batches are not those that the interrupted calibration "
            "had read; remove its folder to begin anew."
        )
    return sequences


def _watching(plan: Plan, capture: Capture) -> ExitStack:
    stack = ExitStack()
    stack.enter_context(base_view(plan.model))
    stack.enter_context(capturing(root_of(plan.model), capture))
    return stack


def _parts(plan: Plan, runner: Runner) -> Iterator[list[str]]:
    """Layers in the model's order, so divided that each part's sums fit into the limit; sharers stay together."""
    limit = plan.memory_limit
    if limit is None:
        yield list(plan.layers)
        return
    probe = plan.capture(plan.layers, dry=True)
    first = next(iter(plan.batches), None)
    if first is not None:
        with _watching(plan, probe):
            probe.run(runner.part_for(plan.layers), runner.inputs(first))
    groups: dict[str, list[str]] = {}
    for key in plan.layers:
        groups.setdefault(probe.leader.get(key, key), []).append(key)
    part: list[str] = []
    used = 0
    for leader, group in groups.items():
        size = features(plan.layers[leader])[0]
        needed = (size * size + size) * plan.dtype.itemsize
        if needed > limit:
            raise InputError(
                f"memory_limit={limit:,} bytes: the sums of {leader} alone take {needed:,}; give that much."
            )
        if used + needed > limit:
            yield part
            part, used = [], 0
        part += group
        used += needed
    yield part


def _write_part(folder: Path, number: int, capture: Capture) -> Part:
    file = f"moments-{number:05d}.safetensors"
    if together.rank() == 0:
        write_moments(folder / file, capture.moments)
    together.wait()
    return Part(capture.leader, _sources(capture, file), list(capture.notes))


def _sources(capture: Capture, file: str = "") -> dict[str, Source]:
    return {key: source_of(value, file) for key, value in capture.moments.items()}


def _manifest(plan: Plan, parts: list[Part], sequences: Sequences) -> Manifest:
    leaders = {key: leader for part in parts for key, leader in part.leaders.items()}
    sources = {key: source for part in parts for key, source in part.sources.items()}
    tokens = max((source.tokens for source in sources.values()), default=0)
    if not tokens:
        raise InputError(f"{plan.name or 'calibration'}: no tokens; give at least one batch with something in it.")
    notes = [note for part in parts for note in part.notes]
    if idle := [key for key in plan.layers if key not in leaders]:
        notes.append(f"{len(idle)} layers never ran and have no statistics, {idle[0]} first.")
    return Manifest(
        name=plan.name,
        model=str(getattr(getattr(root_of(plan.model), "config", None), "name_or_path", "") or "model"),
        model_hash=plan.model_hash,
        data_hash=sequences.data_hash,
        tokens=tokens,
        sequences=tuple(sequences.hashes),
        dtype=_name(plan.dtype),
        sample_norm=plan.sample_norm,
        layers={
            key: Layer(leader=leaders[key], **dict(zip(("inputs", "outputs", "bias"), shape_of(layer), strict=True)))
            for key, layer in plan.layers.items()
            if key in leaders
        },
        sources=sources,
        notes=tuple(dict.fromkeys(notes)),
        versions={package: version(package) for package in ("retain", "torch", "transformers")},
    )


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
