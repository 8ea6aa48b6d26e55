"""Collection of second moments: inputs of a model's linear layers summed over data, resumable, in bounded memory."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from retain.activations import distributed as together
from retain.activations.batches import Runner
from retain.activations.capture import Capture, SharingChangedError
from retain.activations.moments import Moments
from retain.activations.plan import Batches, Plan, Tick, parts_of, watching
from retain.activations.resume import Part, Unfinished, remove_state
from retain.activations.sequences import Sequences
from retain.activations.store import (
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
from retain.errors import InputError
from retain.hf.models.describe import model_hash
from retain.hf.models.memory import telling_memory
from retain.hf.models.sides import root_of
from retain.hf.tuners.targets import lora_targets
from retain.records.manifest import begin, log_above
from retain.records.paths import expanded

SECONDS_BETWEEN_SAVES = 60.0


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
    known_hash: str | None = None,
) -> Statistics:
    """Second moments of the inputs of a model's linear layers over a data set.

    The result depends neither on batch size, padding side or order (to rounding) nor on adapters, which are switched
    off meanwhile. The model comes back as it was: modes, hooks, gradients, weights. In a process group every process
    gives its own share of the data, and all get the second moments of all shares.

    Args:
        model: the model, or a `PeftModel`, whose base is taken.
        batches: mappings of the model's inputs (a DataLoader, a list of tokenised dicts), tensors with a batch
            dimension. `attention_mask` (B, T) says what counts; `labels` are dropped.
        targets: `target_modules` and the like, as `LoraConfig` takes them; all linear layers but the head by default.
        dtype: float32 or float64, in which sums are held.
        sample_norm: "none", or "max" to divide each sample by its largest |output|, layer by layer (as the authors of
            SC-LoRA do); layers then share no sums.
        memory_limit: bytes that sums may take at once. The layers are then done in as many passes over the batches as
            that needs, and finished sums go to `folder`. None: one pass.
        folder: the folder to write; an interrupted collection goes on where it stopped, a finished one is read.
        share_inputs: let layers that read one tensor (q, k, v; gate, up) share its sums.
        name: of the data set, for messages.
        tick: called after each batch.
        known_hash: the model's `hf.models.describe.model_hash`, where it is known: it takes a second a gigabyte.

    Returns:
        The second moments; in memory, or in their folder.

    Raises:
        InputError: batches without content, no tokens, a limit below the largest layer, or a folder that holds
            something else.
        TargetError: no layer to observe, or one that is not linear.
    """
    if sample_norm not in ("none", "max"):
        raise InputError(f"sample_norm={sample_norm!r}: give 'none' or 'max'.")
    if memory_limit is not None and (folder is None or iter(batches) is batches):
        raise InputError(
            "memory_limit needs a folder, and batches that can be gone through again (a list, a DataLoader)."
        )
    layers = lora_targets(model, dict(targets or {}), under_any=True)
    kind = dtype_named(dtype)
    hashed = known_hash or model_hash(model)
    plan = Plan(model, batches, layers, hashed, kind, sample_norm, memory_limit, share_inputs, name, tick)
    target = None if folder is None else expanded(folder)
    if target is not None and (target / MANIFEST).exists():
        return _finished(target, plan)
    if target is not None and log_above(target) is None:
        target.mkdir(parents=True, exist_ok=True)
        begin(target)
    try:
        with telling_memory("calibrating"):
            return _collect(plan, target)
    except SharingChangedError as error:
        if iter(batches) is batches:
            raise InputError(
                "two layers read one tensor in some batches and different ones in others; give share_inputs=False, or "
                "batches that can be gone through again."
            ) from error
        if target is not None:
            Unfinished(target, together.rank(), plan.identity, plan.division, plan.share).remove()
        return _collect(replace(plan, share=False), target)


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
    remove_state(folder, together.rank())  # where it was interrupted after its last file
    return found


def _collect(plan: Plan, folder: Path | None) -> Statistics:
    unfinished = (
        None if folder is None else Unfinished(folder, together.rank(), plan.identity, plan.division, plan.share)
    )
    done: list[Part] = []
    if unfinished:
        plan = replace(plan, share=all(together.gathered(unfinished.share)))
        unfinished.share = plan.share
        done = unfinished.parts[: min(together.gathered(len(unfinished.parts)))]
        unfinished.parts = list(done)
    before = len(done)
    runner = Runner(root_of(plan.model))
    parts = list(parts_of(plan, runner))
    held: dict[str, Moments] = {}
    sequences: Sequences | None = None
    for number in range(len(done), len(parts)):
        capture = plan.capture(parts[number])
        sequences = _pass(plan, runner, capture, unfinished, (number, len(parts)))
        _check_same(sequences, done, before, unfinished)
        together.reduce_capture(capture, runner.device)
        if folder is None or unfinished is None:
            held |= capture.moments
            done.append(Part(capture.leader, sources_of(capture), list(capture.notes), sequences.data_hash))
        else:
            done.append(_write_part(folder, number, capture, sequences.data_hash))
            unfinished.end_part(done[-1])
    if sequences is None:  # every part was done before
        sequences = Sequences()
        for batch in plan.batches:
            sequences.add(batch)
        _check_same(sequences, done, before, unfinished)
    try:
        manifest = manifest_of(plan, done, together.reduce_sequences(sequences))
    except InputError:
        if unfinished:
            unfinished.remove()
        raise
    if folder is not None and unfinished is not None:
        if _writes(folder):
            write_manifest(folder, manifest)
        together.wait()
        unfinished.remove()
    return Statistics(manifest, folder, held)


def _check_same(sequences: Sequences, done: list[Part], before: int, unfinished: Unfinished | None) -> None:
    """Refuse, in all processes, data that differ from those of the pass before."""
    if not together.anywhere(bool(done) and done[-1].data_hash != sequences.data_hash):
        return
    if unfinished:
        unfinished.remove_sums()
    if unfinished and len(done) == before:
        raise InputError(f"{unfinished.folder}: holds a part of the statistics of other data; give another folder.")
    raise InputError("the batches were others in the second pass; give batches that stay the same.")


def _pass(
    plan: Plan, runner: Runner, capture: Capture, unfinished: Unfinished | None, place: tuple[int, int]
) -> Sequences:
    """Make one pass over the data for one part of the layers, after the batches that are summed already."""
    skipped, expected = unfinished.resume(capture, runner.device) if unfinished else (0, "")
    sequences, saved, index, changed = Sequences(), time.monotonic(), 0, False
    with watching(plan, capture):
        for index, batch in enumerate(plan.batches, start=1):
            sequences.add(batch)
            if index == skipped and sequences.data_hash != expected:
                break
            if index > skipped:
                try:
                    capture.run(runner.part_for(capture.layers), runner.inputs(batch))
                except SharingChangedError:
                    changed = True
                    break
            if unfinished and index > skipped and time.monotonic() - saved >= SECONDS_BETWEEN_SAVES:
                unfinished.save(capture, sequences, index)
                saved = time.monotonic()
            if plan.tick is not None:
                plan.tick(*place, index)
    if together.anywhere(changed):
        raise SharingChangedError
    if together.anywhere(index <= skipped and skipped > 0 and sequences.data_hash != expected):
        raise InputError(
            f"{plan.name or 'calibration'}: the first {skipped} batches are not those that the interrupted calibration "
            "had read; remove its folder to begin anew."
        )
    return sequences


def _writes(folder: Path) -> bool:
    """True if this process is the first of those whose folder is this one."""
    return str(folder.resolve()) not in together.gathered(str(folder.resolve()))[: together.rank()]


def _write_part(folder: Path, number: int, capture: Capture, data_hash: str) -> Part:
    file = f"moments-{number:05d}.safetensors"
    place, digests = str(folder.resolve()), None
    if _writes(folder):
        digests = write_moments(folder / file, capture.moments)
    written = dict(reversed([pair for pair in together.gathered((place, digests)) if pair[1] is not None]))
    return Part(capture.leader, sources_of(capture, file, written[place]), list(capture.notes), data_hash)


def sources_of(capture: Capture, file: str = "", digests: Mapping[str, str] | None = None) -> dict[str, Source]:
    """The entries of a manifest for the sums of a capture."""
    return {key: source_of(value, file, (digests or {}).get(key, "")) for key, value in capture.moments.items()}


def refuse_broken(name: str, sources: Mapping[str, Source]) -> None:
    """Refuse sums that are not finite.

    Raises:
        InputError: of the data set `name`, with the first layer.
    """
    if broken := [key for key, source in sources.items() if not math.isfinite(source.square)]:
        raise InputError(
            f"{name or 'calibration'}: what {broken[0]} reads or gives is not finite on these data ({len(broken)} of "
            f"{len(sources)} sums are not); look at the model, or load it in float32 or bfloat16."
        )


def manifest_of(plan: Plan, parts: list[Part], sequences: Sequences) -> Manifest:
    """The manifest of second moments.

    Raises:
        InputError: no tokens, or sums that are not finite.
    """
    leaders = {key: leader for part in parts for key, leader in part.leaders.items()}
    sources = {key: source for part in parts for key, source in part.sources.items()}
    tokens = max((source.tokens for source in sources.values()), default=0)
    if not tokens:
        raise InputError(f"{plan.name or 'calibration'}: no tokens; give at least one batch with something in it.")
    refuse_broken(plan.name, sources)
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
