"""The cost of tuning where inputs differ from the usual ones, read from the items of suites of classes."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from retain.data.corruptions import CORRUPTIONS
from retain.evaluate.scores import shift
from retain.evaluate.tasks.table import TASK_TYPES
from retain.records.base import Interval
from retain.records.items import Item
from retain.records.metrics_table import ACCURACY
from retain.records.result import SuiteFacts
from retain.records.scores import Shift
from retain.stats.bootstrap import FEW_CHANGED
from retain.stats.clusters import Groups, cluster_changes, cluster_interval, named_groups

KINDS = frozenset(CORRUPTIONS) | {"glass_blur", "snow", "frost", "speckle_noise", "gaussian_blur", "spatter"}
"""Every kind of ImageNet-C: ours, the three that we leave out, and its three extra ones."""

_CORRUPTED = re.compile(r"(?P<kind>.+)/(?P<severity>[1-5])")

Right = NDArray[np.bool_]
Sides = tuple[Right, Right]
"""(base right, tuned right), each of one shape."""


def measured_shifts(items: Iterable[Item], suites: Sequence[SuiteFacts], seed: int) -> list[Shift]:
    """The corruption error of each suite of corrupted images, and the style gap of each other suite with one.

    A suite is of corruptions where each of its conditions is KIND/SEVERITY of a kind in `KINDS`. A retention suite is
    the task in another style (or domain) where its classes are exactly those of the task: of style and domain nothing
    more is recorded, so whoever chose the suite says which it is.

    Args:
        items: of the record, of all suites.
        suites: facts of each suite; only those of classifiers are looked at.
        seed: of the resamples.
    """
    own: dict[tuple[str, str], list[Item]] = defaultdict(list)
    for item in items:
        if ACCURACY.name in item.base.scores and ACCURACY.name in item.tuned.scores:
            own[item.part, item.suite].append(item)
    classed = [
        (facts, of)
        for facts in suites
        if TASK_TYPES[facts.task_type].needs == "classifier" and (of := own[facts.part, facts.name])
    ]
    found, plain = [], []
    for facts, of in classed:
        if _is_corrupted(of):
            found.append(_corruption_error(facts.name, of, np.random.default_rng(seed)))
        else:
            plain.append((facts, of))
    for task, usual in plain:
        for facts, other in plain:
            if (task.part, facts.part) == ("task", "keep") and _classes(usual) == _classes(other):
                found.append(_style_gap((facts.name, other), (task.name, usual), np.random.default_rng(seed)))
    return found


def _is_corrupted(items: Sequence[Item]) -> bool:
    matches = [_CORRUPTED.fullmatch(item.condition or "") for item in items]
    return all(match is not None and match["kind"] in KINDS for match in matches)


def _classes(items: Sequence[Item]) -> set[str | None]:
    return {item.expected for item in items}


def _right(items: Sequence[Item]) -> Sides:
    before, after = ([getattr(item, side).scores[ACCURACY.name] == 1 for item in items] for side in ("base", "tuned"))
    return np.asarray(before), np.asarray(after)


def _corruption_error(name: str, items: Sequence[Item], generator: np.random.Generator) -> Shift:
    base, tuned = _right(items)
    before, after, images = _by_kind(items, base, tuned)
    found = shift.mean_corruption_error(before, after)
    known = [kind for kind, value in found.by_kind.items() if value is not None]
    moved = [(before[kind] != after[kind]).any(axis=0) for kind in known]
    changed = int(np.any(moved, axis=0).sum()) if moved else 0
    notes = [f"The base makes no error under {', '.join(found.left_out)}: left out."] if found.left_out else []
    interval = None
    if changed >= FEW_CHANGED:
        interval = shift.mean_corruption_interval(before, after, generator)
    elif known:
        notes.append(f"{changed} of {images} images changed, too few for an interval (at least {FEW_CHANGED}).")
    return Shift(
        suite=name,
        measure="corruption error",
        n=len(items),
        units=images,
        base=float(1 - base.mean()),
        tuned=float(1 - tuned.mean()),
        value=found.value,
        interval=interval,
        by_kind=found.by_kind,
        note=" ".join(notes),
    )


def _by_kind(items: Sequence[Item], base: Right, tuned: Right) -> tuple[dict[str, Right], dict[str, Right], int]:
    """Right and wrong as (severities, images) for each kind, before and after, and the number of images.

    An image is a group, an item without one its own. What was not asked of an image counts as right on both sides:
    only errors are added up, so it counts for nothing.
    """
    names = [f"item {index}" if item.group is None else f"group {item.group}" for index, item in enumerate(items)]
    image = {name: place for place, name in enumerate(dict.fromkeys(names))}
    parts = [str(item.condition).rsplit("/", 1) for item in items]
    kinds = dict.fromkeys(kind for kind, _ in parts)
    severities = sorted({severity for _, severity in parts})
    shape = (len(severities), len(image))
    before, after = ({kind: np.ones(shape, dtype=np.bool_) for kind in kinds} for _ in range(2))
    for place, ((kind, severity), name) in enumerate(zip(parts, names, strict=True)):
        cell = severities.index(severity), image[name]
        before[kind][cell] &= base[place]
        after[kind][cell] &= tuned[place]
    return before, after, len(image)


def _style_gap(
    other: tuple[str, Sequence[Item]], usual: tuple[str, Sequence[Item]], generator: np.random.Generator
) -> Shift:
    (name, outside), (task, inside) = other, usual
    usual_right, other_right = _right(inside), _right(outside)
    before, after = (shift.style_gap(usual_right[side], other_right[side]) for side in (0, 1))
    groups = [named_groups([item.group for item in part]) for part in (inside, outside)]
    if groups == [None, None]:
        interval = shift.style_gap_change_interval(usual_right, other_right, generator)
    else:
        interval = _grouped_interval((usual_right, groups[0]), (other_right, groups[1]), generator)
    return Shift(
        suite=name,
        measure="style gap",
        against=task,
        n=len(outside),
        units=len(outside) if groups[1] is None else len(set(groups[1])),
        base=before,
        tuned=after,
        value=after - before,
        interval=interval,
    )


def _grouped_interval(
    usual: tuple[Sides, Groups], other: tuple[Sides, Groups], generator: np.random.Generator
) -> Interval:
    """The same as `shift.style_gap_change_interval`, with the groups of items of each style as units."""
    (low1, d1, high1), (low2, d2, high2) = (_change(*side, generator) for side in (usual, other))
    return d1 - d2 - math.hypot(d1 - low1, high2 - d2), d1 - d2 + math.hypot(high1 - d1, d2 - low2)


def _change(right: Sides, groups: Groups, generator: np.random.Generator) -> tuple[float, float, float]:
    lost, gained, sizes = cluster_changes(*right, groups)
    low, high = cluster_interval(lost, gained, sizes, generator)
    return low, float((gained - lost).sum() / sizes.sum()), high
