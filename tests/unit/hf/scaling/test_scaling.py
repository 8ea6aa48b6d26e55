"""The update scaling beyond the contract: groups, several adapters, heads, whole models, files, and refusals."""

import copy

import pytest
import torch
from peft import PeftModel
from torch import nn
from transformers import AutoModelForCausalLM, BertForSequenceClassification

from retain.errors import InputError, MergeError
from retain.hf.adapters.attach import attach
from retain.hf.adapters.load import load_adapter
from retain.hf.models.updates import weight_updates
from retain.hf.scaling import keeps_its_form, merged_at, scaled, scales_exactly, shrink, write_at
from retain.hf.scaling.parts import Factor
from retain.methods.initialisations.adapter import sc_lora
from retain.methods.initialisations.config import SCLoRAConfig
from tiny import make_bert, make_llama

IDS = torch.arange(2, 18).view(2, 8)


def trained(name="lora", fields=None, base=None):
    model = attach(base or make_llama(), name, fields or {}).eval()
    return disturb(model)


def disturb(model, seed=3):
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.05 * torch.randn(parameter.shape, generator=generator).to(parameter)
    return model


@torch.no_grad()
def run(model):
    return model(input_ids=IDS).logits


def test_a_number_for_each_group_of_layers():
    model = trained()
    full = {u.module: u.delta for u in weight_updates(model)}
    with scaled(model, {r"layers\.0\..*q_proj": 0.5, r"layers\.0\.": 0.25, "v_proj": -1}):
        found = {u.module: u.delta for u in weight_updates(model)}
    for name, delta in found.items():
        alpha = 1.0
        if "layers.0." in name:
            alpha = 0.5 if "q_proj" in name else 0.25
        elif "v_proj" in name:
            alpha = -1.0
        torch.testing.assert_close(delta, alpha * full[name], rtol=0, atol=1e-7)


def test_a_group_at_0_is_off_and_the_others_are_on():
    model = trained()
    with scaled(model, {"mlp": 0}):
        found = run(model)
    for name, module in model.named_modules():
        if "lora_B" in name and "mlp" in name and isinstance(module, nn.Linear):
            module.weight.data.zero_()
    torch.testing.assert_close(found, run(model), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["lora", "dora", "vefa", "ia3"])
def test_several_active_adapters_are_scaled_together(name):
    fields = {"use_dora": True} if name == "dora" else {}
    model = trained("lora" if name == "dora" else name, fields)
    model.add_adapter("second", model.peft_config["default"])
    model.base_model.set_adapter(["default", "second"])
    disturb(model, seed=9).eval()
    tuned, base = copy.deepcopy(model).merge_and_unload().state_dict(), make_llama().state_dict()
    mixed = make_llama()
    mixed.load_state_dict({key: value + 0.3 * (tuned[key] - value) for key, value in base.items()})
    with scaled(model, 0.3):
        found = run(model)
    torch.testing.assert_close(found, run(mixed), rtol=0, atol=2e-5 if name == "dora" else 5e-6)


def test_a_classifiers_head_is_interpolated():
    torch.manual_seed(0)
    body = make_bert()
    base = BertForSequenceClassification(body.config).eval()
    model = trained("vefa", base=copy.deepcopy(base))
    head = model.base_model.model.classifier
    before, after = head.original_module.weight.clone(), head.modules_to_save["default"].weight.clone()
    assert not torch.equal(before, after)
    with scaled(model, 0.25):
        torch.testing.assert_close(head.modules_to_save["default"].weight, before + 0.25 * (after - before))
    assert torch.equal(after, head.modules_to_save["default"].weight)
    with scaled(model, 0):
        assert torch.equal(run(model), run(base))
    with scaled(model, {"classifier": 0}):
        assert not torch.equal(run(model), run(base))


def test_the_written_head_comes_back(tmp_path):
    torch.manual_seed(0)
    base = BertForSequenceClassification(make_bert().config).eval()
    model = trained("lora", base=copy.deepcopy(base))
    with scaled(model, 0.6):
        expected = run(model)
    loaded = load_adapter(base, write_at(model, 0.6, tmp_path / "at"))
    assert torch.equal(run(loaded), expected)


def test_a_fully_trained_model_is_interpolated_with_its_base(tmp_path):
    base, model = make_llama(), disturb(make_llama())
    before = {key: value.clone() for key, value in model.state_dict().items()}
    tuned = run(model)
    with scaled(model, 0.3, base=base):
        found = run(model)
        for key, value in model.state_dict().items():
            W0 = base.state_dict()[key].double()
            torch.testing.assert_close(value, (W0 + 0.3 * (before[key].double() - W0)).float(), rtol=0, atol=1e-7)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert torch.equal(run(model), tuned)
    with scaled(model, 0, base=base):
        assert torch.equal(run(model), run(base))
    with scaled(model, {"mlp": 0, "": 1}, base=base):
        assert torch.equal(model.model.layers[0].mlp.up_proj.weight, base.model.layers[0].mlp.up_proj.weight)
        assert not torch.equal(model.lm_head.weight, base.lm_head.weight)
    for writer in (write_at, merged_at):
        loaded = AutoModelForCausalLM.from_pretrained(writer(model, 0.3, tmp_path / "whole", base=base))
        assert torch.equal(run(loaded), found)


def test_16_bit_interpolation_is_rounded_once():
    base, model = make_llama().bfloat16(), disturb(make_llama()).bfloat16()
    W0, W = (m.lm_head.weight.detach().clone() for m in (base, model))
    with scaled(model, 0.3, base=base):
        assert torch.equal(model.lm_head.weight, (W0.float() + 0.3 * (W.float() - W0.float())).bfloat16())


def test_trained_tokens_are_scaled_from_what_they_were(tmp_path):
    model = trained("trainable_tokens", {"token_indices": [3, 5]})
    base = make_llama()
    rows = copy.deepcopy(model).merge_and_unload().model.embed_tokens.weight
    mixed = make_llama()
    mixed.model.embed_tokens.weight.data += 0.3 * (rows - mixed.model.embed_tokens.weight).detach()
    with scaled(model, 0.3):
        torch.testing.assert_close(run(model), run(mixed), rtol=0, atol=1e-6)
    with scaled(model, 0):
        assert torch.equal(run(model), run(base))
    loaded = PeftModel.from_pretrained(make_llama(), write_at(model, 0.3, tmp_path / "at"))
    torch.testing.assert_close(run(loaded.eval()), run(mixed), rtol=0, atol=1e-6)


def test_norms_tuned_beside_their_originals():
    model = trained("ln_tuning")
    with scaled(model, 0):
        assert torch.equal(run(model), run(make_llama()))
    mixed = make_llama()
    tuned = copy.deepcopy(model).merge_and_unload()
    for key, parameter in mixed.named_parameters():
        parameter.data += 0.3 * (tuned.get_parameter(key).detach() - parameter.data)
    with scaled(model, 0.3):
        torch.testing.assert_close(run(model), run(mixed), rtol=0, atol=1e-6)


def test_gradients_flow_and_training_flags_stay():
    model = trained("lora", {"use_dora": True}).train()
    with scaled(model, 0.5):
        model(input_ids=IDS, labels=IDS).loss.backward()
    assert all(p.grad is not None and p.grad.any() for p in model.parameters() if p.requires_grad)
    assert model.training


def residual():
    model = make_llama()
    return disturb(sc_lora(model, SCLoRAConfig(r=2, initialisation="random-start")).eval())


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
    folder.rename(tmp_path / ".at.former")  # as if the process had been killed there

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


@pytest.mark.parametrize("alpha", [float("nan"), float("inf"), "0.3", True, {"q_proj": None}])
def test_odd_numbers_are_refused(alpha):
    with pytest.raises(InputError, match="give a finite number"), scaled(trained(), alpha):
        pass


def test_odd_patterns_are_all_named():
    with pytest.raises(InputError) as caught, scaled(trained(), {"nowhere": 0.5, "(": 0.5}):
        pass
    assert len(caught.value.problems) == 2
    assert "'nowhere' matches none of the changed modules: model.layers.0" in caught.value.problems[0]


def test_models_that_cannot_be_turned_say_why(tmp_path):
    cases = [
        (make_llama(), "carries no adapters; .* give the base"),
        (attach(make_llama(), "prompt_tuning", {"num_virtual_tokens": 2}), "is a prompt_tuning: it is no update"),
        (attach(make_llama(), "lora", {"init_lora_weights": "pissa"}), "'pissa' took the initial adapter out .* merge"),
    ]
    for model, text in cases:
        assert not scales_exactly(model)
        with pytest.raises(InputError, match=text), scaled(model, 0.5):
            pass
        with pytest.raises(InputError, match=text):
            write_at(model, 0.5, tmp_path / "at")
        with pytest.raises(InputError, match=text):
            shrink(model, 0.5)
    with pytest.raises(InputError, match="no adapter 'other'"):
        write_at(trained(), 0.5, tmp_path / "at", adapter_name="other")


def test_merged_adapters_are_refused():
    model = trained()
    model.merge_adapter()
    assert not scales_exactly(model)
    with pytest.raises(MergeError, match="unmerge_adapter"), scaled(model, 0.5):
        pass


def test_a_base_must_be_the_models_own():
    with pytest.raises(InputError, match="leave base out"), scaled(trained(), 0.5, base=make_llama()):
        pass
    with (
        pytest.raises(InputError, match="more than values: lm_head.weight"),
        scaled(make_llama(), 0.5, base=make_llama(vocabulary=71)),
    ):
        pass


def test_shrinking_refuses_what_it_does_not_know_and_changes_nothing():
    model = trained("c3a", {"block_size": 16})
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(InputError, match="where this C3A is the identity is not known"):
        shrink(model, 0.5)
    for factor in (-0.1, float("nan")):
        with pytest.raises(InputError, match="0 or more"):
            shrink(trained(), factor)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_shrinking_by_1_changes_no_bit():
    model = residual()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    assert shrink(model, 1) is True
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_a_whole_model_keeps_its_form():
    assert keeps_its_form(make_llama()) is None


def test_a_factor_moves_from_its_start():
    tensor = torch.tensor([3.0, -1.0], dtype=torch.bfloat16)
    assert Factor(tensor, 1.0).at(0.5).tolist() == [2.0, 0.0]
    assert Factor(tensor, torch.tensor([1.0, 1.0])).at(2).tolist() == [5.0, -3.0]
    assert Factor(tensor, 0.0).at(0).tolist() == [0.0, 0.0]
    assert Factor(tensor, 0.0).at(0.5).dtype == torch.bfloat16


def test_merging_over_a_quantised_base_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("retain.hf.scaling.write.quantization_backend", lambda *_: object())
    with pytest.raises(InputError, match="the base is quantised"):
        merged_at(trained(), 0.5, tmp_path / "whole")
    assert not list(tmp_path.iterdir())
