"""The control for SC-LoRA: orthonormal directions, drawn for each layer and seed, and SC-LoRA's factors in them."""

import torch

from retain.methods.initialisations.config import SCLoRAConfig
from retain.methods.initialisations.factors import FrozenLayer
from retain.methods.initialisations.random_start import initialise, random_directions

W0 = torch.randn(9, 5, generator=torch.Generator().manual_seed(0))


def test_directions_are_orthonormal_and_belong_to_the_seed_and_the_layer():
    Q = random_directions(W0, 4, 0, "a")
    torch.testing.assert_close(Q.T @ Q, torch.eye(4, dtype=torch.float64))
    torch.manual_seed(5)
    assert torch.equal(random_directions(W0, 4, 0, "a"), Q)
    for seed, name in ((1, "a"), (0, "b")):
        assert not torch.allclose(random_directions(W0, 4, seed, name), Q)


def test_the_adapter_trains_the_part_of_the_weight_in_these_directions():
    config = SCLoRAConfig(r=3, initialisation="random-start", seed=2)
    A, B, facts = initialise(FrozenLayer("a", W0, None, {}), config)
    Q = random_directions(W0, 3, 2, "a")
    assert facts is None
    assert torch.equal(B, Q)
    torch.testing.assert_close(B @ A, Q @ Q.T @ W0.double())
