"""Which layers an adapter gets, in PEFT's conventions, and what is said to whoever names one that cannot have it."""

import pytest
import torch
from contract_models import BY_NAME, adapted, disturb, layers_of, logits, make_config
from peft import PeftModel, get_peft_model
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, MixtralConfig, MixtralForCausalLM

from retain.errors import InputError, TargetError


def adapted_names(model):
    return {name for name, module in model.base_model.model.named_modules() if module in set(layers_of(model))}


def ends(model):
    return {name.rpartition(".")[2] for name in adapted_names(model)}


def test_all_linear_takes_every_linear_layer_but_the_head(method, llama):
    model = adapted(method, llama)
    assert ends(model) == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    assert len(adapted_names(model)) == 14


def test_a_list_of_names(method, architecture):
    assert ends(adapted(method, architecture, target_modules=[architecture.linear])) == {architecture.linear}


def test_a_regular_expression(method, llama):
    model = adapted(method, llama, target_modules=r".*layers\.1\..*(q|v)_proj")
    assert adapted_names(model) == {"model.layers.1.self_attn.q_proj", "model.layers.1.self_attn.v_proj"}


@pytest.mark.parametrize(
    ("name", "expected"), [("llama", {"q_proj", "v_proj"}), ("gpt2", {"c_attn"}), ("bert", {"query", "value"})]
)
def test_none_takes_the_architectures_default(method, name, expected):
    from contract_models import ARCHITECTURES

    assert ends(adapted(method, ARCHITECTURES[name], target_modules=None)) == expected


def test_none_without_a_default_says_what_there_is(method):
    from contract_models import ARCHITECTURES

    with pytest.raises(TargetError, match=r"no default.*'vit'.*fc1.*all-linear"):
        adapted(method, ARCHITECTURES["vit"], target_modules=None)


def test_excluded_modules(method, llama):
    assert "down_proj" not in ends(adapted(method, llama, exclude_modules=["down_proj"]))


def test_layers_to_transform(method, llama):
    model = adapted(method, llama, target_modules=["q_proj"], layers_to_transform=[1], layers_pattern="layers")
    assert adapted_names(model) == {"model.layers.1.self_attn.q_proj"}


def test_layers_to_transform_needs_a_list_of_names(method):
    with pytest.raises(TargetError, match="give target_modules as a list"):
        make_config(method, layers_to_transform=[0])
    with pytest.raises(TargetError, match="layers_pattern"):
        make_config(method, layers_pattern="layers")


def test_modules_to_save_are_trained_and_saved(method, tmp_path):
    from contract_models import ARCHITECTURES

    vit = ARCHITECTURES["vit"]
    model = adapted(method, vit, target_modules=["fc1"], modules_to_save=["classifier"])
    disturb(model)
    for name, parameter in model.named_parameters():
        if "modules_to_save" in name:
            assert parameter.requires_grad
            parameter.data += 0.1
    expected = logits(model, vit.batch())
    model.save_pretrained(tmp_path)
    assert torch.equal(logits(PeftModel.from_pretrained(vit.make(), tmp_path).eval(), vit.batch()), expected)
    assert torch.allclose(logits(model.merge_and_unload(), vit.batch()), expected, atol=2e-6)


def test_rank_and_alpha_patterns(llama, tmp_path):
    fields = {"r": 4, "lorfa_alpha": 8, "rank_pattern": {"q_proj": 2}, "alpha_pattern": {r"layers\.1\..*down_proj": 1}}
    model = adapted(BY_NAME["lorfa"], llama, **fields)
    disturb(model)
    found = {
        name.partition("layers.")[2]: (layer.lorfa_A["default"].out_features, layer.scaling["default"])
        for name, layer in model.named_modules()
        if hasattr(layer, "lorfa_A")
    }
    assert found["0.self_attn.q_proj"] == found["1.self_attn.q_proj"] == (2, 4.0)
    assert found["0.mlp.down_proj"] == (4, 2.0)
    assert found["1.mlp.down_proj"] == (4, 0.25)
    model.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(llama.make(), tmp_path)
    assert torch.equal(logits(loaded, llama.batch()), logits(model, llama.batch()))


def test_dropout_acts_in_training_only(llama):
    model, batch = adapted(BY_NAME["lorfa"], llama, lorfa_dropout=0.5), llama.batch()
    disturb(model, size=0.5)
    assert torch.equal(logits(model, batch), logits(model, batch))
    model.train()
    assert not torch.equal(logits(model, batch), logits(model, batch))


def test_initialisation_follows_torchs_generator(method, llama):
    weights = []
    for _ in range(2):
        base = llama.make()
        torch.manual_seed(5)
        model = get_peft_model(base, make_config(method))
        weights.append([p for p in model.parameters() if p.requires_grad])
    assert all(torch.equal(a, b) for a, b in zip(*weights, strict=True))


class Odd(nn.Module):
    """Modules that look like targets and are none."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(5, 8)
        self.image = nn.Conv2d(3, 8, 2)
        self.attention = nn.MultiheadAttention(8, 2)
        self.linear = nn.Linear(8, 8)
        self.norm = nn.LayerNorm(8)

    def forward(self, x):
        return self.linear(x)


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("words", r"words: an embedding looks up token ids.*exclude_modules"),
        ("image", r"image: Conv2d is not a linear layer.*exclude_modules"),
        ("attention", r"attention: nn.MultiheadAttention reads its weights.*separate q, k, v"),
        ("attention.out_proj", r"attention\.out_proj: nn.MultiheadAttention reads"),
        ("norm", r"norm: LayerNorm is not a linear layer"),
        ("nothing", r"nothing.*linear layers are named linear, out_proj"),
    ],
)
def test_an_unsupported_target_is_named_with_the_cure(method, target, reason):
    model = Odd()
    with pytest.raises(TargetError, match=reason):
        get_peft_model(model, make_config(method, target_modules=[target]))
    assert not layers_of(model)
    assert not hasattr(model, "peft_config")


def test_all_unsupported_targets_are_named_before_anything_is_changed(method):
    model = Odd()
    with pytest.raises(TargetError) as caught:
        get_peft_model(model, make_config(method, target_modules=["linear", "words", "image"]))
    assert len(caught.value.problems) == 2
    assert type(model.linear) is nn.Linear


def test_it_is_also_the_error_that_peft_raises_for_the_same_mistake(method):
    for kind in (ValueError, TypeError, InputError):
        with pytest.raises(kind):
            get_peft_model(Odd(), make_config(method, target_modules=["words"]))


def test_fused_experts_are_refused(method):
    config = MixtralConfig(
        vocab_size=32, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, num_local_experts=2,
    )  # fmt: skip
    with pytest.raises(TargetError, match=r"experts: it holds fused experts"):
        get_peft_model(MixtralForCausalLM(config), make_config(method, target_modules=["experts"]))
    with pytest.raises(TargetError, match="fused expert"):
        make_config(method, target_parameters=["experts.gate_up_proj"])


def test_another_methods_layer_is_refused(method, llama):
    from peft import LoraConfig

    model = get_peft_model(llama.make(), LoraConfig(target_modules=["q_proj"]))
    with pytest.raises(TargetError, match="already carries"):
        get_peft_model(model.base_model.model, make_config(method, target_modules=["q_proj"]))


def test_a_rank_larger_than_a_layer_is_named(llama):
    with pytest.raises(TargetError) as caught:
        adapted(BY_NAME["lorfa"], llama, r=33)
    assert "model.layers.0.self_attn.q_proj: rank 33 is larger than the layer's 32 inputs" in str(caught.value)
    assert not any("down_proj" in problem for problem in caught.value.problems)


@pytest.mark.parametrize("fields", [{"r": 0}, {"r": -1}, {"r": 2.5}, {"rank_pattern": {"q": 0}}])
def test_a_rank_is_a_positive_whole_number(fields):
    with pytest.raises(TargetError, match="rank"):
        make_config(BY_NAME["lorfa"], **fields)


@pytest.mark.parametrize("dropout", [-0.1, 1.0, float("nan")])
def test_a_dropout_lies_in_its_range(dropout):
    with pytest.raises(TargetError, match="dropout"):
        make_config(BY_NAME["lorfa"], lorfa_dropout=dropout)


def test_tied_head_trains_with_its_embedding_untouched(method, gpt2):
    model = adapted(method, gpt2, target_modules=["lm_head"])
    before = model.get_input_embeddings().weight.clone()
    model(**gpt2.batch()).loss.backward()
    assert torch.equal(model.get_input_embeddings().weight, before)
    assert model.get_input_embeddings().weight.grad is None


def test_a_bare_model_without_a_config_can_be_adapted(method):
    base = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 2))
    model = get_peft_model(base, make_config(method, target_modules=["0"]))
    disturb(model)
    x = torch.randn(3, 8)
    expected = model(x)
    assert torch.allclose(model.merge_and_unload()(x), expected, atol=1e-6)


def test_large_lists_of_names_survive_pefts_shortening(method):
    config = LlamaConfig(
        vocab_size=32, hidden_size=16, intermediate_size=16, num_hidden_layers=12, num_attention_heads=2,
        num_key_value_heads=2,
    )  # fmt: skip
    names = [f"model.layers.{i}.self_attn.{n}_proj" for i in range(12) for n in "qv"]
    assert len(adapted_names(get_peft_model(LlamaForCausalLM(config), make_config(method, target_modules=names)))) == 24
