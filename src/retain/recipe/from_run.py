"""A second task on top of a first: what a recipe takes over from the run that it goes on from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from retain.errors import InputError

RECIPE = "recipe.json"
"""A run's recipe, in its folder."""

MERGED = "merged"
"""The whole model that a run delivered, in its folder; made when another run goes on from it."""

TAKEN = (
    "dtype", "attention", "trust_remote_code", "keep_format", "keep_score", "keep_items", "max_length",
    "max_new_tokens", "confidence", "control_share", "alphas",
)  # fmt: skip
"""Fields that are as in the earlier run unless they are said: its control data and the way they are put among them."""

TASK_POINTS, TASK_NATS = 5.0, 0.05
"""How much of what the earlier run learned may be lost where nothing is said: the verdict's own margins."""


def with_earlier(values: dict[str, Any]) -> dict[str, Any]:
    """Fill a recipe's values from the run named by `from_run`: all that was kept or learned there is kept here.

    The model is what that run delivered. Its retention suites, its held-out text and its test data (as a suite of the name
    of its folder) are kept, besides what the recipe names. A limit of its budget holds here too unless the recipe
    states another, and what it learned may be lost by the verdict's margin where any budget is stated.

    Raises:
        InputError: the folder holds no complete run of `retain tune`.
    """
    folder = Path(str(values["from_run"])).expanduser()
    if not (folder / RECIPE).is_file() or not (folder / "result.json").is_file():
        raise InputError(
            f"from: {folder} holds no complete run of retain tune (result.json, {RECIPE}); give the folder of one run."
        )
    earlier = json.loads((folder / RECIPE).read_text(encoding="utf-8"))
    learned = [f"{folder.resolve().name}:={earlier['test'].rpartition(':=')[2]}"] if earlier.get("test") else []
    budget = dict(earlier.get("budget") or {})
    if learned and (budget or values.get("budget")):
        budget[folder.resolve().name] = _tolerated(folder)
    stated = values.get("budget") or {}
    return {
        **{name: earlier[name] for name in TAKEN if name in earlier},
        **values,
        "model": str(folder / MERGED),
        "keep": list(dict.fromkeys([*earlier.get("keep", ()), *learned, *_listed(values.get("keep"))])),
        "held_out_text": list(
            dict.fromkeys([*earlier.get("held_out_text", ()), *_listed(values.get("held_out_text"))])
        ),
        "budget": {**budget, **(stated if isinstance(stated, dict) else {})},
    }


def scale_values(source: str | None, said: dict[str, Any]) -> tuple[str | None, dict[str, Any]]:
    """A recipe's path and the values that replace its own, for `retain scale`: a run's folder stands for its recipe.

    Raises:
        InputError: it is a folder, but of no run.
    """
    folder = Path(source).expanduser() if source else None
    if folder is None or not folder.is_dir():
        return source, said
    if not (folder / RECIPE).is_file():
        raise InputError(
            f"{folder} holds no run of retain tune ({RECIPE}); give a run's folder, or --model and --tuned."
        )
    earlier = json.loads((folder / RECIPE).read_text(encoding="utf-8"))
    tuned = next((folder / name for name in ("trained", "adapter", "model") if (folder / name).is_dir()), None)
    if tuned is None:
        raise InputError(f"{folder} has no trained weights yet; finish the run with retain tune.")
    taken = {name: earlier[name] for name in SCALE_FIELDS if name in earlier}
    if earlier.get("from_run"):
        taken["origin"] = earlier["from_run"]
    return None, {**taken, "tuned": str(tuned), "output": str(folder / "scaling"), **said}


SCALE_FIELDS = (
    "model", "train", "test", "keep", "held_out_text", "dtype", "attention", "trust_remote_code", "keep_format",
    "keep_score", "test_items", "keep_items", "max_new_tokens", "held_out_tokens",
    "evaluation_batch_size", "max_length", "budget", "confidence", "alphas", "control_share",
)  # fmt: skip
"""Fields that `retain scale RUN` takes from the run's recipe."""


def _tolerated(folder: Path) -> float:
    """Points, or nats where the task's first metric is a cross-entropy."""
    task = json.loads((folder / "result.json").read_text(encoding="utf-8")).get("task") or [{}]
    return TASK_NATS if "nats" in task[0].get("metric", "") else TASK_POINTS


def _listed(value: Any) -> list[str]:
    return [] if value is None else [value] if isinstance(value, str) else list(value)
