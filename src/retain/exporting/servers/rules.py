"""The rules of all servers, read from `rules.yaml`, where each says in which version and place it was read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal, get_args

from retain.exporting.servers.conditions import Condition, condition
from retain.exporting.servers.served import Kind
from retain.records.reading import parse_yaml

Level = Literal["refused", "ignored", "changed", "flag", "note"]
"""What a server does with what a rule found:

refused  it does not load it
ignored  it loads it without that part, and says nothing, or only in its log
changed  it loads it and computes something else
flag     it needs a flag of the server
note     worth knowing; nothing is lost
"""

PROBLEMS: tuple[Level, ...] = ("refused", "ignored", "changed")
"""Levels at which what is served is not what was trained."""


@dataclass(frozen=True)
class Server:
    """A server, and the version of it that the rules were read in.

    Attributes:
        name: as users give it.
        title: as it calls itself.
        version: of the sources.
        dated: the day of those sources.
        read: the day on which they were read.
        source: its repository.
        start: the command that serves an adapter; and by other kinds what serves those.
        proof: what was run of it, in a sentence; the rest was read.
    """

    name: str
    title: str
    version: str
    dated: str
    read: str
    source: str
    start: Mapping[Kind, str]
    proof: str


@dataclass(frozen=True)
class Rule:
    """One thing that servers refuse, ignore, change or need.

    Attributes:
        name: unique.
        places: file and function where it was read, by server.
        kinds: what it is about.
        when: its condition.
        stated: the condition as the file has it.
        level: what the server does.
        says: why, in a sentence.
        cure: what to do: a command, or a sentence.
        flag: what is added to the server's command.
        alone: whether it settles the matter, so that no other rule is asked.
    """

    name: str
    places: Mapping[str, str]
    kinds: tuple[Kind, ...]
    when: Condition
    stated: Mapping[str, Any]
    level: Level
    says: str
    cure: str
    flag: str = ""
    alone: bool = False


@cache
def servers() -> dict[str, Server]:
    """All servers by name."""
    return {name: Server(name=name, **given) for name, given in _content()["servers"].items()}


@cache
def rules() -> tuple[Rule, ...]:
    """All rules, in the order of the file.

    Raises:
        ValueError: the file is not as it must be; a test reads it.
    """
    lists = _content()["lists"]
    return tuple(_rule(name, given, lists) for name, given in _content()["rules"].items())


def rules_of(server: str) -> tuple[Rule, ...]:
    """The rules of one server."""
    return tuple(rule for rule in rules() if server in rule.places)


@cache
def _content() -> dict[str, Any]:
    place = files("retain.exporting.servers") / "rules.yaml"
    content: dict[str, Any] = parse_yaml(place.read_bytes(), "rules.yaml")
    return content


def _rule(name: str, given: Mapping[str, Any], lists: Mapping[str, list[str]]) -> Rule:
    stated = _with_lists(given["when"], lists)
    level, kinds = given["level"], tuple(given.get("of", ["adapter"]))
    if level not in get_args(Level) or not set(kinds) <= set(get_args(Kind)):
        raise ValueError(f"rules.yaml: {name}: odd level {level!r} or kind {kinds}")
    if unknown := set(given["places"]) - set(servers()):
        raise ValueError(f"rules.yaml: {name}: there is no server {', '.join(unknown)}")
    try:
        when = condition(stated)
    except ValueError as error:
        raise ValueError(f"rules.yaml: {name}: {error}") from error
    return Rule(
        name=name,
        places=given["places"],
        kinds=kinds,
        when=when,
        stated=given["when"],
        level=level,
        says=given["says"],
        cure=given["cure"],
        flag=given.get("flag", ""),
        alone=given.get("alone", False),
    )


def _with_lists(stated: Any, lists: Mapping[str, list[str]]) -> Any:
    """A condition with `$NAME` replaced by the list of that name."""
    if isinstance(stated, str) and stated.startswith("$"):
        return tuple(lists[stated.removeprefix("$")])
    if isinstance(stated, Mapping):
        return {name: _with_lists(value, lists) for name, value in stated.items()}
    return [_with_lists(value, lists) for value in stated] if isinstance(stated, list) else stated
