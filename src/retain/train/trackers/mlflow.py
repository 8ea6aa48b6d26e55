"""MLflow, and DagsHub, which is an MLflow server."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from typing import Any

from retain.train.trackers.tracker import Closing, Tracker, package


def _problem() -> str:
    """The reason why MLflow cannot write where it is told to, as far as its packages and settings tell."""
    mlflow = package("mlflow")
    address = str(mlflow.get_tracking_uri())
    scheme = address.partition(":")[0] if ":" in address else "file"
    allowed = getattr(mlflow.environment_variables, "MLFLOW_ALLOW_FILE_STORE", None)
    if scheme.partition("+")[0] in {"sqlite", "postgresql", "mysql", "mssql"} and find_spec("sqlalchemy") is None:
        return (
            "it would write into a database, which needs the package sqlalchemy, and that is not installed (mlflow "
            "brings it, mlflow-skinny does not); install mlflow, or name a server in MLFLOW_TRACKING_URI."
        )
    if scheme == "file" and allowed is not None and not allowed.get():
        return (
            "this version of it writes into a folder only where MLFLOW_ALLOW_FILE_STORE=true says so; set that, or "
            "name a database or a server in MLFLOW_TRACKING_URI."
        )
    return ""


def _identify(_: Any) -> str | None:
    active = package("mlflow").active_run()
    return None if active is None else str(active.info.run_id)


def _send(_: Any, closing: Closing) -> None:
    mlflow = package("mlflow")
    mlflow.flush_async_logging()  # what is still being written cannot be read
    mlflow.set_tags({f"eval_{name}": text[:5000] for name, text in closing.texts.items()})
    for path in closing.files:
        mlflow.log_artifact(str(path), artifact_path="report")


def _finish(_: Any, failed: bool) -> None:
    mlflow = package("mlflow")
    if mlflow.active_run() is not None:
        mlflow.end_run("FAILED" if failed else "FINISHED")


MLFLOW = Tracker(
    packages=("mlflow",),
    project="MLFLOW_EXPERIMENT_NAME",
    run_id="MLFLOW_RUN_ID",
    instead=("MLFLOW_EXPERIMENT_ID",),
    sets=("MLFLOW_EXPERIMENT_ID",),
    problem=_problem,
    identify=_identify,
    send=_send,
    finish=_finish,
)

DAGSHUB = replace(MLFLOW, packages=("dagshub", "mlflow"))
