"""Tables behind the figures: conditions of both sides, suites, cost, provenance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from retain.records import numbers
from retain.records.numbers import listing
from retain.records.result import Result
from retain.report.cautions import unlike_conditions
from retain.report.tables.scores_table import Table


def conditions_table(result: Result) -> Table | None:
    """The conditions of both sides, field by field; null where they are not recorded."""
    if not result.conditions:
        return None
    sides = {name: found.model_dump() for name, found in result.conditions.items()}
    fields = next(iter(sides.values()))
    unlike = unlike_conditions(result)
    rows = tuple(
        (
            field.replace("_", " ").capitalize(),
            *(str(sides[side][field]) if side in sides else numbers.MISSING for side in ("base", "tuned")),
            "no" if field.replace("_", " ") in unlike else "yes" if _equal(sides, field) else "served elsewhere",
        )
        for field in fields
    )
    if len(sides) < 2:
        caption = "How one side was asked; of the other nothing is recorded"
    else:
        caption = f"Asked alike: {f'no, {listing(unlike)} differ' if unlike else 'yes'}"
    note = "Preprocessor: the tokenizer or image processor. Input: every tensor that went into the model."
    return Table(caption, ("Condition", "Base", "Tuned", "Alike"), rows, note)


def _equal(sides: Mapping[Any, Mapping[str, Any]], field: str) -> bool:
    return len({str(side[field]) for side in sides.values()}) < 2


def served_table(result: Result) -> Table | None:
    """Each served side: where it was, what it said of itself, how it was asked; null where none was served."""
    if not result.served:
        return None
    rows = []
    for side, found in result.served.items():
        context = numbers.MISSING if found.context is None else f"{numbers.count(found.context)} tokens"
        fields = {
            "address": found.address,
            "model": found.model,
            "server, in its own words": " ".join(filter(None, (found.server, found.fingerprint))) or numbers.MISSING,
            "log-probabilities of given text": found.likelihood or numbers.MISSING,
            "answers": found.writing,
            "context": context,
        }
        rows += [(side, name, value) for name, value in fields.items()]
    return Table("What was served", ("Side", "What", "Value"), tuple(rows))


def acting_table(result: Result) -> Table | None:
    """The served model against adapter and base in transformers; null where that was not looked at."""
    found = result.acting
    if found is None:
        return None
    nats = numbers.NATS
    answered = f"{found.telling}: {found.as_adapter} as the adapter, {found.as_base} as the base"
    rows = [
        ("Verdict", found.verdict),
        ("Prompts, tokens read", f"{numbers.count(found.prompts)}, {numbers.count(found.tokens)}"),
        ("Greedy answers equal to the adapter's", f"{found.same_answers} of {found.answers}"),
        ("Prompts that base and adapter answer differently", answered),
    ]
    if found.effect is not None:
        rows += [
            ("|adapter − base|, nats a token (root mean square)", numbers.plain(found.effect, nats)),
            ("|served − adapter|", numbers.plain(found.to_adapter, nats)),
            ("|served − base|", numbers.plain(found.to_base, nats)),
            ("Share of the way from base to adapter", numbers.percent(found.share)),
            ("Prompts nearer to adapter, to base", f"{found.nearer_adapter}, {found.nearer_base}"),
            ("Exact one-sided p (adapter; base)", f"{found.p_adapter:.2g}; {found.p_base:.2g}"),
        ]
    return Table("Is the adapter acting?", ("What", "Value"), tuple(rows), found.sentence)


def suites_table(result: Result) -> Table | None:
    """Each suite and its source; null where it is not recorded."""
    if not result.suites:
        return None
    rows = tuple(
        (
            facts.name,
            facts.title or numbers.MISSING,
            facts.part,
            facts.task_type,
            str(facts.version),
            facts.source or numbers.MISSING,
            facts.licence or numbers.MISSING,
        )
        for facts in result.suites
    )
    errors = [f"{facts.name}: {facts.detector_error}" for facts in result.suites if facts.detector_error]
    note = f"Error of the refusal detector. {' '.join(errors)}" if errors else ""
    return Table("Suites", ("Suite", "What it is", "Part", "Task type", "Version", "Source", "Licence"), rows, note)


def size_table(result: Result) -> Table:
    """Sizes, times and memory."""
    sizes, cost = result.parameters, result.cost
    share = (
        f" of {numbers.parameters(sizes.total)} ({numbers.three_digits(100 * sizes.trainable / (sizes.total or 1))}%)"
    )
    rows = []
    if sizes.total or sizes.trainable or sizes.adapter_bytes:  # of a model in logs, or behind a server, none is known
        rows = [
            ("Trained parameters", numbers.parameters(sizes.trainable) + (share if sizes.total else "")),
            ("Change on disk", numbers.bytes_size(sizes.adapter_bytes)),
        ]
    if cost.train_seconds > 0:
        step = numbers.seconds(cost.step_seconds_median)
        rows += [
            ("Training time", f"{numbers.seconds(cost.train_seconds)}, {numbers.count(cost.steps)} steps of {step}"),
            *([("Tokens read in training", numbers.count(cost.tokens))] if cost.tokens else []),
            ("Memory at most", numbers.bytes_size(cost.peak_rss_bytes)),
        ]
        if cost.final_train_loss is not None:
            rows.append(("Training loss at the end", numbers.plain(cost.final_train_loss, numbers.NATS)))
    else:
        rows.append(("Training time", "not trained in this run"))
    if cost.measure_seconds > 0:
        rows.append(("Measuring time", numbers.seconds(cost.measure_seconds)))
    return Table("What it took", ("Measure", "Value"), tuple(rows))


def provenance_table(result: Result) -> Table:
    """The versions, data and command that made the figures."""
    provenance = result.provenance
    rows = [
        ("Command", provenance.command),
        ("Made", provenance.created),
        ("Base model", result.model),
        ("Model hash", provenance.model_hash),
        ("Method", result.method.name),
        *stated_rows("Method", result.method.config),
        ("Learning rate", numbers.learning_rate(result.learning_rate)),
        ("Seed", numbers.MISSING if result.seed is None else str(result.seed)),
        *stated_rows("Training", result.training),
        *((f"Data: {name}", value) for name, value in sorted(provenance.data_hashes.items())),
        *((f"Version: {name}", value) for name, value in sorted(provenance.versions.items())),
        *(("Note", note) for note in provenance.notes),
    ]
    return Table("Command, settings, data and versions", ("What", "Value"), tuple(rows))


LONGEST_VALUE = 120
"""Characters of a value from which on its beginning alone is shown; the record has it whole."""


def stated_rows(part: str, values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A row for each setting that says something, by name; none for one that is empty or not given."""
    stated = ((field, value) for field, value in sorted(values.items()) if value is not None and value not in _EMPTY)
    return [(f"{part}: {field}", quoted_if_long(in_words(value))) for field, value in stated]


_EMPTY: tuple[Any, ...] = ("", (), [], {})


def in_words(value: object) -> str:
    """A value as a recipe has it: true, 5, q_proj, v_proj, or fields with their values.

    Examples:
        >>> in_words({"lr_scheduler_type": "cosine", "fp16": False})
        'lr_scheduler_type: cosine, fp16: false'
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {in_words(inner)}" for name, inner in value.items())
    if isinstance(value, list | tuple | set):
        return ", ".join(map(in_words, value))
    return str(value)


def quoted_if_long(text: str) -> str:
    """A value on one line: a chat template, for one, by its beginning."""
    return text if len(text) <= LONGEST_VALUE else f"{' '.join(text.split())[: LONGEST_VALUE - 1]}…"
