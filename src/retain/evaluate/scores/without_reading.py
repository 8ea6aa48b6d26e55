"""Answers that can be had without reading the question: what a strategy of this kind gets right counts as chance.

A strategy is given as q (n,), the probability that it is right on each item of this very suite: always the same
position, always the same text, always the longest option, the class that is most frequent, a piece of the prompt
written back. Chance is c = max over strategies of mean q.

A model that does not read draws an answer for each item from some mixture of such strategies. Its number right is then
a sum of independent draws with mean at most n·c, and P(number ≥ k) ≤ P(Binomial(n, c) ≥ k) for k ≥ n·c + 1 (Hoeffding,
Ann. Math. Statist. 27, 1956). The suite is held fixed: q is known, not estimated, so choosing the best strategy on the
suite itself needs no correction.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from retain.evaluate.scores.text import contains, normal_form

Floats = NDArray[np.float64]

ALMOST_SURE = 1 - 1e-6
"""The largest chance of an item: a suite of such items shows nothing, and nothing is divided by zero."""

CANDIDATES = 3
"""So many of the most frequent accepted answers are tried as constant answers."""

SMOOTHINGS = (1.0, 0.1, 0.01, 0.001)
"""Counts added to that of every token, of which the best is taken."""

FEWEST_REPEATS = 2
"""A constant answer is tried if it is right, or was given, at least so often."""


def of_choices(
    choices: Sequence[Sequence[str]], answers: Sequence[int], questions: Sequence[str] = ()
) -> dict[str, Floats]:
    """Strategies for multiple choice.

    Args:
        choices: the options of each item, at least one each.
        answers: index of the right option of each item.
        questions: the questions, for what they show of their own options: one of them, or all; none: not tried.
    """
    lengths = [len(options) for options in choices]
    luck = np.asarray([1 / length for length in lengths])
    found = {"any choice": luck}
    for name, measure in (("characters", len), ("words", lambda text: len(text.split()))):
        sizes = [[measure(option) for option in options] for options in choices]
        found[f"the longest choice in {name}"] = _extreme(sizes, answers)
        found[f"the shortest choice in {name}"] = _extreme([[-size for size in row] for row in sizes], answers)
    if questions:
        stands = [
            [contains(question, option) for option in options]
            for question, options in zip(questions, choices, strict=True)
        ]
        found["the choice that stands in the question"] = _extreme(stands, answers)
        listed = np.asarray([all(row) for row in stands], dtype=bool)
        found |= {name: np.where(listed, q, luck) for name, q in _same_places(lengths, answers).items()}
    return found | _constant_choices(choices, answers)


def _same_places(lengths: Sequence[int], answers: Sequence[int]) -> dict[str, Floats]:
    """Always the same place, which only a question that lists its options shows: they are scored one by one."""
    found = {}
    for place in range(max(lengths, default=0)):
        if sum(answer == place for answer in answers) >= FEWEST_REPEATS:
            found[f"always choice {place + 1}"] = _equal(answers, [place] * len(answers))
    return found | {"always the last choice": _equal(answers, [length - 1 for length in lengths])}


def _equal(answers: Sequence[int], picked: Sequence[int]) -> Floats:
    return np.asarray([float(answer == pick) for answer, pick in zip(answers, picked, strict=True)])


def _extreme(values: Sequence[Sequence[float]], answers: Sequence[int]) -> Floats:
    """Probability of being right by the largest value, any one of equals."""
    return np.asarray([share_of_best(row, answer) for row, answer in zip(values, answers, strict=True)])


def share_of_best(values: Sequence[float], answer: int) -> float:
    """1 / m where the answer is among the m largest of some values; 0 where it is not."""
    best = max(values)
    return (values[answer] == best) / sum(value == best for value in values)


def _constant_choices(choices: Sequence[Sequence[str]], answers: Sequence[int]) -> dict[str, Floats]:
    """The same text wherever it is an option, any option elsewhere; the texts that are right most often."""
    folded = [[normal_form(option) for option in options] for options in choices]
    right = Counter(options[answer] for options, answer in zip(folded, answers, strict=True))
    where: dict[str, list[int]] = defaultdict(list)
    for index, options in enumerate(folded):
        for text in set(options):
            where[text].append(index)
    luck = np.asarray([1 / len(options) for options in folded])
    gain = {text: count - luck[where[text]].sum() for text, count in right.items() if count >= FEWEST_REPEATS}
    found = {}
    for text in sorted(gain, key=lambda text: (-gain[text], text))[:CANDIDATES]:
        q = luck.copy()
        for index in where[text]:
            q[index] = float(folded[index][answers[index]] == text)
        found[f"always {text!r}"] = q
    return found


def of_written(
    accepted: Sequence[Sequence[str]],
    right: Callable[[str, str], bool],
    *,
    questions: Sequence[str] = (),
    words: int = 0,
    given: Iterable[str] = (),
) -> dict[str, Floats]:
    """Strategies for answers in writing: one answer for all, or the beginning or end of the question again.

    Args:
        accepted: the accepted answers of each item.
        right: whether a written answer is right by an accepted one.
        questions: the questions; none: writing them back is not tried.
        words: most words of a question that fit into an answer.
        given: answers that a model gave; the most frequent is tried as well.
    """

    def scored(answers: Sequence[str]) -> Floats:
        pairs = zip(answers, accepted, strict=True)
        return np.asarray([float(any(right(answer, one) for one in known)) for answer, known in pairs])

    known = Counter(text for answers in accepted for text in {normal_form(answer) for answer in answers})
    seen = Counter(given)
    texts = [text for text, count in known.most_common(CANDIDATES) if count >= FEWEST_REPEATS]
    texts += [text for text, count in seen.most_common(1) if count >= FEWEST_REPEATS]
    found = {f"always {text!r}": scored([text] * len(accepted)) for text in dict.fromkeys(texts)}
    if questions and words:
        parts = [question.split() for question in questions]
        found["the question's first words again"] = scored([" ".join(part[:words]) for part in parts])
        found["the question's last words again"] = scored([" ".join(part[-words:]) for part in parts])
    return found


def of_classes(labels: Sequence[str], classes: int) -> dict[str, Floats]:
    """Strategies for classes: any of them, or always the most frequent among the items.

    Args:
        labels: the class of each item, at least one.
        classes: how many there are.
    """
    largest, _ = min(Counter(labels).items(), key=lambda pair: (-pair[1], pair[0]))
    return {
        "any class": np.full(len(labels), 1 / max(classes, 2)),
        f"always {largest!r}": np.asarray([float(label == largest) for label in labels]),
    }


def context_free_nats(parts: Sequence[Sequence[int]], vocabulary: int) -> list[float]:
    """Nats of each part's tokens to a model that always predicts the same: how frequent tokens are in other parts.

    p(t) = (c_t + α)/(N + α·V), with the count c_t of token t among the N tokens of the other parts; α is the one of
    `SMOOTHINGS` by which all parts together have the fewest nats, an infinite α (all tokens equally likely) among them.

    Args:
        parts: token ids that are predicted, of each item or window.
        vocabulary: V, tokens that a model chooses among.
    """
    ids = [np.asarray(part, dtype=np.int64) for part in parts]
    counts = np.bincount(np.concatenate([*ids, np.zeros(0, dtype=np.int64)]))
    total = int(counts.sum())
    found = [np.asarray([len(part) * np.log(vocabulary) for part in ids])]
    for smoothing in SMOOTHINGS:
        nats = np.empty(len(ids))
        for place, part in enumerate(ids):
            tokens, own = np.unique(part, return_counts=True)
            others = counts[tokens] - own + smoothing
            nats[place] = -float(own @ np.log(others / (total - len(part) + smoothing * vocabulary)))
        found.append(nats)
    return [float(nats) for nats in min(found, key=lambda nats: float(nats.sum()))]


class Chance(NamedTuple):
    """What can be had of a suite without reading it: by which strategy, and how probably on each item."""

    strategy: str = ""
    items: Sequence[float] = ()

    @property
    def mean(self) -> float:
        """The share of the suite that the strategy is expected to get right; 0 where nothing can be had."""
        return float(np.mean(self.items)) if len(self.items) else 0.0


def best(strategies: dict[str, Floats], given: float | None = None) -> Chance:
    """The strategy that is right most often, the first of equals.

    Args:
        strategies: at least one, (n,) each.
        given: the chance that the suite states; the best is at least that.
    """
    size = len(next(iter(strategies.values())))
    if given is not None:
        strategies = {"what the suite states": np.full(size, given), **strategies}
    name = max(strategies, key=lambda one: float(strategies[one].mean()) if size else 0.0)
    return Chance(name, np.minimum(strategies[name], ALMOST_SURE).tolist())
