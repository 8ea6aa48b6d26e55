"""A model inside the wrapper of `torch.compile` or of data parallelism, given to the functions, is that model."""

import pytest
import torch
from peft import get_peft_model
from torch import nn

import retain
from retain.evaluate.drift.layer_inputs import observe
from retain.hf.models.given import unwrapped
from tiny import WORDS, make_llama, make_tokenizer


def compiled(model):
    return torch.compile(model, backend="eager")


WRAPPERS = {
    "compile": compiled,
    "parallel": nn.DataParallel,
    "compiled parallel": lambda model: compiled(nn.DataParallel(model)),
}
IDS = torch.arange(8).view(2, 4)
ROWS = [{"prompt": f"{WORDS[n]} {WORDS[n + 1]}", "completion": WORDS[n + 2]} for n in range(8)]


def tuned():
    model = get_peft_model(make_llama(), retain.LoRFAConfig(r=2, target_modules=["q_proj"])).eval()
    torch.manual_seed(1)
    for parameter in model.parameters():
        if parameter.requires_grad:
            nn.init.normal_(parameter, std=0.3)
    return model


def logits(model):
    with torch.no_grad():
        return model.eval()(input_ids=IDS).logits


@pytest.fixture(params=WRAPPERS)
def wrap(request):
    return WRAPPERS[request.param]


def test_it_is_measured_as_without(wrap):
    model = tuned()
    given = {"tokenizer": make_tokenizer(), "keep": {"k": ROWS}, "show_progress": False}
    plain, wrapped = (retain.measure(one, **given) for one in (model, wrap(model)))
    assert plain.keep == wrapped.keep
    assert plain.drift == wrapped.drift


@pytest.mark.parametrize("dynamic", [None, True, False])
def test_what_layers_are_given_is_seen_while_a_model_is_compiled_in_place(dynamic):
    batches = [{"input_ids": torch.randint(2, 60, (2, length))} for length in (4, 5, 6)]
    name, model = "model.layers.0.self_attn.q_proj", make_llama()
    with torch.no_grad():
        expected = observe(model, batches, [name]).inputs[name]
        model.compile(backend="eager", dynamic=dynamic)
        assert torch.equal(observe(model, batches, [name]).inputs[name], expected)


def test_it_is_exported_as_without(wrap, tmp_path):
    model = tuned()
    for name, one in {"plain": model, "wrapped": wrap(model)}.items():
        retain.export(one, tmp_path / name, to="lora", show_progress=False)
    plain, wrapped = ((tmp_path / name / "adapter_model.safetensors").read_bytes() for name in ("plain", "wrapped"))
    assert plain == wrapped


def test_an_adapter_that_is_put_on_it_is_saved_with_the_names_of_the_model_itself(wrap, tmp_path):
    batches = [{"input_ids": IDS}]
    config = retain.SCLoRAConfig(r=1, target_modules=["q_proj"])
    retain.sc_lora(wrap(make_llama()), config, learn=batches, keep=[{"input_ids": IDS + 9}]).save_pretrained(tmp_path)
    loaded = retain.load_adapter(wrap(make_llama()), tmp_path)
    assert torch.equal(logits(loaded), logits(make_llama()))


def test_adapters_on_a_compiled_model_are_not_taken_for_its_wrapper():
    model = get_peft_model(compiled(make_llama()), retain.LoRFAConfig(r=2, target_modules=["q_proj"]))
    assert unwrapped(model) is model


def test_its_values_are_swapped(wrap, tmp_path):
    saved, other = tuned(), get_peft_model(make_llama(), retain.LoRFAConfig(r=2, target_modules=["q_proj"]))
    saved.save_pretrained(tmp_path)
    retain.swap_adapter(wrap(other), tmp_path)
    assert torch.equal(logits(other), logits(saved))
