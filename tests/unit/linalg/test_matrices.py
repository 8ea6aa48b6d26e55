"""Symmetric matrices as triangles and halves, and thin products cut to a smaller rank."""

import pytest
import torch

from retain.linalg.matrices import add_gram, congruent, mirrored, pack_symmetric, thin, truncated, unpack_symmetric


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("n", [0, 1, 2, 7])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_packing_round_trip(n, dtype):
    matrix = randn(n, n).to(dtype)
    matrix = matrix + matrix.T
    packed = pack_symmetric(matrix)
    assert packed.shape == (n * (n + 1) // 2,)
    assert packed.dtype == dtype
    assert torch.equal(unpack_symmetric(packed), matrix)


def test_packing_takes_the_upper_triangle_row_by_row():
    assert pack_symmetric(torch.tensor([[1, 2, 3], [0, 4, 5], [0, 0, 6]])).tolist() == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("size", [1, 7, 192, 193, 500, 1600])
def test_products_made_by_half_are_whole_when_mirrored(size):
    x = randn(30, size)
    gram = torch.zeros(size, size, dtype=torch.float64)
    add_gram(gram, x[:11])
    add_gram(gram, x[11:])
    whole = mirrored(gram)
    torch.testing.assert_close(whole, x.T @ x, rtol=0, atol=1e-12)
    assert torch.equal(whole, whole.T)
    assert torch.equal(mirrored(gram.float(), torch.float64), mirrored(gram.float()).double())


@pytest.mark.parametrize("size", [1, 7, 96, 97, 500, 1600])
def test_a_triangular_congruence_is_the_whole_product(size):
    upper, symmetric = randn(size, size).triu(), randn(size, size, seed=1)
    symmetric = symmetric + symmetric.T
    found = congruent(upper, symmetric)
    assert torch.equal(found, found.T)
    torch.testing.assert_close(found, upper @ symmetric @ upper.T, rtol=1e-12, atol=1e-10)


@pytest.mark.parametrize("columns", [1, 5])
def test_a_product_with_a_thin_block_is_that_in_either_layout(columns):
    matrix, block = randn(40, 30), randn(30, columns, seed=1)
    torch.testing.assert_close(thin(matrix, block), matrix @ block, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(thin(randn(30, 40).T, block), randn(30, 40).T @ block, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("r", [1, 3, 6, 9])
def test_a_thin_product_is_cut_as_the_singular_values_say(r):
    B, A = randn(12, 6), randn(6, 20, seed=1)
    cut_B, cut_A, lost, size = truncated(B, A, r)
    values = torch.linalg.svdvals(B @ A)
    assert cut_B.shape[1] == cut_A.shape[0] == min(r, 6)
    assert lost == pytest.approx(float(values[r:].norm()), abs=1e-9)
    assert size == pytest.approx(float((B @ A).norm()))
    assert float((B @ A - cut_B @ cut_A).norm()) == pytest.approx(lost, abs=1e-9)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: pack_symmetric(torch.zeros(2, 3)), "square"),
        (lambda: unpack_symmetric(torch.zeros(4)), r"n\(n\+1\)/2"),
        (lambda: unpack_symmetric(torch.zeros(1, 3)), r"n\(n\+1\)/2"),
    ],
)
def test_other_shapes_are_refused(call, said):
    with pytest.raises(ValueError, match=said):
        call()
