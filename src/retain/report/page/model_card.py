"""`model_card.md`: a section to paste into the README of a published model."""

from __future__ import annotations

from retain.compare.item_examples import clean
from retain.compare.pick import model_name
from retain.records import numbers
from retain.records.gone_record import GoneScore
from retain.records.result import Result
from retain.records.scores import KeepScore, TaskScore
from retain.report.claims import read_keep, read_task
from retain.report.page.markdown import escape, markdown_table
from retain.report.tables.gone_tables import GONE_MEANING, gone_cell
from retain.report.tables.scores_table import Table, reading_cell
from retain.report.verdict_words import MEANING, aa_line, headline, verdict_cell

TITLE = "## What this fine-tune learned and lost"
"""The section's heading."""


def model_card(result: Result) -> str:
    """A section for a model card: what was learned and lost, in a table, and how to measure it again. Markdown."""
    parts = [
        TITLE,
        escape(headline(result)),
        f"Compared with its base, `{_code(model_name(result.model))}`, on the same questions asked in the same way.",
        markdown_table(_table(result)),
        escape(MEANING) if result.judgement else "",
        escape(GONE_MEANING) if result.gone else "",
        escape(aa_line(result)),
        "### How to reproduce",
        f"```\n{_block(result.provenance.command)}\n```" if result.provenance.command else "",
        _made(result),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _table(result: Result) -> Table:
    verdicts = {} if result.judgement is None else {v.suite: v for v in result.judgement.suites}
    rows = [("learned", *_cells(score), reading_cell(read_task(score))) for score in result.task]
    for score in result.keep:
        verdict = verdicts.get(score.name)
        decided = verdict is not None and verdict.decided_by == score.metric
        told = verdict_cell(verdict.verdict) if verdict is not None and decided else reading_cell(read_keep(score))
        rows.append(("kept", *_cells(score), told))
    gone = {} if result.judgement is None else {v.suite: v.verdict for v in result.judgement.gone}
    rows += [
        ("gone", *_gone_cells(score), gone_cell(gone[score.name]) if score.name in gone else numbers.MISSING)
        for score in result.gone
    ]
    if result.drift.kl_nats_per_token is not None:
        kl = numbers.level(result.drift.kl_nats_per_token, result.drift.kl_interval, numbers.NATS_PER_TOKEN)
        tokens = f"{numbers.count(result.drift.tokens)} tokens"
        rows.append(("moved", "held-out text", "KL from the base", tokens, "0", kl, numbers.MISSING, numbers.MISSING))
    head = ("Part", "Suite", "Metric", "Items", "Base", "This model", "Change [95%]", "Outcome")
    return Table("Before and after", head, tuple(rows))


def _cells(score: TaskScore | KeepScore) -> tuple[str, ...]:
    unit = score.metric.unit
    change = None if score.base is None or score.tuned is None else score.tuned - score.base
    direction = "" if score.metric.higher_is_better else " (lower is better)"
    return (
        score.name,
        score.metric.title + direction,
        numbers.count(score.n),
        numbers.plain(score.base, unit),
        numbers.plain(score.tuned, unit),
        numbers.change(change, score.interval, unit),
    )


def _gone_cells(score: GoneScore) -> tuple[str, ...]:
    unit = score.metric.unit
    bound = numbers.MISSING if score.bound is None else f"at most {numbers.percent(score.bound)} left"
    base, tuned = numbers.plain(score.base, unit), numbers.plain(score.tuned, unit)
    return score.name, score.metric.title, numbers.count(score.n), base, tuned, bound


def _made(result: Result) -> str:
    """Method, seed, hashes and versions in one list."""
    provenance = result.provenance
    seed = numbers.MISSING if result.seed is None else result.seed
    versions = ", ".join(f"{name} {version}" for name, version in sorted(provenance.versions.items()))
    lines = [
        f"method {result.method.name}, learning rate {numbers.learning_rate(result.learning_rate)}, seed {seed}",
        f"base weights {provenance.model_hash}" if provenance.model_hash else "",
        *(f"{name} data {value}" for name, value in sorted(provenance.data_hashes.items())),
        versions,
    ]
    return "\n".join(f"- {escape(line)}" for line in lines if line)


def _code(text: str) -> str:
    return " ".join(clean(text).replace("`", "'").split())


def _block(text: str) -> str:
    return clean(text).replace("```", "'''")
