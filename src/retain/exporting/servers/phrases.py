"""Names and values in what is told of an adapter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

SHOWN = 3
"""So many names are listed; the others are counted."""


def listed(names: Sequence[str]) -> str:
    """Some names as a phrase, the others counted."""
    distinct = list(dict.fromkeys(names))
    more = f" and {len(distinct) - SHOWN} more" if len(distinct) > SHOWN else ""
    return ", ".join(distinct[:SHOWN]) + more


def shown(value: Any) -> str:
    """A value as JSON has it, cut where it is long."""
    words = {True: "true", False: "false", None: "null"}
    text = words[value] if value is None or isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else text[:59] + "…"
