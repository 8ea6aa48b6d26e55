"""The fields that all feature-space methods share check one another, and patterns go by PEFT's rules."""

import pytest

from retain import LoRFAConfig, VeFAConfig
from retain.errors import TargetError
from retain.hf.tuners.feature_config import for_layer


def test_contradictions_are_all_named():
    with pytest.raises(TargetError) as caught:
        VeFAConfig(target_modules="all-linear", layers_to_transform=[0], target_parameters=["experts"])
    assert len(caught.value.problems) == 2
    assert "vefa shifts the input of a linear layer" in caught.value.problems[0]
    with pytest.raises(TargetError, match="layers_pattern is set but layers_to_transform is not"):
        VeFAConfig(layers_pattern="layers")


def test_the_methods_own_problems_come_with_the_shared_ones():
    with pytest.raises(TargetError) as caught:
        LoRFAConfig(r=0, layers_pattern="layers")
    assert len(caught.value.problems) == 2


def test_lists_of_names_are_sets_and_the_type_is_the_methods():
    config = VeFAConfig(target_modules=["a", "b"], exclude_modules=["c"])
    assert (config.target_modules, config.exclude_modules) == ({"a", "b"}, {"c"})
    assert config.peft_type == "VEFA"
    assert config.preserve_small_shifts


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [({"q_proj": 2}, 2), ({r"layers\.1\..*": 3}, 3), ({"k_proj": 4}, 8), ({}, 8), (None, 8)],
)
def test_a_pattern_gives_a_layer_its_value(pattern, expected):
    assert for_layer(pattern, "model.layers.1.self_attn.q_proj", 8) == expected
