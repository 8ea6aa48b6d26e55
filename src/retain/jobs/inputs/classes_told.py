"""What the small files of a model or an adapter tell of its classes, before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from retain.data.answers import called
from retain.errors import InputError
from retain.records.paths import expanded
from retain.records.reading import read_json_mapping


def classes_beside(folder: Path) -> list[str] | None:
    """The classes that a config.json beside an adapter names, in the order of outputs; None where it names none."""
    path = folder / "config.json"
    if not path.is_file():
        return None
    try:
        named = read_json_mapping(path)["id2label"]
        classes = [str(name) for _, name in sorted(named.items(), key=lambda pair: int(pair[0]))]
    except (InputError, ValueError, KeyError, TypeError, AttributeError):
        return None
    unnamed = [f"LABEL_{index}" for index in range(len(classes))]  # transformers' own where none are named
    return None if classes == unnamed else classes


def brings_head(tuned: str) -> bool:
    """True if an adapter brings a trained head of its own, as far as its folder tells."""
    path = expanded(tuned) / "adapter_config.json"
    return not path.is_file() or bool(read_json_mapping(path).get("modules_to_save"))


def names_to_set(own: Mapping[Any, str], labels: Sequence[str]) -> dict[str, Any]:
    """The fields of a configuration that name the classes; none where its own names cover them.

    Args:
        own: the names that the configuration has.
        labels: the classes.
    """
    return {} if set(labels) <= {str(name) for name in own.values()} else _naming(labels)


def numbers_to_set(own: Mapping[Any, str], labels: Sequence[str]) -> dict[str, Any]:
    """The same for outputs that nobody named and data that count their classes; none for any others."""
    names = [str(name) for _, name in sorted(own.items(), key=lambda pair: int(pair[0]))]
    found = called(names, labels)
    return {} if found == names else _naming(found)


def _naming(labels: Sequence[str]) -> dict[str, Any]:
    return {"id2label": dict(enumerate(labels)), "label2id": {name: index for index, name in enumerate(labels)}}
