"""ClearML."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from retain.train.trackers.tracker import Closing, RunName, Tracker, package


def _task() -> Any:
    return package("clearml").Task.current_task()


def _enter(_: Any, run: RunName, __: Path, noted: Mapping[str, str]) -> None:
    """Go on in a task that is there; ClearML knows no variable for that, and counts steps from where it ended."""
    if "id" in noted and _task() is None:
        package("clearml").Task.init(
            project_name=os.environ.get("CLEARML_PROJECT", noted.get("project", run.project)),
            task_name=os.environ.get("CLEARML_TASK", run.run),
            reuse_last_task_id=noted["id"],
            continue_last_task=0,
            auto_connect_frameworks={"tensorboard": False, "pytorch": False},
            output_uri=True,
        )


def _identify(_: Any) -> str | None:
    task = _task()
    return None if task is None else str(task.id)


def _send(_: Any, closing: Closing) -> None:
    task = _task()
    task.set_user_properties(**{f"eval_{name}": text for name, text in closing.texts.items()})
    for path in closing.files:
        task.upload_artifact(path.name, artifact_object=str(path), wait_on_upload=True)


def _finish(_: Any, __: bool) -> None:
    if (task := _task()) is not None:
        task.close()


CLEARML = Tracker(
    packages=("clearml",),
    project="CLEARML_PROJECT",
    name="CLEARML_TASK",
    identify=_identify,
    enter=_enter,
    send=_send,
    finish=_finish,
)
