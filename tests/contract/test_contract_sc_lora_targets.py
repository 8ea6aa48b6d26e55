"""Which layers SC-LoRA adapts, what is said of those that it cannot, and that a refusal leaves no trace."""

import pytest
import torch
from contract_models import ARCHITECTURES, logits, same_bits
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from sc_lora_models import bits, disturb, initialised, keep_batch, learn_batch, plain, trained
from torch import nn

from retain import SCLoRAConfig, load_adapter, sc_lora
from retain.activations import collect
from retain.errors import InputError, MergeError, TargetError
from retain.hf.adapters import initialise as initialising
from retain.hf.adapters.residual_lora import residual_layers


def ends(model):
    return {key.rpartition(".")[2] for key in residual_layers(model, "default")}


def test_all_linear_takes_every_linear_layer_but_the_head(llama):
    model = initialised(llama)
    assert ends(model) == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    assert len(residual_layers(model, "default")) == 14


def test_names_expressions_and_exclusions(llama):
    assert ends(initialised(llama, target_modules=["q_proj", "up_proj"])) == {"q_proj", "up_proj"}
    assert "down_proj" not in ends(initialised(llama, exclude_modules=["down_proj"]))
    model = initialised(llama, target_modules=r".*layers\.1\..*(q|v)_proj")
    names = {key.removeprefix("base_model.model.model.layers.") for key in residual_layers(model, "default")}
    assert names == {"1.self_attn.q_proj", "1.self_attn.v_proj"}
    model = initialised(llama, target_modules=["q_proj"], layers_to_transform=[1], layers_pattern="layers")
    assert [key.partition("layers.")[2] for key in residual_layers(model, "default")] == ["1.self_attn.q_proj"]


def test_a_tied_head_starts_and_trains_with_its_embedding_untouched(gpt2):
    base = gpt2.make()
    before, expected = bits(base), logits(base, gpt2.batch())
    config = SCLoRAConfig(r=2, target_modules=["lm_head"])
    model = sc_lora(base, config, learn=[learn_batch(gpt2)], keep=[keep_batch(gpt2)])
    assert torch.equal(logits(model.eval(), gpt2.batch()), expected)
    model(**gpt2.batch()).loss.backward()
    assert any(parameter.grad.any() for parameter in trained(model).values())
    assert same_bits(bits(model), before)


def test_a_tied_head_is_not_merged_into_and_an_untied_one_is(gpt2, tmp_path):
    def on_head(base):
        config = SCLoRAConfig(r=2, target_modules=["lm_head"])
        model = sc_lora(base, config, learn=[learn_batch(gpt2)], keep=[keep_batch(gpt2)]).eval()
        disturb(model)
        return model

    model = on_head(gpt2.make())
    expected = logits(model, gpt2.batch())
    model.save_pretrained(tmp_path)
    for tied in (model, load_adapter(gpt2.make(), tmp_path)):
        for merge in (tied.merge_adapter, tied.merge_and_unload):
            with pytest.raises(MergeError, match=r"lm_head shares its weight with .*wte"):
                merge()
        assert torch.equal(logits(tied, gpt2.batch()), expected)
    base = gpt2.make()
    base.lm_head.weight = nn.Parameter(base.lm_head.weight.detach().clone())
    base.config.tie_word_embeddings = False
    merged = on_head(base).merge_and_unload()
    torch.testing.assert_close(logits(merged, gpt2.batch()), expected, rtol=0, atol=2e-6)


def test_modules_to_save_are_trained_and_saved(tmp_path):
    vit = ARCHITECTURES["vit"]
    model = initialised(vit, target_modules=["fc1"], modules_to_save=["classifier"])
    disturb(model)
    for name, parameter in trained(model).items():
        if "modules_to_save" in name:
            parameter.data += 0.1
    expected = logits(model, vit.batch())
    with model.disable_adapter():
        assert torch.equal(logits(model, vit.batch()), logits(vit.make(), vit.batch()))
    model.save_pretrained(tmp_path)
    for loaded in (PeftModel.from_pretrained(vit.make(), tmp_path), load_adapter(vit.make(), tmp_path, trainable=True)):
        torch.testing.assert_close(logits(loaded.eval(), vit.batch()), expected, rtol=0, atol=1e-6)
    assert set(trained(loaded)) == set(trained(model))


class Odd(nn.Module):
    """Modules that look like targets and are none; some of it is frozen."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(5, 8)
        self.image = nn.Conv2d(3, 8, 2)
        self.attention = nn.MultiheadAttention(8, 2)
        self.linear = nn.Linear(8, 8)
        self.narrow = nn.Linear(8, 3).requires_grad_(requires_grad=False)
        self.norm = nn.LayerNorm(8)

    def forward(self, inputs_embeds):
        return self.narrow(self.linear(inputs_embeds))


BATCH = {"inputs_embeds": torch.randn(4, 6, 8, generator=torch.Generator().manual_seed(0))}


def state(model):
    """All that an attempt might have left behind."""
    kinds = {name: type(module) for name, module in model.named_modules()}
    wanted = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    hooks = sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())
    modes = [module.training for module in model.modules()]
    return kinds, wanted, hooks, modes, getattr(model, "peft_config", None), sorted(vars(model))


def attempt(model, *, learn=(BATCH,), keep=(BATCH,), **fields):
    """What is raised, after a look at whether the model is what it was."""
    before, weights = state(model), {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises((InputError, ValueError, KeyError, MemoryError)) as caught:
        sc_lora(model, SCLoRAConfig(**{"r": 2, **fields}), learn=learn, keep=keep)
    assert state(model) == before
    assert same_bits(model.state_dict(), weights)
    return caught.value


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("words", r"words: an embedding looks up token ids"),
        ("image", r"image: Conv2d is not a linear layer"),
        ("attention", r"attention: nn.MultiheadAttention reads its weights"),
        ("attention.out_proj", r"attention.out_proj: nn.MultiheadAttention reads"),
        ("norm", r"norm: LayerNorm is not a linear layer"),
    ],
)
def test_an_unsupported_target_is_named_with_the_cure(target, reason):
    error = attempt(Odd(), target_modules=[target])
    assert isinstance(error, TargetError)
    assert reason in str(error)
    assert "exclude_modules" in str(error)


def test_a_name_that_matches_nothing_is_told_what_there_is():
    assert "linear layers are named linear, narrow, out_proj" in str(attempt(Odd(), target_modules=["nothing"]))


def test_all_unsupported_targets_are_named_before_anything_is_changed():
    assert len(attempt(Odd(), target_modules=["linear", "words", "image"]).problems) == 2


@pytest.mark.parametrize("initialisation", ["sc-lora", "milora"])
def test_a_rank_larger_than_a_layer_is_named(initialisation):
    error = attempt(Odd(), r=4, target_modules=["linear", "narrow"], initialisation=initialisation)
    assert isinstance(error, TargetError)
    assert error.problems == ("narrow: rank 4 is larger than the 3 that this layer allows; lower r.",)


def test_missing_data_are_named():
    assert "initialisation='sc-lora' needs learn:" in str(attempt(Odd(), learn=None, target_modules=["linear"]))
    assert "needs learn and keep:" in str(attempt(Odd(), learn=None, keep=None, target_modules=["linear"]))
    assert "'lora-null' needs keep:" in str(
        attempt(Odd(), keep=None, initialisation="lora-null", target_modules=["linear"])
    )


def midway():
    yield BATCH
    raise KeyError("the data broke")


@pytest.mark.parametrize("part", ["learn", "keep"])
def test_data_that_break_midway_leave_the_model_as_it_was(part):
    error = attempt(Odd().train(), target_modules=["linear"], **{part: midway()})
    assert error.args == ("the data broke",)


def test_statistics_that_do_not_fit_leave_the_model_as_it_was():
    other = Odd()
    other.linear.weight.data += 1
    harness = collect(other, [BATCH], targets={"target_modules": ["linear"]})
    assert "another model" in str(attempt(Odd(), learn=harness, target_modules=["linear"]))
    model = Odd()
    narrow = collect(model, [BATCH], targets={"target_modules": ["linear"]})
    assert "narrow" in str(attempt(model, keep=narrow, target_modules=["linear", "narrow"]))
    assert "sample_norm" in str(attempt(model, keep=narrow, target_modules=["linear"], sample_norm="max"))


def test_values_that_are_not_finite_leave_the_model_as_it_was():
    broken = {"inputs_embeds": torch.full((4, 6, 8), float("nan"))}
    assert "finite" in str(attempt(Odd(), learn=[broken], target_modules=["linear"]))


def without_memory(*_):
    raise MemoryError


def test_a_failure_while_the_adapter_is_put_on_leaves_the_model_as_it_was(monkeypatch):
    monkeypatch.setattr(initialising, "make_residual", without_memory)
    attempt(Odd().train(), initialisation="milora", target_modules=["linear", "narrow"])


def test_a_failure_beside_other_adapters_leaves_them_active_and_trainable(llama, monkeypatch):
    model = plain(llama, onto=initialised(llama, adapter="first"), adapter="second")
    disturb(model, "first")
    model.base_model.set_adapter(["second", "first"])
    before, expected, names = state(model), logits(model, llama.batch()), set(trained(model))
    monkeypatch.setattr(initialising, "make_residual", without_memory)
    with pytest.raises(MemoryError):
        initialised(llama, onto=model, adapter="third")
    assert state(model) == before
    assert model.active_adapters == ["second", "first"]
    assert set(trained(model)) == names
    assert torch.equal(logits(model, llama.batch()), expected)
    assert {name for m in model.modules() if isinstance(m, LoraLayer) for name in m.lora_A} == {"first", "second"}
