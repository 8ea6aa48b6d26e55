"""Records to report on: figures of a plausible size, and every way in which a record can be empty."""

from __future__ import annotations

import random
from typing import Any

from retain.compare.aggregate import NamedResult
from retain.records.drift_record import Drift
from retain.records.items import Item, Side
from retain.records.result import Cost, MethodRecord, Parameters, Provenance, Result
from retain.records.scores import KeepScore, TaskScore

PROVENANCE = Provenance(
    command="retain compare demo.yaml --seeds 3",
    created="2026-11-20T10:00:00Z",
    versions={"retain": "0.1.0", "torch": "2.9.0"},
    data_hashes={"train": "a1b2", "capitals": "c3d4"},
    model_hash="e5f6",
)
CONFIGS: dict[str, dict[str, Any]] = {"lora": {"r": 8, "alpha": 16}, "lorfa": {"r": 8}, "vefa": {}}
TRAINABLE = {"lora": 2_442_240, "lorfa": 2_442_240, "vefa": 149_760}
LEARNED = {"lora": (2.20, 2.34), "lorfa": (2.29, 2.31), "vefa": (2.30, 2.21)}
MOVED = {"lora": (0.070, 0.164), "lorfa": (0.277, 0.378), "vefa": (0.175, 0.526)}
KEPT = {"lora": (0.044, 0.052), "lorfa": (0.072, 0.032), "vefa": (0.048, -0.052)}
RATES = {"lora": (5e-4, 2e-3), "lorfa": (5e-4, 2e-3), "vefa": (1e-2, 3e-2)}


def task_score(gain: float, **changes: Any) -> TaskScore:
    fields = {
        "name": "headlines",
        "metric": "cross_entropy_nats_per_token",
        "n": 200,
        "base": 5.38,
        "tuned": 5.38 - gain,
        "interval": (-gain - 0.08, -gain + 0.08),
    }
    return TaskScore(**{**fields, **changes})


def keep_score(change: float, **changes: Any) -> KeepScore:
    lost = 0.024 + max(0.0, -change)
    fields = {
        "name": "capitals",
        "metric": "accuracy",
        "n": 249,
        "chance": 0.25,
        "status": "measured",
        "base": 0.727,
        "tuned": 0.727 + change,
        "lost": lost,
        "gained": lost + change,
        "p_value": 0.0012 if abs(change) > 0.04 else 0.61,
        "interval": (change - 0.033, change + 0.033),
        "retention": 1 + change / 0.477,
        "retention_interval": (1 + (change - 0.033) / 0.477, 1 + (change + 0.033) / 0.477),
        "detectable_loss": 0.0241,
    }
    return KeepScore(**{**fields, **changes})


TOO_FEW = KeepScore(name="poems", metric="accuracy", n=6, chance=0.25, status="too few items", note="At least 20.")
AT_CHANCE = keep_score(
    0.004, name="arithmetic", n=120, base=0.24, tuned=0.244, status="base at chance", p_value=1.0, retention=None,
    retention_interval=None, lost=0.1, gained=0.104,
)  # fmt: skip


def sample_run(method: str = "vefa", rate: int = 0, seed: int | None = 0, **changes: Any) -> Result:
    luck = random.Random(f"{method}{rate}{seed}")  # noqa: S311 -- no secret
    gain = LEARNED[method][rate] + luck.gauss(0, 0.02)
    kl = MOVED[method][rate] * luck.uniform(0.9, 1.1)
    fields: dict[str, Any] = {
        "model": "/somewhere/SmolLM2-135M",
        "method": MethodRecord(name=method, config=CONFIGS[method]),
        "seed": seed,
        "learning_rate": RATES[method][rate],
        "parameters": Parameters(trainable=TRAINABLE[method], total=134_515_008, adapter_bytes=4 * TRAINABLE[method]),
        "task": (task_score(gain),),
        "keep": (keep_score(KEPT[method][rate] + luck.gauss(0, 0.008)),),
        "drift": Drift(
            tokens=6144,
            ce_base_nats_per_token=3.777,
            kl_nats_per_token=kl,
            kl_interval=(kl * 0.93, kl * 1.07),
            ce_drift_nats_per_token=kl * 0.6,
            ce_drift_interval=(kl * 0.5, kl * 0.7),
            churn=0.142,
            churn_interval=(0.135, 0.149),
            update_relative_frobenius=0.0312,
            f_delta=0.0871,
        ),
        "cost": Cost(
            train_seconds=184.2, steps=80, step_seconds_median=2.3, tokens=61_440, peak_rss_bytes=1_900_000_000,
            final_train_loss=2.971,
        ),
        "provenance": PROVENANCE,
    }  # fmt: skip
    return Result(**{**fields, **changes})


def eighteen() -> list[Result]:
    return [sample_run(method, rate, seed) for method in CONFIGS for rate in (0, 1) for seed in (0, 1, 2)]


def judged() -> Result:
    """One of every reading: a loss, no change, a borderline one, a base at chance, too few items, a graded task."""
    return sample_run(
        keep=(
            keep_score(-0.052),
            keep_score(0.01, name="trivia", p_value=0.6),
            keep_score(0.035, name="border", p_value=0.09),
            AT_CHANCE,
            TOO_FEW,
        ),
        task=(
            task_score(2.3),
            task_score(0, metric="rouge_l", base=0.121, tuned=0.164, interval=(-0.004, 0.09)),
        ),
    )


def named(results: list[Result]) -> list[NamedResult]:
    return [NamedResult(f"{r.method.name}-{r.learning_rate or 0:g}-{r.seed}", r) for r in results]


def bare() -> Result:
    """A record with nothing measured: someone else's model, trained elsewhere, no task, no keep, no held-out text."""
    return Result(
        model="base",
        method=MethodRecord(name="adapter"),
        seed=None,
        parameters=Parameters(trainable=0, total=0, adapter_bytes=0),
        provenance=Provenance(command="", created="", versions={}, data_hashes={}, model_hash=""),
    )


def items() -> list[Item]:
    countries = ("France", "Peru", "Japan", "Kenya", "Norway", "Chad", "Nepal", "Fiji", "Oman", "Cuba", "Mali", "Iraq")
    right = (
        "Paris",
        "Lima",
        "Tokyo",
        "Nairobi",
        "Oslo",
        "N'Djamena",
        "Kathmandu",
        "Suva",
        "Muscat",
        "Havana",
        "Bamako",
    )
    right += ("Baghdad",)
    found = []
    for index, (country, capital) in enumerate(zip(countries, right, strict=True)):
        before, after = float(index % 4 != 3), float(index % 3 != 1)
        other = right[(index + 1) % len(right)]
        found.append(
            Item(
                part="keep",
                suite="capitals",
                index=index,
                question=f"What is the capital of {country}?",
                expected=capital,
                base=Side(answer=capital if before else other, scores={"accuracy": before}),
                tuned=Side(answer=capital if after else other, scores={"accuracy": after}),
            )
        )
    article = "The minister said on Monday that the budget would be read again. " * 6
    return found + [
        Item(
            part="task",
            suite="headlines",
            index=index,
            question=f"Article {index}: {article}",
            expected="Budget to be read again",
            base=Side(answer="The minister said\non Monday | that", scores={"cross_entropy_nats_per_token": 5.2}),
            tuned=Side(
                answer="Minister: <script>alert(1)</script> budget again", scores={"cross_entropy_nats_per_token": 3.1}
            ),
        )
        for index in range(8)
    ]
