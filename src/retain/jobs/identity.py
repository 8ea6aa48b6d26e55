"""The identity of a run: all that tells it from another in the same folder, in two parts, and its short name."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from retain.hf.models.precision import weights_dtype
from retain.jobs.inputs.loading import device_of
from retain.jobs.inputs.model_files import is_of_content
from retain.jobs.launch.plan import Plan
from retain.recipe import KL, Recipe
from retain.recipe.marks import Decides, decisions, fields_where
from retain.recipe.redact import without_secrets
from retain.recipe.reporting import without_reporting

CALIBRATION = "calibrate:"
"""Beginning of the names of hashes of texts to learn and to keep."""

Identity = dict[str, dict[str, Any]]


def run_names(recipes: Sequence[Recipe]) -> list[str]:
    """Short names for the runs of a comparison: method, learning rate, seed; a hash where a method's fields differ."""
    keys: dict[str, set[str]] = {}
    for run in recipes:
        keys.setdefault(run.method_name, set()).add(run.variant_key)
    return [_name(run, alone=len(keys[run.method_name]) == 1) for run in recipes]


def _name(run: Recipe, *, alone: bool) -> str:
    own = "" if alone else f"-{hashlib.sha256(run.variant_key.encode()).hexdigest()[:6]}"
    return f"{run.method_name}{own}-lr{run.rate:g}-seed{run.seed}"


def identity_of(
    recipe: Recipe,
    hashes: dict[str, str],
    model_files: str,
    *,
    calibrated: bool = False,
    apart: dict[str, str] | None = None,
    teacher: Sequence[str] | None = None,
) -> Identity:
    """The identity of a run, in two parts: what decides the training, and what decides the measuring.

    A field stands in a part as its mark says (`retain.recipe.marks.Decides`); data stand there by their hashes.

    Args:
        recipe: of one run.
        hashes: of its data.
        model_files: the base's fingerprint. A folder counts by that alone, and not by its path.
        calibrated: whether the method's initialisation is data-driven.
        apart: hashes of what generated text is kept apart from, control data among it. [what is measured]
        teacher: fingerprints of the KL penalty's teacher, where it is not the base.
    """
    values = _plain_values(recipe)
    measured = {name: value for name, value in hashes.items() if _is_measured(name)}
    always = {"training", "initialisation", "text"} if calibrated else {"training"}
    training = {name: values[name] for name in sorted(_fields(always))}
    training |= {name: values[name] for name in _fields_in_use(recipe, {"training"})}
    if is_of_content(model_files):
        del training["model"]
    if processes := Plan.of(recipe).identity():
        training["launch"] = processes
    if teacher is not None:
        training["teacher files"] = list(teacher)
    if recipe.limits_training:
        training["kl limit"] = recipe.budget.get(KL)
    if calibrated or recipe.needs_keep_text:
        training |= {name: values[name] for name in _fields({"text"})}
        training |= {name: value for name, value in hashes.items() if name.startswith(CALIBRATION)}
        if recipe.generates_keep_text:  # without what is measured, so that it depends on that
            training |= {f"apart from {name}": value for name, value in (measured if apart is None else apart).items()}
    measuring = {name: values[name] for name in _told(recipe, _fields({"measuring", "items"}))}
    measuring |= {name: values[name] for name in _fields_in_use(recipe, {"measuring"})}
    return {
        "training": training | {"train data": hashes.get("train"), "model files": model_files},
        "measuring": measuring | measured,
    }


def _plain_values(recipe: Recipe) -> dict[str, Any]:
    """The values of a recipe as JSON knows them: rate and type of weights as they are used, secrets redacted."""
    values: dict[str, Any] = json.loads(json.dumps(recipe.model_dump(mode="json"), default=str))
    values["learning_rate"] = recipe.rate
    values["dtype"] = weights_dtype(recipe.dtype, device_of(recipe))
    values["training"] = without_reporting(values["training"])
    return without_secrets(values, Recipe)


def _fields(parts: set[str]) -> tuple[str, ...]:
    """The fields that decide one of some parts in every run."""
    return fields_where(Recipe, lambda decides: decides.part in parts and not decides.when)


def _fields_in_use(recipe: Recipe, parts: set[str]) -> tuple[str, ...]:
    """The fields that decide one of some parts under a condition that holds in this run."""
    used = fields_where(
        Recipe, lambda decides: decides.part in parts and bool(decides.when) and _is_used(recipe, decides)
    )
    return _told(recipe, used)


def _is_used(recipe: Recipe, decides: Decides) -> bool:
    """True where a field's condition holds, and that of the condition itself: a teacher's tokens need a KL penalty."""
    if not getattr(recipe, decides.when):
        return False
    condition = decisions(Recipe).get(decides.when)
    return condition is None or condition.when in ("", decides.when) or _is_used(recipe, condition)


def _told(recipe: Recipe, names: Sequence[str]) -> tuple[str, ...]:
    """The fields without those that came later and have their default."""
    later = fields_where(Recipe, lambda decides: decides.later)
    return tuple(name for name in names if name not in later or getattr(recipe, name) != _default(name))


def _default(name: str) -> Any:
    return Recipe.model_fields[name].get_default(call_default_factory=True)


def _is_measured(name: str) -> bool:
    return name != "train" and not name.startswith(CALIBRATION)
