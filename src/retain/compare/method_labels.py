"""Names for methods: short, and unique within one comparison."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from retain.records.result import MethodRecord

LONGEST_VALUE = 24
NO_PART_OF_A_METHOD = {"base_model_name_or_path", "peft_version", "inference_mode"}
"""Fields of an adapter's configuration that say where it lies or who wrote it, not how the model was changed."""


def config_key(config: dict[str, Any]) -> str:
    """A configuration as text, equal for equal configurations."""
    own = {field: value for field, value in config.items() if field not in NO_PART_OF_A_METHOD}
    return json.dumps(own, sort_keys=True, default=str, ensure_ascii=False)


def method_labels(methods: Sequence[MethodRecord]) -> list[str]:
    """One label a method: its name, with the configuration's distinguishing fields where a name is shared.

    Equal methods get equal labels, different ones different labels.
    """
    keys = [(method.name, config_key(method.config)) for method in methods]
    distinct = dict(zip(keys, methods, strict=True))
    wanted = {key: _label(method, list(distinct.values())) for key, method in distinct.items()}
    labels = dict(zip(wanted, unique(list(wanted.values())), strict=True))
    return [labels[key] for key in keys]


def unique(labels: Sequence[str]) -> list[str]:
    """The same labels, a number added to each later one that is there already."""
    given: set[str] = set()
    result = []
    reserved = Counter(labels)
    for label in labels:
        candidate, number = label, 1
        while candidate in given or (number > 1 and candidate in reserved):
            number += 1
            candidate = f"{label} #{number}"
        given.add(candidate)
        result.append(candidate)
    return result


def _label(method: MethodRecord, methods: Sequence[MethodRecord]) -> str:
    namesakes = [other.config for other in methods if other.name == method.name]
    shown = _telling_fields(namesakes)
    parts = [f"{field}={_short(method.config[field])}" for field in shown if method.config.get(field) is not None]
    return " ".join([method.name, *parts])


def _telling_fields(configs: Sequence[dict[str, Any]]) -> list[str]:
    """As few fields as tell the configurations apart, each the one that tells most apart; short values first."""
    left = sorted({field for config in configs for field in config} - NO_PART_OF_A_METHOD)
    chosen: list[str] = []
    kinds = 1
    while left:
        told = {field: _kinds(configs, [*chosen, field]) for field in left}
        best = max(left, key=lambda field: (told[field], -_longest(configs, field)))
        if told[best] == kinds:
            break
        chosen.append(best)
        left.remove(best)
        kinds = told[best]
    return sorted(chosen)


def _kinds(configs: Sequence[dict[str, Any]], fields: Sequence[str]) -> int:
    """How many kinds of configurations there are when only these fields are looked at."""
    return len({tuple(config_key({"": config.get(field)}) for field in fields) for config in configs})


def _longest(configs: Sequence[dict[str, Any]], field: str) -> int:
    return max(len(config_key({"": config.get(field)})) for config in configs)


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False, sort_keys=True)
    text = " ".join(text.replace('"', "").split())
    return text if len(text) <= LONGEST_VALUE else text[: LONGEST_VALUE - 1] + "…"
