"""The model comes back as it was, also when something fails; and what cannot be calibrated is refused with reasons."""

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from calibration import VOCABULARY, Embedded, batches, embedded, llama, same_moments, sentences
from retain.activations import collect
from retain.errors import InputError, TargetError

ROWS = sentences(8)
NET = {"target_modules": ["body.0", "body.2"]}


class Breaks(nn.Module):
    def forward(self, x):
        raise KeyError("midway")


def lora_llama():
    """Half in training mode, some of it frozen."""
    model = get_peft_model(llama(), LoraConfig(target_modules=["q_proj"]))
    model.train()
    model.base_model.model.model.layers[0].eval()
    model.base_model.model.model.norm.weight.requires_grad_(requires_grad=True)
    return model


def marks(model):
    """All that watching could have changed."""
    hooks = [
        (len(m._forward_hooks), len(m._forward_pre_hooks), len(m._forward_hooks_with_kwargs)) for m in model.modules()
    ]
    modes = [m.training for m in model.modules()]
    attributes = [sorted(vars(m)) for m in model.modules()]
    weights = {name: (p.requires_grad, p.grad, p.detach().clone()) for name, p in model.named_parameters()}
    return hooks, modes, attributes, weights, torch.is_grad_enabled()


def unchanged(model, before):
    after = marks(model)
    assert (before[:3], before[4]) == (after[:3], after[4])
    for name, (grad, value, weight) in before[3].items():
        assert (grad, value) == after[3][name][:2]
        assert torch.equal(weight, after[3][name][2])


@pytest.mark.parametrize("sample_norm", ["none", "max"])
@pytest.mark.parametrize("make", [llama, lora_llama])
def test_the_model_comes_back_as_it_was(make, sample_norm):
    model = make()
    before = marks(model)
    collect(model, batches(ROWS), sample_norm=sample_norm)
    unchanged(model, before)


def test_hooks_of_others_stay_and_run():
    model, calls = llama(), []
    model.model.layers[0].mlp.up_proj.register_forward_pre_hook(lambda *_: calls.append(1))
    collect(model, batches(ROWS))
    assert calls
    assert len(model.model.layers[0].mlp.up_proj._forward_pre_hooks) == 1


@pytest.mark.parametrize("sample_norm", ["none", "max"])
def test_the_model_comes_back_when_it_raises(sample_norm):
    model = embedded(lambda: nn.Sequential(nn.Linear(6, 4), Breaks(), nn.Linear(4, 3))).train()
    before = marks(model)
    with pytest.raises(KeyError, match="midway"):
        collect(model, batches(ROWS), targets=NET, sample_norm=sample_norm)
    unchanged(model, before)


def test_the_model_comes_back_when_the_batches_raise():
    def broken():
        yield from batches(ROWS)
        raise OSError("the disk is gone")

    model = lora_llama()
    before = marks(model)
    with pytest.raises(OSError, match="disk"):
        collect(model, broken())
    unchanged(model, before)


def test_dropout_is_off_whatever_the_mode():
    def body():
        return nn.Sequential(nn.Dropout(0.5), nn.Linear(6, 4), nn.Linear(4, 3))

    training, evaluating = (embedded(body).train(mode) for mode in (True, False))
    found = [collect(m, batches(ROWS), targets={"target_modules": ["body.1"]}) for m in (training, evaluating)]
    same_moments(*found, atol=0)
    assert training.body[0].training


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_it_may_be_called_where_gradients_are_off(mode):
    model = llama()
    with mode():
        found = collect(model, batches(ROWS))
    same_moments(found, collect(model, batches(ROWS)), atol=0)


IDS = torch.ones(2, 3, dtype=torch.long)
BAD = {
    "4-D mask": ({"input_ids": IDS, "attention_mask": torch.ones(2, 1, 3, 3)}, r"attention_mask.*\(batch, tokens\)"),
    "mask of other rows": ({"input_ids": IDS, "attention_mask": torch.ones(3, 3)}, "attention_mask"),
    "mask of other tokens": ({"input_ids": IDS, "attention_mask": torch.ones(2, 4)}, "attention_mask"),
    "mask as a list": ({"input_ids": IDS, "attention_mask": [[1, 1, 1]] * 2}, "attention_mask"),
    "no content": ({"labels": IDS}, "labels.*input_ids"),
    "nothing": ({}, "nothing in it"),
    "lists": ({"input_ids": IDS.tolist()}, "tensors"),
    "an array": ({"input_ids": np.ones((2, 3), dtype=int)}, "tensors"),
    "a tensor": (IDS, "a calibration batch is a mapping"),
    "a tuple": ((IDS, IDS), "a calibration batch is a mapping"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_batch_that_cannot_be_calibrated_on(kind):
    batch, said = BAD[kind]
    model = embedded(lambda: nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 3)))
    with pytest.raises(InputError, match=f"(?s){said}"):
        collect(model, [batch], targets=NET)


NOTHING = {
    "no batch": [],
    "no row": [{"input_ids": IDS[:0], "attention_mask": IDS[:0]}],
    "all padding": [{"input_ids": IDS, "attention_mask": torch.zeros_like(IDS)}],
}


@pytest.mark.parametrize("sample_norm", ["none", "max"])
@pytest.mark.parametrize("kind", NOTHING)
def test_no_tokens(kind, sample_norm):
    model = Embedded(nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 3)), 6)
    with pytest.raises(InputError, match="no tokens"):
        collect(model, NOTHING[kind], targets=NET, sample_norm=sample_norm)


@pytest.mark.parametrize("sample_norm", ["none", "max"])
def test_rows_of_padding_alone_add_nothing(sample_norm):
    blank = {"input_ids": torch.ones(2, 4, dtype=torch.long), "attention_mask": torch.zeros(2, 4, dtype=torch.long)}
    fields = {"dtype": "float64", "sample_norm": sample_norm}
    found = collect(llama(), [*batches(ROWS), blank], **fields)
    same_moments(found, collect(llama(), batches(ROWS), **fields), atol=0)


def test_a_layer_that_gives_out_zeros_can_be_scaled():
    model = embedded(lambda: nn.Sequential(nn.Linear(6, 4, bias=False), nn.Tanh(), nn.Linear(4, 3)))
    nn.init.zeros_(model.body[0].weight)
    found = collect(model, batches(ROWS), targets=NET, sample_norm="max")
    assert all(torch.isfinite(found.second_moment(name)).all() for name in NET["target_modules"])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "double", torch.float16, 32, None])
def test_sums_are_held_in_float32_or_float64(dtype):
    with pytest.raises(InputError, match="float32 or float64"):
        collect(llama(), batches(ROWS), dtype=dtype)


def test_other_mistakes_of_the_caller():
    with pytest.raises(InputError, match="sample_norm='mean'"):
        collect(llama(), batches(ROWS), sample_norm="mean")
    with pytest.raises(TargetError, match="embed"):
        collect(llama(), batches(ROWS), targets={"target_modules": ["embed_tokens"]})
    with pytest.raises(TargetError, match="nowhere"):
        collect(llama(), batches(ROWS), targets={"target_modules": ["nowhere"]})


def test_tokens_beyond_the_vocabulary_leave_no_hooks():
    model = llama()
    before = marks(model)
    with pytest.raises(IndexError):
        collect(model, [{"input_ids": torch.full((1, 4), VOCABULARY)}])
    unchanged(model, before)
