"""What `retain.activations.paused` needs of greenlet, Python and torch: frames that wait and can be read."""

from __future__ import annotations

import platform

import greenlet
import pytest
import torch
from torch import nn

from retain.activations.paused import Pass, wait

VERSIONS = f"greenlet {greenlet.__version__}, Python {platform.python_version()}, torch {torch.__version__}"
ADVICE = (
    f"with {VERSIONS} a forward pass can no longer wait between two layers, or its frames cannot be read. Until that "
    "is mended, `sc_lora` can go through `collect`: let `retain.activations.stream.stream` raise CannotStreamError."
)


class Waiting(nn.Module):
    def forward(self, x):
        held = x * 2
        wait()
        return held


def test_a_forward_pass_waits_and_goes_on_in_the_same_modes():
    model, seen = nn.Sequential(nn.Linear(4, 4), Waiting(), nn.Linear(4, 4)), []

    def work():
        with torch.no_grad():
            seen.append(model(torch.ones(2, 4)))

    first = Pass(work)
    assert not first.go_on(), ADVICE
    assert not seen
    assert first.go_on(), ADVICE
    assert torch.is_grad_enabled(), ADVICE
    with torch.no_grad():
        assert len(seen) == 1


def test_the_tensors_of_a_waiting_pass_are_counted():
    held = Pass(lambda: Waiting()(torch.ones(1000)))
    held.go_on()
    try:
        assert held.nbytes >= 2 * 1000 * 4, ADVICE
    finally:
        held.drop()


@pytest.mark.parametrize("name", ["gr_frame", "gr_context", "parent", "dead", "switch", "throw"])
def test_greenlet_has_what_is_read(name):
    assert hasattr(greenlet.greenlet, name), ADVICE
