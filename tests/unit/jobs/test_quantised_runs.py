"""Runs on quantised bases and on bases whose weights lie on disk, through the jobs that the verbs start."""

import json

import pytest
import torch
from safetensors.torch import load_file

from retain.errors import InputError, OutOfMemoryError
from retain.events import SILENT
from retain.jobs.continue_run import MERGE_NOTE, ensure_merged
from retain.jobs.inputs.models import ModelSpec
from retain.jobs.inputs.prepare import prepare
from retain.jobs.measure import measure_recipe
from retain.jobs.tune import tune
from retain.recipe import MeasureRecipe, Recipe
from retain.recipe.from_run import with_earlier
from tiny import WORDS

pytest.importorskip("bitsandbytes", reason="the extra 'quant' is not installed")
pytest.importorskip("torchao", reason="the extra 'quant' is not installed")

SPLIT = {"": "cpu", "model.layers.1": "disk"}


def problems(recipe):
    with pytest.raises(InputError) as caught:
        prepare(recipe)
    return caught.value.problems


def noted(result, words):
    return [note for note in result.provenance.notes if words in note]


@pytest.fixture
def recipe(recipe):
    """As everywhere, with little to measure."""
    return lambda **fields: recipe(**{"test_items": 4, "held_out_tokens": 300, "calibrate_tokens": 300, **fields})


@pytest.fixture(autouse=True)
def nothing_drawn(monkeypatch):
    """Reports take half of the time and have tests of their own."""
    monkeypatch.setattr("retain.jobs.record.write_run_report", lambda *_: [])


@pytest.fixture
def text(tmp_path):
    """Calibration text that holds nothing of what is measured."""
    path = tmp_path / "calibration.txt"
    path.write_text("\n\n".join(" ".join(WORDS[(i * 7 + j * j) % 56] for j in range(50)) for i in range(30)))
    return str(path)


def test_a_run_in_four_bits_is_recorded_resumed_and_measured_again(recipe, tmp_path):
    made = recipe(quantization="4bit", method={"name": "vefa"}, keep=[])
    result = tune(made, SILENT)
    assert result.training["quantization"] == "4bit"
    assert noted(result, "quantised (bitsandbytes; bnb_4bit_quant_type: nf4")
    assert result.judgement.aa_check is None or not result.judgement.aa_check.changed
    assert tune(made, SILENT) == result
    with pytest.raises(InputError, match="quantization"):
        tune(recipe(method={"name": "vefa"}, keep=[]), SILENT)
    fields = {"test": made.test, "held_out_text": made.held_out_text, "generate": 0, "drift": True, "test_items": 4}
    again = measure_recipe(
        MeasureRecipe(
            model=made.model, quantization="4bit", tuned=f"{made.output}/adapter", output=str(tmp_path / "m"), **fields
        ),
        SILENT,
    )
    assert (again.task[0].base, again.task[0].tuned) == (result.task[0].base, result.task[0].tuned)
    assert again.provenance.model_hash == result.provenance.model_hash
    assert again.drift.update_relative_frobenius > 0


def test_a_data_driven_initialisation_and_the_regularisers_run_beside_eight_bits(recipe, text):
    result = tune(
        recipe(
            quantization="8bit",
            method={"name": "sc-lora", "r": 4},
            kl_weight=0.1,
            update_limit=0.1,
            calibrate_keep=text,
            calibrate_learn=text,
            keep=[],
        ),
        SILENT,
    )
    assert result.cost.steps == 2
    assert noted(result, "quantised (bitsandbytes; load_in_8bit")


def test_gradient_checkpointing_reaches_every_layer(recipe):
    weights = []
    for name, settings in {"plain": {}, "checkpointed": {"gradient_checkpointing": True}}.items():
        made = recipe(quantization="4bit", training=settings, keep=[], held_out_text=[], max_steps=1)
        made = made.model_copy(update={"output": made.output + name})
        tune(made, SILENT)
        weights.append(load_file(f"{made.output}/adapter/adapter_model.safetensors"))
    ups = [key for key in weights[0] if "lora_B" in key]
    assert all(weights[1][key].any() for key in ups)
    for key in ups:
        torch.testing.assert_close(weights[0][key], weights[1][key], rtol=1e-3, atol=1e-5)


def test_all_that_is_wrong_is_told_before_anything_is_loaded(recipe, monkeypatch):
    monkeypatch.setattr(ModelSpec, "load", None)
    assert "method full: quantised weights cannot be trained" in problems(recipe(quantization="8bit", method="full"))[0]
    assert (
        "method loha: does not work beside a base in 4 bits" in problems(recipe(quantization="4bit", method="loha"))[0]
    )
    two = problems(recipe(quantization={"load_in_4bit": True, "foo": 1}, test="nowhere.jsonl"))
    assert len(two) == 2
    mixed = problems(recipe(quantization="8bit", methods=["loha", "full", "lora", "hra"]))
    assert [problem.split(":")[0] for problem in mixed] == ["method full", "method hra"]
    assert "no module of the model is named 'layers'" in problems(recipe(device_map={"layers": "cpu"}))[0]


def test_a_worker_of_several_does_not_try_again_what_its_job_tried(recipe, monkeypatch):
    """Among several processes transformers saves a model on the first alone, so that others had nothing to try."""
    monkeypatch.setattr("retain.jobs.inputs.prepare.method_problem", None)
    assert prepare(recipe(quantization="4bit"), tried=True).preprocessor is not None
    with pytest.raises(InputError, match="--quantization"):
        prepare(recipe(quantization={"quant_method": "awq"}), tried=True)


def test_weights_on_disk_train_the_adapter_that_those_in_memory_train(recipe, text, tmp_path):
    weights, results = [], []
    for name, places in {"memory": None, "disk": SPLIT}.items():
        made = recipe(device_map=places, kl_weight=0.1, calibrate_keep=text, keep=[], output=str(tmp_path / name))
        results.append(tune(made, SILENT))
        weights.append(load_file(tmp_path / name / "adapter" / "adapter_model.safetensors"))
    assert all(torch.allclose(weights[0][key], weights[1][key], atol=1e-6) for key in weights[0])
    assert results[1].task[0].tuned == pytest.approx(results[0].task[0].tuned, abs=1e-5)
    assert noted(results[1], "spread by Accelerate: 5 on cpu, 1 on disk")
    with pytest.raises(InputError, match="offloaded to memory or disk cannot be trained"):
        tune(recipe(device_map=SPLIT, method="full", output=str(tmp_path / "full")), SILENT)
    spread = MeasureRecipe(
        model=results[0].model,
        tuned=str(tmp_path / "memory" / "adapter"),
        test=recipe().test,
        generate=0,
        test_items=4,
        device_map="auto",
        max_memory={"cpu": "45KB"},
        output=str(tmp_path / "spread"),
    )
    again = measure_recipe(spread, SILENT)
    assert again.task[0].tuned == pytest.approx(results[0].task[0].tuned, abs=1e-5)
    assert noted(again, "on disk")


def test_going_on_from_a_quantised_run_says_what_merging_loses(recipe, tmp_path):
    earlier = recipe(quantization="4bit", keep=[], learning_rate=0.01, max_steps=10)
    tune(earlier, SILENT)
    fields = {"train": earlier.train, "test": earlier.test, "max_steps": 1, "generate": 0, "drift": False}
    values = {**fields, "from_run": earlier.output, "method": "vefa", "output": str(tmp_path / "next")}
    later = Recipe(**with_earlier(values))
    ensure_merged(later, SILENT)
    assert later.quantization == "4bit"
    result = tune(later, SILENT)
    note = json.loads((tmp_path / "run" / "merged" / MERGE_NOTE).read_text(encoding="utf-8"))
    assert note["effect"] > 0
    assert 0 <= note["lost"] < note["effect"]
    assert noted(result, "KL(tuned ‖ merged)") == [note["note"]]


OUT = {"a GPU": torch.OutOfMemoryError("CUDA out of memory."), "a CPU": RuntimeError("can't allocate memory")}
PLACES = {
    "transformers.AutoModelForCausalLM.from_pretrained": "while loading .*--quantization 4bit",
    "retain.train.prefetch.PrefetchingTrainer.training_step": "while training .*--batch-size",
    "retain.evaluate.sides.read_windows": "while measuring .*--evaluation-batch",
}


@pytest.mark.parametrize("error", OUT.values(), ids=OUT)
def test_out_of_memory_says_so_and_what_to_try(recipe, monkeypatch, error):
    def run_out(*_, **__):
        raise error

    for place, words in PLACES.items():
        with monkeypatch.context() as patch:
            patch.setattr(place, run_out)
            with pytest.raises(OutOfMemoryError, match=words):
                tune(recipe(keep=[]), SILENT)
