"""What spreading the runs of a comparison costs the command that does it: runs of no work, by workers and by Ray.

    python benchmarks/sweep_overhead.py          # 250, 500 and 1,000 runs: some five minutes on two cores

Two parts, each in a process of its own for each number of runs. *Spreading*: units of no work are handed to two worker
processes, or to a Ray cluster of two processors on this machine; time counts from the first that ends. *Gathering*:
`retain compare` looks at as many complete runs and reads their records (one of studies/benchmark); its tables are not
drawn. Milliseconds a run on the clock, of the command's own CPU time, and kB of its memory. The CPU time, which others
on the machine do not change much, and the memory must stay under 25 ms and 100 kB in sum.
"""

from __future__ import annotations

import argparse
import gc
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest.mock import patch

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "sweep_overhead.json"
RECORD = HERE.parent / "studies" / "benchmark" / "records" / "tickets" / "lora-lr0.0011-seed0.json"
MOST_MILLISECONDS, MOST_KILOBYTES = 25.0, 100.0
WAYS = ("two workers", "ray", "gathering")


def resident() -> int:
    """Bytes of this process that are in memory."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def spreading(way: str, runs: int) -> dict[str, Any]:
    """Hand out units of no work."""
    from retain.jobs.workers.executor import spread
    from retain.jobs.workers.local import LocalWorkers
    from retain.jobs.workers.unit import Setup, Unit
    from retain.recipe import Recipe

    setup = Setup(kind="nothing", recipe="")
    if way == "ray":
        from retain.jobs.workers.on_ray import RayWorkers

        recipe = Recipe(model="m", train="t", test="e", output=".", ray="local", cpus_per_run=1)
        executor: Any = RayWorkers(recipe, setup, lambda *_: None, print)
    else:
        executor = LocalWorkers(setup, 2, lambda *_: None, print)
    units = (Unit(number=number, name=f"run-{number}", work="x" * 12) for number in range(runs))
    done, began, cpu, before = 0, 0.0, 0.0, 0
    with executor as workers:
        for _, outcome in spread(list(units), workers, print):
            if outcome.state != "done":
                raise SystemExit(outcome.text)
            done += 1
            if done == 1:
                began, cpu, before = time.perf_counter(), time.process_time(), resident()
        return figures(way, runs, began, cpu, before)


def gathering(runs: int) -> dict[str, Any]:
    """Look at complete runs of a comparison, and read their records."""
    from rich.console import Console

    from retain.jobs import compare as module
    from retain.jobs.comparison_runs import runs_of
    from retain.recipe import Recipe

    sys.path.insert(0, str(HERE.parent / "tests"))
    from tiny import make_llama, make_tokenizer, write_jsonl

    with tempfile.TemporaryDirectory() as place:
        base = Path(place) / "base"
        make_llama().save_pretrained(base)
        make_tokenizer().save_pretrained(base)
        rows = [{"prompt": f"a word{number}", "completion": f" word{number}"} for number in range(20)]
        train, test = (
            write_jsonl(Path(place) / f"{name}.jsonl", part) for name, part in (("a", rows[:12]), ("b", rows[12:]))
        )
        recipe = Recipe(
            model=str(base), train=str(train), test=str(test), output=f"{place}/out", methods=("lora",), seeds=runs,
            generate=0, drift=False,
        )  # fmt: skip
        for run in runs_of(recipe):
            run.folder.claim(run.identity)
            run.folder.result.write_bytes(RECORD.read_bytes())
        patch.object(module, "write_comparison", lambda *_: []).start()
        runs_of(recipe.model_copy(update={"seeds": 1}))  # what is loaded once
        began, cpu, before = time.perf_counter(), time.process_time(), resident()
        found = module.compare(recipe, Console(file=io.StringIO()))
        result = figures("gathering", runs, began, cpu, before)
        if len(found.results) != runs:
            raise SystemExit(f"{len(found.results)} of {runs} records were read")
        return result


def figures(way: str, runs: int, began: float, cpu: float, before: int) -> dict[str, Any]:
    """What it took since the beginning, a run."""
    return {
        "way": way,
        "runs": runs,
        "ms": round(1000 * (time.perf_counter() - began) / runs, 3),
        "cpu_ms": round(1000 * (time.process_time() - cpu) / runs, 3),
        "kB": round(max(0, resident() - before) / 1000 / runs, 3),
    }


def main() -> None:
    """Measure one case, or all in processes of their own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, nargs="+", default=[250, 500, 1000])
    parser.add_argument("--way", choices=WAYS, help="measure this alone")
    parser.add_argument("--results", type=Path, default=RESULTS)
    asked = parser.parse_args()
    if asked.way:
        row = gathering(asked.runs[0]) if asked.way == "gathering" else spreading(asked.way, asked.runs[0])
        print(json.dumps(row))
        return
    rows = []
    for way in WAYS:
        for runs in asked.runs:
            command = [sys.executable, __file__, "--way", way, "--runs", str(runs)]
            environment = {**os.environ, "RAY_AUTH_MODE": "disabled"}  # else a token is written into the home
            made = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)  # noqa: S603 -- this script
            rows.append(json.loads(made.stdout.splitlines()[-1]))
            print(rows[-1], flush=True)
    most = {row["way"]: row for row in rows if row["runs"] == max(asked.runs)}
    sums = {
        way: {unit: round(most[way][unit] + most["gathering"][unit], 3) for unit in ("ms", "cpu_ms", "kB")}
        for way in WAYS[:2]
    }
    passed = all(one["cpu_ms"] < MOST_MILLISECONDS and one["kB"] < MOST_KILOBYTES for one in sums.values())
    versions = {package: version(package) for package in ("retain", "ray", "torch")}
    record = {
        "versions": versions, "cores": os.cpu_count(), "load": os.getloadavg(), "rows": rows, "sums": sums,
        "passed": passed,
    }  # fmt: skip
    asked.results.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(sums, "passed" if passed else "NOT PASSED")


if __name__ == "__main__":
    main()
