"""Measure tuned models along the scaling path, unit by unit, so that any budget can be tried on any split of the data.

Run: python studies/control/curves.py studies/control/language.yaml
Each adapter named there becomes one file beside it: for each α the loss of every item and every window of text.
An adapter is a path, or a path with the share of α that groups of layers take.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from retain.budget.control_losses import unit_losses
from retain.evaluate.columns import paired
from retain.evaluate.held_out import read_windows, windows_of
from retain.evaluate.predictions import collect_predictions
from retain.hf.models.inference import padding_id
from retain.hf.scaling import scaled
from retain.jobs.budget_search import BudgetSearch
from retain.jobs.inputs.opening import Opening, read_tuned_data
from retain.jobs.inputs.read import settings_of
from retain.jobs.progress import make_console, showing_progress
from retain.recipe import ScaleRecipe
from retain.records.files import write_text


def measured(recipe: ScaleRecipe) -> dict[str, Any]:
    """For each α and suite the loss of each unit (base − tuned, positive is lost), and KL by window."""
    problems: list[str] = []
    data = read_tuned_data(recipe, problems)
    if problems:
        raise SystemExit("\n".join(problems))
    with showing_progress(make_console()) as events:
        opened = Opening(recipe, data, events)
        preprocessor, suites = opened.preprocessor, data.suites
        job = BudgetSearch.of(recipe, preprocessor, suites, [], settings_of(recipe))
        base = collect_predictions(opened.base, preprocessor, suites.all, job.settings, events, "the base answers")
        pair = opened.pair()
        windows = windows_of(preprocessor.tokenizer, suites.held_out_text, job.settings) if suites.held_out_text else []
        found: dict[str, Any] = {}
        for alpha in recipe.alphas:
            with scaled(pair.tuned_model, job.at(alpha), base=pair.separate_base):
                tuned = collect_predictions(
                    pair.tuned_model, preprocessor, suites.all, job.settings, events, f"α = {alpha:g}"
                )
                one = {
                    suite.name: _rounded(unit_losses(paired(suite, base, tuned).columns[0])[0]) for suite in suites.all
                }
                if windows and preprocessor.reads_text:
                    sums = read_windows(
                        pair, windows, padding_id(preprocessor.tokenizer), events, f"α = {alpha:g}, text"
                    )
                    one["kl"] = _rounded(sums.column("kl") / sums.column("tokens"))
            found[f"{alpha:g}"] = one
    metrics = {suite.name: paired(suite, base, base).columns[0].metric.name for suite in suites.all}
    return {"task": [suite.name for suite in suites.of("task")], "metrics": metrics, "alphas": found}


def _rounded(losses: np.ndarray) -> list[float]:
    return [round(float(loss), 5) for loss in losses]


def main(path: Path) -> None:
    """Measure every adapter of a study that has no file yet."""
    study = yaml.safe_load(path.read_text(encoding="utf-8"))
    folder = path.with_suffix("")
    for name, told in study.pop("adapters").items():
        turned = told if isinstance(told, dict) else {"tuned": told}
        target = folder / f"{name}.json"
        if target.exists() or not Path(turned["tuned"]).exists():
            continue
        recipe = ScaleRecipe.model_validate({**study, **turned, "output": str(folder)})
        write_text(target, json.dumps(measured(recipe)) + "\n")
        print(name, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
