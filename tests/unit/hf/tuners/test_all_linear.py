"""What 'all-linear' leaves out, as PEFT takes it."""

import re

import pytest
from torch import nn

from retain.hf.tuners.all_linear import excluding, is_all_linear, left_out


@pytest.mark.parametrize(
    ("given", "expected"), [("all-linear", True), ("All-Linear", True), (["all-linear"], False), (None, False)]
)
def test_pefts_shorthand(given, expected):
    assert is_all_linear(given) is expected


@pytest.mark.parametrize("given", [None, ["down_proj"], {"layers.1.mlp"}, r".*layers\.1\..*"])
def test_exclusions_of_a_user_and_ours_are_one_expression_for_whole_names(given):
    pattern = excluding(given, ["model.vision", "head.0"])
    for name in ("model.vision", "model.vision.blocks.0.fc1", "head.0", "head.0.proj"):
        assert re.fullmatch(pattern, name)
    for name in ("model.visions", "other.model.vision.fc", "head.01"):
        assert not re.fullmatch(pattern, name)
    if given:
        assert re.fullmatch(pattern, "a.layers.1.mlp") or re.fullmatch(pattern, "a.down_proj")
    assert excluding(given, []) == given


def test_layers_that_are_read_are_left_out_and_norms_do_not_count():
    model = nn.ModuleDict({"first": nn.Linear(8, 8), "block": nn.TransformerEncoderLayer(8, 2, 16)})
    assert left_out(model) == ([], ["block.linear1", "block.linear2", "block.self_attn.out_proj"])
