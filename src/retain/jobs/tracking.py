"""The end of a run in the experiment trackers that its training reported to: figures, the verdict, the report."""

from __future__ import annotations

import logging

from retain.errors import RetainError
from retain.jobs.run import Run
from retain.records.result import Result
from retain.report.tracked import tracked_figures, tracked_texts
from retain.train.arguments import training_arguments
from retain.train.trackers.reporting import tracking
from retain.train.trackers.tracker import Closing

log = logging.getLogger(__name__)

SHARDING = {"deepspeed", "fsdp", "fsdp_config", "parallelism_config"}
"""Settings that hold in the processes of a training only; the end is reported by one process."""

REPORT = ("report.html", "report.md", "model_card.md", "plot.png")
"""Files of the report that are sent: for people. The record and the items stay."""


def report_the_end(run: Run, result: Result) -> None:
    """Report a run that is complete to the trackers that its training reported to, in the same runs of theirs.

    Whatever fails is told of in the log: the record is complete before.

    Args:
        run: the run.
        result: its record, which is written already.
    """
    try:
        _report(run, result)
    except RetainError as error:  # of settings that hold in the processes of the training only
        log.warning("The end of %s was not reported to trackers: %s", run.folder.path, error)


def _report(run: Run, result: Result) -> None:
    folder, recipe = run.folder.path, run.recipe
    training = {name: value for name, value in recipe.training.items() if name not in SHARDING}
    recipe = recipe.model_copy(update={"training": training})
    arguments = training_arguments(recipe, folder, pictures=not run.preprocessor.reads_text)
    names = REPORT if recipe.send_report else ()
    files = tuple(path for path in (folder / name for name in names) if path.is_file())
    closing = Closing(tracked_figures(result), tracked_texts(result), files, step=result.cost.steps)
    with tracking(arguments, recipe, folder, closing=True) as reporter:
        if reporter is not None:
            reporter.report(arguments, closing)
