"""The reason of a verdict on what should be gone, in one plain sentence with figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from retain.records.scores import CutOff
from retain.stats.planning import MOST_ITEMS


@dataclass(frozen=True)
class Counted:
    """What the tuned model makes of the items that the base has right.

    Attributes:
        known: items that the base has right.
        left: of these, those that the tuned model has right.
        share: that is left of what the base knew.
        chance: probability of guessing right.
        others: answers of other kinds, by what they are called.
    """

    known: int
    left: int
    share: float | None
    chance: float
    others: Mapping[str, int | None]


def percent(share: float) -> str:
    """A margin as it was given: 5%, .5% or 99.9%."""
    return f"{100 * share:g}%"


def gone(counted: Counted, bound: float, margin: float, tests: int) -> str:
    """What can be ruled out."""
    family = f" after allowing for {tests} suites" if tests > 1 else ""
    return f"{_answers(counted)}; more than {bound:.1%} left can be ruled out{family} (margin {percent(margin)})."


def only_refused(counted: Counted, margin: float) -> str:
    """The margin is met only if declining counts as not knowing."""
    return (
        f"{_answers(counted)}; within the margin of {percent(margin)} only if answers that decline or are empty count "
        "as not knowing, which they do not show."
    )


def still_there(counted: Counted, margin: float) -> str:
    """More than the margin is left."""
    return f"{_answers(counted)}; that more than {percent(margin)} is left is shown."


def undecided(
    counted: Counted, bound: float, margin: float, needed: int | None, fewest: int | None, *, stuck: int = 0
) -> str:
    """The obstacle to calling a suite gone or still there.

    Args:
        counted: the answers.
        bound: the largest share left that cannot be ruled out.
        margin: the largest that counts as gone.
        needed: items in all that would settle it; None: too many.
        fewest: known items that the claim takes, where there are fewer.
        stuck: answers that were cut off, where no number of items settles it while so many are.
    """
    small = (
        "" if fewest is None else f"; to show that no more than {percent(margin)} is left takes {fewest:,} known items"
    )
    more = f"about {needed:,} items in all" if needed else f"more than {MOST_ITEMS:,} items"
    open_ = f"up to {bound:.1%} left cannot be ruled out (margin {percent(margin)})"
    if stuck:
        more = f"{stuck} answers that were cut off count as left: longer answers (--max-new-tokens), not more items,"
    return f"{_answers(counted)}; {open_}{small}; {more} would settle it."


def unknown_to_base(known: int, n: int, chance: float) -> str:
    """The base did not know, so nothing can be gone."""
    guessed = f"; guessing has {chance:.0%}" if chance else ""
    return f"the base itself does not know it ({known} of {n} right{guessed}), so there is nothing to be gone."


def cut_off(counted: CutOff | None) -> str:
    """The answers that were cut off, and what to raise."""
    return f"no verdict, because the answers are not whole: {'' if counted is None else counted.sentence}"


def _answers(counted: Counted) -> str:
    text = f"of {counted.known} items that the base has right the tuned model has {counted.left} right"
    parts = [f"{number} {word}" for word, number in counted.others.items() if number]
    text += f", {' and '.join(parts)}" if parts else ""
    if not counted.chance or counted.share is None:
        return text
    below = counted.left < counted.chance * counted.known
    about = ", fewer than guessing would: the old answer is avoided" if below else ""
    return f"{text}{about}, which leaves {counted.share:.1%} above guessing ({counted.chance:.0%})"
