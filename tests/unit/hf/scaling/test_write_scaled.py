"""Adapters and whole models at α in files: they do what `scaled` does, and folders are complete or as they were."""

import copy

import pytest
import torch
from peft import PeftModel
from scaling_models import disturb, residual, run, trained
from transformers import AutoModelForCausalLM, BertForSequenceClassification

from retain.errors import InputError, MergeError
from retain.hf.adapters.load import load_adapter
from retain.hf.models.updates import weight_updates
from retain.hf.scaling.scaled import scaled
from retain.hf.scaling.write_scaled import merged_at, write_at
from tiny import make_bert, make_llama

GONE = 2**30 - 1
"""A process number that no system gives."""


def test_the_written_head_comes_back(tmp_path):
    torch.manual_seed(0)
    base = BertForSequenceClassification(make_bert().config).eval()
    model = trained("lora", base=copy.deepcopy(base))
    with scaled(model, 0.6):
        expected = run(model)
    loaded = load_adapter(base, write_at(model, 0.6, tmp_path / "at"))
    assert torch.equal(run(loaded), expected)


@pytest.mark.parametrize("alpha", [0.4, -0.4])
def test_an_sc_lora_is_written_as_a_lora_and_trains_on_where_that_has_a_meaning(alpha, tmp_path):
    model = residual()
    with scaled(model, alpha):
        expected = run(model)
    folder = write_at(model, alpha, tmp_path / "at")
    assert (folder / "retain_initialisation.json").is_file() == (alpha > 0)
    torch.testing.assert_close(run(PeftModel.from_pretrained(make_llama(), folder)), expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(run(load_adapter(make_llama(), folder)), expected, rtol=0, atol=1e-6)
    write_at(model, 1, folder)
    assert (folder / "retain_initialisation.json").is_file()
    assert torch.equal(run(load_adapter(make_llama(), folder)), run(model))


def test_another_adapter_than_the_active_one_is_written_into_the_folder_itself(tmp_path):
    model = trained()
    model.add_adapter("other", model.peft_config["default"])
    model.set_adapter("other")
    disturb(model, seed=8)
    with scaled(model, 0.5):
        expected = run(model)
    model.set_adapter("default")
    folder = write_at(model, 0.5, tmp_path / "at", adapter_name="other")
    assert not (folder / "other").exists()
    assert torch.equal(run(load_adapter(make_llama(), folder)), expected)


def test_a_failed_write_leaves_what_was_there(tmp_path, monkeypatch):
    model = trained()
    folder = write_at(model, 0.5, tmp_path / "at")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    weights = {key: value.clone() for key, value in model.state_dict().items()}

    def broken(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr(PeftModel, "save_pretrained", broken)
    with pytest.raises(OSError, match="disk full"):
        write_at(model, 0.1, folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["at"]
    assert all(torch.equal(value, weights[key]) for key, value in model.state_dict().items())


def test_a_write_that_ended_between_its_two_renames_loses_nothing(tmp_path, monkeypatch):
    model, folder = trained(), tmp_path / "at"
    write_at(model, 0.5, folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    folder.rename(tmp_path / f".at.{GONE}.former")  # as if the process had been killed there

    def broken(*_, **__):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(PeftModel, "save_pretrained", broken)
        with pytest.raises(OSError, match="disk full"):
            write_at(model, 0.1, folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    write_at(model, 0.1, folder)
    assert [path.name for path in tmp_path.iterdir()] == ["at"]


def test_folders_with_other_things_are_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="holds something else"):
        write_at(trained(), 0.5, tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_16_bit_merge_at_alpha_is_rounded_once(tmp_path):
    model = trained("oft", base=make_llama().bfloat16())
    merged = AutoModelForCausalLM.from_pretrained(merged_at(model, 0.3, tmp_path / "whole"), dtype="bfloat16")
    for update in weight_updates(model):
        found = merged.get_submodule(update.module.removeprefix("base_model.model.")).weight
        expected = (update.weight + 0.3 * update.delta).bfloat16()
        assert (found != expected).float().mean() < 1e-3


def test_merging_refuses_a_weight_that_is_shared(tmp_path):
    base = make_llama()
    base.config.tie_word_embeddings = True
    base.lm_head.weight = base.model.embed_tokens.weight
    model = trained("vefa", {"target_modules": ["lm_head"]}, base)
    with pytest.raises(MergeError, match=r"lm_head shares its weight .* Untie it first"):
        merged_at(model, 0.5, tmp_path / "whole")


def test_merging_over_a_quantised_base_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("retain.hf.scaling.write_scaled.quantization_backend", lambda *_: object())
    with pytest.raises(InputError, match="the base is quantised"):
        merged_at(trained(), 0.5, tmp_path / "whole")
    assert not list(tmp_path.iterdir())
