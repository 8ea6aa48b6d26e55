"""Control data: the part of each limited suite that certifies the limit; neither training nor the report sees it.

Groups of items stay together, and held-out text is split by blocks of paragraphs. The parts are drawn by hashes of the
content, so they are the same in every run on the same data, whatever the order of the items.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from retain.budget.certify import CLIP_FACTOR
from retain.data.item import DataItem
from retain.evaluate.suites.suite import Suite, Suites
from retain.evaluate.tasks.table import task_type_of
from retain.recipe import KL
from retain.stats.planning import fewest_items_to_certify, fewest_units_to_certify, items_to_certify

SALT = "retain control data, 1"
"""Hashed with each item; another salt draws other parts."""

BLOCK_CHARACTERS = 600
"""Least length of a block of held-out text, some 150 tokens: the unit of a certificate of KL."""


WINDOW = 128
"""Tokens of a window of control text, fewer than in the report: a block of text has about one window."""


class Parts(NamedTuple):
    """Evaluation data, which are reported, and control data, which certify."""

    evaluation: Suites
    control: Suites


def split(suites: Suites, limits: Iterable[str], share: float) -> Parts:
    """Split the retention suites that have a limit, and the held-out text where `kl` has one.

    Args:
        suites: all that is measured.
        limits: names of retention suites, or `kl`.
        share: of the units (items, groups, blocks of text) that becomes control data; at least one unit stays on
            each side where there are two.

    Returns:
        The two parts. What has no limit is in the evaluation data only.
    """
    names = set(limits)
    evaluation, control = [], []
    for suite in suites.all:
        if suite.part == "keep" and suite.name in names:
            chosen = _chosen(suite.items, share)
            control.append(replace(suite, items=[item for k, item in enumerate(suite.items) if k in chosen]))
            evaluation.append(replace(suite, items=[item for k, item in enumerate(suite.items) if k not in chosen]))
        else:
            evaluation.append(suite)
    if KL not in names:
        return Parts(Suites(evaluation, suites.held_out_text), Suites(control))
    texts = {domain: _split_text(text, share) for domain, text in suites.held_out_text.items()}
    return Parts(
        Suites(evaluation, _filled(texts, 0)),
        Suites(control, _filled(texts, 1)),
    )


def limit_problems(
    suites: Suites,
    limits: Mapping[str, float],
    confidence: float,
    share: float | None = None,
    held_out_tokens: int | None = None,
) -> list[str]:
    """A sentence for each limit of what is not measured, or of what has too few items for any certificate.

    Args:
        suites: all that is measured.
        limits: points of retention suites, nats of `kl`.
        confidence: of the certificates.
        share: of the units that becomes control data; None where all are.
        held_out_tokens: tokens of control text that are read at most; None where all are.
    """
    known = {suite.name: suite for suite in suites.of("keep")}
    told = ", ".join([*known, *([KL] if suites.held_out_text else [])])
    problems = []
    for name in limits:
        if name == KL:
            problems += _too_little_text(suites, limits[name], confidence, share, held_out_tokens)
        elif name not in known:
            limited = f"can be set for {told}" if told else "is of a retention suite (keep), or of kl (held_out_text)"
            problems.append(f"budget: there is no retention suite {name!r}; a limit {limited}.")
        elif has_limit_in_points(known[name]):
            problems += _too_few(known[name], limits[name], confidence, share)
    return problems


def limit_words(control: Suites, limits: Mapping[str, float], confidence: float) -> list[str]:
    """A sentence for each limit: the control data there are, and how many a certificate takes.

    Args:
        control: the control data, as `split` gives them.
        limits: points of retention suites, nats of `kl`.
        confidence: of the certificates.
    """
    units = {suite.name: len(set(_units(suite.items))) for suite in control.of("keep") if has_limit_in_points(suite)}
    told = []
    for name, limit in limits.items():
        if name == KL:
            blocks_there = sum(len(blocks(text)) for text in control.held_out_text.values())
            fewest = fewest_units_to_certify(limit, confidence, CLIP_FACTOR * limit)
            need = f"; one that does not move needs {fewest}" if fewest else ""
            told.append(f"budget {name}:{limit:g}: {blocks_there} control blocks of text{need}")
        elif name in units:
            fewest = fewest_items_to_certify(limit / 100, confidence)
            likely = items_to_certify(1, 1, 200, limit / 100, confidence)
            need = f"; a model that loses nothing needs {fewest}" if fewest else "; shown only where it gains"
            more = (
                f", one that loses and gains one in 200 some {likely} for an even chance" if fewest and likely else ""
            )
            told.append(f"budget {name}:{limit:g}: {units[name]} control items (or groups){need}{more}")
    return told


def has_limit_in_points(suite: Suite) -> bool:
    """True where a limit is in points of a share, and not in nats: where the verdict's metric is right or wrong."""
    return task_type_of(suite).verdict_metric(suite).right_or_wrong


def _too_few(suite: Suite, limit: float, confidence: float, share: float | None) -> list[str]:
    """A sentence if not even a model that lost nothing could be certified; a limit of 0 takes gains, and is let be."""
    units = len(set(_units(suite.items)))
    control = units if share is None else _count(units, share)
    fewest = fewest_items_to_certify(limit / 100, confidence) if limit else None
    if units < 2:
        return [f"budget: {suite.name} has one item or group, which cannot be parted; give more."]
    if fewest is None or control >= fewest:
        return []
    parted = "" if share is None else f" ({100 * share:g}% of {units}, see --control-share)"
    told = f"with {control} control items{parted} not even a model that lost nothing could be certified"
    cure = f"at {100 * confidence:g}% confidence; give at least {fewest} of them, or allow more."
    return [f"budget: {suite.name}:{limit:g}: {told} {cure}"]


def _too_little_text(
    suites: Suites, limit: float, confidence: float, share: float | None, tokens: int | None
) -> list[str]:
    if not suites.held_out_text:
        return [f"budget: {KL} is measured on held-out text; give --held-out-text."]
    counts = [len(blocks(text)) for text in suites.held_out_text.values()]
    control = sum(count if share is None else _count(count, share) for count in counts)
    fewest = fewest_units_to_certify(limit, confidence, CLIP_FACTOR * limit) if limit else None
    if fewest is None:
        return []
    if tokens is not None and tokens // WINDOW < fewest <= control:
        told = f"held_out_tokens={tokens} reads {tokens // WINDOW} control blocks of text"
        why = f"not even a model that did not move could be certified on fewer than {fewest}"
        return [f"budget: {KL}:{limit:g}: {told}, and {why}; give {fewest * WINDOW} or more."]
    if control >= fewest:
        return []
    told = f"with {control} control blocks of held-out text not even a model that did not move could be certified"
    length = f"at least {fewest} are needed, {fewest * BLOCK_CHARACTERS} characters of control text"
    return [f"budget: {KL}:{limit:g}: {told} at {100 * confidence:g}% confidence; {length}."]


def blocked(texts: Mapping[str, str], most: int) -> dict[str, str]:
    """Held-out texts as their blocks, each under a name of its own; evenly chosen where there are more than `most`."""
    found = {f"{domain}, block {k}": block for domain, text in texts.items() for k, block in enumerate(blocks(text), 1)}
    names = list(found)
    chosen = names if len(names) <= most else [names[k * len(names) // most] for k in range(most)]
    return {name: found[name] for name in chosen}


def _count(units: int, share: float) -> int:
    """The number of units that become control data."""
    return min(max(math.ceil(share * units), 1), max(units - 1, 1))


def _units(items: Sequence[DataItem]) -> list[str]:
    """The unit of each item: its group, or the item alone (equal items are one unit)."""
    return [f"group {item.group}" if item.group is not None else item.content() for item in items]


def _chosen(items: Sequence[DataItem], share: float) -> set[int]:
    units = _units(items)
    drawn = _drawn(sorted(set(units)), share)
    return {index for index, unit in enumerate(units) if unit in drawn}


def _drawn(units: Sequence[str], share: float) -> set[str]:
    """A share of the units, by their hashes."""
    order = sorted(units, key=lambda unit: hashlib.sha256(f"{SALT}\0{unit}".encode(errors="surrogatepass")).digest())
    return set(order[: _count(len(order), share)])


def _split_text(text: str, share: float) -> tuple[str, str]:
    """The evaluation and the control part of a text, each in the text's order."""
    found = blocks(text)
    named = [f"{index} {block}" for index, block in enumerate(found)]
    drawn = _drawn(named, share) if len(found) > 1 else set()
    parts: tuple[list[str], list[str]] = ([], [])
    for name, block in zip(named, found, strict=True):
        parts[name in drawn].append(block)
    return "\n\n".join(parts[0]), "\n\n".join(parts[1])


def blocks(text: str) -> list[str]:
    """Paragraphs joined to blocks; of a text without paragraphs, its lines; without lines, its words."""
    parts = next((found for pattern in (r"\n\s*\n", r"\n", r"\s+") if len(found := _pieces(text, pattern)) > 3), [text])
    joint = "\n\n" if "\n\n" in text else " "
    found, current = [], ""
    for part in parts:
        current = f"{current}{joint}{part}" if current else part
        if len(current) >= BLOCK_CHARACTERS:
            found.append(current)
            current = ""
    return found or [current]


def _pieces(text: str, pattern: str) -> list[str]:
    return [part for part in re.split(pattern, text) if part.strip()]


def _filled(texts: Mapping[str, tuple[str, str]], side: int) -> dict[str, str]:
    return {domain: parts[side] for domain, parts in texts.items() if parts[side]}
