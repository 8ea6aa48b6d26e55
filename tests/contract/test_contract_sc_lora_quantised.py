"""SC-LoRA over quantised bases: it starts at the base, trains beside it, and saves what loads onto the same base."""

import tempfile

import pytest
import torch
from contract_models import ARCHITECTURES, logits
from peft import PeftModel
from sc_lora_models import disturb, factors, keep_batch, learn_batch, steps, trained
from torch import nn
from transformers import LlamaForCausalLM

from retain import SCLoRAConfig, load_adapter, sc_lora

LLAMA = ARCHITECTURES["llama"]
MISSING = "the extra 'quant' is not installed"
BATCH = LLAMA.batch()


def in_8_bits_by_bitsandbytes():
    bitsandbytes = pytest.importorskip("bitsandbytes", reason=MISSING)
    model = LLAMA.make()
    for parent in [m for layer in model.model.layers for m in (layer.self_attn, layer.mlp)]:
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Linear):
                new = bitsandbytes.nn.Linear8bitLt(
                    child.in_features, child.out_features, bias=False, has_fp16_weights=False
                )
                new.weight = bitsandbytes.nn.Int8Params(child.weight.data, requires_grad=False, has_fp16_weights=False)
                setattr(parent, name, new.to("cpu"))
    model.is_loaded_in_8bit = True  # as transformers tells PEFT
    return model.eval()  # bitsandbytes computes otherwise while training


def in_8_bits_by_torchao():
    pytest.importorskip("torchao", reason=MISSING)
    from torchao.quantization import Int8WeightOnlyConfig
    from transformers import TorchAoConfig

    with tempfile.TemporaryDirectory() as folder:
        LLAMA.make().save_pretrained(folder)
        config = TorchAoConfig(Int8WeightOnlyConfig())
        return LlamaForCausalLM.from_pretrained(folder, quantization_config=config, dtype=torch.float32).eval()


MAKERS = {"bitsandbytes": in_8_bits_by_bitsandbytes, "torchao": in_8_bits_by_torchao}


@pytest.fixture(params=MAKERS)
def make(request):
    return MAKERS[request.param]


def initialised(base, initialisation="sc-lora"):
    return sc_lora(
        base, SCLoRAConfig(r=2, initialisation=initialisation), learn=[learn_batch(LLAMA)], keep=[keep_batch(LLAMA)]
    ).eval()


@pytest.mark.parametrize("initialisation", ["sc-lora", "milora"])
def test_it_begins_at_the_quantised_base_bit_for_bit_and_is_off_when_disabled(make, initialisation):
    base = make()
    expected = logits(base, BATCH)
    model = initialised(base, initialisation)
    assert torch.equal(logits(model, BATCH), expected)
    disturb(model)
    assert not torch.allclose(logits(model, BATCH), expected)
    with model.disable_adapter():
        assert torch.equal(logits(model, BATCH), expected)


def test_it_trains_beside_the_quantised_base(make):
    model = initialised(make())
    with model.disable_adapter():
        expected = logits(model, BATCH)
    losses = steps(model, torch.optim.Adam(trained(model).values(), lr=0.02), BATCH, 3)
    assert losses[-1] < losses[0]
    with model.disable_adapter():
        assert torch.equal(logits(model, BATCH), expected)


def test_what_is_saved_loads_onto_the_same_base(make, tmp_path):
    model = initialised(make())
    disturb(model)
    expected = logits(model, BATCH)
    model.save_pretrained(tmp_path)
    stock = PeftModel.from_pretrained(make(), tmp_path).eval()
    torch.testing.assert_close(logits(stock, BATCH), expected, rtol=0, atol=1e-6)
    loaded = load_adapter(make(), tmp_path, trainable=True)
    assert torch.equal(logits(loaded.eval(), BATCH), expected)
    assert {key: v.tolist() for key, v in factors(loaded).items() if key.endswith(("A", "B", "B0"))} == {
        key: v.tolist() for key, v in factors(model).items() if key.endswith(("A", "B", "B0"))
    }
    loaded(**BATCH).loss.backward()
    assert all(parameter.grad.isfinite().all() for parameter in trained(loaded).values())


@pytest.mark.filterwarnings("ignore:.*(8-bit|different generations|rounding).*")
def test_merged_it_is_near_the_tuned_model_and_unmerged_near_the_base(make):
    model = initialised(make())
    disturb(model, size=0.2)
    tuned = logits(model, BATCH)
    with model.disable_adapter():
        base = logits(model, BATCH)
    model.merge_adapter()
    merged = logits(model, BATCH)
    assert float((merged - tuned).norm()) < 0.2 * float((merged - base).norm())
    model.unmerge_adapter()
    again = logits(model, BATCH)
    assert float((again - tuned).norm()) < 0.2 * float((tuned - base).norm())
    with model.disable_adapter():
        assert float((logits(model, BATCH) - base).norm()) < 0.2 * float((tuned - base).norm())
