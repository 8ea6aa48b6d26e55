"""Names of a model's modules as people write them: one, several with commas between, or a regular expression."""

from __future__ import annotations

import re
from typing import Any

_NAMES = re.compile(r"\s*\w+(\.\w+)*(\s*,\s*\w+(\.\w+)*)*\s*,?\s*")
"""Nothing but names: what else there is in a text makes it a pattern, or a word of PEFT's as all-linear."""

_FIELDS = ("target_modules", "exclude_modules", "feedforward_modules", "modules_to_save")
"""Fields of methods that take them."""


def names_or_pattern(text: str) -> str | list[str]:
    """The names in a text as a list, for PEFT takes a text for a regular expression of a module's full name.

    Examples:
        >>> names_or_pattern("q_proj, v_proj"), names_or_pattern("q_proj"), names_or_pattern(".*_proj")
        (['q_proj', 'v_proj'], ['q_proj'], '.*_proj')
    """
    return [name.strip() for name in text.split(",") if name.strip()] if _NAMES.fullmatch(text) else text


def with_names_listed(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of a method, names of modules in a text as a list."""
    return {
        key: names_or_pattern(value) if key in _FIELDS and isinstance(value, str) else value
        for key, value in fields.items()
    }
