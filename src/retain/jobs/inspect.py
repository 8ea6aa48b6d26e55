"""Inspection of a calibration: folders of second moments, or the note beside an adapter initialised from data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import scipy.linalg
import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from torch import Tensor

from retain.activations import Statistics, load
from retain.activations.findings import findings
from retain.activations.moments import second_moment
from retain.activations.store import MANIFEST
from retain.compare.inspection_rows import (
    InputFacts,
    InputRow,
    SetRecord,
    StartRow,
    StartView,
    StatisticsView,
    View,
    depth_of,
    kinds_of,
)
from retain.errors import InputError
from retain.events import Events
from retain.hf.adapters.initialise import NOTE, NOTE_SCHEMA, read_note
from retain.linalg.eigenspace import DENSE_LIMIT, top_eigenspace
from retain.linalg.subspaces import subspace_overlap
from retain.records.paths import expanded

SPECTRUM_HEAD = 64
"""Eigenvalues that are kept of each input."""

PARTS = ("learn", "keep")
ADAPTER = "adapter_config.json"


def inspect(path: str | Path, rank: int, events: Events) -> View:
    """The facts of a folder of second moments, or of an adapter's note, for the report.

    Args:
        path: a folder that `retain calibrate` wrote, one of its sets, an adapter, or a run with an adapter in it.
        rank: number of leading directions of both sets that are compared; used for second moments only.
        events: receives the progress.

    Raises:
        InputError: there is nothing of that kind, or it is damaged.
    """
    folder = expanded(path)
    if rank < 1:
        raise InputError(f"rank={rank}: compare at least 1 direction; 32 is usual.")
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give one that `retain calibrate` wrote, or an adapter's.")
    sets = _sets(folder)
    if sets:
        return _statistics_view(folder, {name: load(place) for name, place in sets.items()}, rank, events)
    for adapter in (folder, folder / "adapter"):
        if (adapter / NOTE).is_file():
            return _start_view(adapter)
    raise InputError(_nothing(folder))


def _sets(folder: Path) -> dict[str, Path]:
    """The sets of second moments in a folder, by their part; the folder itself where it is one."""
    if (folder / MANIFEST).is_file():
        return {folder.resolve().name: folder}
    found = {}
    for part in PARTS:
        places = [place for place in (folder / part, *sorted(folder.glob(f"{part}-*"))) if place.is_dir()]
        places = [place for place in places if (place / MANIFEST).is_file() or _interrupted(place)]
        if len(places) > 1:
            named = ", ".join(place.name for place in places)
            raise InputError(f"{folder}: holds several sets of texts to {part} ({named}); give one of these folders.")
        if places and not (places[0] / MANIFEST).is_file():
            raise InputError(
                f"{places[0]}: an interrupted calibration; the command that began it goes on where it stopped."
            )
        if places:
            found[part] = places[0]
    return found


def _interrupted(folder: Path) -> bool:
    return any(folder.glob("unfinished-*"))


def _nothing(folder: Path) -> str:
    if _interrupted(folder):
        return f"{folder}: an interrupted calibration; the command that began it goes on where it stopped."
    if any((place / ADAPTER).is_file() for place in (folder, folder / "adapter")):
        return (
            f"{folder}: an adapter without {NOTE}, so nothing is known of how it began; only sc-lora writes that file. "
            "Give its base as --model to see where in the base's weights its change lies; to see what the adapter "
            "learned and lost, try `retain measure --tuned`."
        )
    return (
        f"{folder}: neither statistics nor an adapter of sc-lora here. Give a folder that `retain calibrate` wrote, "
        f"one of its sets (with {MANIFEST} in it), or an adapter with {NOTE} beside it."
    )


# Second moments ------------------------------------------------------------------------------------------------------


def _statistics_view(folder: Path, found: Mapping[str, Statistics], rank: int, events: Events) -> StatisticsView:
    notes = []
    if any(a.manifest.model_hash != b.manifest.model_hash for a, b in pairwise(found.values())):
        notes.append(
            "learn and keep are of different models, so their directions cannot be compared. Calibrate both on one."
        )
    groups = list(_groups(found))
    kinds = kinds_of(layer for group in groups for layer in group)
    task = events.task("looking at inputs", total=len(groups))
    rows = []
    for group in groups:
        rows.append(_input_row(found, group, kinds, rank, comparable=not notes))
        task.advance()
    return StatisticsView(
        source=str(folder),
        rank=rank,
        sets={name: _record(folder, name, statistics) for name, statistics in found.items()},
        rows=tuple(rows),
        findings=(*notes, *findings(found)),
    )


def _record(folder: Path, name: str, statistics: Statistics) -> SetRecord:
    manifest = statistics.manifest
    return SetRecord(
        folder=str(statistics.folder or folder / name),
        sequences=len(manifest.sequences),
        **manifest.model_dump(include=SetRecord.model_fields.keys() - {"folder", "sequences"}),
    )


def _groups(found: Mapping[str, Statistics]) -> Iterator[tuple[str, ...]]:
    """The layers of each distinct input: those that share their sums in all sets."""
    layers = dict.fromkeys(layer for statistics in found.values() for layer in statistics.manifest.layers)
    groups: dict[tuple[str | None, ...], list[str]] = {}
    for layer in layers:
        known = [statistics.manifest.layers.get(layer) for statistics in found.values()]
        groups.setdefault(tuple(None if one is None else one.leader for one in known), []).append(layer)
    yield from map(tuple, groups.values())


def _input_row(
    found: Mapping[str, Statistics], layers: tuple[str, ...], kinds: Mapping[str, str], rank: int, *, comparable: bool
) -> InputRow:
    layer, facts, leading = layers[0], {}, {}
    n = next(s.manifest.layers[layer].inputs for s in found.values() if layer in s.manifest.layers)
    for name, statistics in found.items():
        if layer in statistics.manifest.layers:
            facts[name], leading[name] = _facts(statistics, layer, max(rank, SPECTRUM_HEAD))
    compared, overlap = None, None
    if comparable and len(leading) > 1:
        least = min((*(one.tokens for one in facts.values()), *(v.shape[1] for v in leading.values()), rank))
        if least:
            compared = least
            overlap = subspace_overlap(*(vectors[:, :compared] for vectors in leading.values()))
    return InputRow(
        layers=layers,
        kind=", ".join(dict.fromkeys(kinds[one] for one in layers)),
        depth=depth_of(layer),
        n=n,
        sets=facts,
        rank=compared,
        overlap=overlap,
    )


def _facts(statistics: Statistics, layer: str, count: int) -> tuple[InputFacts, Tensor]:
    """The facts of one input, and its leading directions (n, ≤ count); none where every input was 0."""
    sums = statistics.moments(layer)
    C = second_moment(sums, bias=False)
    trace = float(C.diagonal().sum())
    if not torch.isfinite(C).all():
        raise InputError(
            f"{statistics.folder}: the sums of {layer} are not finite; calibrate again with the model in bfloat16 or "
            "float32."
        )
    values, vectors = _leading(C, min(count, len(C))) if trace > 0 else (C.new_zeros(0), C[:, :0])
    spectrum = tuple((values[:SPECTRUM_HEAD] / trace).clamp_min(0).tolist()) if trace > 0 else ()
    facts = InputFacts(
        tokens=sums.tokens,
        mean_square=trace / len(C),
        top_share=spectrum[0] if spectrum else 0.0,
        effective_rank=trace**2 / float(C.square().sum()) if trace > 0 else 0.0,
        largest_sample=sums.energy / (trace * sums.tokens) if trace > 0 else 0.0,
        spectrum=spectrum,
    )
    return facts, vectors


def _leading(C: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The largest eigenvalues of C (n, n) and their eigenvectors (n, count), descending."""
    if len(C) <= DENSE_LIMIT:
        chosen = [len(C) - count, len(C) - 1]  # LAPACK's syevr computes these only
        values, vectors = scipy.linalg.eigh(C.numpy(), subset_by_index=chosen, driver="evr", check_finite=False)
        return torch.from_numpy(values[::-1].copy()), torch.from_numpy(vectors[:, ::-1].copy())
    found = top_eigenspace(lambda v: C @ v, len(C), count, device=C.device)
    return found.values, found.vectors


# Adapters -------------------------------------------------------------------------------------------------------------


def _start_view(adapter: Path) -> StartView:
    note = read_note(adapter)
    if note is None or note.get("schema") != NOTE_SCHEMA:
        raise InputError(f"{adapter / NOTE}: no note of schema {NOTE_SCHEMA!r}; make the adapter again.")
    try:
        settings, rows = dict(note["config"]), list(note["layers"])
        if not rows:
            raise InputError(
                f"{adapter}: made with initialisation={settings.get('initialisation')!r}, which keeps no account a "
                "layer. Inspect the statistics that it was made from instead, if there are any."
            )
        kinds = kinds_of(row["layer"] for row in rows)
        outputs = _outputs(adapter)
        return StartView(
            source=str(adapter),
            rank=settings["r"],
            settings=settings,
            model_hash=note["model_hash"],
            data=note["data"],
            rows=tuple(_start_row(row, kinds, outputs) for row in rows),
            findings=tuple(note["findings"]),
        )
    except (ValidationError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{adapter / NOTE}: damaged ({_short(error)}); make the adapter again.") from error


def _start_row(row: Mapping[str, Any], kinds: Mapping[str, str], outputs: Callable[[str], int | None]) -> StartRow:
    name = row["layer"]
    return StartRow(**row, kind=kinds[name], depth=depth_of(name), outputs=outputs(name))


def _short(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return repr(error)


def _outputs(adapter: Path) -> Callable[[str], int | None]:
    """The number of outputs of each layer, read from the shapes of the adapter's weights where they are there."""
    ending, sizes = ".lora_B.weight", {}
    try:
        with safe_open(str(adapter / "adapter_model.safetensors"), framework="pt") as file:
            names = [key for key in file.keys() if key.endswith(ending)]  # noqa: SIM118 -- no mapping
            sizes = {name.removesuffix(ending): int(file.get_slice(name).get_shape()[0]) for name in names}
    except (OSError, SafetensorError):
        sizes = {}
    return lambda layer: sizes.get(f"base_model.model.{layer}")
