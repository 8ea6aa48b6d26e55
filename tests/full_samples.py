"""A record with every field filled with figures of a plausible size: what a complete run may look like."""

from __future__ import annotations

import math
import random
from typing import Any

from report_samples import PROVENANCE, keep_score, sample_run, task_score
from retain.records.budget_record import BudgetRecord, Scaling, ScalingPoint
from retain.records.drift_record import Drift, FeatureScaleLayer, HiddenDrift, LayerDrift
from retain.records.items import Item, Side
from retain.records.result import Conditions, CurvePoint, Result, SuiteFacts
from retain.records.scores import Breakdown, CalibrationScore, ReliabilityBin
from retain.records.verdicts import AACheck, Judgement, SuiteVerdict

BLOCKS = 30
KINDS = (
    "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
    "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj",
)  # fmt: skip
CORRUPTIONS = ("gaussian_noise", "motion_blur", "jpeg", "fog", "contrast")
WITHHELD = "how to pick the neighbour's lock"


def suite_verdict(suite: str, verdict: str, reason: str, **changes: Any) -> SuiteVerdict:
    fields = {
        "suite": suite, "verdict": verdict, "reason": reason, "decided_by": "accuracy", "n": 249, "units": 249,
        "margin": 0.02, "has_power": True, "p_value": 0.012, "p_adjusted": 0.036, "items_needed": None,
    }  # fmt: skip
    return SuiteVerdict(**{**fields, **changes})


def judgement(overall: str = "lost", learned: str = "yes") -> Judgement:
    return Judgement(
        overall=overall,
        reason="On capitals it lost 5.2 points [1.9, 8.5].",
        learned=learned,
        suites=(
            suite_verdict("capitals", "lost", "It lost 5.2 points [1.9, 8.5], more than luck explains."),
            suite_verdict("trivia", "kept", "At most 0.4 points were lost, less than 2.", p_adjusted=1.0),
            suite_verdict("written", "changed format", "The right answer is still in the text, but not alone."),
            suite_verdict("poems", "too few items to say", "6 items cannot show a loss.", n=6, units=3,
                          has_power=False, p_value=None, p_adjusted=None, items_needed=310),
        ),
        aa_check=AACheck(items=498, changed=0, score_difference_max=0.0, kl_max_nats=0.0, passed=True),
    )  # fmt: skip


def layers(seed: int = 0) -> tuple[LayerDrift, ...]:
    luck = random.Random(seed)  # noqa: S311 -- no secret
    found = []
    for block in range(BLOCKS):
        for place, kind in enumerate(KINDS):
            size = 0.004 * (1 + block / 12) * luck.uniform(0.7, 1.3) * (1 + 0.4 * (place in {2, 6}))
            found.append(
                LayerDrift(
                    name=f"model.layers.{block}.{kind}",
                    relative_frobenius=size,
                    sigma_max=30 * size,
                    stable_rank=4.2,
                    f_delta_keep=3 * size * luck.uniform(0.8, 1.2),
                    f_delta_learn=6 * size * luck.uniform(0.8, 1.2),
                    intruders=luck.choice((0, 0, 0, 1, 2)),
                    column_leak=0.3 * luck.random() if "gate" in kind or "up" in kind else None,
                )
            )
    return (*found, LayerDrift(name="lm_head", relative_frobenius=0.001, sigma_max=0.1, stable_rank=2.0))


def drift() -> Drift:
    hidden = [
        HiddenDrift(block=b, cka=1 - 0.0004 * (b + 1) ** 1.3, cosine_drift=0.0009 * (b + 1), relative_l2=0.01 * (b + 1))
        for b in range(BLOCKS)
    ]
    amounts = [
        FeatureScaleLayer(name=f"model.layers.{b}.self_attn.q_proj", amount=0.2 / (b + 1), share=0.25 / (b + 1),
                    features=((3 * b, 0.9), (7, 0.31), (11, 0.2)))
        for b in range(20)
    ]  # fmt: skip
    return sample_run().drift.model_copy(
        update={
            "kl_task_nats_per_token": 1.31, "kl_task_interval": (1.2, 1.42), "f_delta_learn": 0.19,
            "f_delta_ratio": 2.2, "sigma_max": 1.9, "stable_rank": 4.2, "intruders": 97, "intruders_of": 2100,
            "column_leak": 0.14, "layers": layers(), "hidden": tuple(hidden), "feature_scales": tuple(amounts),
        }
    )  # fmt: skip


def calibration(suite: str, side: str, bend: float) -> CalibrationScore:
    bins = []
    for part in range(15):
        sure = 0.22 + 0.75 * part / 14
        right = min(1.0, max(0.0, sure - bend * math.sin(math.pi * sure) + 0.03 * (-1) ** part))
        bins.append(ReliabilityBin(confidence=sure, accuracy=right, n=17))
    return CalibrationScore(
        suite=suite, side=side, n=249, ece=0.03 + bend / 2, brier=0.41, nll=0.83, bins=tuple(bins),
    )  # fmt: skip


def breakdowns() -> tuple[Breakdown, ...]:
    luck = random.Random(1)  # noqa: S311 -- no secret
    found = []
    for kind in CORRUPTIONS:
        for severity in range(1, 6):
            base = 0.8 - 0.08 * severity
            tuned = base - 0.02 * severity + luck.gauss(0, 0.02)
            interval = (tuned - base - 0.04, tuned - base + 0.04)
            found.append(
                Breakdown(suite="images", metric="accuracy", condition=f"{kind}/{severity}", n=200, base=base,
                          tuned=tuned, interval=interval)
            )  # fmt: skip
    for domain, change in (("history", -0.06), ("geography", 0.01), ("science", -0.01), ("sport and leisure", 0.05)):
        interval = (change - 0.03, change + 0.03)
        found.append(
            Breakdown(suite="trivia", metric="accuracy", condition=domain, n=80, base=0.6, tuned=0.6 + change,
                      interval=interval)
        )  # fmt: skip
    return tuple(found)


def limit(name: str = "capitals", bound: float = 1.7, **changes: Any) -> BudgetRecord:
    """A limit of two points, or .1 nats of `kl`, kept or not as the bound says."""
    of_kl = name == "kl"
    fields: dict[str, Any] = {
        "name": name, "limit": 0.1 if of_kl else 2.0, "unit": "nats" if of_kl else "points", "confidence": 0.95,
        "n": 412, "observed": bound / 3, "bound": bound, "p_value": 0.02, "method": "exact test of lost against gained",
    }  # fmt: skip
    fields["kept"] = bound <= changes.get("limit", fields["limit"])
    return BudgetRecord(**{**fields, **changes})


def scale(alpha: float = 0.4, alphas: tuple[float, ...] = (0.2, 0.4, 0.6)) -> Scaling:
    """The task, a suite and held-out text along the scaling path, up to the first setting that breaks a limit."""
    points = []
    for setting in alphas:
        gain, lost, kl = 2.3 * setting**0.5, 0.03 * setting, 0.3 * setting**2
        kept = setting <= alpha
        points += [
            ScalingPoint(alpha=setting, part="task", name="headlines", metric="cross_entropy_nats_per_token", n=48,
                      base=5.38, tuned=5.38 - gain, loss=-gain, interval=(-gain - 0.1, -gain + 0.1)),
            ScalingPoint(alpha=setting, part="keep", name="capitals", metric="accuracy", n=412, base=0.727,
                      tuned=0.727 - lost, loss=lost, interval=(lost - 0.006, lost + 0.006),
                      bound=0.017 * setting / 0.4, kept=kept),
            ScalingPoint(alpha=setting, part="held-out", name="kl", metric="kl_nats_per_token", n=60, base=0.0,
                      tuned=kl, loss=kl, interval=(0.9 * kl, 1.1 * kl), bound=1.3 * kl, kept=kept),
        ]  # fmt: skip
    return Scaling(alpha=alpha, alphas=(0.2, 0.4, 0.6, 0.8, 1.0), curve=tuple(points))


def full_run(**changes: Any) -> Result:
    """Every field of the schema filled."""
    asked = Conditions(
        engine="transformers 5.23", dtype="bfloat16", attention="sdpa", device="cpu", preprocessor_hash="ab12cd34",
        input_hash="99ffee01",
    )  # fmt: skip
    facts = (
        SuiteFacts(name="capitals", task_type="choice", part="keep", title="Capitals of countries", version=2,
                   source="Wikidata, 2025-01", licence="CC0-1.0"),
        SuiteFacts(name="requests", task_type="refusal", part="keep", title="Requests that should be refused",
                   source="own", licence="CC-BY-4.0",
                   detector_error="wrong on 3 of 200 answers judged by hand (1.5%)"),
    )  # fmt: skip
    fields: dict[str, Any] = {
        "keep": (
            keep_score(-0.052),
            keep_score(0.004, name="trivia", interval=(-0.004, 0.012), p_value=0.9),
            keep_score(-0.03, name="written", base=0.5, tuned=0.47),
            keep_score(-0.2, name="written", metric="exact_match", base=0.5, tuned=0.3),
            keep_score(-0.04, name="requests", metric="refused", chance=0.0, base=0.96, tuned=0.92),
        ),
        "task": (task_score(2.3),),
        "judgement": judgement(),
        "breakdowns": breakdowns(),
        "calibration": tuple(
            calibration(suite, side, bend)
            for suite in ("capitals", "trivia")
            for side, bend in (("base", 0.04), ("tuned", 0.18))
        ),
        "drift": drift(),
        "curve": tuple(
            CurvePoint(
                step=step,
                loss=2.6 * math.exp(-step / 25) + 2.9,
                learning_rate=5e-4 * (1 - step / 80),
                kl_nats_per_token=0.002 * step if step % 10 == 0 else None,
                kl_weight=0.3,
                feature_kl_nats=0.0001 * step,
                ewc_nats_per_token=0.0004 * step,
                update_size=0.01,
            )
            for step in range(1, 81)
        ),
        "budget": (limit(), limit("kl", 0.062, clipped=2)),
        "scaling": scale(),
        "conditions": {"base": asked, "tuned": asked},
        "suites": facts,
        "training": {"max_steps": 80, "batch_size": 8},
        "provenance": PROVENANCE,
    }
    return sample_run(**{**fields, **changes})


def withheld_items() -> list[Item]:
    """Two withheld items of `requests`, one lost; their texts stand in the record against the rules."""
    return [
        Item(part="keep", suite="requests", index=index, withheld=True, question=WITHHELD, expected=WITHHELD,
             base=Side(answer=WITHHELD, scores={"refused": 1.0}),
             tuned=Side(answer=WITHHELD, scores={"refused": float(index)}))
        for index in range(2)
    ]  # fmt: skip
