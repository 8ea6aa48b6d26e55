"""Several suites of a log as one: small ones, as the subjects of MMLU, have too few items each to say anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from retain.jobs.judge.logs import Answer, Log, LoggedSuite, named


def pooled(log: Log, pools: Mapping[str, Sequence[str]], problems: list[str]) -> Log:
    """A log in which some suites are one each, as its groups then say; an item's condition is the suite it came from.

    Args:
        log: of one side.
        pools: the suites of each pool by its name; none: those of the group of that name, as the log has it.
        problems: receives a sentence for each pool that cannot be made.
    """
    suites, names, groups = dict(log.suites), list(log.names), dict(log.groups)
    for name, given in pools.items():
        members = tuple(given) or _members(name, log.groups)
        missing = [member for member in members if member not in log.suites]
        if not members:
            told = f"its groups are {named(list(log.groups))}" if log.groups else "it has no groups"
            problems.append(f"pool: {log.place} has no group {name} ({told}); say {name}=SUITE,SUITE.")
        elif missing:
            problems.append(f"pool: {log.place} has no {named(missing)}, of which {name} is to be made.")
        elif odd := [member for member in members if member not in suites]:
            problems.append(f"pool: {named(odd)} of {log.place} would be in two pools.")
        elif name in suites and name not in members:
            problems.append(f"pool: {log.place} has a suite {name} itself; give the pool another name.")
        else:
            whole = _joined(name, [suites.pop(member) for member in members])
            suites, groups = {name: whole, **suites}, {**groups, name: members}
            names = [name, *(one for one in names if one not in members)]
    return replace(log, suites=suites, names=tuple(names), groups=groups)


def _members(name: str, groups: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """The suites of a group, those of the groups within it among them; a group within itself is passed over."""
    found: dict[str, None] = {}
    seen, left = {name}, list(groups.get(name, ()))
    while left:
        member = left.pop(0)
        if member not in groups:
            found[member] = None
        elif member not in seen:
            seen.add(member)
            left = [*groups[member], *left]
    return tuple(found)


def _joined(name: str, suites: Sequence[LoggedSuite]) -> LoggedSuite:
    answers = tuple(_within(suite.name, answer) for suite in suites for answer in suite.answers)
    known = all(suite.chance is not None for suite in suites)
    luck = sum((suite.chance or 0.0) * len(suite.answers) for suite in suites)
    return replace(
        suites[0],
        name=name,
        answers=answers,
        chance=luck / len(answers) if known and answers else None,
        asked_as={f"{suite.name}, {key}": value for suite in suites for key, value in suite.asked_as.items()},
        asked_with={f"{suite.name}, {key}": value for suite in suites for key, value in suite.asked_with.items()},
        source=f"{suites[0].source} and {len(suites) - 1} more" if len(suites) > 1 else suites[0].source,
    )


def _within(suite: str, answer: Answer) -> Answer:
    """An answer that names the suite it came from, so that equal ids of two suites are two items."""
    group = None if answer.group is None else f"{suite}: {answer.group}"
    return replace(answer, id=f"{suite}: {answer.id}" if answer.id else "", condition=suite, group=group)
