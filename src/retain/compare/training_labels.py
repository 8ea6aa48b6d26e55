"""How runs of a comparison were trained, beside method, rate and seed: what tells them apart, in words."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from retain.compare.method_labels import bare_number
from retain.recipe import Recipe
from retain.recipe.marks import fields_where
from retain.recipe.reporting import without_reporting

WORDS = {
    "kl_weight": "KL penalty",
    "kl_on": "KL on",
    "kl_temperature": "temperature",
    "kl_monitor": "KL monitor",
    "ewc": "EWC",
    "max_steps": "steps",
    "weight_decay": "decay",
    "lr_scheduler_type": "schedule",
}
"""Words of the field for fields of a training; any other is written as it is named."""

MOST_FIELDS = 3
"""Fields that a label shows at most."""


def training_fields(training: Mapping[str, Any]) -> dict[str, Any]:
    """What a record's `training` says of those fields that the runs of a comparison may have each for itself.

    Args:
        training: of a record; the settings under its own `training` are taken out, without those of reporting.
    """
    own = fields_where(Recipe, lambda decides: decides.by_method and decides.recorded)
    found = {name: training[name] for name in own if training.get(name) is not None and name != "training"}
    if "max_steps" in found:
        found.pop("epochs", None)
    return found | without_reporting(training.get("training") or {})


def training_labels(trainings: Sequence[Mapping[str, Any]]) -> list[str]:
    """What tells each training from the others, as `KL penalty 3, replay .25`; empty where all are the same.

    Args:
        trainings: of each run, as `training_fields` gives it.

    Examples:
        >>> training_labels([{}, {"replay": 0.25}, {"kl_weight": 3.0}])
        ['', 'replay .25', 'KL penalty 3']
    """
    names = dict.fromkeys(name for training in trainings for name in training)
    telling = [name for name in names if len({training_key({name: training.get(name)}) for training in trainings}) > 1]
    return [_label(telling, training) for training in trainings]


def combination(method: str, own: Mapping[str, Any]) -> str:
    """A method with what it is combined with: `lora + KL penalty 3`."""
    return " + ".join(filter(None, [method, training_labels([{}, training_fields(own)])[1]]))


def training_key(training: Mapping[str, Any]) -> str:
    """The fields as text, equal for equal trainings."""
    return json.dumps(training, sort_keys=True, default=str)


def _label(telling: Sequence[str], training: Mapping[str, Any]) -> str:
    shown = [_part(name, training[name]) for name in telling if training.get(name) not in (None, False)]
    return ", ".join([*shown[:MOST_FIELDS], *(["…"] if len(shown) > MOST_FIELDS else [])])


def _part(name: str, value: Any) -> str:
    word = WORDS.get(name, name.replace("_", " "))
    if value is True:
        return word
    return f"{word} {bare_number(value) if isinstance(value, float) else value}"
