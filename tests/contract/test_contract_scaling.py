"""What the update scaling promises, for every method of the table, for SC-LoRA, and for PEFT's own methods."""

import copy

import pytest
import torch
from contract_models import ARCHITECTURES, METHODS, logits
from peft import PeftModel
from sc_lora_models import initialised
from torch import nn
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification
from transformers.pytorch_utils import Conv1D

from retain import SparseConfig, sparse_update
from retain.errors import InputError
from retain.hf.adapters.attach import attach
from retain.hf.models.updates import weight_updates
from retain.hf.scaling import keeps_its_form, merged_at, scaled, scales_exactly, shrink, write_at

LINEAR = {
    **{method.name: (method.name, {}) for method in METHODS},
    "lora": ("lora", {}),
    "rslora": ("lora", {"use_rslora": True, "lora_alpha": 3}),
    "lora-patterns": ("lora", {"rank_pattern": {"q_proj": 3}, "alpha_pattern": {"q_proj": 5}}),
    "adalora": ("adalora", {"total_step": 10}),
    "ia3": ("ia3", {}),
    "loha": ("loha", {}),
    "lokr": ("lokr", {}),
    "vera": ("vera", {}),
    "fourierft": ("fourierft", {"n_frequency": 50, "scaling": 20}),
    "randlora": ("randlora", {}),
    "shira": ("shira", {"r": 2}),
    "hira": ("hira", {}),
    "sc-lora": ("sc-lora", {}),
    "sparse": ("sparse", {}),
    "head": ("lora", {"modules_to_save": ["lm_head"]}),
}
BENT = {
    "dora": ("lora", {"use_dora": True}),
    "oft": ("oft", {}),
    "boft": ("boft", {}),
    "hra": ("hra", {}),
    "c3a": ("c3a", {"block_size": 16}),
    "miss": ("miss", {"r": 4}),
}
ALL = {**LINEAR, **BENT}
FORMED = tuple(method.name for method in METHODS if method.layer.shrunk_by)
"""Methods of the table that training shrinks by another factor than the one that they are linear in."""
TOLERANCE = {torch.float64: 2e-6, torch.float32: 5e-6, torch.bfloat16: 6e-2}
"""In float64 the adapters of several methods compute in float32 all the same."""
BATCH = {"input_ids": ARCHITECTURES["llama"].batch()["input_ids"]}


def make(name: str, dtype: torch.dtype = torch.float32, architecture: str = "llama") -> PeftModel:
    """A model with an adapter, disturbed as if it had been trained."""
    kind, fields = ALL[name]
    where = ARCHITECTURES[architecture]
    if kind == "sparse":
        model = sparse_update(where.make(dtype), SparseConfig(density=0.1), learn=[where.batch(dtype=dtype)])
    else:
        model = initialised(where, dtype) if kind == "sc-lora" else attach(where.make(dtype), kind, dict(fields))
    generator = torch.Generator().manual_seed(3)
    for parameter in model.parameters():
        if parameter.requires_grad:
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.data.copy_(parameter.data + (0.05 * noise).to(parameter))
    return model.eval()


def base(dtype: torch.dtype = torch.float32, architecture: str = "llama") -> nn.Module:
    return ARCHITECTURES[architecture].make(dtype)


def held(model: nn.Module) -> dict[str, torch.Tensor]:
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {key: value.detach().clone() for key, value in tensors.items()}


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(value, right[key]) for key, value in left.items())


def at(model: nn.Module, alpha: float, dtype: torch.dtype = torch.float32) -> nn.Module:
    """The base with W0 + alpha (W_eff - W0) written into it, from updates measured and added in float64."""
    plain = base(dtype)
    for update in weight_updates(model):
        name = update.module.removeprefix("base_model.model.").replace(".original_module", "")
        layer = plain.get_submodule(name)
        weight = update.weight.double() + alpha * update.delta.double()
        layer.weight.data = (weight.T if isinstance(layer, Conv1D) else weight).to(dtype).contiguous()
    return plain


@pytest.mark.parametrize("name", ALL)
def test_nothing_is_the_base_and_all_is_the_tuned_model_bit_for_bit(name):
    model = make(name)
    before, tuned = held(model), logits(model, BATCH)
    trainable = [parameter.requires_grad for parameter in model.parameters()]
    assert scales_exactly(model)
    with scaled(model, 0.0) as same_model:
        assert same_model is model
        assert torch.equal(logits(model, BATCH), logits(base(), BATCH))
    with scaled(model, 1):
        assert torch.equal(logits(model, BATCH), tuned)
    with scaled(model, 0.3):
        assert not torch.equal(logits(model, BATCH), tuned)
    with pytest.raises(KeyError), scaled(model, {"q_proj|query|attn": 0, "": 0.3}):
        raise KeyError
    assert same(before, held(model))
    assert trainable == [parameter.requires_grad for parameter in model.parameters()]
    assert torch.equal(logits(model, BATCH), tuned)


@pytest.mark.parametrize("alpha", [0.3, 1.6, -0.5])
@pytest.mark.parametrize("name", ALL)
def test_in_between_it_is_w0_plus_alpha_of_the_update(name, alpha):
    model = make(name)
    with scaled(model, alpha):
        found = logits(model, BATCH)
    moved = (logits(model, BATCH) - logits(base(), BATCH)).abs().max()
    assert moved > 1e-3
    expected = logits(at(model, alpha), BATCH)
    scale = max(1.0, float(expected.abs().max()))
    torch.testing.assert_close(found, expected, rtol=0, atol=TOLERANCE[torch.float32] * scale)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("name", ["vefa", "lorfa", "lora", "ia3", "sc-lora", "dora", "oft"])
def test_in_other_precisions_too(name, dtype):
    model = make(name, dtype)
    with scaled(model, 0.3):
        found = logits(model, BATCH)
    expected = logits(at(model, 0.3, dtype), BATCH)
    scale = float(expected.abs().max())
    torch.testing.assert_close(found, expected, rtol=0, atol=TOLERANCE[dtype] * scale)


@pytest.mark.parametrize("name", ["vefa", "lorfa", "lora", "dora", "sc-lora", "ia3"])
@pytest.mark.parametrize("architecture", ["gpt2", "bert", "vit"])
def test_other_architectures_with_biases_and_heads(name, architecture, tmp_path):
    if name == "ia3" and architecture == "vit":
        pytest.skip("PEFT has no default targets for it")
    model = make(name, architecture=architecture)
    batch = ARCHITECTURES[architecture].batch()
    with scaled(model, 0):
        assert torch.equal(logits(model, batch), logits(base(architecture=architecture), batch))
    with scaled(model, 0.4):
        found = logits(model, batch)
    if architecture == "gpt2":
        merged = AutoModelForCausalLM.from_pretrained(merged_at(model, 0.4, tmp_path / "whole")).eval()
    elif architecture == "bert":
        merged = AutoModelForSequenceClassification.from_pretrained(merged_at(model, 0.4, tmp_path / "whole")).eval()
    else:
        merged = type(base(architecture="vit")).from_pretrained(merged_at(model, 0.4, tmp_path / "whole")).eval()
    torch.testing.assert_close(found, logits(merged, batch), rtol=0, atol=5e-6)


@pytest.mark.parametrize("name", LINEAR)
def test_the_written_adapter_is_an_ordinary_one_that_does_the_same(name, tmp_path):
    model = make(name)
    before = held(model)
    assert keeps_its_form(model) is None
    folder = write_at(model, 0.3, tmp_path / "at")
    assert folder == tmp_path / "at"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["at"]
    assert same(before, held(model))
    with scaled(model, 0.3):
        expected = logits(model, BATCH)
    loaded = PeftModel.from_pretrained(base(), folder, torch_device="cpu").eval()
    assert loaded.peft_config["default"].peft_type == model.peft_config["default"].peft_type
    torch.testing.assert_close(logits(loaded, BATCH), expected, rtol=0, atol=1e-6)
    write_at(model, 0, folder)
    assert torch.equal(logits(PeftModel.from_pretrained(base(), folder).eval(), BATCH), logits(base(), BATCH))


@pytest.mark.parametrize("name", BENT)
def test_what_has_no_adapter_of_its_own_form_is_written_whole(name, tmp_path):
    model = make(name)
    before = held(model)
    named = {"dora": "Dora"}.get(name, name.upper())
    assert named in keeps_its_form(model)
    with pytest.raises(InputError, match=f"{named} is not linear .* merged_at"):
        write_at(model, 0.3, tmp_path / "at")
    assert not list(tmp_path.iterdir())
    with scaled(model, 0.3):
        expected = logits(model, BATCH)
    merged = AutoModelForCausalLM.from_pretrained(merged_at(model, 0.3, tmp_path / "whole")).eval()
    torch.testing.assert_close(logits(merged, BATCH), expected, rtol=0, atol=5e-6)
    assert same(before, held(model))


def deltas(model: nn.Module) -> dict[str, torch.Tensor]:
    return {update.module: update.delta for update in weight_updates(model)}


@pytest.mark.parametrize("name", [name for name in LINEAR if name not in {"sc-lora", "head", *FORMED}])
def test_shrinking_multiplies_the_update_for_good(name):
    model = make(name)
    before = deltas(model)
    assert shrink(model, 0.7) is True
    for key, delta in deltas(model).items():
        torch.testing.assert_close(delta, 0.7 * before[key], rtol=0, atol=1e-6 * float(1 + before[key].abs().max()))


@pytest.mark.parametrize("name", ["sc-lora", "dora", "oft", "boft", "hra", *FORMED])
def test_shrinking_what_is_not_linear_goes_to_the_identity(name):
    model = make(name)
    before = deltas(model)
    near = copy.deepcopy(model)
    assert shrink(near, 0.9) is False
    for key, delta in deltas(near).items():
        ratio = float((delta * before[key]).sum() / before[key].square().sum())
        assert 0.75 < ratio < 0.95
    assert shrink(model, 0) is False
    torch.testing.assert_close(logits(model, BATCH), logits(base(), BATCH), rtol=0, atol=2e-6)


def test_shrinking_leaves_the_start_of_an_sc_lora_and_a_head_alone():
    model = make("sc-lora")
    starts = {key: value for key, value in held(model).items() if key.endswith(".initial")}
    shrink(model, 0.5)
    assert starts
    assert all(torch.equal(value, held(model)[key]) for key, value in starts.items())
    model = make("head")
    head = model.base_model.model.lm_head.modules_to_save["default"].weight.clone()
    assert shrink(model, 0.5)
    assert torch.equal(head, model.base_model.model.lm_head.modules_to_save["default"].weight)
