"""What a mixed batch costs: 64 rows, each with an adapter of its own, beside the base and beside one adapter for all.

    python benchmarks/serving.py                     # small Llama, 64 rows of 16 tokens; writes results/serving.json

Forward passes alone, in evaluation mode without gradients, CPU time, the cases in turn. Rows name their adapters by
PEFT's `adapter_names`. First each row of the mixed batch must be what the row gives alone with its adapter, and lie
further than twice as far from the base's.
"""

from __future__ import annotations

import argparse
import copy
import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

import bases
import torch
from cases import CASES, LORA, LORA_FAST, LORFA, VEFA, CaseLeftOutError, accelerated, difference, linear_names, passed
from common import DTYPES, away_from_start, finish, in_turn, markdown, options, prepare, ratios, timed
from torch import Tensor

COLUMNS = {
    "base": "base", "method": "method", "case": "case", "forward / base": "ratio", "of the least": "ratio_least",
    "CPU s": "seconds", "rows/s": "rows_per_second",
}  # fmt: skip
METHODS = (VEFA, LORFA, LORA)
BASE, ONE, MIXED = "base", "one adapter for all rows", "an adapter for each row"
TOLERANCE = {"float32": 1e-4, "bfloat16": 5e-2}
"""Of ‖a − b‖ / ‖b‖ of a row's logits. A batch is added up in another order than a row; four layers pass that on."""


def adapted(name: str, frozen: Any, count: int, rank: int) -> Any:
    """A copy of the base with adapters a0, a1, … of one method, each with values of its own."""
    model = CASES[name](copy.deepcopy(frozen), linear_names(frozen), rank)
    config = model.peft_config["default"]
    for number in range(count):
        model.add_adapter(f"a{number}", copy.deepcopy(config))
    model.delete_adapter("default")
    for number in range(count):
        model.set_adapter(f"a{number}")
        away_from_start(model, spread=0.05, seed=number)
    model.set_adapter("a0")
    return model.eval()


def all_adapted(frozen: Any, count: int, rank: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A model of each method with all its adapters; what is left out. Made once, because PEFT takes long for it."""
    models = {name: adapted(name, frozen, count, rank) for name in METHODS}
    try:
        models[LORA_FAST] = accelerated(copy.deepcopy(models[LORA]))
    except CaseLeftOutError as error:
        return models, [{"check": LORA_FAST, "skipped": str(error)}]
    return models, []


def cast_base(model: Any, dtype: torch.dtype) -> None:
    """Give the base's weights another precision; adapters keep float32, as they have over a 16-bit base."""
    for key, parameter in model.named_parameters():
        if not any(part.startswith(("vefa_", "lorfa_", "lora_")) for part in key.split(".")):
            parameter.data = parameter.data.to(dtype)


@torch.no_grad()
def forward(model: Any, ids: Tensor, names: list[str] | None = None) -> tuple[float, Tensor]:
    """Seconds, and the logits (rows, length, vocabulary)."""
    fields = {} if names is None else {"adapter_names": names}
    return timed(lambda: model(input_ids=ids, use_cache=False, **fields).logits)


def seconds(model: Any, ids: Tensor, names: list[str] | None = None) -> float:
    """What `forward` takes."""
    return forward(model, ids, names)[0]


def gate(frozen: Any, model: Any, ids: Tensor, names: list[str], label: str) -> list[dict[str, Any]]:
    """Each row of the mixed batch against the row alone with its adapter, and against the base."""
    base_name = next(key for key, dtype in DTYPES.items() if dtype == next(frozen.parameters()).dtype)
    plain, mixed = forward(frozen, ids)[1], forward(model, ids, names)[1]
    apart, effect = 0.0, float("inf")
    for row, name in enumerate(names):
        model.set_adapter(name)
        alone = forward(model, ids[row : row + 1])[1]
        apart = max(apart, difference({"row": mixed[row : row + 1]}, {"row": alone}))
        effect = min(effect, difference({"row": alone}, {"row": plain[row : row + 1]}))
    model.set_adapter(names[0])
    margin = TOLERANCE[base_name]
    return [
        {
            "check": f"{base_name}, {label}: each row of the mixed batch = the row alone with its adapter",
            "difference": apart, "effect_least": effect, "passed": apart <= margin and 2 * apart < effect,
        }
    ]  # fmt: skip


def measure(
    asked: argparse.Namespace, base_name: str, frozen: Any, models: dict[str, Any]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """One precision: the rows of the table, and the checks."""
    ids = bases.reads("llama", asked.rows, asked.length)[0]["input_ids"]
    names = [f"a{number}" for number in range(asked.rows)]
    checks: list[dict[str, Any]] = []
    jobs: dict[tuple[str, str], Callable[[], float]] = {(BASE, ""): partial(seconds, frozen, ids)}
    for model in (frozen, *models.values()):
        cast_base(model, DTYPES[base_name])
    for method, model in models.items():
        checks += gate(frozen, model, ids, names, method)
        jobs[method, ONE] = partial(seconds, model, ids)
        jobs[method, MIXED] = partial(seconds, model, ids, names)
    if not passed(checks):
        return [], checks
    times = in_turn(jobs, asked.rounds)
    rows = []
    for (method, case), mine in times.items():
        ratio, least = ratios(mine, times[BASE, ""])
        middle = statistics.median(mine)
        rows.append({
            "base": base_name, "method": method, "case": case, "ratio": ratio, "ratio_least": least,
            "seconds": middle, "rows_per_second": asked.rows / middle, "seconds_each_round": mine,
        })  # fmt: skip
    return rows, checks


def main(arguments: list[str] | None = None) -> None:
    """Check, measure, write."""
    parser = options(str(__doc__), rounds=7)
    parser.add_argument("--rows", type=int, default=64, help="and adapters (%(default)s)")
    parser.add_argument("--length", type=int, default=16, help="tokens a row (%(default)s)")
    parser.add_argument("--hidden", type=int, default=512, help="a multiple of 64 (%(default)s)")
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--rank", type=int, default=8)
    asked = parser.parse_args(arguments)
    prepare(asked.threads)
    rows: list[dict[str, Any]] = []
    frozen = bases.make("llama", asked.hidden, asked.layers, torch.float32).eval()
    models, checks = all_adapted(frozen, asked.rows, asked.rank)
    for base_name in asked.bases:
        found, checked = measure(asked, base_name, frozen, models)
        rows += found
        checks += checked
    print(markdown(rows, COLUMNS))
    finish("serving", asked, {"gate": checks, "columns": COLUMNS, "rows": rows}, passed=passed(checks))


if __name__ == "__main__":
    main()
