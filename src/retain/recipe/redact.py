"""Redaction of values that may hold a key."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from retain.recipe.marks import fields_where


def redacted(command: str) -> str:
    """The program of a command and a hash that distinguishes it, without its arguments, which may hold a key."""
    digest = hashlib.sha256(command.encode()).hexdigest()[:12]
    words = command.split()
    return f"{Path(words[0]).name if words else 'nothing'} (sha256 {digest})"


def secret_fields(holder: type) -> tuple[str, ...]:
    """The names of the fields of a recipe, or of settings, whose value may hold a key."""
    return fields_where(holder, lambda decides: decides.secret)


def without_secrets(values: Mapping[str, Any], holder: type) -> dict[str, Any]:
    """Values by field, those of secret fields redacted."""
    secret = secret_fields(holder)
    return {name: redacted(value) if name in secret and value is not None else value for name, value in values.items()}
