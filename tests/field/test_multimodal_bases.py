"""A text task on a model that also sees: what is adapted, what is left out, and what is said of it."""

import copy

import odd_models
import pytest
import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

import retain
from retain.errors import InputError
from retain.hf.adapters.attach import attach
from retain.hf.models.coverage import coverage
from retain.hf.models.reach import unreached
from retain.hf.tuners.all_linear import left_out

TOWERS = {
    odd_models.gemma3: ["model.vision_tower", "model.multi_modal_projector"],
    odd_models.llava: ["model.vision_tower", "model.multi_modal_projector"],
    odd_models.qwen2_vl: ["model.visual"],
}
IDS = torch.arange(3, 15)[None]


def adapted_names(model):
    return [name for name, module in model.named_modules() if isinstance(module, BaseTunerLayer)]


@pytest.mark.parametrize("maker", TOWERS)
@pytest.mark.parametrize("without_weights", [True, False])
def test_a_text_does_not_reach_the_tower_with_weights_or_without(maker, without_weights):
    with torch.device("meta" if without_weights else "cpu"):
        model = maker()
    assert unreached(model) == TOWERS[maker]


@pytest.mark.parametrize("maker", TOWERS)
@pytest.mark.parametrize(("method", "fields"), [("vefa", {}), ("lorfa", {"r": 2}), ("lora", {"r": 2})])
def test_adapters_by_default_are_only_where_text_goes(maker, method, fields, tmp_path):
    model = odd_models.stirred(attach(odd_models.made(maker), method, fields)).eval()
    names = adapted_names(model)
    assert len(names) == 14
    assert all("language_model" in name for name in names)
    (note,) = coverage(model)
    assert all(tower in note for tower in TOWERS[maker])
    model.save_pretrained(tmp_path)
    again = retain.load_adapter(odd_models.made(maker), tmp_path)
    with torch.no_grad():
        assert torch.equal(model(IDS).logits, again(IDS).logits)
        assert (model(IDS).logits - odd_models.made(maker)(IDS).logits).abs().max() > 1e-4


def test_sc_lora_runs_by_default_on_a_model_like_gemma_3():
    batches = [{"input_ids": IDS, "attention_mask": torch.ones_like(IDS)}]
    model = retain.sc_lora(odd_models.made(odd_models.gemma3), retain.SCLoRAConfig(r=2), learn=batches, keep=batches)
    assert len(adapted_names(model)) == 14


@pytest.mark.parametrize("config", [retain.VeFAConfig(), retain.VeFAConfig(target_modules="all-linear")])
def test_the_python_config_takes_the_same_layers(config):
    from peft import get_peft_model

    model = get_peft_model(odd_models.made(odd_models.gemma3), config)
    assert len(adapted_names(model)) == 14


def test_what_the_user_excludes_is_excluded_too():
    model = attach(odd_models.made(odd_models.llava), "vefa", {"exclude_modules": ["down_proj"]})
    assert len(adapted_names(model)) == 12
    model = attach(odd_models.made(odd_models.llava), "vefa", {"exclude_modules": r".*layers\.1\..*"})
    assert len(adapted_names(model)) == 7


def test_layers_in_the_tower_that_a_user_names_are_told_to_stay():
    model = attach(odd_models.made(odd_models.llava), "lora", {"target_modules": ["q_proj"]})
    note = coverage(model)[0]
    assert "2 adapters are on layers that text does not go through" in note
    assert "model.vision_tower" in note


def test_full_training_says_what_text_does_not_reach():
    model = odd_models.made(odd_models.gemma3)
    (note,) = coverage(model)
    assert note.startswith("Text does not go through model.vision_tower, model.multi_modal_projector: ")
    model(input_ids=IDS, labels=IDS).loss.backward()
    still = sum(p.numel() for p in model.parameters() if p.grad is None)
    assert f"{still:,} of the model's" in note


@pytest.mark.parametrize("maker", [odd_models.mamba, odd_models.jamba, odd_models.qwen3_moe, odd_models.deepseek_v3])
def test_nothing_of_a_model_of_text_alone_is_unreached(maker):
    assert unreached(maker()) == []


def test_a_model_of_two_inputs_and_one_of_images_keep_all_their_layers():
    from transformers import CLIPConfig, CLIPModel

    text = {"vocab_size": 70, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    text |= {"num_attention_heads": 4, "max_position_embeddings": 32}
    vision = {**odd_models.TOWER, **odd_models.IMAGES}
    clip = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=16))
    assert left_out(clip) == ([], [])
    assert any("vision_model" in name for name in adapted_names(attach(clip, "vefa")))


def test_the_model_is_untouched_by_the_look_at_it():
    model = odd_models.made(odd_models.gemma3)
    calls = []
    model.register_forward_pre_hook(lambda *_: calls.append(1))
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    attention = model.config.get_text_config()._attn_implementation
    model.train()
    unreached(model)
    assert not calls
    assert model.training
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert model.config.get_text_config()._attn_implementation == attention


class Attending(nn.Module):
    """A model of a user's own with torch's attention in the path."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(8, 8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x):
        x = self.first(x)
        return self.attention(x, x, x)[0]


def test_torchs_attention_in_the_path_is_left_out_and_named_it_is_refused_with_the_pattern():
    model = attach(Attending(), "vefa")
    assert adapted_names(model) == ["base_model.model.first"]
    assert "No adapter is put on out_proj" in coverage(model)[0]
    with pytest.raises(InputError, match=r"attention\.out_proj.*exclude_modules.*attention\\\\\.out_proj"):
        attach(Attending(), "vefa", {"target_modules": ["first", "out_proj"]})
    with pytest.raises(InputError, match=r"attention\.out_proj.*exclude_modules"):
        attach(Attending(), "lora", {"target_modules": ["first", "out_proj"]})


def test_torchs_fast_path_is_not_adapted_in_silence():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0).eval()
    for method in ("vefa", "lora"):
        with pytest.raises(InputError, match="reads this weight without calling the layer"):
            attach(nn.ModuleDict({"layer": copy.deepcopy(layer)}), method, {"target_modules": ["linear1"]})
