"""W0 read right whatever bitsandbytes did to its storage: repacked weights are made here, for no such CPU is needed."""

import copy

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import BitsAndBytesConfig, LlamaConfig, LlamaForCausalLM

from retain import SCLoRAConfig, export, sc_lora
from retain.errors import MergeError
from retain.hf.adapters.initialise import weight_of
from retain.hf.models.describe import model_hash
from retain.hf.models.inference import evaluating
from retain.hf.tuners import storage
from retain.hf.tuners.storage import as_stored, is_repacked, keep_storage

bitsandbytes = pytest.importorskip("bitsandbytes", reason="the extra 'quant' is not installed")
IDS = torch.arange(2, 18).view(2, 8)


def four_bits(m=64, n=128, *, nested=True, kind="nf4", dtype=torch.float32, store=torch.uint8):
    generator = torch.Generator().manual_seed(0)
    layer = bitsandbytes.nn.Linear4bit(
        n, m, bias=True, compress_statistics=nested, quant_type=kind, quant_storage=store, compute_dtype=torch.float32
    )
    weight = torch.randn(m, n, generator=generator).to(dtype)
    layer.weight = bitsandbytes.nn.Params4bit(
        weight, requires_grad=False, compress_statistics=nested, quant_type=kind, quant_storage=store
    )
    return layer.to("cpu").eval(), weight.float()


def repack(layer):
    """What bitsandbytes does at the first pass in eval mode on a CPU with AVX512-BF16."""
    from bitsandbytes.functional import _convert_weight_packed_for_cpu

    layer.weight.data, layer.weight.quant_state = _convert_weight_packed_for_cpu(
        layer.weight.data, layer.weight.quant_state
    )
    return layer


def off(read, weight):
    return float((read.float() - weight).norm() / weight.norm())


CASES = {
    "QLoRA's": {},
    "one level of scales": {"nested": False},
    "fp4": {"kind": "fp4"},
    "bfloat16": {"dtype": torch.bfloat16},
    "stored as bfloat16": {"store": torch.bfloat16},
    "another shape": {"m": 96, "n": 64},
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_repacked_weight_is_read_as_it_was(case):
    layer, weight = four_bits(**case)
    before, _ = weight_of(layer, layer)
    assert off(before, weight) < 0.15
    repack(layer)
    noise = bitsandbytes.functional.dequantize_4bit(layer.weight.data.view(torch.uint8), layer.weight.quant_state)
    assert off(noise.reshape(weight.shape), weight) > 1  # this is what was read until now
    read, _ = weight_of(layer, layer)
    assert off(read, before) < 0.01  # scales are rounded to bfloat16 by repacking
    assert is_repacked(layer)  # reading changes nothing
    as_stored(layer)
    assert not is_repacked(layer)
    again, _ = weight_of(layer, layer)
    assert torch.equal(again, read)
    x = torch.randn(3, weight.shape[1])
    torch.testing.assert_close(
        layer(x), x @ again.T + layer.bias, rtol=1e-2, atol=0.1
    )  # in bfloat16 where there are units


def in_four_bits(folder):
    torch.manual_seed(0)
    sizes = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    LlamaForCausalLM(LlamaConfig(**sizes, vocab_size=64, initializer_range=0.1)).save_pretrained(folder)
    config = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True)
    return LlamaForCausalLM.from_pretrained(folder, quantization_config=config).eval()


def repacked(model):
    for module in model.modules():
        if isinstance(module, bitsandbytes.nn.Linear4bit):
            repack(module)
    return model


def test_a_models_hash_is_the_same_before_and_after_repacking(tmp_path):
    model = in_four_bits(tmp_path)
    expected, another = model_hash(model), copy.deepcopy(model)
    assert model_hash(repacked(model)) == expected
    assert model_hash(model) == expected
    layer = another.model.layers[0].self_attn.q_proj
    layer.weight.data[0] ^= 1
    assert model_hash(another) != expected


def test_what_is_computed_from_a_repacked_base_is_what_is_computed_from_it_unpacked(tmp_path):
    learn, keep = [{"input_ids": IDS}], [{"input_ids": IDS + IDS.numel()}]
    fields = {"r": 2, "target_modules": ["q_proj"]}
    models = [in_four_bits(tmp_path), repacked(in_four_bits(tmp_path))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bitsandbytes, "matmul_4bit", _matmul_of_either)
        made = [sc_lora(model, SCLoRAConfig(**fields), learn=learn, keep=keep) for model in models]
        name = "base_model.model.model.layers.0.self_attn.q_proj.lora_B.default.weight"
        ups = [model.state_dict()[name] for model in made]
        spans = [torch.linalg.qr(up.double())[0] for up in ups]
        overlap = torch.linalg.svdvals(spans[0].T @ spans[1])
        assert float(overlap.min()) > 0.95
        assert export(made[1], tmp_path / "lora", to="lora").error < 1e-6


def _matmul_of_either(x, weight, bias=None, quant_state=None):
    """bitsandbytes' product, also of a weight that is repacked, for which this machine has no kernel."""
    layer = nn.Module()
    layer.weight = copy.deepcopy(weight)
    as_stored(layer)
    W = bitsandbytes.functional.dequantize_4bit(layer.weight.data, layer.weight.quant_state)
    return nn.functional.linear(x, W.to(x.dtype), None if bias is None else bias.to(x.dtype))


def test_while_retain_reads_nothing_is_repacked_and_afterwards_it_is_as_the_user_had_it(monkeypatch):
    layer, _ = four_bits()
    layer.support_avx512bf16_for_cpu = True
    done = []
    monkeypatch.setattr(
        bitsandbytes.nn.modules, "_convert_weight_packed_for_cpu", lambda data, state: (done.append(1) or data, state)
    )
    with evaluating(layer):
        layer(torch.randn(1, 128))
    assert not done
    assert layer.support_avx512bf16_for_cpu
    layer(torch.randn(1, 128))
    assert done
    keep_storage(layer)
    done.clear()
    layer(torch.randn(1, 128))
    assert not done


class Shuffled(nn.Linear):
    """A quantised layer of a library that lays its weight out in a way of its own."""

    def forward(self, x):
        return nn.functional.linear(x, self.weight.flip(0), self.bias)


class Reader:
    def get_base_weight(self, base):
        return base.weight.detach()


def test_a_layout_that_nobody_here_knows_is_refused_by_the_layers_name(monkeypatch):
    monkeypatch.setattr(storage, "_VERIFIED", set())
    with pytest.raises(MergeError, match=r"Shuffled .* cannot be read: W0 x is 1\d\d% off .*4bit, 8bit, torchao-int8"):
        storage.dequantised(Shuffled(64, 64), Reader())
    plain = nn.Linear(64, 64)
    assert torch.equal(storage.dequantised(plain, Reader()), plain.weight)


class Broken(nn.Linear):
    def forward(self, x):
        raise RuntimeError("no kernel for this device")


def test_a_layer_that_cannot_be_tried_is_refused_with_the_reason(monkeypatch):
    monkeypatch.setattr(storage, "_VERIFIED", set())
    with pytest.raises(MergeError, match="could not be tried \\(no kernel for this device\\)"):
        storage.dequantised(Broken(8, 8), Reader())


@pytest.mark.filterwarnings("ignore:.*(different generations|rounding).*")
def test_the_update_of_pefts_own_lora_over_four_bits_is_measured(tmp_path):
    from retain.hf.models.updates import weight_updates

    model = get_peft_model(in_four_bits(tmp_path), LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False))
    for update in weight_updates(model):
        layer = model.get_submodule(update.module)
        torch.testing.assert_close(update.delta, layer.get_delta_weight("default").float(), rtol=1e-4, atol=1e-5)
