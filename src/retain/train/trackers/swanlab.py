"""SwanLab."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from retain.train.trackers.tracker import Closing, RunName, Tracker, package


def _run() -> Any:
    """The run that is open, or None; versions of SwanLab differ in whether they raise where there is none."""
    try:
        return package("swanlab").get_run()
    except RuntimeError:
        return None


def _enter(_: Any, run: RunName, folder: Path, noted: Mapping[str, str]) -> None:
    """Begin the run here: its callback gives no folder, and some versions refuse the variable for the project."""
    swanlab, variables = package("swanlab"), os.environ
    if _run() is not None:
        return
    place = folder / "swanlab"
    place.mkdir(parents=True, exist_ok=True)
    own_place = variables.get("SWANLAB_LOG_DIR") or variables.get("SWANLAB_LOGDIR")
    own_project = variables.get("SWANLAB_PROJECT") or variables.get("SWANLAB_PROJ_NAME")
    identifier = variables.get("SWANLAB_RUN_ID") or noted.get("id")
    swanlab.init(
        project=own_project or noted.get("project", run.project),
        experiment_name=variables.get("SWANLAB_EXP_NAME", run.run),
        **({} if own_place else {"logdir": str(place)}),
        **({"id": identifier, "resume": variables.get("SWANLAB_RESUME", "allow")} if identifier else {}),
    )


def _identify(_: Any) -> str | None:
    run = _run()
    identifier = getattr(run, "id", None) or getattr(getattr(run, "public", None), "run_id", None)
    return None if identifier is None else str(identifier)


def _send(_: Any, closing: Closing) -> None:
    """Words as texts, files where this version of SwanLab keeps any."""
    swanlab = package("swanlab")
    swanlab.log({f"eval/{name}": swanlab.Text(text) for name, text in closing.texts.items()})
    keep = getattr(swanlab, "save", None)
    if keep is not None:
        for path in closing.files:
            keep(str(path), base_path=str(path.parent), policy="now")


def _finish(_: Any, __: bool) -> None:
    if _run() is not None:
        package("swanlab").finish()


SWANLAB = Tracker(
    packages=("swanlab",), sets=("SWANLAB_LOG_DIR",), identify=_identify, enter=_enter, send=_send, finish=_finish
)
