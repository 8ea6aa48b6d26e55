"""The comparison of `recipes/relatives.yaml` as a plan of the benchmark's kind: its scripts then read the records."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from retain.recipe import Recipe, load_recipe

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE.parent / "benchmark"))  # as there, scripts find the modules beside them

from plan import Plan  # noqa: E402 -- found only now

RECIPE = ROOT / "recipes/relatives.yaml"
RECORDS = HERE / "records"
TASK, KIND = "headlines", "language"
FURTHER_SEEDS = (1, 2)
TITLES = {"lora": "LoRA", "sc-lora": "SC-LoRA", "vefa": "VeFA", "sparse": "sparse (gradient)", "rotation": "rotation"}
ENTRY: dict[str, Any] = {
    "kind": KIND,
    "title": "headlines",
    "unit": "nats per token",
    "choose": {"suite": "test", "metric": "cross_entropy_nats_per_token", "lower_is_better": True},
    "keep": ["facts", "kinds"],
    "near": ["news"],
}


def read_plan() -> Plan:
    """The plan that the recipe stands for: every method at its rates, then further seeds at the best."""
    recipe = load_recipe(Recipe, str(RECIPE), {})
    rates: Any = recipe.learning_rates
    methods = {name: {"title": TITLES[name], "rates": {KIND: list(own)}} for name, own in rates.items()}
    return Plan({TASK: ENTRY}, methods, [{"tasks": [TASK], "methods": list(methods)}], FURTHER_SEEDS)
