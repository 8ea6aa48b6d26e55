"""The tuner of feature-space methods: weighted combinations, ties, and mixed batches that it refuses."""

import pytest
import torch

from retain.errors import InputError, MergeError, TargetError
from retain.hf.adapters.attach import attach
from tiny import make_llama

IDS = torch.arange(2, 18).view(2, 8)


@pytest.fixture
def pair():
    model = attach(make_llama(), "vefa", {"target_modules": ["q_proj"]})
    model.add_adapter("second", model.peft_config["default"])
    return model


@pytest.mark.parametrize(
    ("adapters", "weights", "name", "kind", "said"),
    [
        (["default", "third"], [1, 1], "sum", None, "no adapter 'third'"),
        (["default", "default"], [1, 1], "sum", None, "Give distinct adapters"),
        (["default"], [1, 2], "sum", None, "one weight for each"),
        (["default"], [1], "second", None, "'second' is there already"),
        (["default"], [1], "sum", "cat", "combination_type='cat' is refused"),
    ],
)
def test_combinations_that_are_not_exact_are_refused(pair, adapters, weights, name, kind, said):
    with pytest.raises(InputError, match=said):
        pair.base_model.add_weighted_adapter(adapters, weights, name, kind)
    assert list(pair.peft_config) == ["default", "second"]


def test_a_combination_acts_where_its_adapters_do(pair):
    pair.base_model.add_weighted_adapter(["default", "second"], [0.5, 0.5], "sum")
    assert sorted(pair.peft_config["sum"].target_modules) == [
        f"model.layers.{number}.self_attn.q_proj" for number in range(2)
    ]


def test_targets_that_are_not_there_are_named_with_those_that_are():
    with pytest.raises(TargetError, match=r"linear layers are named .*q_proj"):
        attach(make_llama(), "vefa", {"target_modules": ["nowhere"]})


def test_a_shared_weight_is_not_merged_into():
    base = make_llama()
    base.lm_head.weight = base.model.embed_tokens.weight
    model = attach(base, "vefa", {"target_modules": ["lm_head"]})
    with pytest.raises(MergeError, match=r"lm_head shares its weight with model\.embed_tokens"):
        model.merge_adapter()


def test_mixed_batches_are_for_inference_and_name_adapters_that_are_there(pair):
    with pytest.raises(InputError, match="for inference"):
        pair.train()(IDS, adapter_names=["default", "second"])
    with pytest.raises(InputError, match="no adapter third"):
        pair.eval()(IDS, adapter_names=["default", "third"])
    assert pair(IDS, adapter_names=["default", "__base__"]).logits.shape[0] == 2
