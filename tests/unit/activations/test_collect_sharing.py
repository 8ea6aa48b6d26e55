"""Layers that read one tensor share its sums, and only those, however a model runs them."""

import pytest
import torch
from torch import nn

from calibration import batches, embedded, llama, moments_of, same_moments, sentences
from retain.activations import collect
from retain.errors import InputError

ROWS = sentences(12, seed=4)
PARTS = {"target_modules": ["body.q", "body.k"]}
SUMS_A_BLOCK = {"self_attn.q_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.down_proj"}


class Two(nn.Module):
    """Two layers that read one tensor; kinds of it do otherwise, some of them in batches of an odd width only."""

    def __init__(self):
        super().__init__()
        self.q, self.k = nn.Linear(6, 5), nn.Linear(6, 5)

    def forward(self, x):
        return self.run(x, x.shape[1] % 2 == 1)

    def run(self, x, odd):
        return self.q(x) + self.k(x)


class SometimesAnother(Two):
    def run(self, x, odd):
        return self.q(x) + self.k(x.exp() if odd else x)


class SometimesTheSame(Two):
    def run(self, x, odd):
        return self.q(x) + self.k(x if odd else x.exp())


class SometimesNotAtAll(Two):
    def run(self, x, odd):
        return self.q(x) if odd else self.q(x) + self.k(x)


class SometimesTheOtherOnly(Two):
    def run(self, x, odd):
        return self.k(x) if odd else self.q(x) + self.k(x)


class LeaderTwiceOnOne(Two):
    def run(self, x, odd):
        return self.q(self.q(x).relu().repeat(1, 1, 2)[..., :6]) + self.q(x) + self.q(x) + self.k(x)


class FollowerTwiceOnOne(Two):
    def run(self, x, odd):
        return self.q(x) + self.k(x) + self.k(x) + self.q(x.exp())


class UsedTwice(Two):
    def run(self, x, odd):
        return self.q(x) + self.q(x.exp()) + self.k(x.sin())


class SometimesUsedTwice(Two):
    def run(self, x, odd):
        return self.q(x) + self.k(x.sin()) + (self.q(x.exp()) if odd else 0)


class ChangedInPlace(Two):
    def run(self, x, odd):
        return self.q(x) + self.k(x.exp_())


class FreedInBetween(Two):
    def run(self, x, odd):
        return self.q(x.exp()) + self.k(x.sin())


class Turned(Two):
    def run(self, x, odd):
        square = x[:, :6].transpose(1, 2)[..., :6]
        return self.q(square) + self.k(square.transpose(1, 2)) if x.shape[1] > 5 else self.q(x) + self.k(x.exp())


KINDS = [Two, SometimesAnother, SometimesTheSame, UsedTwice, ChangedInPlace, FreedInBetween, Turned]
KINDS += [SometimesNotAtAll, SometimesTheOtherOnly, LeaderTwiceOnOne, FollowerTwiceOnOne, SometimesUsedTwice]


def one_by_one(rows):
    """Batches of one sentence without a mask, so that no layer's input has to look like it."""
    return [{"input_ids": batch["input_ids"]} for batch in batches(rows, 1)]


@pytest.mark.parametrize("even_first", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_each_layer_gets_the_moments_of_what_it_read(kind, even_first):
    rows = sorted(ROWS, key=lambda row: (len(row) % 2 == 1) == even_first)
    model = embedded(kind)
    found = collect(model, one_by_one(rows), targets=PARTS, dtype="float64")
    for name, expected in moments_of(embedded(kind), PARTS["target_modules"], rows).items():
        torch.testing.assert_close(found.second_moment(name), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_sums_that_are_not_shared_are_right_too(kind):
    found = collect(embedded(kind), one_by_one(ROWS), targets=PARTS, dtype="float64", share_inputs=False)
    for name, expected in moments_of(embedded(kind), PARTS["target_modules"], ROWS).items():
        torch.testing.assert_close(found.second_moment(name), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize(("kind", "leaders"), [(Two, 1), (FreedInBetween, 2), (ChangedInPlace, 2)])
def test_one_sum_a_tensor(kind, leaders):
    found = collect(embedded(kind), batches(ROWS), targets=PARTS)
    assert len(found.manifest.sources) == leaders


def test_a_transformer_has_four_sums_a_block_and_the_moments_of_sums_apart():
    shared, apart = (collect(llama(), batches(ROWS), dtype="float64", share_inputs=share) for share in (True, False))
    same_moments(shared, apart, atol=1e-12)
    leaders = {name.partition("layers.0.")[2] for name in shared.manifest.sources if "layers.0." in name}
    assert leaders == SUMS_A_BLOCK
    assert set(apart.manifest.sources) == set(apart.manifest.layers)
    assert shared.manifest.layers["model.layers.1.self_attn.v_proj"].leader == "model.layers.1.self_attn.q_proj"
    assert shared.manifest.layers["model.layers.1.mlp.up_proj"].leader == "model.layers.1.mlp.gate_proj"


def test_sharing_that_ends_needs_batches_that_can_be_read_again_or_sums_apart():
    model, rows = embedded(SometimesAnother), sorted(ROWS, key=lambda row: len(row) % 2)
    with pytest.raises(InputError, match="share_inputs=False"):
        collect(model, iter(one_by_one(rows)), targets=PARTS)
    assert not model.body.q._forward_pre_hooks
    assert collect(model, iter(one_by_one(rows)), targets=PARTS, share_inputs=False).tokens


def test_a_layer_that_never_runs_is_told_of_and_has_no_statistics():
    class OnlyOne(Two):
        def run(self, x, odd):
            return self.q(x)

    found = collect(embedded(OnlyOne), batches(ROWS), targets=PARTS)
    assert list(found.manifest.layers) == ["body.q"]
    assert "body.k" in found.manifest.notes[0]
    with pytest.raises(InputError, match="no statistics of layer body.k"):
        found.moments("body.k")


class Routed(Two):
    """The second layer reads some of the tokens, in one row without positions, as an expert does."""

    def run(self, x, odd):
        flat = x.reshape(-1, x.shape[-1])
        return self.q(x).sum() + self.k(flat[flat[:, 0] > -2]).sum()


def test_padding_that_cannot_be_told_from_text_is_not_counted_in_silence():
    found = collect(embedded(Routed), batches(ROWS, 4), targets=PARTS)
    assert "body.k" in " ".join(found.manifest.notes)
