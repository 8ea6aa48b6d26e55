"""Records of schema 1 are read: of every form that early studies had, and every field that was renamed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from retain.errors import InputError
from retain.records.items import Item, read_items
from retain.records.metrics_table import ACCURACY, CROSS_ENTROPY, KL_DIVERGENCE
from retain.records.numbers import NATS_PER_TOKEN, OTHER, POINTS
from retain.records.result import read_result, write_result

FOLDER = Path(__file__).parents[2] / "records_of_schema_1"
RECORDS = sorted(FOLDER.glob("*.json"))
"""Of sixty records these hold every field, verdict, metric and absent value that occurred in any."""


def test_records_of_early_studies_are_read_and_written_again(tmp_path):
    assert len(RECORDS) >= 12
    for path in RECORDS:
        result = read_result(path)
        write_result(result, tmp_path / "again.json")
        assert read_result(tmp_path / "again.json") == result
        old = json.loads(path.read_text(encoding="utf-8"))
        assert [score.metric.name for score in result.keep] == [score["metric"] for score in old["keep"]]
        assert [score.metric.higher_is_better for score in result.task] == [
            score["higher_is_better"] for score in old["task"]
        ]
        assert (
            [one.margin for one in result.judgement.suites] == [one["tolerance"] for one in old["judgement"]["suites"]]
            if old.get("judgement")
            else result.judgement is None
        )


def first_schema(**changes):
    keep = {
        "name": "s", "metric": "acc,none", "higher_is_better": True, "n": 60, "chance": 0.25, "status": "measured",
        "base": 0.8, "tuned": 0.7, "lost": 0.1, "gained": 0.0, "p_value": 0.03, "interval": [-0.2, -0.02],
    }  # fmt: skip
    verdict = {
        "suite": "reference text: law", "verdict": "lost", "reason": "…", "decided_by": "cross_entropy_nats_per_token",
        "n": 20, "units": 20, "tolerance": 0.05, "can_show_loss": True,
    }  # fmt: skip
    guesses = {**verdict, "suite": "s", "decided_by": "acc,none", "verdict": "too few items to say",
               "reason": "cannot show loss: the base itself guesses (…)."}  # fmt: skip
    sides = {"engine": "", "dtype": "", "attention": "", "device": "", "reader_hash": "r", "questions_hash": "q"}
    point = {"alpha": 0.5, "n": 9, "base": 0.0, "tuned": 0.2, "loss": 0.2}
    config = {"start": "sc-lora", "precise": True}
    return {
        "schema": "retain.result/1", "model": "m", "method": {"name": "lora", "config": config}, "seed": 3,
        "parameters": {"trainable": 1, "total": 2, "adapter_bytes": 4},
        "provenance": {
            "command": "", "created": "", "versions": {}, "data_hashes": {"reference": "h", "train": "t"},
            "model_hash": "",
        },
        "task": [{"name": "t", "metric": "my_loss", "higher_is_better": False, "n": 9, "base": 2.0, "tuned": 1.0,
                  "interval": [-2, 0]}],
        "keep": [keep],
        "breakdowns": [
            {"suite": "reference", "metric": "kl_nats_per_token", "condition": "law", "n": 9, "base": 0, "tuned": 0.1},
            {"suite": "reference", "metric": "surprise_nats_per_token", "condition": "law", "n": 9, "base": 0,
             "tuned": 0.1},
            {"suite": "s", "metric": "acc,none", "condition": "a", "n": 9, "base": 0.5, "tuned": 0.5},
        ],
        "judgement": {
            "overall": "lost", "reason": "…", "learned": "yes", "suites": [verdict, guesses],
            "null_check": {"items": 1, "changed": 0, "score_difference_max": 0.0, "passed": True},
        },
        "tolerances": [0.05, 0.05],
        "dial": {"alpha": 0.5, "curve": [
            {**point, "part": "reference", "name": "kl", "metric": "kl_nats_per_token"},
            {**point, "part": "keep", "name": "s", "metric": "acc,none"},
        ]},
        "budget": [
            {"name": name, "limit": 2, "unit": unit, "confidence": 0.95, "n": 9, "observed": 0, "bound": 1,
             "p_value": 0.01, "kept": True, "method": "x", "told": "it is kept"}
            for name, unit in (("kl", "nats"), ("s", "points"), ("gone", "points"))
        ],
        "drift": {"amounts": [{"name": "l", "amount": 0.1, "share": 1.0}]},
        "cost": {"dial_seconds": 2.0},
        "conditions": {"base": sides, "tuned": sides},
        "suites": [{"name": "s", "kind": "lm-eval", "part": "keep"}],
        "calibration": [{"suite": "s", "side": "base", "n": 9, "ece": 0.1, "ece_interval": [0, 0.2], "brier": 0.1,
                         "nll": 0.2}],
        **changes,
    }  # fmt: skip


def read(tmp_path, record):
    path = tmp_path / "result.json"
    path.write_text(json.dumps(record), encoding="utf-8")
    return read_result(path)


def test_every_renamed_field_arrives(tmp_path):
    result = read(tmp_path, first_schema())
    assert result.method.config == {"initialisation": "sc-lora", "preserve_small_shifts": True}
    assert result.margins == (0.05, 0.05)
    assert result.scaling.alpha == 0.5
    assert [point.part for point in result.scaling.curve] == ["held-out", "keep"]
    assert result.judgement.aa_check.passed
    first, second = result.judgement.suites
    assert (first.suite, first.margin, first.has_power, first.base_guesses) == ("held-out text: law", 0.05, True, False)
    assert second.base_guesses
    assert [one.message for one in result.budget] == ["it is kept"] * 3
    assert result.drift.feature_scales[0].amount == 0.1
    assert result.cost.scaling_seconds == 2
    assert (result.conditions["base"].preprocessor_hash, result.conditions["base"].input_hash) == ("r", "q")
    assert result.suites[0].task_type == "lm-eval"
    assert result.calibration[0].ece == 0.1
    assert result.provenance.data_hashes == {"held_out_text": "h", "train": "t"}
    assert [row.suite for row in result.breakdowns] == ["held-out text", "held-out text", "s"]
    assert result.resampling_seed == 0


def test_every_score_has_its_metric(tmp_path):
    result = read(tmp_path, first_schema())
    acc = result.keep[0].metric
    assert (acc.right_or_wrong, acc.unit) == (True, POINTS)
    assert (result.task[0].metric.higher_is_better, result.task[0].metric.unit) == (False, OTHER)
    assert [row.metric for row in result.breakdowns[::2]] == [KL_DIVERGENCE, acc]
    assert result.breakdowns[1].metric.unit is NATS_PER_TOKEN
    assert [one.decided_by for one in result.judgement.suites] == [CROSS_ENTROPY, acc]
    assert [point.metric for point in result.scaling.curve] == [KL_DIVERGENCE, acc]
    assert [one.metric for one in result.budget] == [KL_DIVERGENCE, acc, None]


@pytest.mark.parametrize(
    ("metric", "lost", "base", "unit"),
    [("accuracy", 0.1, 0.7, POINTS), ("checklist_accuracy", 0.1, 0.7, POINTS), ("checklist_accuracy", None, 0.7, OTHER),
     ("mrr", None, 0.7, POINTS), ("em", None, 0.7, POINTS), ("f1", None, 71.0, None)],
)  # fmt: skip
def test_a_metric_that_no_row_names_is_derived_once(tmp_path, metric, lost, base, unit):
    record = first_schema(judgement=None)
    record["keep"][0] |= {"metric": metric, "lost": lost, "gained": lost, "base": base, "tuned": base}
    found = read(tmp_path, record).keep[0].metric
    assert found.unit is unit if unit else found.unit.factor == 1
    assert (found == ACCURACY) == (metric == "accuracy")


def test_a_damaged_record_of_either_schema_is_refused(tmp_path):
    with pytest.raises(InputError, match="damaged"):
        read(tmp_path, first_schema(keep=[{"name": "s"}]))
    with pytest.raises(InputError, match="damaged"):
        read(tmp_path, first_schema(dial=3))
    with pytest.raises(InputError, match=r"schema 'retain.result/3'; this version of retain reads 'retain.result/2'"):
        read(tmp_path, first_schema(schema="retain.result/3"))


def test_items_of_the_reference_text_are_those_of_held_out_text(tmp_path):
    line = {"part": "reference", "suite": "reference", "index": 0, "question": "…", "base": {}, "tuned": {}}
    (tmp_path / "items.jsonl").write_text(json.dumps(line) + "\n", encoding="utf-8")
    (item,) = read_items(tmp_path / "items.jsonl")
    assert (item.part, item.suite) == ("held-out", "held-out text")
    assert Item.model_validate_json(item.model_dump_json()) == item


def test_an_initialisation_inside_a_configuration_stands_beside_its_fields():
    """Two layouts were written under schema 1: seeds of one setting must not look like two methods."""
    flat, nested = (read_result(FOLDER / f"sc-lora-sc-lora-lr0.0001-seed{seed}.json").method.config for seed in (0, 1))
    assert flat == nested
    own = read_result(FOLDER / "sc-lora-self-sc-lora-lr0.0001-seed0.json").method.config
    assert {name for name in own if own[name] != flat[name]} == {"keep_data"}
