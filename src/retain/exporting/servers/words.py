"""A judgement on what is served in plain text, for a terminal and for a record."""

from __future__ import annotations

from collections.abc import Iterator

from retain.exporting.servers.judge import Finding, Judgement
from retain.exporting.servers.served import Served


def heading(served: Served) -> str:
    """What was looked at, and on which base."""
    if served.kind != "adapter":
        return f"{served.path}: a {served.kind}{f' ({served.architecture})' if served.architecture else ''}"
    at_hand = (
        ""
        if served.base is not None
        else ", whose configuration is not at hand: rules on the model were not asked; say --model FOLDER"
    )
    base = f" for {served.base_name}" if served.base_name else ""
    return f"{served.path}: an adapter ({served.method}){base}{at_hand}"


def lines(judgement: Judgement) -> Iterator[str]:
    """The lines on one server: its version, what was found with its cure, and how to start it."""
    server = judgement.server
    yield f"{server.title} ({server.version}, read {server.read}): {_sum(judgement)}"
    for finding in judgement.findings:
        yield f"  {finding.level:<8} {sentence(finding)}"
        yield f"           {finding.cure}"
    if judgement.start:
        yield f"  start    {judgement.start}"


def _sum(judgement: Judgement) -> str:
    levels = [finding.level for finding in judgement.findings]
    if "refused" in levels:
        return "refused"
    if lost := [level for level in ("ignored", "changed") if level in levels]:
        return f"served, but not what was trained ({' and '.join(lost)})"
    told = "served with a flag" if "flag" in levels else "served"
    return told if judgement.all_asked else f"{told}, as far as the adapter alone tells"


def sentence(finding: Finding) -> str:
    """What was found and what the server does, as a sentence or two."""
    return f"{finding.found}. {finding.says}" if finding.found else finding.says


def short(judgement: Judgement) -> Iterator[str]:
    """A sentence for each finding by which something else is served than was trained, or that needs a flag."""
    for finding in judgement.findings:
        if finding.level != "note":
            yield f"{judgement.server.title}: {finding.level}: {sentence(finding)} Cure: {finding.cure}"
