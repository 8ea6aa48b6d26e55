"""Trackio."""

from __future__ import annotations

from typing import Any

from retain.train.trackers.tracker import Closing, Tracker, package


def _send(_: Any, closing: Closing) -> None:
    """Words as a log of their own, files as artefacts where this version of Trackio has them."""
    trackio = package("trackio")
    trackio.log({f"eval/{name}": text for name, text in closing.texts.items()})
    keep = getattr(trackio, "log_artifact", None)
    if keep is not None:
        for path in closing.files:
            keep(str(path), type="report")


def _finish(_: Any, __: bool) -> None:
    trackio = package("trackio")
    if trackio.context_vars.current_run.get() is not None:
        trackio.finish()


TRACKIO = Tracker(packages=("trackio",), send=_send, finish=_finish)
