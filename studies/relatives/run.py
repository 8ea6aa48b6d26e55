"""The comparison of recipes/relatives.yaml: python studies/relatives/run.py does what of it is not done yet.

First `retain compare` runs every method at each of its rates with seed 0; then the rate that is best on validation
items is chosen, as in the benchmark, and `retain compare` runs each method there with two further seeds, in the same
folder.
Stop it whenever you like: the same command goes on. What is complete is collected into records/ after each part.

    --collect            only collect what is complete
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import yaml
from relatives_plan import FURTHER_SEEDS, KIND, RECIPE, RECORDS, ROOT, TASK, read_plan

from retain.records.files import write_text
from retain.records.result import read_result

from choose import best_rate  # isort: skip -- of the benchmark, which relatives_plan makes known
from collect import collect  # isort: skip -- likewise
from plan import Cell, Plan  # isort: skip -- likewise


def main() -> int:
    """Do what is left; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--collect", action="store_true")
    plan, given = read_plan(), yaml.safe_load(RECIPE.read_text(encoding="utf-8"))
    runs = ROOT / given["output"]
    if parser.parse_args().collect:
        collect_complete(plan, runs)
        return 0
    code = compare(RECIPE)
    collect_complete(plan, runs)
    best = {name: best_rate(plan, RECORDS, TASK, name) for name in plan.methods}
    seeds = {
        **given,
        "methods": [entry for entry in given["methods"] if best[_name(entry)] is not None],
        "learning_rates": {name: [rate] for name, rate in best.items() if rate is not None},
        "seeds": 1 + len(FURTHER_SEEDS),
    }
    if code or not seeds["methods"]:
        return code or 1
    write_text(runs / "seeds.yaml", yaml.safe_dump(seeds, sort_keys=False))
    code = compare(runs / "seeds.yaml")
    collect_complete(plan, runs)
    return code


def compare(recipe: Path) -> int:
    """Do a comparison, or what is left of it; return the exit code."""
    command = "import sys; from retain.cli.main import main; sys.exit(main())"
    paths = os.pathsep.join([str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-c", command, "compare", str(recipe)],
        cwd=ROOT, check=False, env={**os.environ, "PYTHONPATH": paths},
    ).returncode  # fmt: skip


def collect_complete(plan: Plan, runs: Path) -> None:
    """Collect the record of every complete run that is not collected yet."""
    for folder in sorted((runs / "runs").glob("*")):
        if not (folder / "result.json").is_file() or (RECORDS / TASK / f"{folder.name}.items.json").is_file():
            continue
        result = read_result(folder / "result.json")
        method = next(name for name in plan.methods if folder.name.startswith(f"{name}-lr"))
        cell = Cell(TASK, method, float(result.learning_rate or 0), int(result.seed or 0))
        if cell.rate not in plan.rates(TASK, method) or cell.name != folder.name:
            raise SystemExit(f"{folder}: no run of {RECIPE.name} (its {KIND} rates were changed since?)")
        collect(folder, RECORDS / TASK, {"task": TASK, "method": method, "rate": cell.rate, "seed": cell.seed})


def _name(entry: str | dict[str, str]) -> str:
    return entry if isinstance(entry, str) else entry["name"]


if __name__ == "__main__":
    sys.exit(main())
