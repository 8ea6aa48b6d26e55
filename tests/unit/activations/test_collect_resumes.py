"""A calibration that was interrupted goes on where it stopped, with the same data and settings only."""

import sys

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from calibration import batches, embedded, gpt2, llama, sentences
from retain.activations import collect, load
from retain.activations.store import own_tensor
from retain.errors import InputError

ROWS, OTHERS = sentences(12), sentences(12, seed=5)
BATCHES = batches(ROWS, 2)
LIMIT = 5_000
"""Bytes: six passes over the tiny Llama, in float64."""


class Interrupted:
    """Batches that break off in a pass, after some batches of it."""

    def __init__(self, given, after, in_pass=0):
        self.given, self.after, self.left = given, after, in_pass

    def __iter__(self):
        for number, batch in enumerate(self.given):
            if number == self.after and self.left == 0:
                raise KeyboardInterrupt
            yield batch
        self.left -= 1


@pytest.fixture(autouse=True)
def saving_after_every_batch(monkeypatch):
    monkeypatch.setattr(sys.modules["retain.activations.collect"], "SECONDS_BETWEEN_SAVES", 0.0)


def interrupt(folder, after, in_pass=0, given=None, model=None, **fields):
    with pytest.raises(KeyboardInterrupt):
        run(folder, Interrupted(given or BATCHES, after, in_pass), model, **fields)


def run(folder, given=None, model=None, **fields):
    return collect(model or llama(), given or BATCHES, folder=folder, **{"dtype": "float64", **fields})


def counted(model):
    """The model, and the batches that go through it."""
    seen = []
    model.model.embed_tokens.register_forward_pre_hook(lambda _module, args: seen.append(args[0]))
    return model, seen


def same_bits(left, right):
    assert left.manifest.tokens == right.manifest.tokens
    assert left.manifest.data_hash == right.manifest.data_hash
    assert left.manifest.layers == right.manifest.layers
    for leader, source in left.manifest.sources.items():
        theirs = right.manifest.sources[leader]
        assert (source.weight, source.tokens, source.energy) == (theirs.weight, theirs.tokens, theirs.energy)
        assert torch.equal(left.moments(leader).gram, right.moments(leader).gram)
        assert torch.equal(left.moments(leader).total, right.moments(leader).total)


@pytest.mark.parametrize("sample_norm", ["none", "max"])
@pytest.mark.parametrize("after", [1, 4, 6])
def test_it_goes_on_after_the_batches_that_are_done(tmp_path, after, sample_norm):
    given = Interrupted([*BATCHES, {}], after)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "one", given, sample_norm=sample_norm)
    with pytest.raises(InputError, match="no statistics here"):
        load(tmp_path / "one")
    model, seen = counted(llama())
    found = run(tmp_path / "one", model=model, sample_norm=sample_norm)
    assert [ids.tolist() for ids in seen] == [batch["input_ids"].tolist() for batch in BATCHES[after:]]
    same_bits(found, run(tmp_path / "other", sample_norm=sample_norm))
    assert not list((tmp_path / "one").glob("*unfinished*"))


def test_a_one_shot_generator_can_go_on_too(tmp_path):
    interrupt(tmp_path / "one", 3, given=(batch for batch in BATCHES))
    same_bits(run(tmp_path / "one", (batch for batch in BATCHES)), run(tmp_path / "other"))


def test_it_goes_on_after_several_interruptions(tmp_path):
    for after in (2, 3, 5):
        interrupt(tmp_path / "one", after)
    same_bits(run(tmp_path / "one"), run(tmp_path / "other"))


def test_without_a_saved_state_it_begins_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules["retain.activations.collect"], "SECONDS_BETWEEN_SAVES", 60.0)
    interrupt(tmp_path / "one", 4)
    model, seen = counted(llama())
    same_bits(run(tmp_path / "one", model=model), run(tmp_path / "other"))
    assert len(seen) == len(BATCHES)


@pytest.mark.parametrize(("in_pass", "after"), [(1, 0), (1, 4), (4, 0), (5, 5)])
def test_passes_that_are_done_are_not_made_again(tmp_path, in_pass, after):
    interrupt(tmp_path / "one", after, in_pass, memory_limit=LIMIT)
    model, seen = counted(llama())
    found = run(tmp_path / "one", model=model, memory_limit=LIMIT)
    assert len(seen) == 1 + (6 - in_pass) * len(BATCHES) - after
    same_bits(found, run(tmp_path / "other", memory_limit=LIMIT))


@pytest.mark.parametrize("other", [batches(OTHERS, 2), BATCHES[1:], BATCHES[:2], batches(ROWS, 3)])
def test_other_data_are_refused_midway(tmp_path, other):
    interrupt(tmp_path, 3)
    with pytest.raises(InputError, match="first 3 batches are not those"):
        run(tmp_path, other)
    run(tmp_path)


@pytest.mark.parametrize("after", [0, 3])
def test_other_data_are_refused_after_some_passes(tmp_path, after):
    interrupt(tmp_path, after, in_pass=2, memory_limit=LIMIT)
    with pytest.raises(InputError, match="not those|other data"):
        run(tmp_path, batches(OTHERS, 2), memory_limit=LIMIT)
    run(tmp_path, memory_limit=LIMIT)


@pytest.mark.parametrize(
    "fields",
    [
        {"model": gpt2()},
        {"dtype": "float32"},
        {"sample_norm": "max"},
        {"targets": {"target_modules": ["q_proj"]}},
    ],
)
def test_another_model_and_other_settings_are_refused(tmp_path, fields):
    interrupt(tmp_path, 3)
    with pytest.raises(InputError, match="another folder"):
        run(tmp_path, **fields)
    run(tmp_path)


class Forked(nn.Module):
    """Two layers that read one tensor, but for batches of one odd width."""

    def __init__(self):
        super().__init__()
        self.q, self.k = nn.Linear(6, 5), nn.Linear(6, 5)

    def forward(self, x):
        return self.q(x) + self.k(x.exp() if x.shape[1] == 3 else x)


@pytest.mark.parametrize("after", [3, 5])
def test_sharing_that_ended_before_the_interruption_stays_ended(tmp_path, after):
    given = batches([[5] * width for width in (2, 4, 3, 2, 5, 6)], 1)
    fields = {"targets": {"target_modules": ["body.q", "body.k"]}}
    interrupt(tmp_path / "one", after, in_pass=0, given=given, model=embedded(Forked), **fields)
    same_bits(
        run(tmp_path / "one", given, embedded(Forked), **fields),
        run(tmp_path / "other", given, embedded(Forked), **fields),
    )


@pytest.mark.parametrize("name", ["unfinished-0.json", "unfinished-0.safetensors"])
def test_a_damaged_state_is_told_of(tmp_path, name):
    interrupt(tmp_path, 3)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-20])
    with pytest.raises(InputError, match=f"{name}.*(damaged|remove)"):
        run(tmp_path)


def test_a_smaller_limit_after_memory_ran_out_begins_anew(tmp_path):
    interrupt(tmp_path, 3)
    found = run(tmp_path, memory_limit=LIMIT)
    expected = collect(llama(), BATCHES, dtype="float64")
    for layer in expected.manifest.layers:
        assert torch.equal(found.second_moment(layer), expected.second_moment(layer))


@pytest.mark.parametrize("pad", [0, 1, 3])
def test_what_is_read_back_lies_where_torch_allocates(tmp_path, pad):
    """At whatever place of the file a tensor lies, it is computed with as one that was never saved."""
    tensors = {"a": torch.zeros(pad, dtype=torch.uint8), "b": torch.randn(33, 33), "c": torch.randn(7)}
    save_file(tensors, tmp_path / "sums.safetensors")
    with safe_open(str(tmp_path / "sums.safetensors"), framework="pt") as file:
        for name in ("b", "c"):
            found = own_tensor(file, name)
            assert found.data_ptr() % 64 == torch.empty(1).data_ptr() % 64
            assert torch.equal(found, tensors[name])
