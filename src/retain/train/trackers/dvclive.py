"""DVCLive."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from retain.train.trackers.tracker import Closing, RunName, Tracker, package


def _enter(callback: Any, _: RunName, folder: Path, __: Mapping[str, str]) -> None:
    """Keep what is there: DVCLive begins a folder anew unless told to go on, and has no variable for it."""
    if callback.live is None:
        place = folder / "dvclive"
        callback.live = package("dvclive").Live(dir=str(place), resume=place.exists())


def _send(callback: Any, closing: Closing) -> None:
    callback.live.log_params({f"eval_{name}": text for name, text in closing.texts.items()})
    for path in closing.files:
        callback.live.log_artifact(str(path), name=path.stem.replace("_", "-"), type="report", copy=True)


def _finish(callback: Any, _: bool) -> None:
    if callback.live is not None:
        callback.live.end()
        callback.live = None


DVCLIVE = Tracker(packages=("dvclive",), enter=_enter, send=_send, finish=_finish)
