"""KL(base ‖ tuned) of one model on a batch: against the definition, with and without logits, and its refusals."""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import BertForSequenceClassification

from retain.errors import InputError
from retain.train.regularise import divergence as module
from retain.train.regularise.divergence import Divergence, unwrapped
from tiny import make_bert, make_llama

BATCH = {
    "input_ids": torch.tensor([[6, 7, 8, 9], [10, 11, 0, 0]]),
    "attention_mask": torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]]),
    "labels": torch.tensor([[6, 7, 8, 9], [10, 11, -100, -100]]),
}


def adapted(model=None, **fields):
    model = get_peft_model(
        model or make_llama(), LoraConfig(**{"r": 2, "target_modules": ["q_proj", "v_proj"], **fields})
    )
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.5, generator=torch.Generator().manual_seed(1))
    return model


def by_definition(base, tuned, batch=BATCH):
    """Mean over attended positions of Σ p (log p − log q)."""
    inputs = {name: value for name, value in batch.items() if name != "labels"}
    with torch.no_grad():
        p, q = (model(**inputs).logits.double().log_softmax(-1) for model in (base, tuned))
    kl = (p.exp() * (p - q)).sum(-1)
    return kl[batch["attention_mask"].bool()].mean() if kl.ndim == 2 else kl.mean()


def test_it_is_the_mean_over_attended_positions():
    model = adapted()
    expected = by_definition(make_llama(), model.eval())
    model.train()
    found = Divergence()(model, BATCH)
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-7)
    assert model.training
    assert found.requires_grad


def test_a_teacher_of_its_own_gives_the_same():
    model = adapted()
    torch.testing.assert_close(Divergence(make_llama())(model, BATCH), Divergence()(model, BATCH), rtol=1e-5, atol=1e-8)


def test_logits_give_the_same_as_hidden_states(monkeypatch):
    model = adapted()
    expected = Divergence()(model, BATCH)
    expected.backward()
    gradient = next(p.grad.clone() for p in model.parameters() if p.grad is not None)
    model.zero_grad()
    monkeypatch.setattr(module, "head_stands_apart", lambda *_: False)
    found = Divergence()(model, BATCH)
    found.backward()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-7)
    other = next(p.grad for p in model.parameters() if p.grad is not None)
    torch.testing.assert_close(other, gradient, rtol=1e-3, atol=1e-6)


def test_a_classifier_of_whole_inputs_is_averaged_over_items():
    torch.manual_seed(0)
    base = BertForSequenceClassification(make_bert(num_labels=3).config).eval()
    state = {name: value.clone() for name, value in base.state_dict().items()}
    model = adapted(base, target_modules=["query"]).eval()
    alone = BertForSequenceClassification(base.config).eval()
    alone.load_state_dict(state)
    inputs = {name: value for name, value in BATCH.items() if name != "labels"}
    torch.testing.assert_close(Divergence()(model, inputs).double(), by_definition(alone, model), rtol=1e-4, atol=1e-7)


def test_an_untrained_adapter_has_not_moved():
    model = get_peft_model(make_llama(), LoraConfig(r=2, target_modules=["q_proj"]))
    assert float(Divergence()(model, BATCH)) == pytest.approx(0.0, abs=1e-6)


def test_a_model_without_a_base_is_refused():
    with pytest.raises(InputError, match="give teacher="):
        Divergence()(make_llama(), BATCH)
    changed = adapted(init_lora_weights="pissa")
    with pytest.raises(InputError, match="the model is not its base"):
        Divergence()(changed, BATCH)
    Divergence(make_llama())(changed, BATCH)


def test_a_mask_of_another_shape_is_refused():
    batch = {**BATCH, "attention_mask": torch.ones(2, 1, 4, 4)}
    with pytest.raises(InputError, match="attention_mask has the shape"):
        Divergence()(adapted(), batch)


def test_wrappers_of_data_parallelism_are_taken_off():
    model = nn.Linear(2, 2)
    assert unwrapped(nn.DataParallel(model)) is model
    assert unwrapped(model) is model
