"""Hidden states of both sides, block by block."""

from types import SimpleNamespace

import torch

from retain.evaluate.drift.hidden_states import compare_blocks, gives_states, states_of
from tiny import make_llama


def test_vectors_without_direction_and_constant_blocks_are_left_out():
    X, Y = (torch.randn(6, 4, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2))
    before, after = X.clone(), Y.clone()
    before[1], after[4] = 0, 0
    rows = [0, 2, 3, 5]
    assert compare_blocks([before], [after]) == compare_blocks([X[rows]], [Y[rows]])
    found = compare_blocks([torch.ones(6, 4), X], [torch.ones(6, 4), Y[:5]])
    assert [entry.block for entry in found] == [2]
    assert compare_blocks([torch.zeros(6, 4)], [Y]) == ()
    assert compare_blocks([X], [Y[:, :3]]) == ()


def test_equal_states_did_not_move():
    X = torch.randn(6, 4, generator=torch.Generator().manual_seed(1))
    (block,) = compare_blocks([X], [X])
    assert (block.block, block.cosine_drift, block.relative_l2) == (1, 0, 0)
    assert abs(block.cka - 1) < 1e-6


def test_states_leave_out_the_embeddings_and_virtual_tokens():
    outputs = SimpleNamespace(hidden_states=[torch.zeros(1, 5, 4), torch.ones(1, 5, 4)])
    (state,) = states_of(outputs, length=3)
    assert state.shape == (1, 3, 4)
    assert state.sum() == 12
    assert states_of(SimpleNamespace()) == []


def test_maps_of_a_convolution_come_with_the_channels_last():
    outputs = SimpleNamespace(encoder_hidden_states=[None, torch.zeros(2, 7, 3, 4)])
    assert states_of(outputs)[0].shape == (2, 3, 4, 7)


def test_what_takes_no_question_for_states_gives_none():
    assert gives_states(make_llama())
    assert not gives_states(torch.nn.Linear(2, 2))
