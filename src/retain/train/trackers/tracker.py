"""What retain knows of a tracker beyond transformers' callback for it.

How a run is named and found again, where its files go, how texts and files are sent, and how it is closed. Figures need
nothing here: every callback logs them by itself.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class RunName:
    """The names under which trackers show a run.

    Attributes:
        run: of the run.
        project: of the project, or experiment, that it belongs to.
        is_compared: whether it is one of the runs of a comparison.
    """

    run: str
    project: str
    is_compared: bool = False


@dataclass(frozen=True)
class Closing:
    """What is reported at the end of a run.

    Attributes:
        figures: by their names.
        texts: by their names, for trackers that keep words.
        files: the report; trackers without a place for files get the Markdown of it as a text.
        step: the last of the training.
    """

    figures: Mapping[str, float]
    texts: Mapping[str, str]
    files: tuple[Path, ...] = ()
    step: int = 0


def _nothing(*_: Any) -> None:
    """Do nothing."""


@dataclass(frozen=True)
class Tracker:
    """A tracker.

    Attributes:
        packages: that its callback needs; of alternatives, divided by a bar, one.
        folder: the environment's variable for the folder of its files.
        project: the variable for project or experiment.
        name: the variable for the run's name, where the callback does not pass on the Trainer's `run_name`.
        run_id: the variable by which a run is found again.
        resume: the variable that allows it.
        instead: variables with which a user decides on the project otherwise.
        sets: variables that the tracker itself sets as it begins a run, by which the next would be led.
        problem: gives the reason why it cannot report although its packages are there; empty where it can.
        identify: gives the identifier of the run that the callback reports to.
        enter: begins the run before the callback would, where variables do not suffice.
        send: sends texts and files.
        finish: closes the run where the callback left it open; as a failed one, if told so.
    """

    packages: tuple[str, ...] = ()
    folder: str = ""
    project: str = ""
    name: str = ""
    run_id: str = ""
    resume: str = ""
    instead: tuple[str, ...] = ()
    sets: tuple[str, ...] = ()
    problem: Callable[[], str] = str
    identify: Callable[[Any], str | None] = _nothing
    enter: Callable[[Any, RunName, Path, Mapping[str, str]], None] = _nothing
    send: Callable[[Any, Closing], None] = _nothing
    finish: Callable[[Any, bool], None] = _nothing

    def variables(self, run: RunName, folder: Path, noted: Mapping[str, str]) -> dict[str, str]:
        """The variables to set, by which its callback begins this run or goes on in it; a user's own stay.

        One that is set to nothing counts as not set: TensorBoard's would lead into the present folder.

        Args:
            run: the run's names.
            folder: for the files of trackers.
            noted: of an earlier process, `id` and `project`.
        """
        project = "" if any(os.environ.get(name) for name in self.instead) else noted.get("project", run.project)
        wanted = {
            self.folder: str((folder / self.folder.partition("_")[0].lower()).absolute()),
            self.project: project,
            self.name: run.run,
            self.run_id: noted.get("id", ""),
            self.resume: "allow" if "id" in noted else "",
        }
        return {name: value for name, value in wanted.items() if name and value and not os.environ.get(name)}

    @property
    def run_variables(self) -> tuple[str, ...]:
        """The variables that lead to a run that is there already."""
        return tuple(filter(None, (self.run_id, self.resume)))


def package(name: str) -> Any:
    """A tracker's package, which its callback has imported already."""
    return importlib.import_module(name)
