"""The rotation's own layer: PEFT's OFT by other means, forms and sizes, strengths that are not trained, refusals."""

import pytest
import torch
from peft import OFTConfig, PeftModel, get_peft_model
from torch import nn

import retain
from retain import InputError, RotationConfig, TargetError
from retain.hf.adapters.attach import attach
from retain.hf.scaling import shrink, write_at
from tiny import make_llama

IDS = torch.arange(2, 18).view(2, 8)
NAMES = ["q_proj", "o_proj", "down_proj"]


def layers(model, part):
    return [module for module in model.modules() if hasattr(module, part)]


def model(**fields):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(12, 8), nn.Linear(8, 5)).double()
    return get_peft_model(net, RotationConfig(target_modules=["0", "1"], **fields))


def stir(adapted, size=0.3):
    generator = torch.Generator().manual_seed(1)
    for name, parameter in adapted.named_parameters():
        if "rotation_K" in name:
            parameter.data.copy_(size * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))


def test_in_blocks_it_is_pefts_oft_with_the_exact_cayley_transform():
    ours = attach(make_llama().double(), "rotation", {"target_modules": NAMES, "block_size": 8})
    fields = {"oft_block_size": 8, "use_cayley_neumann": False, "target_modules": NAMES}
    theirs = get_peft_model(make_llama().double(), OFTConfig(**fields), autocast_adapter_dtype=False)
    pairs = list(zip(layers(ours, "rotation_K"), layers(theirs, "oft_R"), strict=True))
    stir(ours)
    for mine, other in pairs:
        oft = other.oft_R["default"].weight
        oft.data.copy_(mine.rotation_K["default"].weight.data.view(oft.shape))
    found = [each(input_ids=IDS, labels=IDS) for each in (ours, theirs)]
    torch.testing.assert_close(found[0].logits, found[1].logits, rtol=1e-11, atol=1e-12)
    for each in found:
        each.loss.backward()
    for mine, other in pairs:
        K, R = mine.rotation_K["default"].weight, other.oft_R["default"].weight
        assert K.grad.any()
        torch.testing.assert_close(K.grad.view(R.shape), R.grad, rtol=1e-10, atol=1e-12)
    approximate = get_peft_model(make_llama().double(), OFTConfig(**fields | {"use_cayley_neumann": True}))
    for one, other in zip(layers(approximate, "oft_R"), layers(ours, "rotation_K"), strict=True):
        one.oft_R["default"].weight.data.copy_(
            other.rotation_K["default"].weight.data.view(one.oft_R["default"].weight.shape)
        )
        R = one.oft_R["default"].get_weight().double()
        assert (R @ R.T - torch.eye(len(R))).abs().max() > 1e-2  # PEFT's default is orthogonal for small K only


@pytest.mark.parametrize("fields", [{"block_size": 4}, {"form": "kronecker", "kronecker_factors": 2}])
def test_a_merged_layer_has_the_singular_values_of_the_base(fields):
    adapted = model(**fields)
    before = [layer.base_layer.weight.detach().clone() for layer in layers(adapted, "rotation_K")]
    stir(adapted)
    merged = adapted.merge_and_unload()
    for W0, layer in zip(before, merged, strict=True):
        assert not torch.allclose(layer.weight, W0, atol=1e-2)
        values = [torch.linalg.svdvals(weight.detach()) for weight in (layer.weight, W0)]
        torch.testing.assert_close(*values, rtol=0, atol=1e-14 * float(values[1][0]))


def test_only_the_angles_are_trained_and_strengths_are_saved(tmp_path):
    adapted = attach(make_llama(), "rotation", {"target_modules": NAMES})
    trained = {name.split(".")[-3] for name, p in adapted.named_parameters() if p.requires_grad}
    assert trained == {"rotation_K"}
    stir(adapted)
    write_at(adapted, 0.25, tmp_path / "quarter")
    again = PeftModel.from_pretrained(make_llama(), tmp_path / "quarter")
    for layer in layers(again, "rotation_K"):
        assert layer.rotation_strength["default"].weight.tolist() == [0.25]


def test_shrinking_in_training_leaves_a_rotation():
    adapted = model()
    stir(adapted)
    before = [layer.base_layer.weight.detach().clone() for layer in layers(adapted, "rotation_K")]
    assert shrink(adapted, 0.5) is False
    for W0, layer in zip(before, adapted.merge_and_unload(), strict=True):
        torch.testing.assert_close(*(torch.linalg.svdvals(w.detach()) for w in (layer.weight, W0)), rtol=0, atol=1e-13)


def test_adapters_of_other_forms_are_not_combined():
    adapted = model(block_size=4)
    adapted.add_adapter("two", RotationConfig(target_modules=["0", "1"], block_size=2))
    with pytest.raises(InputError, match="different forms .block 2 and block 4"):
        adapted.add_weighted_adapter(["default", "two"], [1.0, 1.0], "sum")
    with pytest.raises(InputError, match="the rotation of Σ wK is not"):
        adapted.add_weighted_adapter(["default"], [1.0], "sum", combination_type="linear")


def test_what_cannot_be_rotated_is_refused():
    with pytest.raises(
        TargetError, match="37 features divide into no blocks of 2 to 32, so nothing would be rotated"
    ) as caught:
        get_peft_model(nn.Sequential(nn.Linear(37, 41), nn.Linear(41, 4)), RotationConfig(target_modules=["0", "1"]))
    assert [problem[:30] for problem in caught.value.problems] == [
        "0: block_size=32: 37 features ", "1: block_size=32: 41 features "
    ]  # fmt: skip
    for form in ("block", "kronecker"):
        with pytest.raises(TargetError, match="^0: a single input feature has no rotation; leave such layers out"):
            get_peft_model(nn.Sequential(nn.Linear(1, 4)), RotationConfig(target_modules=["0"], form=form))
    whole = get_peft_model(nn.Sequential(nn.Linear(37, 4)), RotationConfig(target_modules=["0"], form="kronecker"))
    assert layers(whole, "rotation_K")[0].rotation_K["default"].weight.shape == (37 * 36 // 2, 1)
    with pytest.raises(TargetError) as caught:
        RotationConfig(form="cubic", block_size=1, kronecker_factors=0, rotations=True)
    assert len(caught.value.problems) == 4
    assert retain.RotationConfig(block_size=2).sizes(6) == (2, 2, 2)
