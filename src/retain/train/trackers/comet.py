"""Comet."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from retain.train.trackers.tracker import Closing, RunName, Tracker, package


def _experiment() -> Any:
    return package("comet_ml").get_running_experiment()


def _enter(_: Any, __: RunName, folder: Path, ___: Mapping[str, str]) -> None:
    """Make the folder of an experiment that is kept offline; Comet refuses one that is not there."""
    place = Path(os.environ["COMET_OFFLINE_DIRECTORY"])
    if folder.resolve() in place.resolve().parents:
        place.mkdir(parents=True, exist_ok=True)


def _identify(_: Any) -> str | None:
    experiment = _experiment()
    return None if experiment is None else str(experiment.get_key())


def _send(_: Any, closing: Closing) -> None:
    experiment = _experiment()
    for name, text in closing.texts.items():
        experiment.log_other(f"eval/{name}", text)
    for path in closing.files:
        experiment.log_asset(str(path), file_name=f"report/{path.name}", overwrite=True)


def _finish(_: Any, __: bool) -> None:
    if (experiment := _experiment()) is not None:
        experiment.end()


COMET = Tracker(
    packages=("comet_ml",),
    folder="COMET_OFFLINE_DIRECTORY",
    project="COMET_PROJECT_NAME",
    run_id="COMET_EXPERIMENT_KEY",
    identify=_identify,
    enter=_enter,
    send=_send,
    finish=_finish,
)
