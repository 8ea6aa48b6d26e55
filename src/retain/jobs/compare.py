"""Many runs beside each other: every method at each learning rate with each seed, on one base, one data set."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from retain.errors import InputError
from retain.jobs.inputs.models import files_fingerprint
from retain.jobs.inputs.prepare import is_calibrated, prepare, suite_hashes
from retain.jobs.progress import showing_progress
from retain.jobs.run_folder import RunFolder, identity_of, run_name
from retain.jobs.tune import make_ready, tune
from retain.recipe import Recipe
from retain.records.result import Result
from retain.report.write import write_comparison


def compare(recipe: Recipe, console: Console) -> tuple[list[Result], list[Path]]:
    """Do every run of a comparison that is not complete yet, then write one table, one plot and one page.

    Each run lies in `runs/NAME` under the output and is an ordinary run; the base's answers are collected once.

    Args:
        recipe: a recipe with `methods`, `seeds` and `learning_rates`.
        console: where progress is shown.

    Returns:
        The results, and the paths of report, page, plot and summary.

    Raises:
        InputError: with all problems of all runs, before any training.
        TrainingError: a run failed; those before it are complete and are not done again.
    """
    with showing_progress(console) as progress:
        make_ready(recipe, progress)
    data = prepare(recipe)
    output = Path(recipe.output)
    runs = recipe.runs()
    single = [run.model_copy(update={"output": str(output / "runs" / run_name(run, runs))}) for run in runs]
    files = files_fingerprint(recipe.model)
    apart = suite_hashes(data.everything)
    identities = {
        run.output: identity_of(run, data.hashes(), files, calibrated=is_calibrated(run), apart=apart) for run in single
    }
    conflicts = [RunFolder(Path(run.output)).conflict(identities[run.output]) for run in single]
    if any(conflicts):
        raise InputError([problem for problem in conflicts if problem])
    results: dict[Path, Result] = {}
    for number, run in enumerate(single, start=1):
        name = Path(run.output).name
        known = RunFolder(Path(run.output)).is_complete(identities[run.output])
        with showing_progress(console) as progress:
            result = tune(run, progress, data, base_folder=output)
        results[Path(run.output)] = result
        seconds = f"trained in {result.cost.train_seconds:.0f} s"
        console.print(f"{number}/{len(single)}  {name}: {'was complete already' if known else seconds}")
    return list(results.values()), write_comparison(output, results)
