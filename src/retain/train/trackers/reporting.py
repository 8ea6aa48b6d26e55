"""Reporting to experiment trackers: transformers' own callbacks, each in a run that is named, found again and closed.

Whatever `report_to` names is reported to by the callback that transformers has for it. Three things are added. Files
that a tracker keeps lie in the run's folder, where the checkpoints' removal does not reach them. The identifier of the
tracker's run is noted there too, so that a training that goes on, and the figures of the end, reach the same run. And a
tracker that fails is told of in the log and left alone from then on: it cannot end a training.
"""

from __future__ import annotations

import copy
import logging
import os
import re
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partialmethod
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.integrations import get_reporting_integration_callbacks

from retain.recipe import Recipe
from retain.records.tracker_notes import note_runs, noted_runs
from retain.train.trackers.naming import name_of_run
from retain.train.trackers.table import AT_THE_END, OWN_VARIABLES, TRACKERS
from retain.train.trackers.tracker import Closing, RunName, Tracker

log = logging.getLogger(__name__)

FOLDER = "trackers"
"""Folder of the trackers' own files, in the run's folder. Nothing in it is retain's to overwrite or remove."""


@contextmanager
def tracking(
    arguments: TrainingArguments, recipe: Recipe, directory: Path, *, closing: bool = False
) -> Iterator[ReportToTrackers | None]:
    """Take the trackers out of a Trainer's settings and give the callback that reports to them; None for no tracker.

    It is to be put after the callbacks whose numbers they are to see. On leaving, every tracker's run is closed, as a
    failed one if there was an error, and the environment is as it was.

    Args:
        arguments: the Trainer's settings; `report_to` is emptied, lest the Trainer reports as well.
        recipe: of the run.
        directory: the run's folder.
        closing: whether the training is over and only the end is to be reported.
    """
    names, arguments.report_to = list(arguments.report_to), []
    if not names:
        yield None
        return
    run = name_of_run(recipe, directory)
    with _environment():
        reporter = ReportToTrackers(names, run, directory, closing=closing)
        try:
            yield reporter
        except BaseException:
            reporter.close(failed=True)
            raise
        reporter.close(failed=False)


class Reporter:
    """One tracker: transformers' callback for it, and what is known of its run.

    Args:
        name: as `report_to` has it.
        run: the names of this run.
        folder: for the tracker's files.
        noted: identifier and project of its run, from an earlier process.
    """

    def __init__(self, name: str, run: RunName, folder: Path, noted: Mapping[str, str]) -> None:
        self.name, self.row = name, TRACKERS.get(name, Tracker())
        self._folder, self._run = folder, run
        self.noted = dict(noted)
        self.callback: Any = None
        self.works = True
        with self._guarded("beginning"):
            self._make()

    def _make(self) -> None:
        os.environ.update(self.row.variables(self._run, self._folder, self.noted))
        (made,) = get_reporting_integration_callbacks([self.name])
        self.callback = made()

    def call(self, event: str, *given: Any, **named: Any) -> None:
        """Call the tracker's callback; one that fails is told of and not called again."""
        if not self.works:
            return
        with self._guarded(event):
            if event == "on_train_begin":
                self._begin(*given, **named)
            else:
                getattr(self.callback, event)(*given, **named)

    def _begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **named: Any) -> None:
        """Begin the tracker's run, or go on in the one that is noted; if that is gone, begin another."""
        try:
            self._enter(args, state, control, **named)
        except Exception as error:
            if "id" not in self.noted:
                raise
            log.warning(
                "%s: its run %s cannot be gone on in (%s); another is begun.", self.name, self.noted["id"], _told(error)
            )
            self.finish(failed=True)
            for variable in self.row.run_variables:
                os.environ.pop(variable, None)
            self.noted, self.works = {}, True
            self._make()
            self._enter(args, state, control, **named)
        if state.is_world_process_zero and (identifier := self.row.identify(self.callback)):
            self.noted = {"id": identifier, "project": os.environ.get(self.row.project, self._run.project)}

    def _enter(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **named: Any) -> None:
        if state.is_world_process_zero:
            self.row.enter(self.callback, self._run, self._folder, self.noted)
        self.callback.on_train_begin(args, state, control, **named)

    def send(self, closing: Closing) -> None:
        """Send texts and files by the tracker's own means, where it has any."""
        if self.works:
            with self._guarded("sending the report"):
                self.row.send(self.callback, closing)

    def finish(self, *, failed: bool) -> None:
        """Close the tracker's run, so that the next run of this process gets one of its own."""
        if self.callback is not None:
            with self._guarded("closing"):
                self.row.finish(self.callback, failed)

    @contextmanager
    def _guarded(self, what: str) -> Iterator[None]:
        try:
            with _handlers():
                yield
        except Exception as error:  # noqa: BLE001 -- whatever a tracker raises, the run goes on
            self.works = False
            log.warning(
                "%s failed (%s: %s) and gets nothing more of this; the run goes on.", self.name, what, _told(error)
            )


class ReportToTrackers(TrainerCallback):  # type: ignore[misc]  # transformers is untyped here
    """Passes the Trainer's events on to the trackers' callbacks.

    Args:
        names: of the trackers, as `report_to` has them.
        run: the names of this run.
        directory: the run's folder.
        closing: whether the training is over: trackers that take no figures are left out.
    """

    def __init__(self, names: list[str], run: RunName, directory: Path, *, closing: bool = False) -> None:
        self._place, noted = directory, noted_runs(directory)
        if closing:
            os.environ.update(AT_THE_END)
        made = [Reporter(name, run, directory / FOLDER, noted.get(name, {})) for name in names]
        self.reporters = [one for one in made if not closing or _takes_figures(one.callback)]

    def _event(
        self, event: str, args: TrainingArguments, state: TrainerState, control: TrainerControl, **named: Any
    ) -> None:
        if event == "on_init_end":  # who writes files from here on would write them among the checkpoints
            args = copy.copy(args)
            args.output_dir = str(self._place / FOLDER)
        for reporter in self.reporters:
            reporter.call(event, args, state, control, **named)
        if event == "on_train_begin" and state.is_world_process_zero:
            note_runs(self._place, {one.name: one.noted for one in self.reporters if one.noted})

    def report(self, arguments: TrainingArguments, closing: Closing) -> None:
        """Report figures, texts and files in the run that the training reported to.

        Args:
            arguments: the Trainer's settings of the training.
            closing: what is reported.
        """
        state, control = TrainerState(global_step=closing.step, max_steps=closing.step), TrainerControl()
        self._event("on_train_begin", arguments, state, control, model=None)
        for reporter in self.reporters:
            reporter.call("on_log", arguments, state, control, model=None, logs=dict(closing.figures))
            reporter.send(closing)
        self._event("on_train_end", arguments, state, control, model=None)

    def close(self, *, failed: bool) -> None:
        """Close the run of every tracker."""
        for reporter in self.reporters:
            reporter.finish(failed=failed)


for _name in [name for name in dir(TrainerCallback) if name.startswith("on_")]:
    setattr(ReportToTrackers, _name, partialmethod(ReportToTrackers._event, _name))  # noqa: SLF001  (its own)


@contextmanager
def _handlers() -> Iterator[None]:
    """Give the handlers of signals back, which some trackers set: an interrupted training ends with a checkpoint."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None and signal.getsignal(number) is not handler:
                signal.signal(number, handler)


def _takes_figures(callback: TrainerCallback | None) -> bool:
    """True if there is a callback and it takes figures; some only watch, as CodeCarbon's does."""
    return callback is not None and type(callback).on_log is not TrainerCallback.on_log


@contextmanager
def _environment() -> Iterator[None]:
    """Give the variables that trackers read, and set themselves, back as they were."""
    before = {name: os.environ[name] for name in OWN_VARIABLES if name in os.environ}
    try:
        yield
    finally:
        for name in OWN_VARIABLES - before.keys():
            os.environ.pop(name, None)
        os.environ.update(before)


def _told(error: Exception) -> str:
    """The first line of an error, without a user's name and password in an address."""
    line = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
    return re.sub(r"//[^/@\s]+@", "//", line)[:300]
