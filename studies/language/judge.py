"""The verdict on each run of the SC-LoRA study, from its record and items: python studies/language/judge.py.

Needs the runs that studies/sc-lora/README.md describes (runs/sc-lora, runs/sc-lora-self). No model is loaded.
"""

from __future__ import annotations

import json
from pathlib import Path

from retain.records.items import read_items
from retain.records.result import Result, read_result
from retain.verdict.judge import replay

HERE = Path(__file__).parent
RUNS = HERE.parents[1] / "runs"


def row(path: Path) -> dict[str, object]:
    """One run: what it learned, how far it moved, and the verdict on each suite."""
    result = read_result(path)
    judgement = replay(result, list(read_items(path.with_name("items.jsonl"))))
    return {
        "run": f"{path.parents[2].name}/{path.parent.name}",
        "method": result.method.name,
        "beta": result.method.config.get("beta"),
        "learning_rate": result.learning_rate,
        "seed": result.seed,
        "gain_nats": gain(result),
        "kl_nats": result.drift.kl_nats_per_token,
        "overall": judgement.overall,
        "learned": judgement.learned,
        "suites": {
            one.suite: {"verdict": one.verdict, "p_adjusted": one.p_adjusted, "reason": one.reason}
            for one in judgement.suites
        },
    }


def gain(result: Result) -> float:
    """Nats per token of the task gained."""
    return next(score.gain for score in result.task if score.metric.name == "cross_entropy_nats_per_token")


def main() -> None:
    """Write `verdicts.json` and print one line a run."""
    rows = [row(path) for path in sorted(RUNS.glob("sc-lora*/runs/*/result.json"))]
    (HERE / "verdicts.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    for one in rows:
        print(f"{one['run']:45} {one['gain_nats']:.3f} nats, KL {one['kl_nats']:.3f}: {one['overall']}")


if __name__ == "__main__":
    main()
