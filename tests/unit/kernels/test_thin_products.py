"""Thin products in the layouts that are fast on a CPU, against the products as they are written."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from retain.kernels.thin_products import add_product_, codes, plus_product, token_sum

sizes = st.integers(0, 9)


@given(tokens=sizes, n=st.integers(1, 9), m=sizes, r=st.integers(1, 3), turned=st.booleans(), low=st.booleans())
@settings(deadline=None, max_examples=40)
def test_products_of_any_size_layout_and_type(tokens, n, m, r, turned, low):
    torch.manual_seed(tokens)
    dtype = torch.bfloat16 if low else torch.float64
    x, g, A, B = (torch.randn(*size).to(dtype) for size in ((tokens, n), (tokens, m), (r, n), (m, r)))
    if turned:
        x, g, A, B = (one.T.contiguous().T for one in (x, g, A, B))
    near = {"rtol": 0.02, "atol": 0.1} if low else {}
    code = codes(x, A)
    torch.testing.assert_close(code, x @ A.T, **near)
    torch.testing.assert_close(codes(x, A, 0.5), 0.5 * (x @ A.T), **near)
    torch.testing.assert_close(token_sum(code, g), code.T @ g, **near)
    torch.testing.assert_close(token_sum(code, g, 2.0), 2.0 * (code.T @ g), **near)
    expected = g + 0.5 * code @ B.T
    torch.testing.assert_close(plus_product(g, code, B, 0.5), expected, **near)
    assert add_product_(g, code, B, 0.5) is g
    torch.testing.assert_close(g, expected, **near)


def test_codes_lie_as_the_sums_over_tokens_want_them():
    assert codes(torch.randn(5, 4), torch.randn(2, 4)).T.is_contiguous()
