"""Rows that begin alike, as a question's options do: the beginning is read once, and each row goes on from there.

What a transformer keeps of a text (keys and values) depends on nothing that follows, so the options of a question
share the pass over it. Whether a model goes on from a kept beginning as it reads the whole is found by trial.
"""

from __future__ import annotations

import copy
import inspect
import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from retain.data.preprocess import padded
from retain.data.tokens import IGNORED, Encoded, pad
from retain.evaluate.alike import KEEPS_NOTHING, differ
from retain.evaluate.scores.token_distributions import token_nll
from retain.hf.models.describe import prepends_tokens
from retain.hf.models.inference import device_of, evaluating

FEWEST_SHARED = 2
"""Rows with fewer tokens before their scored part are read whole."""

MOST_LOGITS = 2**26
"""Logits that exist at once, but for those of one row: 256 MB in float32. Rows that go on are many, and short."""

TRIED = 2
"""Of a family on trial so many of the shortest rows are read, and of the longest."""


class Family(NamedTuple):
    """Rows with the same tokens before their scored part.

    Attributes:
        beginning: these tokens.
        places: of the rows.
    """

    beginning: tuple[int, ...]
    places: tuple[int, ...]


def families(rows: Sequence[Encoded]) -> tuple[list[Family], list[int]]:
    """The rows that begin alike, two or more together; and the places of all others."""
    found: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for place, row in enumerate(rows):
        found[tuple(row.ids[: row.start])].append(place)
    alike = [
        Family(beginning, tuple(places))
        for beginning, places in found.items()
        if len(places) > 1 and len(beginning) >= FEWEST_SHARED
    ]
    together = {place for family in alike for place in family.places}
    return alike, [place for place in range(len(rows)) if place not in together]


def in_family_batches(alike: Sequence[Family], tokens: int) -> Iterator[list[Family]]:
    """Families with beginnings of one length, so that none is filled up; what all their rows keep is bounded.

    Args:
        alike: the families.
        tokens: of the beginnings of all rows of a batch, each row counted with its own; a family is not parted.
    """
    order = sorted(alike, key=lambda family: len(family.beginning))
    for length, same in itertools.groupby(order, lambda family: len(family.beginning)):
        batch: list[Family] = []
        rows = 0
        for family in same:
            if batch and (rows + len(family.places)) * length > tokens:
                yield batch
                batch, rows = [], 0
            batch.append(family)
            rows += len(family.places)
        yield batch


def family_nll(
    model: Any, batch: Sequence[Family], rows: Sequence[Encoded], pad_id: int, tokens: int
) -> dict[int, float]:
    """Negative log-likelihood in nats of each row's scored part, by the row's place.

    Args:
        model: a causal language model that `goes_on_alike`.
        batch: families of one length of beginning.
        rows: all of them.
        pad_id: fills the scored parts up.
        tokens: of rows that go on together, the beginnings included, but for one row.
    """
    device = device_of(model)
    owners = [(index, place) for index, family in enumerate(batch) for place in family.places]
    scored = {place: list(rows[place].ids[rows[place].start :]) for _, place in owners}
    kept, first = _read(model, torch.tensor([family.beginning for family in batch], device=device))
    sums: dict[int, float] = {}
    vocabulary, length = first.shape[-1], len(batch[0].beginning)
    for some in _parts(owners, MOST_LOGITS // vocabulary):
        starts = torch.tensor([scored[place][:1] or [IGNORED] for _, place in some], device=device)
        opening = token_nll(first[[index for index, _ in some]][:, None], starts).double().sum(dim=1).tolist()
        sums |= dict(zip((place for _, place in some), opening, strict=True))
    longer = sorted((pair for pair in owners if len(scored[pair[1]]) > 1), key=lambda pair: len(scored[pair[1]]))
    for _, alike in itertools.groupby(longer, lambda pair: (len(scored[pair[1]]) - 1).bit_length()):  # 1, 2–3, 4–7, …
        group = list(alike)
        width = len(scored[group[-1][1]]) - 1
        for some in _parts(group, min(tokens // (length + width), MOST_LOGITS // (vocabulary * width))):
            rest = _rest_nll(model, kept, [(index, scored[place]) for index, place in some], pad_id, device)
            for (_, place), nats in zip(some, rest, strict=True):
                sums[place] += nats
    return sums


def _parts(pairs: list[tuple[int, int]], most: int) -> Iterator[list[tuple[int, int]]]:
    """At most so many at once, and one at least."""
    size = max(most, 1)
    return (pairs[start : start + size] for start in range(0, len(pairs), size))


def _rest_nll(
    model: Any, kept: Any, scored: Sequence[tuple[int, list[int]]], pad_id: int, device: torch.device
) -> list[float]:
    """Nats of all tokens but the first of scored parts, each given with the place of its beginning among those kept."""
    own = copy.deepcopy(kept)
    own.batch_select_indices(torch.tensor([index for index, _ in scored], device=device))
    inputs, mask = padded([ids[:-1] for _, ids in scored], pad_id, device=device)
    targets = torch.tensor(pad([ids[1:] for _, ids in scored], IGNORED), device=device)
    before = mask.new_ones(len(scored), own.get_seq_length())
    with evaluating(model):
        made = model(
            input_ids=inputs, attention_mask=torch.cat([before, mask], dim=1), past_key_values=own, use_cache=True
        )
    sums: list[float] = token_nll(made.logits, targets).double().sum(dim=1).tolist()
    return sums


def _read(model: Any, beginnings: Tensor) -> tuple[Any, Tensor]:
    """What a model keeps of beginnings (n, T), and its logits (n, V) after them."""
    body: Any = getattr(model, "get_base_model", lambda: model)()
    last = {"logits_to_keep": 1} if "logits_to_keep" in inspect.signature(body.forward).parameters else {}
    with evaluating(model):
        made = model(input_ids=beginnings, attention_mask=torch.ones_like(beginnings), use_cache=True, **last)
    return made.past_key_values, made.logits[:, -1]


def goes_on_alike(
    model: Any,
    alike: Sequence[Family],
    rows: Sequence[Encoded],
    pad_id: int,
    read_whole: Callable[[Sequence[Encoded]], Sequence[float]],
    tokens: int,
) -> bool:
    """Tell whether a model reads rows that begin alike as it reads them whole, by the shortest and the longest of them.

    A model without keys and values of its own kind to go on from fails here, in whatever way, and is read whole.

    Args:
        model: a causal language model.
        alike: the families.
        rows: all of them.
        pad_id: fills rows up.
        read_whole: the negative log-likelihoods of rows in nats, each read from its beginning.
        tokens: as `family_nll`.
    """
    if prepends_tokens(model):
        return False
    batches = list(in_family_batches(alike, 1))
    shared: list[float] = []
    whole: list[float] = []
    for [family] in {id(one): one for one in (batches[0], batches[-1])}.values():
        batch = [_few_of(family, rows)]
        places = [place for family in batch for place in family.places]
        try:
            found = family_nll(model, batch, rows, pad_id, tokens)
        except KEEPS_NOTHING:
            return False
        shared += [found[place] for place in places]
        whole += [nats for place in places for nats in read_whole([rows[place]])]
    return not differ(torch.tensor(shared)[:, None], torch.tensor(whole)[:, None], model)


def _few_of(family: Family, rows: Sequence[Encoded]) -> Family:
    """A family's shortest and longest rows; it may have more than fit a batch."""
    by_length = sorted(family.places, key=lambda place: len(rows[place].ids))
    return family._replace(places=tuple(dict.fromkeys([*by_length[:TRIED], *by_length[-TRIED:]])))
