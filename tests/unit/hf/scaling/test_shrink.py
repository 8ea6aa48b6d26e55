"""Shrinking an update in place: exact where it can be, refused where the identity is not known."""

import pytest
import torch
from scaling_models import residual, trained

from retain.errors import InputError
from retain.hf.scaling.shrink import shrink


def test_shrinking_refuses_what_it_does_not_know_and_changes_nothing():
    model = trained("c3a", {"block_size": 16})
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(InputError, match="where this C3A is the identity is not known"):
        shrink(model, 0.5)
    for factor in (-0.1, float("nan")):
        with pytest.raises(InputError, match="0 or more"):
            shrink(trained(), factor)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_shrinking_by_1_changes_no_bit():
    model = residual()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    assert shrink(model, 1) is True
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
