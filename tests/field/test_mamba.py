"""Models without attention, and hybrids: defaults, and adapters that act."""

import copy
import tempfile

import odd_models
import pytest
import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.tuners_utils import BaseTunerLayer

import retain
from retain.errors import InputError
from retain.hf.adapters.attach import attach
from retain.hf.models.coverage import coverage
from retain.hf.models.direct_reads import passed_over
from retain.hf.tuners.targets import lora_targets

MAKERS = [
    odd_models.mamba,
    odd_models.mamba2,
    odd_models.falcon_mamba,
    odd_models.jamba,
    odd_models.bamba,
]
PASSED_OVER = {
    odd_models.mamba: {"x_proj", "dt_proj", "out_proj"},
    odd_models.mamba2: {"out_proj"},
    odd_models.falcon_mamba: {"x_proj", "dt_proj", "out_proj"},
    odd_models.jamba: {"dt_proj"},
    odd_models.bamba: {"out_proj"},
}
IDS = torch.arange(3, 15)[None]


def ends(model):
    return {name.rpartition(".")[2] for name, module in model.named_modules() if isinstance(module, BaseTunerLayer)}


def logits(model):
    with torch.no_grad():
        return model(IDS).logits


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize(("method", "fields"), [("vefa", {}), ("lorfa", {"r": 2}), ("lora", {"r": 2})])
def test_methods_run_without_naming_layers_act_and_merge(maker, method, fields):
    base = odd_models.made(maker)
    model = odd_models.stirred(attach(copy.deepcopy(base), method, fields)).eval()
    assert "in_proj" in ends(model)
    assert not ends(model) & PASSED_OVER[maker]
    notes = " ".join(coverage(model))
    assert all(name in notes for name in PASSED_OVER[maker])
    adapted = logits(model)
    assert (adapted - logits(base)).abs().max() > 1e-4
    merged = logits(model.merge_and_unload())
    assert torch.allclose(adapted, merged, atol=2e-5)


@pytest.mark.parametrize("maker", MAKERS)
def test_sc_lora_and_its_relatives_have_the_same_defaults(maker):
    layers = lora_targets(odd_models.made(maker), {"target_modules": None})
    assert "in_proj" in {key.rpartition(".")[2] for key in layers}
    batches = [{"input_ids": IDS}]
    for name in ("sc-lora", "milora"):
        config = retain.SCLoRAConfig(r=2, initialisation=name)
        model = retain.sc_lora(odd_models.made(maker), config, learn=batches, keep=batches)
        assert torch.allclose(logits(model), logits(odd_models.made(maker)), atol=1e-5)


@pytest.mark.parametrize("name", ["out_proj", "x_proj", "dt_proj"])
@pytest.mark.parametrize("method", ["vefa", "lora"])
def test_a_layer_that_a_fused_kernel_passes_over_is_refused_by_name(method, name):
    with pytest.raises(InputError) as error:
        attach(odd_models.made(odd_models.mamba), method, {"target_modules": ["in_proj", name]})
    assert name in str(error.value)


def test_python_configs_without_targets_work_and_load_again():
    model = odd_models.stirred(get_peft_model(odd_models.made(odd_models.mamba2), retain.VeFAConfig())).eval()
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        again = retain.load_adapter(odd_models.made(odd_models.mamba2), folder)
    assert torch.equal(logits(model), logits(again))


@pytest.mark.parametrize(
    ("module", "kind", "read"),
    [
        ("wavlm", "WavLMAttention", {"q_proj", "k_proj", "v_proj", "out_proj"}),
        ("llama", "LlamaAttention", set()),
        ("t5", "T5DenseGatedActDense", set()),  # it asks for the weight's type only
        ("deberta", "DisentangledSelfAttention", set()),  # it reads `in_proj` in a branch that no model takes
    ],
)
def test_the_code_tells_which_weights_are_read_without_a_call(module, kind, read):
    import importlib

    found = getattr(importlib.import_module(f"transformers.models.{module}.modeling_{module}"), kind)
    holder = found.__new__(found)
    torch.nn.Module.__init__(holder)
    names = ("in_proj", "q_proj", "k_proj", "v_proj", "o_proj", "out_proj", "wi_0", "wo")
    assert {name for name in names if passed_over(holder, name)} == read


def test_lora_of_pefts_own_is_left_as_peft_has_it():
    model = get_peft_model(odd_models.made(odd_models.mamba), LoraConfig(r=2, target_modules=["in_proj"]))
    assert ends(model) == {"in_proj"}
