"""Names for methods: short, and unique within one comparison."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from retain.methods import table
from retain.records.result import MethodRecord

LONGEST_VALUE = 16
MOST_FIELDS = 2
"""Fields that a label shows at most; methods that these do not tell apart are numbered."""

TITLES_OF_PEFT = {"oft": "OFT", "hra": "HRA", "mica": "MiCA", "osf": "OSF"}
"""Methods of PEFT without a row of ours, as their papers write them; any other is shown by its name in the record."""

SYMBOLS = {
    "beta": "β",
    "r": "rank",
    "lora_alpha": "α",
    "keep_data": "text to keep",
    "learn_data": "text to learn",
    "target_modules": "layers",
    "lora_dropout": "dropout",
}
"""Fields that readers know by a symbol or a word, the most telling first; their order decides between equal ones."""

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


def bare_number(value: float) -> str:
    """A number as labels show it, without a leading zero: `.8`."""
    return f"{value:g}".removeprefix("0") or "0"


def _label(method: MethodRecord, methods: Sequence[MethodRecord]) -> str:
    namesakes = [other.config for other in methods if other.name == method.name]
    shown = _telling_fields(namesakes)
    parts = [_part(field, method.config, namesakes) for field in shown if method.config.get(field) is not None]
    return " ".join([table.title(method.name) or TITLES_OF_PEFT.get(method.name, method.name), *parts])


def _part(field: str, config: dict[str, Any], namesakes: Sequence[dict[str, Any]]) -> str:
    """A field as a label shows it: `β .8`, `rank 32`; of data, which the record knows by a hash, the number."""
    symbol = SYMBOLS.get(field, field.replace("_", " "))
    if field.endswith("_data"):
        seen = list(dict.fromkeys(other.get(field) for other in namesakes))
        return f"{symbol} {seen.index(config[field]) + 1}"
    value = config[field]
    text = bare_number(value) if isinstance(value, float) else _short(value)
    return f"{symbol} {text}"


def _telling_fields(configs: Sequence[dict[str, Any]]) -> list[str]:
    """The few fields that tell most configurations apart; those with a symbol first, then those of short values."""
    order = list(SYMBOLS)
    left = sorted({field for config in configs for field in config} - NO_PART_OF_A_METHOD)
    chosen: list[str] = []
    kinds = 1
    while left and len(chosen) < MOST_FIELDS:
        told = {field: _kinds(configs, [*chosen, field]) for field in left}
        telling = [field for field in left if told[field] > kinds]
        if not telling:
            break
        known = [field for field in order if field in telling]
        best = known[0] if known else max(telling, key=lambda field: (told[field], -_longest(configs, field)))
        chosen.append(best)
        left.remove(best)
        kinds = told[best]
    return sorted(chosen, key=lambda field: order.index(field) if field in order else len(order))


def _kinds(configs: Sequence[dict[str, Any]], fields: Sequence[str]) -> int:
    """The number of different configurations when only these fields count."""
    return len({tuple(config_key({"": config.get(field)}) for field in fields) for config in configs})


def _longest(configs: Sequence[dict[str, Any]], field: str) -> int:
    return max(len(config_key({"": config.get(field)})) for config in configs)


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False, sort_keys=True)
    text = " ".join(text.replace('"', "").split())
    return text if len(text) <= LONGEST_VALUE else text[: LONGEST_VALUE - 1] + "…"
