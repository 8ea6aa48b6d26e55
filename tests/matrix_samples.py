"""Random matrices, and measures of them by definition."""

import numpy as np

SHAPES = [(40, 24), (24, 40), (30, 30), (300, 200), (200, 300), (190, 190)]


def drawn(shape, seed, rank=None, size=1.0):
    rng = np.random.default_rng(seed)
    if rank is None:
        return size * rng.standard_normal(shape)
    return size * rng.standard_normal((shape[0], rank)) @ rng.standard_normal((rank, shape[1]))


def intruders_by_definition(weight, delta):
    before = np.linalg.svd(weight, full_matrices=False)[0]
    after = np.linalg.svd(weight + delta, full_matrices=False)[0][:, :10]
    return int((np.abs(before.T @ after).max(axis=0) < 0.5).sum())
