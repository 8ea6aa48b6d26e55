"""Files by which a job goes on: their names by what they were made of, and careful writing and reading."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from retain.errors import InputError
from retain.records.files import write_text
from retain.records.manifest import changed, foreign, log_above, set_aside
from retain.records.reading import read_model

Model = TypeVar("Model", bound=BaseModel)


def key_of(*parts: Any) -> str:
    """The first 12 digits of the SHA-256 of what a file was made of, for its name. Lists count in their order."""
    return hash_of(*parts)[:12]


def hash_of(*parts: Any) -> str:
    """The SHA-256 of what a file was made of. Lists count in their order."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def rewrite(path: Path, text: str) -> None:
    """Write a file of a run's state; one that is not as retain wrote it is kept under another name."""
    if log_above(path) is not None and path.is_file() and path.read_bytes() != text.encode() and foreign(path):
        set_aside(path, f"{path} is not what retain wrote there.")
    write_text(path, text)


def read_or_none(path: Path, model: type[Model]) -> Model | None:
    """Read a file that can be made anew; None where there is none, or where it is not as retain wrote it."""
    if not path.is_file() or changed(path):
        return None
    try:
        return read_model(path, model)
    except InputError:
        return None
