"""The user's folder in which what was once found is kept for later runs, whatever their output folders."""

from __future__ import annotations

import os
from pathlib import Path

from retain.errors import InputError
from retain.records.paths import expanded

OFF = "off"
"""The word for no cache, in recipes and in `VARIABLE`."""

VARIABLE = "RETAIN_CACHE"
"""The environment's word for the folder."""


def cache_folder(choice: str | None) -> Path | None:
    """The folder that a recipe names, else the environment's, else the usual one; None where nothing is to be kept.

    Args:
        choice: a folder, or `OFF`; None where the recipe says nothing. Of the environment `VARIABLE` may name it, or
            `XDG_CACHE_HOME` where it lies.
    """
    given = choice or os.environ.get(VARIABLE, "").strip()
    if given == OFF:
        return None
    usual = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "retain"
    try:
        return expanded(given or usual)
    except InputError:  # nobody's home: as on storage that cannot be written to
        return None
