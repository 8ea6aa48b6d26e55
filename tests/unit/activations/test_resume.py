"""The state of an interrupted collection: written, read again, refused where it is of something else."""

import json

import pytest
import torch
from torch import nn

from retain.activations.capture import Capture
from retain.activations.moments import Moments
from retain.activations.resume import Part, Unfinished
from retain.activations.sequences import Sequences
from retain.activations.store import Source
from retain.errors import InputError

CPU = torch.device("cpu")
PART = Part({"a": "a"}, {"a": Source(weight=2.0, tokens=2, square=1.0, energy=0.5)}, ["A note."], "hash")


def state(folder, plan="plan", division="division", *, share=True):
    return Unfinished(folder, 0, plan, division, share)


def capture(moments=None):
    layers = {name: nn.Linear(2, 2) for name in "ab"}
    return Capture(layers, leader={"a": "a", "b": "a"} if moments else {}, moments=moments or {})


def sums():
    return {"a": Moments(torch.tensor([[1.0, 2.0], [0.0, 3.0]]), torch.tensor([4.0, 5.0]), 6.0, 7, 8.0)}


def test_finished_parts_are_read_again(tmp_path):
    first = state(tmp_path, share=False)
    first.end_part(PART)
    again = state(tmp_path)
    assert again.parts == [PART]
    assert again.share is False


def test_sums_of_the_part_in_hand_are_read_again_bit_for_bit(tmp_path):
    sequences = Sequences()
    sequences.add({"input_ids": torch.tensor([[1, 2]])})
    given = capture(sums())
    given.notes["A note."] = None
    state(tmp_path).save(given, sequences, 5)
    found = capture()
    assert state(tmp_path).resume(found, CPU) == (5, sequences.data_hash)
    assert found.leader == given.leader
    assert list(found.notes) == ["A note."]
    one, other = given.moments["a"], found.moments["a"]
    assert torch.equal(one.gram, other.gram)
    assert torch.equal(one.total, other.total)
    assert (one.weight, one.tokens, one.energy) == (other.weight, other.tokens, other.energy)


def test_sums_of_an_earlier_part_do_not_count(tmp_path):
    unfinished = state(tmp_path)
    assert unfinished.resume(capture(), CPU) == (0, "")
    unfinished.save(capture(sums()), Sequences(), 5)
    unfinished.parts.append(PART)
    assert unfinished.resume(capture(), CPU) == (0, "")


def test_another_plan_is_refused_and_another_division_begins_anew(tmp_path):
    state(tmp_path).end_part(PART)
    with pytest.raises(InputError, match="of another model or with other settings"):
        state(tmp_path, plan="other")
    assert state(tmp_path, division="other").parts == []
    assert list(tmp_path.iterdir()) == []


def test_damaged_files_are_refused(tmp_path):
    unfinished = state(tmp_path)
    unfinished.save(capture(sums()), Sequences(), 5)
    (tmp_path / "unfinished-0.safetensors").write_bytes(b"not sums")
    with pytest.raises(InputError, match="remove it to begin this part anew"):
        unfinished.resume(capture(), CPU)
    (tmp_path / "unfinished-0.json").write_text(json.dumps({"plan": "plan"}), encoding="utf-8")
    with pytest.raises(InputError, match="to begin anew"):
        state(tmp_path)


def test_it_is_removed_without_a_trace(tmp_path):
    unfinished = state(tmp_path)
    unfinished.save(capture(sums()), Sequences(), 5)
    unfinished.remove_sums()
    assert [path.name for path in tmp_path.iterdir()] == ["unfinished-0.json"]
    unfinished.remove()
    assert list(tmp_path.iterdir()) == []
