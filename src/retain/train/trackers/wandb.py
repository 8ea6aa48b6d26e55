"""Weights & Biases."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from retain.train.trackers.tracker import Closing, RunName, Tracker, package


def _enter(_: Any, run: RunName, folder: Path, noted: Mapping[str, str]) -> None:
    """Begin the run here: W&B reads its variables once a process, so a later run could not be given others."""
    wandb = package("wandb")
    if wandb.run is not None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    wandb.init(
        project=os.environ.get("WANDB_PROJECT") or noted.get("project", run.project),
        name=os.environ.get("WANDB_NAME") or run.run,
        dir=os.environ.get("WANDB_DIR") or str(folder),
        **({"id": noted["id"], "resume": "allow"} if "id" in noted else {}),
    )


def _send(_: Any, closing: Closing) -> None:
    wandb = package("wandb")
    wandb.run.summary.update({f"eval/{name}": text for name, text in closing.texts.items()})
    artifact = wandb.Artifact(name=f"report-{wandb.run.id}", type="report")
    for path in closing.files:
        artifact.add_file(str(path))
    wandb.run.log_artifact(artifact)


def _identify(_: Any) -> str | None:
    return str(package("wandb").run.id)


def _finish(_: Any, failed: bool) -> None:
    package("wandb").finish(exit_code=int(failed))


WANDB = Tracker(
    packages=("wandb",), project="WANDB_PROJECT", identify=_identify, enter=_enter, send=_send, finish=_finish
)
