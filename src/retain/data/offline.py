"""What to do where something of the hub is not in the cache and only the cache may be read."""

from __future__ import annotations

import os
import re

_NOT_THERE = re.compile(r"offline|(?<![\w./\\-])cache", re.IGNORECASE)
"""A file that is there and broken is told with its path, which leads through a folder of the cache."""

_SETTINGS = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")


def offline_cure(reason: str, command: str) -> str:
    """A clause with the cure; empty where the hub could be asked, or something else went wrong.

    Args:
        reason: what the library that read the cache said.
        command: what downloads the thing.
    """
    from huggingface_hub.constants import is_offline_mode  # noqa: PLC0415 -- `retain judge` runs without it

    if not is_offline_mode() or not _NOT_THERE.search(reason):
        return ""
    setting = next((name for name in _SETTINGS if os.environ.get(name)), _SETTINGS[0])
    return f"{setting} is set, so the hub was not asked: unset it, or run `{command}` where there is a network"
