"""The end of a run in the experiment trackers that its training reported to: figures, the verdict, the report."""

from __future__ import annotations

from retain.jobs.run import Run
from retain.records.result import Result
from retain.report.tracked import tracked_figures, tracked_texts
from retain.train.arguments import training_arguments
from retain.train.trackers.reporting import tracking
from retain.train.trackers.tracker import Closing

REPORT = ("report.html", "report.md", "model_card.md", "plot.png")
"""Files of the report that are sent: for people. The record and the items stay."""


def report_the_end(run: Run, result: Result) -> None:
    """Report a run that is complete to the trackers that its training reported to, in the same runs of theirs.

    Whatever fails is told of in the log: the record is complete before.

    Args:
        run: the run.
        result: its record, which is written already.
    """
    folder = run.folder.path
    arguments = training_arguments(run.recipe, folder, pictures=not run.preprocessor.reads_text)
    files = tuple(path for path in (folder / name for name in REPORT) if path.is_file())
    closing = Closing(figures=tracked_figures(result), texts=tracked_texts(result), files=files)
    with tracking(arguments, run.recipe, folder, closing=True) as reporter:
        if reporter is not None:
            reporter.report(arguments, result.cost.steps, closing)
