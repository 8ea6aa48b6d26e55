"""TensorBoard: event files in the run's folder; it keeps figures and words, no files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from retain.train.trackers.tracker import Closing, RunName, Tracker


def _enter(callback: Any, run: RunName, folder: Path, _: Mapping[str, str]) -> None:
    """Give each run of a comparison a folder of its own where the user names one for all: TensorBoard tells runs so."""
    if run.is_compared and Path(callback.logging_dir) != (folder / "tensorboard").absolute():
        callback.logging_dir = str(Path(callback.logging_dir) / run.run)


def _send(callback: Any, closing: Closing) -> None:
    """Words and the report's Markdown; TensorBoard has no place for files."""
    for name, text in closing.texts.items():
        callback.tb_writer.add_text(f"eval/{name}", text, closing.step)
    for path in closing.files:
        if path.suffix == ".md":
            callback.tb_writer.add_text(f"eval/{path.stem}", path.read_text(encoding="utf-8"), closing.step)


def _finish(callback: Any, _: bool) -> None:
    if callback.tb_writer is not None:
        callback.tb_writer.close()
        callback.tb_writer = None


TENSORBOARD = Tracker(
    packages=("tensorboard|tensorboardX",), folder="TENSORBOARD_LOGGING_DIR", enter=_enter, send=_send, finish=_finish
)
