"""Reasons not to trust second moments, as sentences that a user can act on; read from their manifests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from retain.activations.store import Statistics

OUTLIER_SHARE = 0.2
OUTLIER_RATIO = 5.0
"""One sample dominates a layer if it holds this share of its energy and this many times its fair share."""

SAME_SUBSPACE = 0.95
"""Overlap of leading directions above which two sets are called alike."""


def findings(given: Mapping[str, Statistics]) -> list[str]:
    """Warnings before second moments are used: too few tokens, sets that overlap, samples that dominate.

    Args:
        given: second moments by their part: "learn", "keep".
    """
    found = [sentence for name, statistics in given.items() for sentence in _of_one(name, statistics)]
    if "learn" in given and "keep" in given:
        found += _of_both(given["learn"], given["keep"])
    return found


def alike(overlaps: Sequence[float]) -> list[str]:
    """A warning where the leading directions of both sets nearly coincide in most layers (overlap, 0 to 1, a layer)."""
    if not overlaps or (middle := median(overlaps)) <= SAME_SUBSPACE:
        return []
    sentence = (
        f"learn and keep use nearly the same directions (median overlap {middle:.0%} over {len(overlaps)} layers), so "
        "no start can serve the one and spare the other. Give data to keep that differ from the task's, or rely on a "
        "small learning rate."
    )
    return [sentence]


def _of_one(name: str, statistics: Statistics) -> list[str]:
    manifest = statistics.manifest
    found = [f"{name}: {note}" for note in manifest.notes]
    widest = max((layer.outputs for layer in manifest.layers.values()), default=0)
    if statistics.tokens < widest:
        found.append(
            f"{name}: {statistics.tokens:,} tokens for layers of up to {widest:,} outputs: directions beyond that "
            f"number are noise. Give at least {widest:,} tokens; ten times that is better."
        )
    samples = len(manifest.sequences)
    for leader, source in manifest.sources.items():
        share = source.energy / source.square if source.square > 0 else 0.0
        if share > OUTLIER_SHARE and share * samples > OUTLIER_RATIO:
            found.append(
                f"{name}: one of {samples} samples holds {share:.0%} of the energy at {leader}; look at the data, or "
                "give sample_norm='max'."
            )
            break
    return found


def _of_both(learn: Statistics, keep: Statistics) -> list[str]:
    both = set(learn.manifest.sequences) & set(keep.manifest.sequences)
    if not both:
        return []
    sentence = (
        f"learn and keep share {len(both)} of {len(keep.manifest.sequences)} sequences: what is to be learned and what "
        "is to be kept cannot be told apart there. Remove them from one side."
    )
    return [sentence]
