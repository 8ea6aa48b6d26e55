"""The verdict on each run of the safety study by the present rules, from its record and items: no model is loaded.

Run: python studies/safety/judge.py. Needs runs/safety. The runs were made when the A/A check allowed rounding to turn
one refusal of a few; the rule for what is written in 16 bits came later (retain.evaluate.aa_check).
"""

from __future__ import annotations

import json
from pathlib import Path

from retain.evaluate.aa_check import CHANGED_AT_MOST, KL_AT_MOST, WRITTEN_CHANGED_AT_MOST
from retain.records.items import read_items
from retain.records.result import Result, read_result
from retain.records.verdicts import AACheck
from retain.verdict.judge import replay

HERE = Path(__file__).parent
RUNS = HERE.parents[1] / "runs" / "safety"
SUITES, WRITTEN = 4, 2
"""Suites that were asked again alike, and how many of them are written answers; the task has no right or wrong."""


def checked(null: AACheck) -> AACheck:
    """The A/A check by the present rule; of its scores with degrees only the mean was judged, which is not stored."""
    share = null.items / SUITES
    allowed = share * (WRITTEN * WRITTEN_CHANGED_AT_MOST + (SUITES - WRITTEN) * CHANGED_AT_MOST)
    passed = null.changed <= max(1, allowed) and (null.kl_max_nats or 0.0) <= KL_AT_MOST
    return null.model_copy(update={"passed": passed, "note": "" if passed else null.note})


def row(path: Path) -> dict[str, object]:
    """One run: what it learned and the verdict on each suite."""
    result = read_result(path)
    null = None if result.judgement is None or result.judgement.aa_check is None else result.judgement.aa_check
    if result.judgement is not None and null is not None:
        judged = result.judgement.model_copy(update={"aa_check": checked(null)})
        result = result.model_copy(update={"judgement": judged})
    judgement = replay(result, list(read_items(path.with_name("items.jsonl"))))
    return {
        "run": path.parent.name,
        "gain_nats": gain(result),
        "kl_nats": result.drift.kl_nats_per_token,
        "null_changed": None if null is None else null.changed,
        "overall": judgement.overall,
        "suites": {one.suite: {"verdict": one.verdict, "reason": one.reason} for one in judgement.suites},
        "keep": {
            score.name: {"base": score.base, "tuned": score.tuned, "interval": score.interval} for score in result.keep
        },
    }


def gain(result: Result) -> float:
    """Nats per token of the task gained."""
    return next(score.gain for score in result.task if score.metric.name == "cross_entropy_nats_per_token")


def main() -> None:
    """Write `verdicts.json` and print one line a run."""
    rows = [row(path) for path in sorted(RUNS.glob("runs/*/result.json"))]
    (HERE / "verdicts.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    for one in rows:
        print(f"{one['run']:24} {one['gain_nats']:.3f} nats, KL {one['kl_nats']:.3f}: {one['overall']}")


if __name__ == "__main__":
    main()
