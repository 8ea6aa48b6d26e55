"""The verdict as a comment on a pull request: the headline, the verdict on each suite, the figures folded away."""

from __future__ import annotations

from collections.abc import Sequence

from retain.records.result import Result
from retain.records.verdicts import Judgement
from retain.report.page.markdown import escape, markdown_table
from retain.report.tables.gone_tables import GONE_SIGNS, gone_verdict_table
from retain.report.tables.scores_table import score_tables
from retain.report.verdict_words import VERDICT_SIGNS, headline, verdict_table

LONGEST = 60_000
"""The most characters of a comment; GitHub takes 65,536."""

CUT = "\n\n*Cut here: the run's report has all of it.*\n"


def marker(key: str) -> str:
    """The line by which a later run finds the comment of an earlier one. Nobody sees it.

    Args:
        key: tells the comments of several checks on one pull request apart.
    """
    return f"<!-- retain verdict: {key.replace('--', '-').replace('>', '')} -->"


def verdict_comment(result: Result, key: str, link: str = "") -> str:
    """The comment on a verdict.

    Args:
        result: the record.
        key: see `marker`.
        link: to the run that made it.
    """
    judged = result.judgement
    sign = {**VERDICT_SIGNS, **GONE_SIGNS}.get(_titles(judged)[0], "·") if judged else "·"
    title = " / ".join(_titles(judged)) if judged else "no verdict"
    table, gone = verdict_table(result), gone_verdict_table(result)
    notes = "\n".join(f"* {escape(note)}" for note in result.provenance.notes)
    figures = "\n\n".join(markdown_table(one) for one in score_tables(result))
    about = f"{escape(result.method.name)} against {escape(result.model)}"
    return _comment(
        key,
        [
            f"### {sign} {escape(key)}: {escape(title)}",
            f"**{escape(headline(result))}**",
            markdown_table(table) if table else "",
            markdown_table(gone) if gone else "",
            f"<details><summary>Figures: {about}</summary>\n\n{figures}\n\n</details>" if figures else "",
            f"<details><summary>Notes</summary>\n\n{notes}\n\n</details>" if notes else "",
        ],
        link,
    )


def _titles(judged: Judgement) -> list[str]:
    """The verdict on what was to be kept, and on what was to be gone, as far as each was asked."""
    kept = [judged.overall] if judged.suites or not judged.gone else []
    return [*kept, *([judged.forgot] if judged.forgot else [])]


def refusal_comment(problems: str, key: str, link: str = "") -> str:
    """The comment where there is no verdict.

    Args:
        problems: what was printed about the reason.
        key: see `marker`.
        link: to the run.
    """
    told = "\n".join(f"> {escape(line)}" for line in problems.splitlines() if line.strip())
    return _comment(key, [f"### · {escape(key)}: no verdict", "The verdict could not be made:", told], link)


def _comment(key: str, parts: Sequence[str], link: str) -> str:
    """The parts below one another, where nobody is called by name, and the marker before them."""
    text = "\n\n".join(part for part in parts if part).replace("@", "@\u200b")
    if len(text) > LONGEST:
        text = text[:LONGEST].rpartition("\n")[0] + CUT
    foot = f"\n\n[The run]({link}) has the report." if link else ""
    return f"{marker(key)}\n{text}{foot}\n"
