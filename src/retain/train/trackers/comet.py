"""Comet."""

from __future__ import annotations

from typing import Any

from retain.train.trackers.tracker import Closing, Tracker, package


def _experiment() -> Any:
    return package("comet_ml").get_running_experiment()


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
    send=_send,
    finish=_finish,
)
