"""SC-LoRA merged: the same function, and every bit back, whatever else is merged before or after it."""

import copy

import pytest
import torch
from contract_models import logits, same_bits
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file
from sc_lora_models import DTYPES, TOLERANCE, bits, disturb, initialised, plain

from retain.hf.adapters.residual_lora import residual_layers


@pytest.fixture(params=DTYPES.values(), ids=DTYPES.keys())
def dtype(request):
    return request.param


def test_merged_equals_unmerged_and_unmerging_restores_every_bit(architecture, dtype):
    model, batch = initialised(architecture, dtype, lora_alpha=3), architecture.batch(dtype=dtype)
    disturb(model)
    before, expected = bits(model), logits(model, batch)
    for safe in (False, True):
        model.merge_adapter(safe_merge=safe)
        merged = bits(model)
        assert not same_bits(merged, before)
        assert {key: value.dtype for key, value in merged.items()} == {key: v.dtype for key, v in before.items()}
        torch.testing.assert_close(logits(model, batch), expected, rtol=0, atol=TOLERANCE[dtype])
        model.unmerge_adapter()
        assert same_bits(bits(model), before)
        assert torch.equal(logits(model, batch), expected)


def test_a_merged_weight_is_rounded_once(architecture):
    model = initialised(architecture, torch.bfloat16)
    disturb(model)
    before = bits(model)
    exact = {
        key.removeprefix("base_model.model.") + ".weight": layer.get_delta_weight("default").float()
        for key, layer in residual_layers(model, "default").items()
    }
    model.merge_adapter()
    for key, value in bits(model).items():
        if key in exact:
            torch.testing.assert_close(value, (before[key].float() + exact[key]).bfloat16(), rtol=0, atol=0)


def test_before_training_merging_changes_no_bit(architecture):
    model = initialised(architecture, torch.bfloat16)
    before = bits(model)
    model.merge_adapter()
    assert same_bits(bits(model), before)


def test_disabling_while_merged_is_the_base_bit_for_bit(architecture):
    model, batch = initialised(architecture), architecture.batch()
    disturb(model)
    model.merge_adapter()
    with model.disable_adapter():
        assert torch.equal(logits(model, batch), logits(architecture.make(), batch))


def test_merge_and_unload(architecture, dtype):
    model, batch = initialised(architecture, dtype), architecture.batch(dtype=dtype)
    disturb(model)
    expected = logits(model, batch)
    merged = model.merge_and_unload(safe_merge=dtype == torch.float32)
    assert not any(isinstance(module, LoraLayer) for module in merged.modules())
    assert {p.dtype for p in merged.parameters()} == {dtype}
    assert all(p.is_contiguous() for p in merged.parameters())
    torch.testing.assert_close(logits(merged, batch), expected, rtol=0, atol=TOLERANCE[dtype])


def test_unload_gives_the_base(architecture):
    model = initialised(architecture)
    disturb(model)
    base = model.unload()
    assert same_bits(bits(base), bits(architecture.make()))
    assert torch.equal(logits(base, architecture.batch()), logits(architecture.make(), architecture.batch()))


def test_a_merged_state_dict_holds_no_second_copy(llama):
    model = initialised(llama)
    keys = set(model.state_dict())
    model.merge_adapter()
    assert set(model.state_dict()) == keys


@pytest.mark.parametrize("kind", [torch.double, torch.bfloat16])
def test_merging_survives_moving_the_model_to_another_dtype(architecture, kind):
    model = initialised(architecture)
    disturb(model)
    model.merge_adapter()
    model.to(kind)
    model.unmerge_adapter()
    assert same_bits(bits(model), {key: value.to(kind) for key, value in bits(architecture.make()).items()})


def test_a_merged_copy_unmerges_by_itself(llama):
    model = initialised(llama)
    disturb(model)
    before = bits(model)
    model.merge_adapter()
    residual = copy.deepcopy(model)
    merged = bits(model)
    residual.unmerge_adapter()
    assert same_bits(bits(residual), before)
    assert same_bits(bits(model), merged)
    model.unmerge_adapter()
    assert same_bits(bits(model), before)


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_safe_merge_refuses_what_is_not_finite(llama, broken):
    model = initialised(llama)
    disturb(model)
    before = bits(model)
    next(iter(residual_layers(model, "default").values())).lora_B["default"].delta.data.fill_(broken)
    with pytest.raises(ValueError, match="NaNs detected"):
        model.merge_adapter(safe_merge=True)
    assert same_bits(bits(model), before)


def test_saving_while_merged_saves_the_same_adapter(llama, tmp_path):
    model = initialised(llama)
    disturb(model)
    model.save_pretrained(tmp_path / "apart")
    model.merge_adapter()
    model.save_pretrained(tmp_path / "merged")
    assert same_bits(*(load_file(tmp_path / name / "adapter_model.safetensors") for name in ("apart", "merged")))


def both_merged(model, batch, order, atol, *, safe):
    """Merge two adapters in this order and unmerge them; the base weights after it."""
    model.base_model.set_adapter(order)
    expected = logits(model, batch)
    model.merge_adapter(order, safe_merge=safe)
    torch.testing.assert_close(logits(model, batch), expected, rtol=0, atol=atol)
    model.unmerge_adapter()
    return bits(model)


def test_two_merged_one_after_the_other_give_every_bit_back(architecture, dtype):
    model = initialised(
        architecture, dtype, onto=initialised(architecture, dtype), adapter="second", initialisation="milora", r=3
    )
    disturb(model, "default")
    disturb(model, "second", seed=3)
    before, batch = bits(model), architecture.batch(dtype=dtype)
    for order, safe in ((["default", "second"], False), (["second", "default"], True)):
        assert same_bits(both_merged(model, batch, order, TOLERANCE[dtype], safe=safe), before)


def test_merged_beside_an_ordinary_lora_nothing_is_lost_but_what_that_rounds_away(architecture, dtype):
    model = initialised(architecture, dtype, onto=plain(architecture, dtype, adapter="plain"), adapter="mine")
    disturb(model, "plain")
    disturb(model, "mine", seed=3)
    alone, batch = copy.deepcopy(model), architecture.batch(dtype=dtype)
    for safe in (False, True):
        before = bits(model)
        assert same_bits(both_merged(model, batch, ["mine", "plain"], TOLERANCE[dtype], safe=safe), before)
        after = both_merged(model, batch, ["plain", "mine"], TOLERANCE[dtype], safe=safe)
        alone.merge_adapter(["plain"], safe_merge=safe)
        alone.unmerge_adapter()
        assert same_bits(after, bits(alone))  # an ordinary LoRA is subtracted again, and rounded
