"""Quantised bases through PEFT's backends: forward, gradient, merge, and the original bits back."""

import copy
import tempfile

import pytest
import torch
from peft import get_peft_model
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from retain import LoRFAConfig, VeFAConfig
from retain.errors import MergeError
from retain.hf.models.updates import weight_updates

CONFIGS = {"vefa": VeFAConfig, "lorfa": LoRFAConfig}
IDS = torch.arange(2, 18).view(2, 8)
SIZES = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 64}


def llama():
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(**SIZES)).eval()


def in_8_bits_by_bitsandbytes():
    bitsandbytes = pytest.importorskip("bitsandbytes", reason="the extra 'quant' is not installed")
    model = llama()
    for parent in [m for layer in model.model.layers for m in (layer.self_attn, layer.mlp)]:
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Linear):
                new = bitsandbytes.nn.Linear8bitLt(
                    child.in_features, child.out_features, bias=False, has_fp16_weights=False
                )
                new.weight = bitsandbytes.nn.Int8Params(child.weight.data, requires_grad=False, has_fp16_weights=False)
                setattr(parent, name, new.to("cpu"))
    return model.eval()  # bitsandbytes computes otherwise while training


def in_8_bits_by_torchao():
    pytest.importorskip("torchao", reason="the extra 'quant' is not installed")
    from torchao.quantization import Int8WeightOnlyConfig
    from transformers import TorchAoConfig

    with tempfile.TemporaryDirectory() as folder:
        llama().save_pretrained(folder)
        config = TorchAoConfig(Int8WeightOnlyConfig())
        return LlamaForCausalLM.from_pretrained(folder, quantization_config=config, dtype=torch.float32).eval()


MAKERS = {"bitsandbytes": in_8_bits_by_bitsandbytes, "torchao": in_8_bits_by_torchao}


@pytest.fixture(params=MAKERS)
def base(request):
    return MAKERS[request.param]()


def adapted(base, name):
    model = get_peft_model(base, CONFIGS[name](target_modules=["q_proj", "down_proj"])).eval()
    torch.manual_seed(3)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data.normal_(std=0.1)
    return model


def stored(model):
    """Everything that makes up the quantised weights."""
    found = {}
    for key, module in model.named_modules():
        weight = getattr(module, "weight", None)
        if key.endswith("base_layer") and weight is not None:
            found[key] = (
                weight.data.dequantize()
                if hasattr(weight, "tensor_impl") or "ao" in type(weight).__module__
                else weight.data
            )
            found[f"{key} scale"] = getattr(weight, "SCB", None)
    return {key: value.clone() for key, value in found.items() if isinstance(value, torch.Tensor)}


@pytest.mark.parametrize("name", CONFIGS)
def test_forward_gradient_merge_and_back(base, name):
    expected = base(IDS).logits.detach()
    model = adapted(base, name)
    with model.disable_adapter():
        assert torch.equal(model(IDS).logits, expected)
    tuned = model(IDS).logits
    assert not torch.allclose(tuned, expected)
    model(IDS, labels=IDS).loss.backward()
    gradients = [p.grad for p in model.parameters() if p.requires_grad]
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert any(gradient.any() for gradient in gradients)

    before, tuned = stored(model), model(IDS).logits.detach()
    assert before
    for _ in range(2):
        model.merge_adapter()
        merged = model(IDS).logits
        assert float((merged - tuned).norm() / tuned.norm()) < 0.05
        assert float((merged - tuned).norm()) < 0.5 * float((merged - expected).norm())
        model.unmerge_adapter()
        after = stored(model)
        assert before.keys() == after.keys()
        assert all(torch.equal(before[key], after[key]) for key in before)
        assert torch.equal(model(IDS).logits, tuned)


@pytest.mark.parametrize("name", CONFIGS)
def test_two_adapters_merge_from_the_original(base, name):
    model = adapted(base, name)
    model.add_adapter("second", CONFIGS[name](target_modules=["q_proj", "down_proj"]))
    before = stored(model)
    model.merge_adapter(["default"])
    one_after_the_other = copy.deepcopy(stored(model))
    model.merge_adapter(["second"])
    assert all(torch.equal(one_after_the_other[key], value) for key, value in stored(model).items())
    model.unmerge_adapter()
    assert all(torch.equal(before[key], value) for key, value in stored(model).items())


@pytest.mark.parametrize("name", CONFIGS)
def test_the_update_is_the_adapters_and_not_the_requantisations(base, name):
    model = adapted(base, name)
    for update in weight_updates(model):
        layer = model.get_submodule(update.module)
        torch.testing.assert_close(update.delta, layer.get_delta_weight("default").float(), rtol=1e-4, atol=1e-6)


def test_quantised_by_hand_with_torchao_runs_and_says_why_it_cannot_merge():
    quantization = pytest.importorskip("torchao.quantization", reason="the extra 'quant' is not installed")
    base = llama()
    quantization.quantize_(base.model, quantization.Int8WeightOnlyConfig())
    expected = base(IDS).logits
    model = get_peft_model(base, VeFAConfig(target_modules=["q_proj"])).eval()
    assert torch.equal(model(IDS).logits, expected)
    assert len(list(weight_updates(model))) == 2
    with pytest.raises(MergeError, match="by hand"):
        model.merge_adapter()


class ForwardOnly(nn.Module):
    """A layer as GPTQ and the like have it: it runs, and its weight cannot be read."""

    in_features, out_features = 4, 3

    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(4, 3)

    def forward(self, x):
        return self.hidden(x)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_forward_only_backend_trains_and_refuses_to_merge(monkeypatch, name):
    from peft.utils.quantization_utils import ForwardOnlyQuantizationBackend

    from retain.hf.models.updates import UpdatesUnavailableError
    from retain.hf.tuners import base_weight

    def resolve(base, **_):
        return ForwardOnlyQuantizationBackend("gptq") if isinstance(base, ForwardOnly) else None

    monkeypatch.setattr(base_weight, "resolve_quantization_backend", resolve)
    fields = {"r": 2} if name == "lorfa" else {}
    model = get_peft_model(nn.Sequential(ForwardOnly()), CONFIGS[name](target_modules=["0"], **fields))
    x = torch.randn(5, 4)
    assert torch.equal(model(x), model.base_model.model[0].base_layer(x))
    model(x).sum().backward()
    assert any(p.grad.any() for p in model.parameters() if p.requires_grad)
    with pytest.raises(MergeError, match="gptq"):
        model.merge_adapter()
    with pytest.raises(UpdatesUnavailableError, match="gptq"):
        list(weight_updates(model))
