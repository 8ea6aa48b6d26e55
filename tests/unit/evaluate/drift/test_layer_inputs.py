"""The inputs of layers and the states after blocks, as few as the limits say, without padding."""

import torch

from retain.evaluate.drift import layer_inputs as observing
from tiny import make_llama

LENGTHS = [9, 4, 7, 2, 5]


def llama():
    return make_llama().double()


def texts():
    """One padded batch of rows of these lengths, labels beside."""
    mask = torch.tensor([[1] * n + [0] * (max(LENGTHS) - n) for n in LENGTHS])
    ids = torch.randint(2, 60, mask.shape, generator=torch.Generator().manual_seed(1)) * mask
    return [{"input_ids": ids, "attention_mask": mask, "labels": torch.zeros(len(LENGTHS), dtype=torch.long)}]


KEEP = texts()


def test_no_more_is_looked_at_than_the_limits_say(monkeypatch):
    base, calls = llama(), []
    base.register_forward_pre_hook(lambda *_: calls.append(1))
    monkeypatch.setattr(observing, "TOKENS_OBSERVED", 10)
    monkeypatch.setattr(observing, "TOKENS_COMPARED", 15)
    names = ["model.layers.0.self_attn.q_proj", "lm_head"]
    seen = observing.observe(base, KEEP, names, states=True)
    assert {name: x.shape for name, x in seen.inputs.items()} == dict.fromkeys(names, (10, 32))
    assert [state.shape for state in seen.states] == [(15, 32)] * 2
    assert len(calls) == 2  # rows of 9 and 4, then of 7 and 2 tokens
    calls.clear()
    assert observing.observe(base, KEEP, names).states == ()
    assert len(calls) == 1
    monkeypatch.setattr(observing, "BYTES_HELD", 2 * 32 * 8 * 7)
    few = observing.observe(base, KEEP, names)
    assert {name: len(x) for name, x in few.inputs.items()} == dict.fromkeys(names, 5)
    torch.testing.assert_close(few.inputs["lm_head"], seen.inputs["lm_head"][:5])


def test_padding_is_left_out_and_nothing_is_seen_without_batches():
    names = ["model.layers.0.self_attn.q_proj", "no such layer"]
    found = observing.observe(llama(), KEEP, names)
    assert {name: len(x) for name, x in found.inputs.items()} == {names[0]: sum(LENGTHS)}
    nothing = observing.observe(llama(), [], names, states=True)
    assert (nothing.inputs, nothing.states) == ({}, ())


def test_hooks_go_and_the_mode_comes_back():
    model = llama().train()
    observing.observe(model, KEEP, ["lm_head"])
    assert all(module.training for module in model.modules())
    assert not model.lm_head._forward_pre_hooks
