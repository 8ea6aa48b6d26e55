"""Inference gives every mode back, and finds the device and the padding token that are there."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from retain.hf.adapters.attach import attach
from retain.hf.models.inference import device_of, evaluating, padding_id
from tiny import make_llama


def test_modes_and_gradients_come_back_also_after_an_exception():
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout()).train()
    model[1].eval()
    with evaluating(model):
        assert not any(module.training for module in model.modules())
        assert not torch.is_grad_enabled()
    with pytest.raises(RuntimeError, match="shapes"), evaluating(model):
        model(torch.zeros(3))
    assert [module.training for module in model.modules()] == [True, True, False]
    assert torch.is_grad_enabled()


def test_around_a_loop_the_modules_are_gone_through_once():
    class Counted(nn.Linear):
        asked = 0

        def modules(self):
            self.asked += 1
            return super().modules()

    model = Counted(2, 2).train()
    with evaluating(model):
        once = model.asked
        for _ in range(3):
            with torch.enable_grad(), evaluating(model):
                assert not model.training
                assert not torch.is_grad_enabled()
        other = nn.Dropout()
        with evaluating(other):
            assert not other.training
        assert other.training
    assert model.asked == once > 0
    assert model.training
    with evaluating(model):
        assert not model.training


def test_the_device_is_that_of_a_parameter_with_data():
    assert device_of(nn.Linear(2, 2)) == torch.device("cpu")
    half = nn.Sequential(nn.Linear(2, 2, device="meta"), nn.Linear(2, 2))
    assert device_of(half) == torch.device("cpu")
    assert device_of(nn.Identity()) == torch.device("cpu")


@pytest.mark.parametrize(("pad", "end", "expected"), [(3, 1, 3), (None, 1, 1), (None, None, 0), (0, 1, 0)])
def test_the_padding_token(pad, end, expected):
    assert padding_id(SimpleNamespace(pad_token_id=pad, eos_token_id=end)) == expected


@pytest.mark.parametrize("adapted", [False, True])
def test_the_head_reads_the_last_states_of_prompts_in_one_piece(adapted):
    """A slice (n, 1, d) times a frozen weight makes torch copy the weight n times on a CPU."""
    model = make_llama().requires_grad_(requires_grad=False)
    model = attach(model, "lora", {}) if adapted else model
    ids, seen = torch.arange(12).reshape(3, 4), []
    head = model.get_output_embeddings()
    watcher = head.register_forward_hook(lambda _, given, made: seen.append(given[0].is_contiguous()))
    with evaluating(model):
        last = model(input_ids=ids, logits_to_keep=1).logits
        model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=2, do_sample=False)
    assert seen == [True] * 3
    with torch.no_grad():
        outside = model(input_ids=ids, logits_to_keep=1).logits
    assert seen[3:] == [False]
    torch.testing.assert_close(last, outside)
    watcher.remove()


def test_the_head_is_watched_once_where_evaluations_are_nested_and_left_alone_after_an_exception():
    model = make_llama()
    head, seen = model.get_output_embeddings(), []

    def fail():
        with evaluating(model), evaluating(model):
            seen.append(len(head._forward_pre_hooks))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert seen == [1]
    assert not head._forward_pre_hooks


def refusing(_):
    raise NotImplementedError


@pytest.mark.parametrize(
    "names", [refusing, lambda model: model.no_such_layer, lambda model: model.lm_head.weight, lambda _: None]
)
def test_a_model_of_own_code_need_not_name_a_head(names, monkeypatch):
    model = make_llama()
    monkeypatch.setattr(type(model), "get_output_embeddings", names)
    ids = torch.arange(12).reshape(3, 4)
    with evaluating(model):
        assert model(input_ids=ids).logits.shape == (3, 4, 70)
