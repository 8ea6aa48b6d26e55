"""The fields of methods against their types, their ranges, the model's modules, and one another."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from typing import Any

from torch import nn

from retain.hf.tuners.all_linear import is_all_linear
from retain.hf.tuners.feature_config import FeatureConfig
from retain.hf.tuners.feature_layer import FeatureLayer
from retain.hf.tuners.targets import linear_names
from retain.methods import lookup
from retain.recipe import Recipe
from retain.recipe.field_types import fits, type_problems
from retain.recipe.marks import decisions, flag_name

PATTERNS = ("target_modules", "exclude_modules", "layers_pattern")
"""Fields that may be a regular expression."""

KEYED_BY_PATTERN = ("rank_pattern", "alpha_pattern")
"""Fields whose keys are regular expressions."""

NAMES = ("target_modules", "exclude_modules", "modules_to_save")
"""Fields that may be a list of the names of modules."""


def field_problems(name: str, fields: dict[str, Any]) -> list[str]:
    """A sentence for each field of a method whose value cannot be meant, found without a model.

    Args:
        name: the method, which is known.
        fields: its fields; unknown ones are left to `lookup.validate`.
    """
    place = f"method {name}: "
    scales = {key: value for key, value in fields.items() if key.endswith("alpha") and value is not None}
    problems = [
        f"{place}{key}: expected a finite number above 0 (found {value!r})."
        for key, value in scales.items()
        if not fits(value, float) or value <= 0
    ]
    typed = {key: value for key, value in fields.items() if key not in scales}
    problems += type_problems(lookup.config_class(name), typed, place)
    problems += [
        f"{place}{key}: expected a number from 0 up to, not including, 1 (found {value!r})."
        for key, value in typed.items()
        if key.endswith("dropout") and fits(value, float) and not 0 <= value < 1
    ]
    return problems + [f"{place}{key}: {problem}" for key, problem in _broken_patterns(fields)]


def _broken_patterns(fields: dict[str, Any]) -> Iterator[tuple[str, str]]:
    given = [(key, fields[key]) for key in PATTERNS if isinstance(fields.get(key), str)]
    given += [(key, text) for key in KEYED_BY_PATTERN for text in fields.get(key) or {}]
    for key, text in given:
        try:
            re.compile(str(text))
        except re.error as error:
            yield key, f"{text!r} is no regular expression ({error}); name modules in a list instead."


def unmatched_names(model: nn.Module, name: str, fields: dict[str, Any]) -> list[str]:
    """A sentence for each listed name that no module of the model has, or ends in, and each pattern that fits none.

    Args:
        model: the model, without adapters.
        name: the method.
        fields: its fields.
    """
    modules = [key for key, _ in model.named_modules()]
    ends = {key.rpartition(".")[2] for key in modules}
    problems = []
    for field in NAMES:
        listed = fields.get(field)
        fits_none = (
            isinstance(listed, str)
            and field != "exclude_modules"
            and not any(re.fullmatch(listed, key) for key in modules)
        )
        if fits_none and not is_all_linear(listed):
            hint = "" if str(listed).startswith(".*") else rf"a pattern of its end begins with .*, as '.*\.{listed}'; "
            problems.append(
                f"method {name}: {field}: no module's full name, such as {max(modules, key=len)}, fits {listed!r}; "
                f"{hint}names may be listed, as q_proj,v_proj."
            )
        for given in listed if isinstance(listed, list | tuple | set) else ():
            if any(key == given or key.endswith(f".{given}") for key in modules):
                continue
            near = difflib.get_close_matches(str(given).rpartition(".")[2], ends, n=2)
            linear = ", ".join(linear_names(model)[:12])
            hint = f"did you mean {' or '.join(near)}?" if near else f"its linear layers are named {linear}."
            problems.append(f"method {name}: {field}: no module of the model is named {given!r}; {hint}")
    return problems


def rank_told(model: nn.Module, name: str, fields: dict[str, Any]) -> list[str]:
    """A sentence where a rank is larger than any layer can use."""
    rank = fields.get("r")
    widths = [min(module.weight.shape) for module in model.modules() if isinstance(module, nn.Linear)]
    if not isinstance(rank, int) or not widths or rank <= max(widths):
        return []
    found = f"a rank of {rank} is more than the {max(widths)} dimensions of the widest layer"
    return [f"method {name}: {found}, so most of the adapter can do nothing; a smaller rank does the same."]


def widths_told(adapted: Any, name: str) -> list[str]:
    """What a feature-space method's configuration says of the widths of the layers that it was put on."""
    widths = {layer.in_features for layer in adapted.modules() if isinstance(layer, FeatureLayer)}
    configs = getattr(adapted, "peft_config", {}).values()
    told = [one for config in configs if isinstance(config, FeatureConfig) for one in config.told(widths)]
    return [f"method {name}: {one}" for one in dict.fromkeys(told)]


def unread_fields(recipe: Recipe) -> list[str]:
    """A sentence for each field that was given and that no run of the recipe reads."""
    runs, given = recipe.variants(), recipe.model_fields_set
    names = ", ".join(dict.fromkeys(run.method_name for run in runs))
    unread = []
    if recipe.beta is not None and not any(_takes(run, "beta") for run in runs):
        unread.append(("beta", f"{names} has no such weight"))
    if recipe.rank is not None and not any(_takes(run, "r") for run in runs):
        unread.append(("rank", f"{names} has no rank"))
    calibrated = any(lookup.calibration(run.method_name, run.method_fields) for run in runs)
    if recipe.statistics is not None and not any(lookup.is_data_driven(run.method_name) for run in runs):
        unread.append(("statistics", f"{names} is not initialised from second moments"))
    if not calibrated and not recipe.reads_keep_text:
        texts = [name for name, decides in decisions(Recipe).items() if decides.part in {"text", "initialisation"}]
        texts = [name for name in ("calibrate_keep", "calibrate_learn", *texts) if name != "beta"]
        unread += [(name, f"{names} reads no text to learn or to keep") for name in texts if name in given]
    if {"epochs", "max_steps"} <= given and recipe.max_steps is not None:
        unread.append(("epochs", f"{flag_name(Recipe, 'max_steps')} is given"))
    for name, decides in decisions(Recipe).items():
        if (
            decides.when
            and decides.when != name
            and name in given
            and not any(getattr(run, decides.when) for run in runs)
        ):
            unread.append((name, f"{flag_name(Recipe, decides.when)} is not given"))
    return [f"{name}: is not read, since {reason}." for name, reason in unread]


def _takes(run: Recipe, field: str) -> bool:
    return field in lookup.with_shared(run.method_name, {}, 1, 0.5, 0)
