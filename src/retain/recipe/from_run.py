"""Recipes that take values over from an earlier run: to learn a second task on top of it, or to scale its update."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from retain.errors import InputError
from retain.recipe.marks import Heir, fields_where
from retain.recipe.tune_recipe import Recipe
from retain.records.files import write_text
from retain.records.manifest import check_unchanged
from retain.records.paths import expanded, may_be_hub_adapter
from retain.records.reading import read_json_mapping, read_model
from retain.records.renamed_columns import with_columns
from retain.records.result import read_result

RECIPE = "recipe.json"
"""A run's recipe, in its folder."""

MERGED = "merged"
"""The full model that a run delivered, in its folder; made when another run goes on from it."""

STARTED_IN = "started_in.txt"
"""The way from a run's folder to the directory that its relative paths start from, where its output does not tell."""

SCALED = "scaled"
"""The folder, in that of a run, that `retain scale RUN` writes."""

TASK_POINTS, TASK_NATS = 5.0, 0.05
"""Limits on losing what the earlier run learned, where none is given: the verdict's own margins."""


def read_recipe(folder: Path) -> dict[str, Any]:
    """The values of a run's recipe; its relative paths hold from here, wherever the run was started.

    Args:
        folder: the run's.

    Raises:
        InputError: the recipe is not as retain wrote it.
    """
    check_unchanged(folder / RECIPE)
    read_model(folder / RECIPE, Recipe)
    values = read_json_mapping(folder / RECIPE)
    start = _started_in(folder, values)
    if start is None or start == Path.cwd():
        return values
    named = ("model", "from_run", *fields_where(Recipe, lambda decides: decides.part == "data"))
    return {**values, **{name: _from(start, values[name]) for name in named if name in values}}


def note_start(folder: Path, output: str) -> None:
    """Note where a run was started, as a path relative to its folder, unless its output tells so already.

    Args:
        folder: the run's.
        output: the run's folder as it was given.
    """
    note, way = folder / STARTED_IN, os.path.relpath(Path.cwd(), folder.resolve()) + "\n"
    known = note.read_text(encoding="utf-8", errors="replace") if note.is_file() else None
    if _inferred(folder, output) is None and known != way:
        write_text(note, way)


def _started_in(folder: Path, values: dict[str, Any]) -> Path | None:
    """The working directory of the command that made a run, as far as the run tells; it need not be there any more."""
    note = folder / STARTED_IN
    if note.is_file():
        try:
            return (folder.resolve() / note.read_text(encoding="utf-8").strip()).resolve()
        except (OSError, ValueError) as error:
            raise InputError(f"{note}: cannot be read ({error}); remove it and give absolute paths.") from error
    return _inferred(folder, str(values.get("output", "")))


def _inferred(folder: Path, output: str) -> Path | None:
    """The directory from which `output` names the folder; None where that cannot be told from the two."""
    parts, place = Path(output).parts, folder.resolve()
    if not parts or Path(output).is_absolute() or ".." in parts or place.parts[-len(parts) :] != parts:
        return None
    return Path(*place.parts[: -len(parts)])


def _from(start: Path, value: Any) -> Any:
    """A source, or each of several, as a path from here where it names something that is there from `start`."""
    if isinstance(value, list):
        return [_from(start, one) for one in value]
    if not isinstance(value, str):
        return value
    name, mark, source = value.rpartition(":=")
    place = start / source
    return f"{name}{mark}{place}" if source and not Path(source).is_absolute() and place.exists() else value


def with_earlier(values: dict[str, Any]) -> dict[str, Any]:
    """Fill a recipe's values from the run named by `from_run`: all that was kept or learned there is kept here.

    The model is what that run delivered. Its retention suites, its held-out text and its test data (as a suite named
    after its folder) are kept, besides what the recipe names. A limit of its budget holds here too unless the recipe
    states another. Where any budget is stated, what that run learned may be lost by the verdict's margin.

    Raises:
        InputError: the folder holds no complete run of `retain tune`.
    """
    folder = expanded(str(values["from_run"]))
    if not (folder / RECIPE).is_file() or not (folder / "result.json").is_file():
        raise InputError(
            f"from: {folder} holds no complete run of retain tune (result.json, {RECIPE}); give the folder of one run."
        )
    earlier = read_recipe(folder)
    test = with_columns(str(earlier.get("test") or "").rpartition(":=")[2], earlier.get("columns") or {})
    learned = [f"{folder.resolve().name}:={test}"] if earlier.get("test") else []
    budget = dict(earlier.get("budget") or {})
    if learned and (budget or values.get("budget")):
        budget[folder.resolve().name] = _margin_of(folder)
    stated = values.get("budget") or {}
    return {
        **_inherited(earlier, "from"),
        **values,
        "model": str(folder / MERGED),
        "keep": list(dict.fromkeys([*earlier.get("keep", ()), *learned, *_listed(values.get("keep"))])),
        "held_out_text": list(
            dict.fromkeys([*earlier.get("held_out_text", ()), *_listed(values.get("held_out_text"))])
        ),
        "budget": {**budget, **(stated if isinstance(stated, dict) else {})},
    }


def scale_values(source: str | None, given: dict[str, Any]) -> tuple[str | None, dict[str, Any]]:
    """Turn the folder of a run into the values of its recipe, for `retain scale`; anything else stays as it is.

    Returns:
        The path of a recipe, if one is still to be read, and the values that replace its own.

    Raises:
        InputError: the source is a folder, but of no run.
    """
    folder = expanded(source) if source else None
    if folder is None or not folder.is_dir():
        return source, given
    if not (folder / RECIPE).is_file():
        raise InputError(
            f"{folder} holds no run of retain tune ({RECIPE}); give a run's folder, or --model and --tuned."
        )
    earlier = read_recipe(folder)
    tuned = next((folder / name for name in ("trained", "adapter", "model") if (folder / name).is_dir()), None)
    if tuned is None:
        raise InputError(f"{folder} has no trained weights yet; finish the run with retain tune.")
    taken = _inherited(earlier, "scale")
    if earlier.get("from_run"):
        taken["origin"] = earlier["from_run"]
    return None, {**taken, "tuned": str(tuned), "output": str(folder / SCALED), **given}


def export_values(source: str | None, given: dict[str, Any]) -> tuple[str | None, dict[str, Any]]:
    """Turn the folder of a run, or an adapter, into the values of an export's recipe; a YAML file stays to be read.

    Returns:
        The path of a recipe, if one is still to be read, and the values that replace its own.

    Raises:
        InputError: there is no such folder; or the run delivered nothing.
    """
    if source is None or source.endswith((".yaml", ".yml")):
        return source, given
    folder = expanded(source)
    if not folder.exists() and not may_be_hub_adapter(source):
        raise InputError(no_folder(source))
    if not (folder / RECIPE).is_file():
        return None, {"tuned": source, **given}
    earlier = read_recipe(folder)
    tuned = next((folder / name for name in ("adapter", "model") if (folder / name).is_dir()), None)
    if tuned is None:
        kept_back = (folder / "trained").is_dir()
        raise InputError(
            f"{folder} delivered no adapter, for its budget could not be kept; give {folder / 'trained'} to export all "
            "that was trained."
            if kept_back
            else f"{folder} has no trained weights yet; finish the run with retain tune."
        )
    names = ("quantization", "device_map", "max_memory", "attention", "trust_remote_code", "max_length")
    taken = {name: value for name, value in _inherited(earlier, "scale").items() if name in names}
    taken |= {name: earlier[name] for name in ("model", "held_out_text") if earlier.get(name)}
    if earlier.get("test"):
        taken["test"] = with_columns(str(earlier["test"]).rpartition(":=")[2], earlier.get("columns") or {})
    output = {"output": str(folder / f"export-{given['to']}")} if "to" in given else {}
    return None, {**taken, "tuned": str(tuned), **output, **given}


def no_folder(source: str) -> str:
    """The sentence on a folder to be exported that is not there."""
    return f"tuned: there is no folder {source}; give a run, the folder of an adapter, or a hub id."


def _inherited(earlier: dict[str, Any], heir: Heir) -> dict[str, Any]:
    """The values of an earlier recipe that are taken over unless others are given; defaults stay unstated."""
    names = fields_where(Recipe, lambda decides: heir in decides.inherited_by)
    defaults = {name: Recipe.model_fields[name].get_default() for name in names}
    return {name: earlier[name] for name in names if name in earlier and earlier[name] != defaults[name]}


def _margin_of(folder: Path) -> float:
    """Points, or nats where the task's first metric is a cross-entropy."""
    task = read_result(folder / "result.json").task
    return TASK_NATS if task and task[0].metric.drifts else TASK_POINTS


def _listed(value: Any) -> list[str]:
    return [] if value is None else [value] if isinstance(value, str) else list(value)
