"""Small matrices are decomposed by one thread, large ones by all; the number is given back."""

import pytest
import torch

from retain.linalg.threads import SMALL, threads_for


@pytest.fixture(autouse=True)
def _two():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("widths", "inside"), [((SMALL,), 1), ((64, 8), 1), ((8, SMALL + 1), 2)])
def test_the_widest_decides(widths, inside):
    with threads_for(*widths):
        assert torch.get_num_threads() == inside
    assert torch.get_num_threads() == 2


def test_the_number_is_given_back_after_a_failure():
    with pytest.raises(ZeroDivisionError), threads_for(8):
        raise ZeroDivisionError
    assert torch.get_num_threads() == 2
