"""Every method and regulariser, trained and measured on a GPU: finite figures of the base given, twice alike."""

import math

import pytest
import torch
from transformers import AutoModelForCausalLM

from gpu_methods import METHODS
from retain.events import SILENT
from retain.hf.models.describe import model_hash
from retain.jobs.measure import measure_recipe
from retain.jobs.run_folder import RunFolder
from retain.recipe import MeasureRecipe
from retain.records.items import read_items

BESIDE = {
    "kl": {"kl_weight": 1.0, "kl_monitor": True},
    "kl self": {"kl_weight": 1.0, "calibrate_keep": "self"},
    "kl on the batch": {"kl_weight": 1.0, "kl_on": "batch", "task_weight": 0.5, "kl_temperature": 2.0},
    "replay": {"replay": 0.25},
    "ewc": {"ewc": 3.0},
    "limit": {"update_limit": 0.01},
    "limit of outputs": {"update_limit": 0.01, "update_unit": "f_delta"},
    "checkpointing": {"training": {"gradient_checkpointing": True}},
    "autocast": {"training": {"bf16": True}},
    "accumulation": {"batch_size": 2, "training": {"gradient_accumulation_steps": 2}},
    "drift": {"drift": True},
    "no fused forms": {"accelerate": False},
}
MEASURED = ("model", "test", "keep", "held_out_text", "generate", "max_new_tokens", "max_length", "drift")
MAIN = ("lora", "sc-lora", "vefa", "lorfa", "full")


def check(result, device, dtype="float32"):
    """What holds of any run on a device."""
    assert {side.device for side in result.conditions.values()} == {device}
    assert {side.dtype for side in result.conditions.values()} == {dtype}
    assert not result.unlike_conditions
    assert math.isfinite(result.cost.final_train_loss)
    assert result.cost.steps == 3
    assert result.judgement.aa_check.passed
    figures = [value for score in (*result.task, *result.keep) for value in (score.base, score.tuned)]
    given = [value for value in figures if value is not None]  # blank answers have no score
    assert len(given) > 1
    assert all(map(math.isfinite, given))


def untouched(folder, result, dtype="float32"):
    """The base of the record is the checkpoint as a fresh process on a CPU would hash it."""
    plain = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype))
    assert result.provenance.model_hash == model_hash(plain)


@pytest.mark.parametrize("name", METHODS)
def test_a_language_model_learns_with_each_method(language, tuned, device, name):
    result, folder = tuned(language, **METHODS[name])
    check(result, device)
    untouched(language["model"], result)
    assert result.drift.kl_nats_per_token > 0
    weights = RunFolder(folder).weights(result.method.name)
    fields = {key: language[key] for key in MEASURED}
    again = measure_recipe(MeasureRecipe(output=str(folder.parent / "again"), tuned=str(weights), **fields), SILENT)
    check_same(folder, folder.parent / "again")
    assert again.provenance.model_hash == result.provenance.model_hash


def check_same(one, other):
    """What a run measured is what is measured of its folder again."""
    for first, second in zip(read_items(one / "items.jsonl"), read_items(other / "items.jsonl"), strict=True):
        assert first.base.scores == pytest.approx(second.base.scores, abs=1e-4)
        assert first.tuned.scores == pytest.approx(second.tuned.scores, abs=1e-4)


@pytest.mark.parametrize("method", MAIN)
def test_a_base_in_bfloat16_learns(language, tuned, device, method):
    result, _ = tuned(language, **METHODS[method], dtype="bfloat16")
    check(result, device, "bfloat16")
    untouched(language["model"], result, "bfloat16")


@pytest.mark.parametrize("name", BESIDE)
@pytest.mark.parametrize("method", ["lora", "vefa"])
def test_what_can_stand_beside_a_method_does(language, tuned, device, method, name):
    fields = {**METHODS[method], **BESIDE[name]}
    result, _ = tuned(language, **fields)
    check(result, device)
    untouched(language["model"], result)


@pytest.mark.parametrize("method", MAIN)
def test_a_classifier_of_texts_learns(texts, tuned, device, method):
    result, _ = tuned(texts, **METHODS[method])
    check(result, device)
    assert result.task[0].base > 0.6  # the head was fitted


@pytest.mark.parametrize("beside", [{"feature_weight": 1.0}, {"kl_weight": 1.0}, {"ewc": 3.0}], ids=str)
def test_a_classifier_is_held_to_its_base(texts, tuned, device, beside):
    result, _ = tuned(texts, method="lora", rank=2, **beside)
    check(result, device)


@pytest.mark.parametrize("method", MAIN)
def test_a_classifier_of_images_learns(pictures, tuned, device, method):
    result, _ = tuned(pictures, **METHODS[method])
    check(result, device)
    assert result.task[0].base > 0.4
