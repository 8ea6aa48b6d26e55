"""The parts that the update scaling acts on, and the refusals of models and numbers that it cannot act on."""

import pytest
import torch
from scaling_models import trained

from retain.errors import InputError, MergeError
from retain.hf.adapters.attach import attach
from retain.hf.scaling.parts import Factor, keeps_its_form, scales_exactly
from retain.hf.scaling.scaled import scaled
from retain.hf.scaling.shrink import shrink
from retain.hf.scaling.write_scaled import write_at
from tiny import make_llama


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
        (attach(make_llama(), "prompt_tuning", {"num_virtual_tokens": 2}), "is prompt_tuning: it is no update"),
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


def test_a_whole_model_keeps_its_form():
    assert keeps_its_form(make_llama()) is None


def test_a_factor_moves_from_its_origin():
    tensor = torch.tensor([3.0, -1.0], dtype=torch.bfloat16)
    assert Factor(tensor, 1.0).at(0.5).tolist() == [2.0, 0.0]
    assert Factor(tensor, torch.tensor([1.0, 1.0])).at(2).tolist() == [5.0, -3.0]
    assert Factor(tensor, 0.0).at(0).tolist() == [0.0, 0.0]
    assert Factor(tensor, 0.0).at(0.5).dtype == torch.bfloat16
