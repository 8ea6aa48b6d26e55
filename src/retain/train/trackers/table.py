"""The trackers that transformers has callbacks for, by their names in `report_to`, each a row.

A tracker without a row is reported to all the same, by its callback alone.
"""

from __future__ import annotations

from retain.train.trackers.clearml import CLEARML
from retain.train.trackers.comet import COMET
from retain.train.trackers.dvclive import DVCLIVE
from retain.train.trackers.mlflow import DAGSHUB, MLFLOW
from retain.train.trackers.others import AZURE_ML, NEPTUNE
from retain.train.trackers.swanlab import SWANLAB
from retain.train.trackers.tensorboard import TENSORBOARD
from retain.train.trackers.tracker import Tracker
from retain.train.trackers.trackio import TRACKIO
from retain.train.trackers.wandb import WANDB

TRACKERS: dict[str, Tracker] = {
    "azure_ml": AZURE_ML,
    "clearml": CLEARML,
    "codecarbon": Tracker(packages=("codecarbon",)),
    "comet_ml": COMET,
    "dagshub": DAGSHUB,
    "dvclive": DVCLIVE,
    "flyte": Tracker(packages=("flytekit",)),
    "kubeflow": Tracker(),
    "mlflow": MLFLOW,
    "neptune": NEPTUNE,
    "swanlab": SWANLAB,
    "tensorboard": TENSORBOARD,
    "trackio": TRACKIO,
    "wandb": WANDB,
}

AT_THE_END = {
    "WANDB_LOG_MODEL": "false",
    "WANDB_WATCH": "false",
    "COMET_LOG_ASSETS": "false",
    "CLEARML_LOG_MODEL": "false",
    "HF_DAGSHUB_LOG_ARTIFACTS": "false",
    "HF_DVCLIVE_LOG_MODEL": "false",
    "MLFLOW_MAX_LOG_PARAMS": "0",
}
"""Variables that keep a callback from sending again what the training sent where it was to: model and parameters."""

OWN_VARIABLES = {
    *(
        variable
        for row in TRACKERS.values()
        for variable in (row.folder, row.project, row.name, *row.run_variables, *row.sets)
        if variable
    ),
    *AT_THE_END,
}
"""Variables that are set for a run, by retain or by a tracker."""
