"""Where an update lies: each layer's change against the leading directions of the base's own weights."""

from __future__ import annotations

from pathlib import Path

from retain.compare.inspection_rows import UpdateRow, UpdateView, depth_of, kinds_of
from retain.errors import InputError
from retain.evaluate.drift.weights import plain_name
from retain.evaluate.drift.zones import zones
from retain.events import Events
from retain.hf.adapters.config_file import read_config
from retain.hf.adapters.folder import adapter_folder, is_adapter
from retain.hf.adapters.load import load_adapter
from retain.hf.models.updates import UpdatesUnavailableError, changed_layers, weight_updates
from retain.jobs.inputs.models import ModelSpec
from retain.records.manifest import check_unchanged
from retain.records.paths import expanded, is_path

_MATRIX = 2


def inspect_update(path: str | Path, model: str | None, events: Events) -> UpdateView:
    """The zones of every layer that an adapter changes.

    Args:
        path: an adapter, or a run with one.
        model: its base: a folder or a hub id. [as the adapter says]
        events: receives the progress.

    Raises:
        InputError: there is no adapter or no base, or the adapter does not live in weights.
    """
    if is_adapter(expanded(path) / "adapter"):
        path = expanded(path) / "adapter"
    if not is_adapter(str(path)):
        raise InputError(
            f"{path}: no adapter there, so there is no change to look at; give an adapter or a run of one."
        )
    folder = adapter_folder(str(path))
    check_unchanged(folder)
    values = read_config(folder)
    base = model or str(values.get("base_model_name_or_path") or "")
    if not base or (model is None and is_path(base) and not expanded(base).is_dir()):
        reason = f"the base that it names, {base}, is not there" if base else "it does not say which base it is of"
        raise InputError(f"{path}: {reason}; give the base as --model.")
    tuned = load_adapter(ModelSpec(base, dtype="float32").load().model, folder)
    try:
        names = changed_layers(tuned)
        kinds = kinds_of(map(plain_name, names))
        task = events.task("looking at changes", total=len(names))
        rows, left = [], 0
        for update in weight_updates(tuned):
            name = plain_name(update.module)
            found = zones(update.weight, update.delta) if update.delta.ndim == _MATRIX else None
            left += found is None
            if found is not None:
                rows.append(UpdateRow(layer=name, kind=kinds[name], depth=depth_of(name), **found._asdict()))
            task.advance()
    except UpdatesUnavailableError as error:
        raise InputError(f"{path}: {error}") from error
    if not rows:
        raise InputError(f"{path}: no layer moved, or all are too large to decompose, so there is nothing to show.")
    notes = (f"{left} layers did not move, hold several matrices, or are too large to decompose.",) if left else ()
    method = str(values.get("peft_type", "")).lower()
    return UpdateView(source=str(path), model=base, method=method, rows=tuple(rows), findings=notes)
