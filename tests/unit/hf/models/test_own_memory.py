"""Weights read from a file lie where torch would have put them."""

import torch
from transformers import AutoModelForCausalLM

from retain.hf.models.own_memory import ALIGNMENT, own_memory
from retain.jobs.inputs.models import ModelSpec
from tiny import make_llama


def aligned(model):
    return all(parameter.data_ptr() % ALIGNMENT == 0 for parameter in model.parameters())


def test_a_loaded_model_lies_as_one_made_in_memory(tmp_path):
    made = make_llama()
    made.save_pretrained(tmp_path)
    loaded = own_memory(AutoModelForCausalLM.from_pretrained(tmp_path))
    assert aligned(loaded)
    assert aligned(ModelSpec(str(tmp_path)).load().model)
    assert all(torch.equal(value, loaded.state_dict()[key]) for key, value in made.state_dict().items())


def test_tensors_that_are_one_stay_one_and_those_on_no_device_stay():
    model = make_llama()
    buffer = torch.zeros(70 * 32 + 1)
    table = buffer[1:].view(70, 32)
    model.lm_head.weight.data = model.model.embed_tokens.weight.data = table
    own_memory(model)
    assert aligned(model)
    assert model.lm_head.weight.data_ptr() == model.model.embed_tokens.weight.data_ptr()
    with torch.device("meta"):
        assert own_memory(make_llama()).lm_head.weight.device.type == "meta"
