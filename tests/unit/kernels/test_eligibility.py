"""When the fast forms may be used."""

import torch
from torch import nn

from retain.kernels import reference_only
from retain.kernels.eligibility import eligible

X = torch.randn(2, 3)


def test_ordinary_tensors_and_nothing():
    assert eligible(X, None, nn.Parameter(X), X.bfloat16())


def test_the_switch_is_given_back_whatever_happens():
    with reference_only():
        assert not eligible(X)
        with reference_only():
            assert not eligible(X)
        assert not eligible(X)
    assert eligible(X)
    try:
        with reference_only():
            raise ValueError
    except ValueError:
        pass
    assert eligible(X)


def test_what_is_computed_in_another_way():
    with torch.autocast("cpu", torch.bfloat16):
        assert not eligible(X)
    assert not eligible(X, torch.randint(0, 3, (2,)))
    assert not eligible(X, X.to_sparse())
    assert not eligible(X, X.to("meta"))

    class Own(torch.Tensor):
        pass

    assert not eligible(X, X.as_subclass(Own))


def test_transforms_of_functions():
    seen = []
    torch.vmap(lambda x: seen.append(eligible(x)) or x)(X)
    assert seen == [False]


def test_forward_derivatives_and_tracing():
    with torch.autograd.forward_ad.dual_level():
        assert not eligible(X)
    seen = []
    torch.jit.trace(lambda x: seen.append(eligible(x)) or x * 2, (X,))
    assert seen[0] is False
    assert eligible(X)
