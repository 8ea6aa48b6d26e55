"""Two logs of one suite item by item: paired by id or by prompt, and refused where the two were not asked alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from retain.jobs.judge.logs import Answer, LoggedSuite, counted, named

Key = tuple[str, int]
"""Id (or prompt) and epoch of an item."""

NO_PROMPTS = "its log holds no prompts, so that both sides were asked the same is taken from their ids"


@dataclass(frozen=True, kw_only=True)
class PairedSuite:
    """A suite as both sides answered it, item by item.

    Attributes:
        base: the base's suite.
        tuned: the tuned model's.
        pairs: the answers of each item.
        notes: sentences on how they were paired.
        left_out: items of one side only, which are not judged: of the base, and of the tuned model.
    """

    base: LoggedSuite
    tuned: LoggedSuite
    pairs: tuple[tuple[Answer, Answer], ...]
    notes: tuple[str, ...] = ()
    left_out: tuple[int, int] = (0, 0)

    @property
    def name(self) -> str:
        """The suite's name."""
        return self.base.name

    @property
    def partial(self) -> str:
        """A sentence on items that one side alone has; empty where there are none."""
        if not any(self.left_out):
            return ""
        return (
            f"Judged on the {counted(len(self.pairs), 'item')} of both sides; {self.left_out[0]:,} of the base's and "
            f"{self.left_out[1]:,} of the tuned model's were left out."
        )


def pair_suites(
    base: LoggedSuite, tuned: LoggedSuite, problems: list[str], *, intersection: bool = False
) -> PairedSuite | None:
    """Pair two sides of a suite; None where they cannot be.

    Args:
        base: as the base answered it.
        tuned: as the tuned model did.
        problems: receives a sentence for each reason why they cannot.
        intersection: leave out items that one side alone has.
    """
    found = len(problems)
    problems += _unlike(base.name, base.asked_as, tuned.asked_as)
    problems += _doubled("base", base) + _doubled("tuned", tuned)
    if len(problems) > found:
        return None
    sides = _by_id(base), _by_id(tuned)
    notes: tuple[str, ...] = ()
    if not _same_prompts(*sides) and (by_prompt := _by_prompt(base, tuned)) is not None:
        sides, notes = by_prompt, (f"{base.name}: paired by prompt, since the ids of both sides name other items.",)
    common = [key for key in sides[0] if key in sides[1]]
    alone = [[key for key in side if key not in other] for side, other in (sides, sides[::-1])]
    if any(alone) and not (intersection and common):
        problems.append(_missing(base.name, sides, alone, common))
        return None
    pairs = tuple((sides[0][key], sides[1][key]) for key in common)
    problems += _asked_otherwise(base, tuned, pairs)
    if len(problems) > found:
        return None
    if not all(answer.asked for pair in pairs for answer in pair):
        notes += (f"{base.name}: {NO_PROMPTS}.",)
    elif differing := _unlike(base.name, base.asked_with, tuned.asked_with):
        notes += tuple(f"{one} The prompts are the same all the same." for one in differing)
    return PairedSuite(base=base, tuned=tuned, pairs=pairs, notes=notes, left_out=(len(alone[0]), len(alone[1])))


def _unlike(name: str, base: Mapping[str, str], tuned: Mapping[str, str]) -> list[str]:
    """A sentence on all settings in which two sides differ, as far as both are known."""
    found = [
        f"{setting}: base {_short(base[setting])}, tuned {_short(tuned[setting])}"
        for setting in base
        if setting in tuned and base[setting] != tuned[setting]
    ]
    return [f"{name}: was not asked alike ({'; '.join(found)})."] if found else []


def _short(text: str, longest: int = 60) -> str:
    return (text if len(text) <= longest else f"{text[: longest - 1]}…") or "none"


def _doubled(side: str, suite: LoggedSuite) -> list[str]:
    counts = Counter(_key(answer) for answer in suite.answers)
    names = {_key(answer): answer.name for answer in suite.answers}
    twice = [names[key] for key, count in counts.items() if count > 1]
    if not twice:
        return []
    return [
        (
            f"{suite.name}: the {side} log answers {counted(len(twice), 'item')} more than once (item {named(twice)}); "
            "which answer counts cannot be known. An item that was asked several times on purpose needs an epoch."
        )
    ]


def _key(answer: Answer) -> Key:
    return answer.id or answer.asked, answer.epoch


def _by_id(suite: LoggedSuite) -> dict[Key, Answer]:
    return {_key(answer): answer for answer in suite.answers}


def _same_prompts(base: Mapping[Key, Answer], tuned: Mapping[Key, Answer]) -> bool:
    """True where ids name the same items on both sides, as far as prompts tell."""
    return base.keys() == tuned.keys() and not any(_differ(base[key], tuned[key]) for key in base)


def _differ(base: Answer, tuned: Answer) -> bool:
    return bool(base.asked and tuned.asked) and base.asked != tuned.asked


def _by_prompt(base: LoggedSuite, tuned: LoggedSuite) -> tuple[dict[Key, Answer], dict[Key, Answer]] | None:
    """Both sides by prompt, where each prompt was put once (an epoch) and both sides were put the same."""
    sides = [{(answer.asked, answer.epoch): answer for answer in suite.answers} for suite in (base, tuned)]
    once = all(len(side) == len(suite.answers) for side, suite in zip(sides, (base, tuned), strict=True))
    known = all(asked for side in sides for asked, _ in side)
    return (sides[0], sides[1]) if once and known and sides[0].keys() == sides[1].keys() else None


def _missing(
    name: str, sides: Sequence[Mapping[Key, Answer]], alone: Sequence[Sequence[Key]], common: Sequence[Key]
) -> str:
    told = [
        f"{len(keys)} of the {side} log's {len(of_side)} items are not in the other (item "
        f"{named([of_side[key].name for key in keys])})"
        for side, of_side, keys in zip(("base", "tuned"), sides, alone, strict=True)
        if keys
    ]
    if not common:
        return f"{name}: no item is on both sides: {'; '.join(told)}."
    return (
        f"{name}: {'; '.join(told)}. Run both sides on the same items; or --intersection judges the {len(common)} that "
        "both have, and the verdict says so."
    )


def _asked_otherwise(base: LoggedSuite, tuned: LoggedSuite, pairs: Sequence[tuple[Answer, Answer]]) -> list[str]:
    """Sentences on prompts and right answers that differ, with the settings that may be why."""
    other = [one.name for one, two in pairs if _differ(one, two)]
    found = []
    why = _unlike(base.name, base.asked_with, tuned.asked_with)
    if other:
        reason = f" {why[0]}" if why else " Few-shot examples, chat template or system message may differ."
        found.append(
            f"{base.name}: {len(other)} of {len(pairs)} items had other prompts (item {named(other)}).{reason}"
        )
    elif why and not all(answer.asked for pair in pairs for answer in pair):
        found += why
    expected = [
        one.name for one, two in pairs if None not in (one.expected, two.expected) and one.expected != two.expected
    ]
    if expected:
        found.append(
            f"{base.name}: {len(expected)} of {len(pairs)} items have another right answer on the two sides (item "
            f"{named(expected)})."
        )
    return found
