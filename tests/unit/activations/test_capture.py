"""Capture while a model runs: which tokens count, who shares, and that the model is left as it was."""

import pytest
import torch
from torch import nn

from calibration import batches, llama, sentences
from retain.activations.capture import Capture, SharingChangedError, capturing
from retain.errors import InputError

ROWS = sentences(6)


def layers_of(model, *names):
    return {name: model.get_submodule(name) for name in names}


def captured(model, names, rows=ROWS, **fields):
    capture = Capture(layers_of(model, *names), torch.float64, **fields)
    with capturing(model, capture):
        for batch in batches(rows, size=3):
            capture.run(model, {**batch, "use_cache": False})
    return capture


PROJECTIONS = tuple(f"model.layers.0.self_attn.{name}_proj" for name in "qkv")
GATES = ("model.layers.0.mlp.gate_proj", "model.layers.0.mlp.up_proj")


def test_padding_does_not_count():
    capture = captured(llama(), PROJECTIONS[:1])
    assert capture.moments[PROJECTIONS[0]].tokens == sum(map(len, ROWS))
    assert capture.notes == {}


def test_layers_that_read_one_tensor_have_one_leader():
    capture = captured(llama(), [*PROJECTIONS, *GATES])
    assert {capture.leader[name] for name in PROJECTIONS} == {PROJECTIONS[0]}
    assert {capture.leader[name] for name in GATES} == {GATES[0]}
    assert set(capture.moments) == {PROJECTIONS[0], GATES[0]}


@pytest.mark.parametrize("fields", [{"share": False}, {"scaled": True}, {"outputs": set(PROJECTIONS)}])
def test_where_they_may_not_share_each_leads_itself(fields):
    capture = captured(llama(), PROJECTIONS, **fields)
    assert capture.leader == {name: name for name in PROJECTIONS}


def test_a_dry_capture_finds_who_shares_and_sums_nothing():
    capture = captured(llama(), PROJECTIONS, dry=True)
    assert set(capture.leader.values()) == {PROJECTIONS[0]}
    assert capture.moments == {}


def test_outputs_are_summed_for_layers_that_are_named():
    model = llama()
    capture = captured(model, PROJECTIONS[:2], outputs=set(PROJECTIONS[1:2]))
    assert len(capture.moments[PROJECTIONS[0]].total) == 16
    assert len(capture.moments[PROJECTIONS[1]].total) == model.get_submodule(PROJECTIONS[1]).out_features


def test_an_undecided_layer_is_summed_at_its_output_unless_its_input_is_read_again():
    model, one = llama(), PROJECTIONS[0]
    alone = captured(model, [one, *GATES], undecided={one, GATES[0]})
    assert alone.outputs == {one}
    assert alone.undecided == set()
    expected = captured(model, [one, *GATES], outputs={one}).moments
    assert list(alone.moments) == list(expected)
    for name, moments in alone.moments.items():
        assert torch.equal(moments.gram, expected[name].gram)
    first = captured(model, PROJECTIONS, undecided={one})
    assert first.outputs == set()
    assert torch.equal(first.moments[one].gram, captured(model, PROJECTIONS).moments[one].gram)


class _ChangesItsOutput(nn.Module):
    def __init__(self, both):
        super().__init__()
        self.first, self.second, self.both = nn.Linear(6, 6), nn.Linear(6, 4), both

    def forward(self, x):
        h = self.first(x)
        h.relu_()
        if self.both:
            x.mul_(2)
        return self.second(h)


def test_an_output_that_is_changed_before_it_is_summed_is_not_taken():
    x = torch.randn(5, 6, dtype=torch.float64)
    for both in (False, True):
        model = _ChangesItsOutput(both).double()
        capture = Capture(layers_of(model, "first", "second"), torch.float64, undecided={"first"})
        with capturing(model, capture):
            if both:
                with pytest.raises(SharingChangedError):
                    capture.run(model, {"x": x.clone()})
                continue
            capture.run(model, {"x": x})
        torch.testing.assert_close(capture.moments["first"].gram.triu(), (x.T @ x).triu())


def test_a_pass_is_broken_off_once_every_layer_has_run():
    model, ran = llama(), []
    model.model.layers[1].register_forward_pre_hook(lambda *_: ran.append(1))
    captured(model, PROJECTIONS, stops=True)
    assert len(ran) == 1, "the first pass is run in full, to see that each layer runs once"
    captured(model, PROJECTIONS)
    assert len(ran) == 3


def test_hooks_and_modes_are_restored_after_an_exception():
    model = llama()
    model.model.layers[0].train()
    modes = [module.training for module in model.modules()]
    capture = Capture(layers_of(model, *PROJECTIONS))
    inside = []

    def fail():
        inside.append((any(module.training for module in model.modules()), torch.is_grad_enabled()))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), capturing(model, capture):
        fail()
    assert inside == [(False, False)]
    assert [module.training for module in model.modules()] == modes
    assert torch.is_grad_enabled()
    assert not any(layer._forward_pre_hooks for layer in capture.layers.values())


def test_padding_that_no_mask_fits_is_noted():
    class Reshaped(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x, attention_mask):
            return self.layer(x.reshape(2, 3, 2, 4).transpose(1, 2).reshape(2, 2, 3, 4))

    model = Reshaped()
    capture = Capture({"layer": model.layer})
    with capturing(model, capture):
        capture.run(model, {"x": torch.ones(2, 6, 4), "attention_mask": torch.tensor([[1] * 6, [1] * 5 + [0]])})
    assert list(capture.notes) == [
        "layer: (2, 2, 3, 4) fits no attention mask, so padding, if there was any, was counted."
    ]
    assert capture.moments["layer"].tokens == 12


def test_a_layer_without_a_tensor_is_refused():
    class Odd(nn.Linear):
        def forward(self, x=None):
            return torch.ones(1)

    class Calls(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = Odd(2, 2)

        def forward(self, x):
            return self.layer()

    model = Calls()
    capture = Capture({"layer": model.layer})
    with pytest.raises(InputError, match="was called without a tensor"), capturing(model, capture):
        capture.run(model, {"x": torch.ones(1, 2)})
