"""What to do where something of the hub is not in the cache and only the cache may be read."""

from __future__ import annotations

import re

from huggingface_hub.constants import is_offline_mode

_NOT_THERE = re.compile("offline|cache", re.IGNORECASE)


def offline_cure(reason: str, command: str) -> str:
    """A clause with the cure; empty where the hub could be asked, or something else went wrong.

    Args:
        reason: what the library that read the cache said.
        command: what downloads the thing.
    """
    if not is_offline_mode() or not _NOT_THERE.search(reason):
        return ""
    return f"HF_HUB_OFFLINE is set, so the hub was not asked: unset it, or run `{command}` where there is a network"
