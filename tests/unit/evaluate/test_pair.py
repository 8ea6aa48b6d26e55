"""A pair of models: whose base is inside, and which pairs are no pair."""

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model

from retain.errors import InputError
from retain.evaluate.pair import Pair, carries_base
from tiny import make_llama

IDS = torch.tensor([[6, 7, 8]])


def adapted(**fields):
    model = get_peft_model(make_llama(), LoraConfig(**{"r": 2, "target_modules": ["q_proj"], **fields}))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.fill_(0.3)
    return model.eval()


def of_transformers():
    model = make_llama()
    model.add_adapter(LoraConfig(r=2, target_modules=["q_proj"]))
    return model


def switched_off(model):
    model.disable_adapter_layers() if isinstance(model, PeftModel) else model.disable_adapters()
    return model


def logits(model):
    with torch.no_grad():
        return model(input_ids=IDS).logits


def test_an_adapter_switched_off_is_the_base_and_comes_back():
    model = adapted()
    pair = Pair.of(model)
    with pair.base() as base:
        assert torch.equal(logits(base), logits(make_llama()))
    with pair.tuned() as tuned:
        assert not torch.equal(logits(tuned), logits(make_llama()))


def test_two_models_stay_apart():
    base, tuned = make_llama(), make_llama(seed=1)
    pair = Pair.of(base, tuned)
    with pair.base() as one, pair.tuned() as other:
        assert (one, other) == (base, tuned)


def test_a_base_that_was_adapted_in_place_is_inside_its_adapter():
    base = make_llama()
    tuned = get_peft_model(base, LoraConfig(r=2, target_modules=["q_proj"]))
    assert Pair.of(base, tuned) == Pair(tuned)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (lambda: (make_llama(),), "one model without an adapter"),
        (lambda: (adapted(init_lora_weights="pissa"),), "untouched base a second time"),
        (lambda: [make_llama()] * 2, "share their weights"),
        (lambda: (switched_off(adapted()),), "switched off.*enable_adapter_layers"),
        (lambda: (make_llama(), switched_off(adapted())), "switched off"),
        (lambda: (make_llama(), switched_off(of_transformers())), r"switched off.*enable_adapters\(\)"),
    ],
)
def test_what_cannot_be_compared_is_refused(given, problem):
    with pytest.raises(InputError, match=problem):
        Pair.of(*given())


def test_a_base_is_loaded_where_the_model_does_not_carry_it():
    loads = []

    def load():
        loads.append(1)
        return "base"

    whole, changed, model = make_llama(), adapted(init_lora_weights="pissa"), adapted()
    assert [carries_base(one) for one in (whole, changed, model)] == [False, False, True]
    assert Pair.around(model, load).separate_base is None
    assert not loads
    assert Pair.around(whole, load) == Pair(whole, "base")
    assert Pair.around(changed, load) == Pair(changed, "base")
