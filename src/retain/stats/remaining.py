"""What is left of what a model knew: exact one-sided tests and bounds of the share of known answers that it still has.

Looked at are the items that the base has right, in independent units (single items, or groups). Where guessing is right
with probability c, a base that has the share a of all items right knows κ = (a − c)/((1 − c)·a) of those, and guessed
the others. If the share ρ of what it knew is left, and all else is guessed, the tuned model has of the items that the
base has right the share

    p(ρ) = c + ρ·(1 − c/a),

which is ρ where nothing can be guessed. So "the share ρ or more is left" is "p(ρ) or more are answered right", and that
is tested exactly: by the binomial distribution where items stand alone, by the betting test of `stats.bounds` where
they come in groups. Where items differ in their chance, c is its mean, which makes the lower tail too large and never
too small (Hoeffding, Ann. Math. Statist. 27, 1956). Where c > 0, a is not known but estimated: its confidence limit
takes its place, and `NUISANCE_SHARE` of the level is spent on that (Berger and Boos, JASA 89, 1994).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import special

from retain.stats.bounds import log_capital, mean_bound, mean_p_value, p_of_capital
from retain.stats.clusters import Counts, effective_number
from retain.stats.mcnemar import SIGNIFICANCE
from retain.stats.net_loss import NUISANCE_SHARE
from retain.stats.planning import SURE_TO_SHOW, smallest_size

PRECISION = 1e-6
"""Bounds of groups are found to this share."""


@dataclass(frozen=True, eq=False)
class Remaining:
    """Counts of a suite in units, from which all tests and bounds follow.

    Attributes:
        items: (units,) items of each unit.
        known: (units,) items of each that the base has right.
        left: (units,) of these, items that the tuned model has right, too.
        chance: c, mean probability of guessing right, in [0, 1).
        alpha: level of the tests; the share of it that is spent on the base's accuracy follows from it.

    Raises:
        ValueError: the counts do not fit together, or chance is out of its range.
    """

    items: Counts
    known: Counts
    left: Counts
    chance: float = 0.0
    alpha: float = SIGNIFICANCE

    def __post_init__(self) -> None:
        for name in ("items", "known", "left"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=np.int64))
        counts = np.stack([np.zeros_like(self.items), self.left, self.known, self.items])
        if (np.diff(counts, axis=0) < 0).any() or not self.items.size:
            raise ValueError("each unit has items ≥ known ≥ left ≥ 0, and there is one.")
        if not 0 <= self.chance < 1:
            raise ValueError("chance must lie in [0, 1).")

    @cached_property
    def alone(self) -> bool:
        """True where every item is a unit."""
        return bool((self.items == 1).all())

    @property
    def n_known(self) -> int:
        """Items that the base has right."""
        return int(self.known.sum())

    @property
    def n_left(self) -> int:
        """Of these, items that the tuned model has right, too."""
        return int(self.left.sum())

    @property
    def accuracy(self) -> float:
        """The share a of all items that the base has right."""
        return self.n_known / int(self.items.sum())

    @property
    def lowest_accuracy(self) -> float:
        """The base's accuracy where nothing can be guessed, else its lower confidence limit."""
        return self._accuracies[1]

    @property
    def units(self) -> float:
        """Independent known items: their number, or what they are worth where they come in groups."""
        return float(self.n_known) if self.alone else effective_number(self.known)

    @property
    def share(self) -> float | None:
        """The share ρ that is left, in [0, 1]; None where the base is not above chance.

        A tuned model that repeats what the base guessed has more right than p(1).
        """
        if self.accuracy <= self.chance or not self.n_known:
            return None
        return min(1.0, max(0.0, self._share_at(self.n_left / self.n_known, self.accuracy)))

    def p_gone(self, limit: float) -> float:
        """Exact p-value of H0: the share `limit` of what the base knew is left, or more.

        Args:
            limit: in (0, 1).
        """
        spent, low, _ = self._accuracies
        if low <= self.chance or not self.n_known:
            return 1.0
        return min(1.0, spent + self._few(self._answered_at(limit, low)))

    def p_still(self, limit: float) -> float:
        """Exact p-value of H0: the share `limit` of what the base knew is left, or less."""
        spent, _, high = self._accuracies
        if high <= self.chance or not self.n_known:
            return 1.0
        return min(1.0, spent + self._many(self._answered_at(limit, high)))

    def bound(self, alpha: float) -> float:
        """Upper confidence bound of the share that is left, at level `alpha`: the smallest limit with p_gone ≤ alpha.

        1 where the base is not surely above chance, or the level is no larger than what is spent on that.
        """
        spent, low, _ = self._accuracies
        if low <= self.chance or not self.n_known or alpha <= spent:
            return 1.0
        answered = self._most_answered(alpha - spent)
        return min(1.0, max(0.0, self._share_at(answered, low)))

    def _share_at(self, answered: float, accuracy: float) -> float:
        return (answered - self.chance) / (1 - self.chance / accuracy)

    def _answered_at(self, share: float, accuracy: float) -> float:
        return self.chance + share * (1 - self.chance / accuracy)

    @cached_property
    def _accuracies(self) -> tuple[float, float, float]:
        """What of the level is spent on the base's accuracy, and its lower and upper confidence limit."""
        if not self.chance:
            return 0.0, self.accuracy, self.accuracy
        spent = NUISANCE_SHARE * self.alpha
        n, right = int(self.items.sum()), self.n_known
        if self.alone:
            low = float(special.betaincinv(right, n - right + 1, spent)) if right else 0.0
            high = float(special.betaincinv(right + 1, n - right, 1 - spent)) if right < n else 1.0
            return spent, low, high
        sizes, right_of = (counts.astype(np.float64) * (len(self.items) / n) for counts in (self.items, self.known))
        wrong = mean_bound(sizes - right_of, 1 - spent, 0.0, float(sizes.max()))
        return spent, 1 - min(1.0, wrong), min(1.0, mean_bound(right_of, 1 - spent, 0.0, float(sizes.max())))

    def _few(self, answered: float) -> float:
        """p-value of H0: of the known items the share `answered` or more are expected to be right."""
        if answered >= 1:
            return float(self.n_left == self.n_known)
        if self.alone:
            return float(special.bdtr(self.n_left, self.n_known, answered))
        return mean_p_value(self._centred(answered), 0.0, -answered, 1 - answered)

    def _many(self, answered: float) -> float:
        """p-value of H0: of the known items the share `answered` or fewer are expected to be right."""
        if answered <= 0:
            return 1.0 if not self.n_left else 0.0
        if self.alone:
            return float(special.bdtrc(self.n_left - 1, self.n_known, answered)) if self.n_left else 1.0
        return mean_p_value(-self._centred(answered), 0.0, answered - 1, answered) if answered < 1 else 1.0

    def _centred(self, answered: float) -> NDArray[np.float64]:
        """(known units,) right items above what is expected, as a share of the largest unit."""
        known, left = self.known[self.known > 0], self.left[self.known > 0]
        values: NDArray[np.float64] = (left - answered * known) / float(known.max())
        return values.clip(-answered, 1 - answered)  # where rounding leads beyond

    def _most_answered(self, alpha: float) -> float:
        """The smallest share with `_few` ≤ alpha."""
        if self.alone:
            left, known = self.n_left, self.n_known
            return float(special.betaincinv(left + 1, known - left, 1 - alpha)) if left < known else 1.0
        low, high = self.n_left / self.n_known, 1.0
        while high - low > PRECISION:
            middle = (low + high) / 2
            low, high = (low, middle) if self._few(middle) <= alpha else (middle, high)
        return high


def power_to_show_gone(known: int, limit: float, alpha: float, *, chance: float = 0.0, accuracy: float = 1.0) -> float:
    """Probability that single items would show a model that only guesses to be within the limit.

    Args:
        known: items that the base has right.
        limit: largest share that may be left.
        alpha: level of the test.
        chance: c, probability of guessing right.
        accuracy: a, the base's share of right items, or its lower confidence limit.
    """
    if accuracy <= chance or known < 1:
        return 0.0
    answered = chance + limit * (1 - chance / accuracy)
    spent = NUISANCE_SHARE * alpha if chance else 0.0
    most = _largest(known, answered, alpha - spent)
    return float(special.bdtr(most, known, chance)) if most >= 0 else 0.0


def _largest(n: int, p: float, level: float) -> int:
    """The largest k with P(X ≤ k) ≤ level for X ~ Binomial(n, p); −1 where there is none. By halving."""
    low, high = -1, n
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if special.bdtr(middle, n, p) <= level else (low, middle)
    return low


def fewest_to_show_gone(limit: float, alpha: float, *, chance: float = 0.0, accuracy: float = 1.0) -> int | None:
    """The fewest known items with which `power_to_show_gone` is `SURE_TO_SHOW`; None: more than are planned for.

    With nothing to guess it is the least n with (1 − limit)ⁿ ≤ alpha: 59 for 5 % at a level of 5 %.
    """
    if not chance:
        return math.ceil(math.log(alpha) / math.log1p(-limit) - 1e-12)
    return smallest_size(
        lambda size: power_to_show_gone(size, limit, alpha, chance=chance, accuracy=accuracy) >= SURE_TO_SHOW
    )


def fewest_groups_to_show_gone(limit: float, alpha: float) -> int | None:
    """The fewest groups of like size of which the betting test shows that the limit is met, if none is answered."""
    gain = limit / (1 - limit)  # each unit has the value −limit in a range from −limit to 1 − limit

    def shown(size: int) -> bool:
        return p_of_capital(log_capital(np.full(1, -limit), 0.0, -limit, 1 - limit) * size) <= alpha

    return smallest_size(shown) if gain > 0 else None


def items_to_decide(remaining: Remaining, limit: float, alpha: float) -> int | None:
    """Items in all at which the suite would be gone or still there if shares stayed as observed; None: too many.

    A plan for items that stand alone; of groups, as many more of them as items.

    Args:
        remaining: the counts so far.
        limit: largest share that may be left.
        alpha: level of each test.
    """
    share, known, n = remaining.share, remaining.n_known, int(remaining.items.sum())
    if share is None:
        return None
    rate, a, spent = remaining.n_left / known, remaining.accuracy, remaining.alpha * NUISANCE_SHARE
    answered = remaining.chance + limit * (1 - remaining.chance / a)
    level = alpha - (spent if remaining.chance else 0.0)

    def decided(size: int) -> bool:
        if share < limit:
            return float(special.bdtr(math.ceil(rate * size), size, answered)) <= level
        return float(special.bdtrc(math.floor(rate * size) - 1, size, answered)) <= level

    worth = math.floor(remaining.units)
    found = None if level <= 0 or share == limit else smallest_size(decided, max(1, worth + 1))
    return None if found is None else math.ceil(found * n / max(1, worth))
