"""Trackers whose own objects the callbacks of transformers give out: Neptune, Azure ML."""

from __future__ import annotations

from typing import Any

from retain.train.trackers.tracker import Closing, Tracker


def _send_neptune(callback: Any, closing: Closing) -> None:
    for name, text in closing.texts.items():
        callback.run[f"eval/{name}"] = text
    for path in closing.files:
        callback.run[f"report/{path.stem}"].upload(str(path))


def _send_azure(callback: Any, closing: Closing) -> None:
    for name, text in closing.texts.items():
        callback.azureml_run.tag(f"eval_{name}", text)
    for path in closing.files:
        callback.azureml_run.upload_file(f"report/{path.name}", str(path))


NEPTUNE = Tracker(packages=("neptune|neptune-client",), send=_send_neptune)

AZURE_ML = Tracker(packages=("azureml.core",), send=_send_azure)
