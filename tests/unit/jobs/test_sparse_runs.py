"""Sparse updates as `retain tune` trains them: what the record says, what goes on to the bit, what is refused."""

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, TrainerCallback

from retain.errors import InputError
from retain.events import Events
from retain.hf.adapters.sparse import count_of
from retain.hf.adapters.sparse_layer import SparseLinear, sparse_layers
from retain.jobs.gradient_batches import gradient_batches
from retain.jobs.inputs.prepare import prepare
from retain.jobs.tune import complete, tune
from retain.methods.sparse.config import SparseConfig
from retain.train import loop

SPARSE = {"name": "sparse", "density": 0.05, "batches": 2}
SARA = {"name": "sparse", "density": 0.05, "score": "small", "nuclear_weight": 1e-3, "reselect_after": 0.4}


def adapter_of(folder):
    return load_file(folder / "adapter" / "adapter_model.safetensors")


@pytest.fixture
def keep(tmp_path):
    path = tmp_path / "keep.txt"
    path.write_text("\n\n".join(f"word{i % 9} word{i % 7} word{i % 5} x y" for i in range(40)), encoding="utf-8")
    return {"calibrate_keep": str(path), "calibrate_tokens": 200}


def test_the_record_says_how_many_weights_are_untouched_and_it_is_so(recipe, keep, tiny_folder, tmp_path):
    """All that can stand beside a method: KL penalty, monitor, replay, limit of the update, and drift measured."""
    beside = {"kl_weight": 0.1, "kl_monitor": True, "replay": 0.2, "update_limit": 0.5, "drift": True, **keep}
    method = {**SPARSE, "score": "learn-not-keep"}
    result = tune(recipe(method=method, max_steps=3, learning_rate=0.01, **beside), Events())
    base = AutoModelForCausalLM.from_pretrained(tiny_folder)
    tuned = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_folder), tmp_path / "run" / "adapter")
    assert not any(isinstance(module, SparseLinear) for module in tuned.modules())  # stock PEFT's own layers
    sizes = [layer.get_base_layer().weight.numel() for _, layer in sparse_layers(tuned)]
    merged = dict(tuned.merge_and_unload().named_parameters())
    same = {name: int((merged[name] == weight).sum()) for name, weight in base.named_parameters()}
    touched = sum(weight.numel() - same[name] for name, weight in base.named_parameters())
    assert result.drift.untouched_of == sum(sizes)
    assert result.drift.untouched == sum(sizes) - touched
    assert 0 < touched <= sum(count_of(size, 0.05) for size in sizes) == result.parameters.trainable
    assert result.method.config["score"] == "learn-not-keep"
    assert result.method.config["density"] == 0.05
    assert "select_top" not in result.method.config
    assert {"calibrate:keep", "train"} <= result.provenance.data_hashes.keys()
    report = (tmp_path / "run" / "report.md").read_text(encoding="utf-8")
    assert f"({result.drift.untouched:,} of {result.drift.untouched_of:,})" in report


class StopAt(TrainerCallback):
    at = 4

    def on_step_end(self, args, state, control, **_):
        if state.global_step == self.at:
            raise KeyboardInterrupt


@pytest.mark.parametrize(("method", "at"), [(SPARSE, 4), (SARA, 5)])
def test_an_interrupted_run_ends_in_the_same_bits(recipe, tmp_path, monkeypatch, method, at):
    """Also after SaRA's second choice, which is made at step 3 of 6."""
    fields = {"method": method, "max_steps": 6, "learning_rate": 5e-4, "training": {"weight_decay": 0.1}}
    tune(recipe(output=str(tmp_path / "whole"), **fields), Events())
    monkeypatch.setattr("retain.train.callbacks.SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    monkeypatch.setattr(StopAt, "at", at)
    with monkeypatch.context() as patched:
        patched.setattr(loop, "StopWhenNotFinite", StopAt)
        with pytest.raises(KeyboardInterrupt):
            tune(recipe(output=str(tmp_path / "cut"), **fields), Events())
    tune(recipe(output=str(tmp_path / "cut"), **fields), Events())
    whole, cut = adapter_of(tmp_path / "whole"), adapter_of(tmp_path / "cut")
    assert whole.keys() == cut.keys()
    for name, tensor in whole.items():
        assert torch.equal(tensor, cut[name]), name


def test_what_was_frozen_by_the_second_choice_is_never_larger_later(recipe, make_run, tmp_path):
    """Entries that have outgrown the chosen ones at step 2 have the same value at step 2 and at the end."""
    fields = {"learning_rate": 5e-4, "training": {"lr_scheduler_type": "constant"}}
    short = {**SARA, "reselect_after": None}
    tune(recipe(method=short, max_steps=2, output=str(tmp_path / "short"), **fields), Events())
    tune(
        recipe(method={**SARA, "reselect_after": 0.25}, max_steps=8, output=str(tmp_path / "long"), **fields), Events()
    )
    before, after = adapter_of(tmp_path / "short"), adapter_of(tmp_path / "long")
    model = make_run().base()
    frozen = moving = 0
    for name, places in before.items():
        if not name.endswith("supertuning_indices"):
            continue
        layer = model.get_submodule(name.removeprefix("base_model.model.").removesuffix(".supertuning_indices"))
        chosen = layer.weight.flatten()[places.long()]
        early, late = (held[name.replace("indices", "values")] for held in (before, after))
        held = (chosen + early).abs() > chosen.abs().max()
        assert torch.equal(early[held], late[held])
        frozen, moving = frozen + int(held.sum()), moving + int((early[~held] != late[~held]).sum())
    assert frozen
    assert moving


def test_gradients_are_taken_on_the_training_data_unless_text_is_named(make_run, keep):
    config = SparseConfig(batches=2)
    run = make_run(method=SPARSE, batch_size=4)
    rows = [{"input_ids": [5] * 3, "labels": [5] * 3} for _ in range(9)]
    learned = loop.TrainingSet(rows, lambda part: {"input_ids": torch.tensor([row["input_ids"] for row in part])})
    found = gradient_batches(config, run.recipe, None, {}, lambda: learned)
    assert [len(batch["input_ids"]) for batch in found["learn"]] == [4, 4]
    assert gradient_batches(SparseConfig(score="small"), run.recipe, None, {}, None) == {}
    named = make_run(method=SPARSE, calibrate_learn=keep["calibrate_keep"], calibrate_tokens=200)
    result = complete(named)
    assert result.training["calibrate_learn"] == keep["calibrate_keep"]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"method": {**SPARSE, "density": 2}}, "method sparse: density=2: a share above 0"),
        ({"method": {**SPARSE, "score": "larg"}}, "score"),
        ({"method": {**SPARSE, "densty": 0.1}}, "field 'densty' is unknown; its fields are batches, density"),
        ({"method": {**SPARSE, "density": 1e-6}}, "leaves no entry to train in 14 of 14 layers"),
        ({"method": {**SPARSE, "target_modules": ["nowhere"]}}, "nowhere"),
        ({"method": SPARSE, "statistics": "here"}, "statistics: sparse chooses by gradients"),
        ({"method": SPARSE, "quantization": "4bit"}, "method sparse: the weights of a quantised base are codes"),
        ({"method": "sparce"}, "did you mean sparse"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_anything_is(recipe, tmp_path, fields, words):
    (tmp_path / "here").mkdir()
    if "statistics" in fields:
        fields = {**fields, "statistics": str(tmp_path / "here")}
    with pytest.raises(InputError) as raised:
        prepare(recipe(**fields))
    assert words.lower() in str(raised.value).lower()
