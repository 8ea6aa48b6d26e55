"""Hold an adapter or a model against the rules of a server."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

from retain.exporting.servers.rules import PROBLEMS, Level, Rule, Server, rules_of, servers
from retain.exporting.servers.served import Served

ALL = "all"
"""Stands for every server."""


@dataclass(frozen=True)
class Finding:
    """What a server does with something in what is served.

    Attributes:
        rule: its name in the rules' file.
        level: how bad it is.
        found: what was found, in words.
        says: what the server does, and why.
        cure: what to do.
        flag: what the server's command needs.
    """

    rule: str
    level: Level
    found: str
    says: str
    cure: str
    flag: str = ""


@dataclass(frozen=True)
class Judgement:
    """What one server does with what is served.

    Attributes:
        server: the server.
        findings: the worst first.
        start: the command that serves it; empty where it is refused.
        all_asked: whether rules on the model could be asked, too: an adapter's base may not be at hand.
    """

    server: Server
    findings: tuple[Finding, ...]
    start: str
    all_asked: bool

    @property
    def is_served_truly(self) -> bool:
        """True if nothing is refused, ignored or changed."""
        return not any(finding.level in PROBLEMS for finding in self.findings)


def judge(served: Served, names: Sequence[str]) -> list[Judgement]:
    """What servers do with an adapter or a model.

    Args:
        served: the adapter or model.
        names: of servers, or `all`.
    """
    chosen = list(servers()) if ALL in names else list(dict.fromkeys(names))
    return [_judgement(served, servers()[name]) for name in chosen]


def _judgement(served: Served, server: Server) -> Judgement:
    order: tuple[Level, ...] = (*PROBLEMS, "flag", "note")
    found = _findings(served, server.name)
    found.sort(key=lambda one: order.index(one.level))
    flags = "".join(f" {flag}" for flag in dict.fromkeys(one.flag for one in found if one.flag))
    refused = any(one.level == "refused" for one in found)
    command = server.start.get(served.kind, "")
    start = "" if refused else command.format(**_values(served), flags=flags)
    return Judgement(server, tuple(found), start, all_asked=served.kind != "adapter" or served.base is not None)


def _findings(served: Served, server: str) -> list[Finding]:
    found = []
    for rule in rules_of(server):
        if finding := _finding(served, rule):
            if rule.alone:
                return [finding]
            found.append(finding)
    return found


def _finding(served: Served, rule: Rule) -> Finding | None:
    if served.kind not in rule.kinds or (found := rule.when(served)) is None:
        return None
    values = {**_values(served), **found.values}
    texts = [text.format(**values) for text in (rule.says, rule.cure, rule.flag)]
    return Finding(rule.name, rule.level, "; ".join(found.words), *texts)


def _values(served: Served) -> dict[str, str]:
    """What every text of a rule can name."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", PurePath(served.path).name.removesuffix(".gguf")) or "tuned"
    path, place = shlex.quote(served.path), shlex.quote(served.place or served.path)
    return {"path": path, "place": place, "name": name, "base": shlex.quote(served.base_name or "BASE")}
