"""SC-LoRA beside other adapters: summed when active together, switched, deleted, combined, and one a row."""

import copy
from contextlib import nullcontext
from functools import cache

import pytest
import torch
from contract_models import ARCHITECTURES, BY_NAME, adapted, logits, same_bits
from peft import LoraConfig, PeftModel
from sc_lora_models import bits, disturb, initialised, plain, trained

from retain import SCLoRAConfig, sc_lora
from retain.errors import InputError
from retain.hf.adapters.residual_lora import residual_layers

PAIRS = {
    "two": (initialised, initialised),
    "before an ordinary one": (initialised, plain),
    "after one": (plain, initialised),
}
COMBINATIONS = [("two", name) for name in ARCHITECTURES]
COMBINATIONS += [(kind, name) for kind in ("before an ordinary one", "after one") for name in ("llama", "gpt2")]


@cache
def _pair(kind, name):
    one, other = PAIRS[kind]
    model = other(ARCHITECTURES[name], onto=one(ARCHITECTURES[name], adapter="first"), adapter="second", r=3)
    disturb(model, "first", seed=2)
    disturb(model, "second", seed=3)
    return model


@pytest.fixture(params=COMBINATIONS, ids=", ".join)
def combination(request):
    return request.param


@pytest.fixture
def architecture(combination):
    return ARCHITECTURES[combination[1]]


@pytest.fixture
def pair(combination):
    """A model with the adapters first and second, of which one at least is an SC-LoRA; the second is active."""
    return copy.deepcopy(_pair(*combination))


def activate(model, *names):
    model.base_model.set_adapter(list(names))


def effective(model, *names):
    """Every adapted layer's effective weight, measured by merging in float64."""
    activate(model, *names)
    model.double().merge_adapter()
    weights = bits(model)
    model.unmerge_adapter()
    return weights


def alone(model, name, batch):
    """The logits with one adapter."""
    with model.disable_adapter() if name == "__base__" else nullcontext():
        if name != "__base__":
            model.set_adapter(name)
        return logits(model, batch)


def test_a_second_adapter_starts_at_the_base_and_is_the_active_one(pair, architecture):
    expected = alone(pair, "__base__", architecture.batch())
    initialised(architecture, onto=pair, adapter="third", initialisation="milora")
    assert pair.active_adapters == ["third"]
    assert torch.equal(logits(pair, architecture.batch()), expected)
    assert all(".third." in name for name in trained(pair))


def test_active_together_is_additive_and_order_free(pair, architecture):
    base = {key: value.double() for key, value in bits(pair).items()}
    first, second = effective(pair, "first"), effective(pair, "second")
    for names in (("first", "second"), ("second", "first")):
        together = effective(pair, *names)
        for key, W0 in base.items():
            change = first[key] - W0 + second[key] - W0
            torch.testing.assert_close(together[key] - W0, change, rtol=0, atol=1e-14)
    batch = architecture.batch(dtype=torch.float64)
    found = logits(pair, batch)
    activate(pair, "first", "second")
    torch.testing.assert_close(logits(pair, batch), found, rtol=0, atol=1e-13)
    pair.merge_adapter()
    torch.testing.assert_close(logits(pair, batch), found, rtol=0, atol=1e-13)


def test_switching_and_deleting(pair, architecture):
    batch = architecture.batch()
    base, first, second = (alone(pair, name, batch) for name in ("__base__", "first", "second"))
    assert not torch.allclose(first, second)
    assert not torch.allclose(first, base)
    assert all(".second." in name for name in trained(pair))
    assert torch.equal(alone(pair, "first", batch), first)
    assert all(".first." in name for name in trained(pair))
    pair.delete_adapter("first")
    assert not any(".first." in name for name in pair.state_dict())
    assert not residual_layers(pair, "first")
    pair.set_adapter("second")
    assert torch.equal(logits(pair, batch), second)


def test_a_deleted_adapters_name_can_be_used_again(llama):
    model = initialised(llama, onto=initialised(llama, adapter="first"), adapter="second")
    disturb(model, "second")
    model.delete_adapter("second")
    model = plain(llama, onto=model, adapter="second")
    assert torch.equal(logits(model, llama.batch()), logits(llama.make(), llama.batch()))
    assert not residual_layers(model, "second")
    model.delete_adapter("first")
    model = initialised(llama, onto=model, adapter="first")
    assert torch.equal(logits(model, llama.batch()), logits(llama.make(), llama.batch()))


def test_mixed_batch_gives_each_row_its_adapter(pair, architecture, dtype):
    pair.to(dtype)
    batch, names = architecture.batch(dtype=dtype), ["second", "__base__", "first", "second"]
    mixed = logits(pair, batch, adapter_names=names)
    assert mixed.dtype == dtype
    for row, name in enumerate(names):
        atol = 1e-6 if dtype == torch.float32 else 2e-2
        torch.testing.assert_close(mixed[row], alone(pair, name, batch)[row], rtol=0, atol=atol)
    assert not torch.allclose(alone(pair, "first", batch)[3], mixed[3], atol=1e-3)


@pytest.mark.parametrize("beams", [1, 2])
def test_mixed_batch_in_generate(llama, beams):
    model = initialised(llama, onto=initialised(llama, adapter="first"), adapter="second")
    disturb(model, "first", size=0.4)
    disturb(model, "second", seed=3, size=0.4)
    ids = llama.batch(rows=3)["input_ids"]
    settings = {"max_new_tokens": 4, "do_sample": False, "num_beams": beams, "attention_mask": torch.ones_like(ids)}
    settings["pad_token_id"] = 1
    mixed = model.generate(input_ids=ids, adapter_names=["first", "second", "__base__"], **settings)
    for row, name in enumerate(("first", "second")):
        model.set_adapter(name)
        assert torch.equal(model.generate(input_ids=ids, **settings)[row], mixed[row])
    with model.disable_adapter():
        assert torch.equal(model.generate(input_ids=ids, **settings)[2], mixed[2])


def test_a_weighted_sum_is_exact_and_saves_and_loads(pair, architecture, tmp_path):
    pair.double()
    base, batch = bits(pair), architecture.batch(dtype=torch.float64)
    first, second = effective(pair, "first"), effective(pair, "second")
    pair.add_weighted_adapter(["first", "second"], [0.7, 1.5], "sum", combination_type="cat")
    pair.add_weighted_adapter(["first"], [1.0], "same", combination_type="cat")
    combined, same = effective(pair, "sum"), effective(pair, "same")
    for key, W0 in base.items():
        expected = 0.7 * (first[key] - W0) + 1.5 * (second[key] - W0)
        torch.testing.assert_close(combined[key] - W0, expected, rtol=0, atol=1e-14)
        torch.testing.assert_close(same[key], first[key], rtol=0, atol=1e-8)  # PEFT weighs a single one in float32
    pair.save_pretrained(tmp_path, selected_adapters=["sum"])
    loaded = PeftModel.from_pretrained(architecture.make(torch.float64), tmp_path / "sum").eval()
    torch.testing.assert_close(logits(loaded, batch), alone(pair, "sum", batch), rtol=0, atol=1e-6)
    assert not (tmp_path / "sum" / "retain_initialisation.json").exists()


def test_each_is_saved_as_what_it_is(pair, architecture, tmp_path):
    batch = architecture.batch()
    pair.save_pretrained(tmp_path)
    for name in ("first", "second"):
        loaded = PeftModel.from_pretrained(architecture.make(), tmp_path / name).eval()
        torch.testing.assert_close(logits(loaded, batch), alone(pair, name, batch), rtol=0, atol=1e-6)
        assert (tmp_path / name / "retain_initialisation.json").exists() == bool(residual_layers(pair, name))


def test_it_is_refused_beside_another_method(method, llama):
    for targets in (["q_proj"], ["down_proj"]):
        model = adapted(method, llama, target_modules=["q_proj"])
        state = model.state_dict()
        with pytest.raises(InputError, match=r"already carries|is no LoRA"):
            initialised(llama, onto=model, adapter="second", target_modules=targets)
        assert list(model.peft_config) == ["default"]
        assert same_bits(model.state_dict(), state)


def test_another_method_is_refused_beside_it(llama):
    model = initialised(llama)
    with pytest.raises(ValueError, match="different peft types"):
        model.add_adapter("second", BY_NAME["vefa"].config(target_modules=["q_proj"]))


def failing(model, error):
    def batches():
        yield {"input_ids": torch.arange(2, 10).view(1, 8)}
        raise error

    return sc_lora(model, SCLoRAConfig(r=2), learn=batches(), keep=batches(), adapter_name="second")


def without_memory(*_):
    raise MemoryError


def test_a_failed_second_adapter_leaves_the_first(llama, monkeypatch):
    from retain.hf.adapters import initialise as initialising

    for one in (initialised, plain):
        model = one(llama, adapter="first")
        disturb(model, "first")
        expected, names = logits(model, llama.batch()), set(trained(model))
        with pytest.raises(InputError, match="'first' already"):
            initialised(llama, onto=model, adapter="first")
        with pytest.raises(KeyError):
            failing(model, KeyError())
        with monkeypatch.context() as patched:
            patched.setattr(initialising, "make_residual", without_memory)
            with pytest.raises(MemoryError):
                initialised(llama, onto=model, adapter="second")
        assert list(model.peft_config) == ["first"]
        assert model.active_adapters == ["first"]
        assert set(trained(model)) == names
        assert torch.equal(logits(model, llama.batch()), expected)


def test_it_does_not_take_the_place_of_an_adapter_that_transformers_put_there(llama):
    model = llama.make()
    model.add_adapter(LoraConfig(r=3, target_modules=["q_proj"]), "default")
    disturb(model)
    expected = logits(model, llama.batch())
    with pytest.raises(InputError, match="'default' already"):
        initialised(llama, onto=model)
    assert torch.equal(logits(model, llama.batch()), expected)


def test_it_goes_onto_a_model_whose_lora_is_frozen(llama):
    model = plain(llama, adapter="first", inference_mode=True)
    disturb(model, "first")
    initialised(llama, onto=model, adapter="second")
    assert torch.equal(logits(model, llama.batch()), logits(llama.make(), llama.batch()))
    assert trained(model)
    assert isinstance(model.peft_config["first"], LoraConfig)
