"""Rows at once: from the cache and the width."""

import pytest
import torch

from retain.kernels import blocks
from retain.kernels.blocks import LEAST, MOST, rows_at_once


@pytest.mark.parametrize(
    ("width", "itemsize", "cache", "expected"),
    [(1024, 4, 2**19, 128), (1000, 4, 2**19, 128), (1024, 8, 2**19, 64), (4096, 4, 2**21, 128), (1024, 4, 2**21, 512),
     (1, 4, 2**19, MOST), (10**6, 4, 2**19, LEAST), (0, 4, 2**19, MOST)],
)  # fmt: skip
def test_a_block_fills_the_cache(monkeypatch, width, itemsize, cache, expected):
    monkeypatch.setattr(blocks, "_cache", lambda: cache)
    rows_at_once.cache_clear()
    assert rows_at_once(width, itemsize) == expected
    rows_at_once.cache_clear()


@pytest.mark.parametrize("tell", [None, dict, lambda: {"l2_cache_size": 0}])
def test_a_torch_that_does_not_tell_the_cache(monkeypatch, tell):
    monkeypatch.setattr(torch.cpu, "get_capabilities", tell, raising=False)
    assert blocks._cache() == blocks.USUAL_CACHE
