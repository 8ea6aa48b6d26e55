"""The head of a language model: its inputs where logits are those times a matrix, and the cases where they are not."""

import pytest
import torch
from transformers import BertForSequenceClassification, Gemma2Config, Gemma2ForCausalLM

from retain.errors import InputError
from retain.hf.adapters.attach import attach
from retain.hf.models.lm_head import (
    head_of,
    head_stands_apart,
    hidden_states,
    is_compiled,
    logits_of,
    shifts_labels,
    without_logits,
)
from tiny import make_bert, make_llama

INPUTS = {"input_ids": torch.arange(2, 18).view(2, 8)}


def capped():
    torch.manual_seed(0)
    sizes = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
        "head_dim": 8,
    }
    return Gemma2ForCausalLM(Gemma2Config(vocab_size=64, num_key_value_heads=4, **sizes)).eval()


@pytest.mark.parametrize("method", [None, "vefa", "lora"])
def test_a_loss_can_read_the_heads_inputs_instead_of_logits(method):
    model = make_llama() if method is None else attach(make_llama(), method, {}).eval()
    assert head_stands_apart(model, INPUTS)
    with torch.no_grad():
        expected = logits_of(model, INPUTS)
        found = without_logits(model, INPUTS, lambda hidden, weight, _: hidden @ weight.T)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
        torch.testing.assert_close(hidden_states(model, INPUTS) @ head_of(model).weight.T, expected, rtol=0, atol=1e-6)


def test_a_head_that_does_more_does_not_stand_apart():
    assert not head_stands_apart(capped(), INPUTS)
    assert not head_stands_apart(attach(make_llama(), "lora", {"target_modules": ["lm_head"]}), INPUTS)
    assert not head_stands_apart(attach(make_llama(), "prompt_tuning", {"num_virtual_tokens": 2}), INPUTS)
    assert not head_stands_apart(BertForSequenceClassification(make_bert().config), INPUTS)


def test_whose_loss_it_is():
    assert shifts_labels(make_llama())
    assert shifts_labels(attach(make_llama(), "vefa", {}))
    assert not shifts_labels(BertForSequenceClassification(make_bert().config))


def test_a_compiled_model_is_seen():
    model = make_llama()
    assert not is_compiled(model)
    assert is_compiled(torch.compile(model, backend="eager"))


def test_a_body_gives_no_logits():
    with pytest.raises(InputError, match="BertModel gives no logits"):
        logits_of(make_bert(), INPUTS)
