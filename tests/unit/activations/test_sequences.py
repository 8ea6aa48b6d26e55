"""The identity of calibration data: sequences whatever their batches, order and padding."""

import pytest
import torch

from calibration import batches, sentences
from retain.activations.sequences import SHORT, Sequences
from retain.errors import InputError

ROWS = sentences(7)


def hashed(given):
    found = Sequences()
    for batch in given:
        found.add(batch)
    return found


def test_batching_padding_and_order_change_nothing():
    expected = hashed(batches(ROWS))
    for given in (batches(ROWS, size=2), batches(ROWS, side="left"), batches(ROWS[::-1], size=3)):
        found = hashed(given)
        assert found.data_hash == expected.data_hash
        assert sorted(found.hashes) == sorted(expected.hashes)
    assert len(expected.data_hash) == 64
    assert {len(one) for one in expected.hashes} == {SHORT}


def test_other_tokens_and_repeated_sequences_do():
    known = hashed(batches(ROWS)).data_hash
    assert hashed(batches(ROWS[1:])).data_hash != known
    assert hashed(batches([*ROWS, ROWS[0]])).data_hash != known


def test_further_inputs_count_and_labels_do_not():
    batch = batches(ROWS[:2])[0]
    known = hashed([batch]).data_hash
    assert hashed([{**batch, "labels": batch["input_ids"]}]).data_hash == known
    assert hashed([{**batch, "token_type_ids": torch.zeros_like(batch["input_ids"])}]).data_hash != known


def test_images_are_hashed_row_by_row_and_patches_as_one():
    images = torch.arange(24.0).reshape(2, 3, 2, 2)
    assert (
        hashed([{"pixel_values": images}]).data_hash
        == hashed([{"pixel_values": image[None]} for image in images]).data_hash
    )
    patches = {"input_ids": torch.tensor([[1, 2]]), "pixel_values": torch.ones(5, 4)}
    assert len(hashed([patches]).hashes) == 1
    assert hashed([patches]).data_hash != hashed([{"input_ids": patches["input_ids"]}]).data_hash


@pytest.mark.parametrize(
    ("batch", "problem"),
    [
        ({}, "a batch with nothing in it"),
        ([1, 2], "a batch with list in it"),
        ({"text": ["a"]}, "a batch with text in it"),
        ({"input_ids": [[1]]}, "as tensors"),
        ({"input_ids": torch.ones(2, 3), "attention_mask": torch.ones(2, 2)}, "attention_mask of shape"),
        ({"input_ids": torch.ones(2, 3), "attention_mask": torch.ones(1, 3)}, "attention_mask of shape"),
    ],
)
def test_what_no_model_reads_is_refused(batch, problem):
    with pytest.raises(InputError, match=problem):
        Sequences().add(batch)
