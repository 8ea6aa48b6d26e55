"""The report of a sweep: a table, sentences, Markdown."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import yaml

from retain.compare.training_labels import training_fields, training_labels
from retain.records import numbers
from retain.records.files import write_text
from retain.records.sweep_record import Point, SweepRecord
from retain.report.page.markdown import escape, markdown_table
from retain.report.tables.scores_table import Table
from retain.stats.clusters import student_interval

ADVICE_FILES = ("advice.json", "advice.md")

CAUTION = (
    "These numbers are a start and not evidence: few steps, one seed, few rows. What a whole training learns and loses "
    "is measured by retain tune."
)


def advice_table(sweep: SweepRecord) -> Table:
    """One row a candidate: what it gained and how far it moved at each setting, and which was chosen."""
    alphas = sorted({point.alpha for candidate in sweep.candidates for point in candidate.points})
    classes = sweep.base_accuracy is not None
    head = ["Candidate", "Rate"]
    for alpha in alphas:
        head += [f"Gain α={alpha:g}", f"KL α={alpha:g}", *([f"Right α={alpha:g}"] if classes else [])]
    rows = tuple(_row(sweep, place, alphas) for place in range(len(sweep.candidates)))
    told = f"Gain: fall of the loss in {sweep.unit} on {sweep.held_items} training rows held out (base "
    told += f"{sweep.base_loss:.3f}), ± its standard error. KL: KL(base ‖ tuned) in {sweep.unit} on {_probes(sweep)}. "
    told += "α: the part of the update that acts. Rate: the learning rate, constant after a short warm-up."
    return Table(f"Sweep of {sweep.sweep_steps} steps", (*head, "s/step", "Chosen"), rows, told)


def _row(sweep: SweepRecord, place: int, alphas: list[float]) -> tuple[str, ...]:
    candidate = sweep.candidates[place]
    found = {point.alpha: point for point in candidate.points}
    classes = sweep.base_accuracy is not None
    cells = [_names(sweep)[place], numbers.learning_rate(candidate.learning_rate)]
    for alpha in alphas:
        cells += _cells(found.get(alpha), classes=classes)
    chosen = f"◀ α={sweep.chosen.alpha:g}" if place == sweep.chosen.candidate else ""
    return (*cells, numbers.three_digits(candidate.step_seconds or None), "failed" if candidate.failed else chosen)


def _cells(point: Point | None, *, classes: bool) -> list[str]:
    if point is None:
        return [numbers.MISSING] * (3 if classes else 2)
    gain = f"{numbers.signed(point.gain, numbers.NATS)} ±{point.gain_error:.3f}"
    return [gain, _nats(point.kl), *([numbers.percent(point.accuracy)] if classes else [])]


def _names(sweep: SweepRecord) -> list[str]:
    """What each candidate is called: its method, and what it is combined with where that tells it from others."""
    brought = [{**candidate.own, "replay": candidate.replay or None} for candidate in sweep.candidates]
    told = training_labels([training_fields(own) for own in brought])
    pairs = zip(sweep.candidates, told, strict=True)
    return [" + ".join(filter(None, [candidate.method, label])) for candidate, label in pairs]


def advice_fields(sweep: SweepRecord) -> str:
    """The fields that the advice adds to the recipe, as YAML to paste."""
    return yaml.safe_dump(sweep.fields, sort_keys=False, allow_unicode=True).rstrip("\n")


def advice_sentences(sweep: SweepRecord) -> list[str]:
    """The recommendation: its reason, how sure that is, its limit, its time, what was not tried."""
    return [*_chosen(sweep), CAUTION, *_untried(sweep), *sweep.notes]


def _chosen(sweep: SweepRecord) -> list[str]:
    best, point = sweep.best, sweep.best_point
    gain = f"{numbers.signed(point.gain, numbers.NATS)} ± {point.gain_error:.3f} {sweep.unit}"
    setting = f"{_names(sweep)[sweep.chosen.candidate]} at learning rate {numbers.learning_rate(best.learning_rate)}"
    limit = f"{sweep.limit:g} nats of KL"
    if sweep.chosen.within:
        why = f"it gained most ({gain}) of all that stayed within {limit} ({_nats(point.kl)})"
    else:
        why = f"nothing measured stayed within {limit}; this moved least ({_nats(point.kl)}, gain {gain})"
    told = [f"Start with {setting}, α = {point.alpha:g}: {why}.", *_beside(sweep), _limit(sweep)]
    if point.gain <= 0:
        told.append("Nothing was learned in so few steps: try more steps (--sweep-steps) or larger learning rates.")
    if point.alpha < 1:
        told.append(
            f"It was chosen at α = {point.alpha:g}, which no recipe says: train with a budget (--budget "
            f"kl:{sweep.limit:g}), which finds the part of the update to take, or scale what was trained with retain "
            f"scale RUN --alpha {point.alpha:g}."
        )
    time = numbers.seconds(sweep.whole_seconds)
    told.append(
        f"The whole training has {numbers.count(sweep.whole_steps)} steps, about {time} at this candidate's pace, what "
        "it adds to a step included; measuring and calibration come on top."
    )
    return told


def _beside(sweep: SweepRecord) -> list[str]:
    """How sure the choice is: the difference from plain LoRA at its best, or from the next where LoRA was chosen."""
    if sweep.beside is None:
        return []
    other = sweep.candidates[sweep.beside.candidate]
    point = next(point for point in other.points if point.alpha == sweep.beside.alpha)
    gains = np.subtract(sweep.best_point.gains, point.gains)
    low, high = student_interval(gains, np.asarray(sweep.held_weights))
    ends = ", ".join(numbers.signed(end, numbers.NATS) for end in (low, high))
    more = f"{numbers.signed(float(gains.sum()) / sum(sweep.held_weights), numbers.NATS)} [{ends}]"
    sure = "more than chance on these rows" if low > 0 else "which could be chance"
    rate = f"{numbers.learning_rate(other.learning_rate)}, α = {point.alpha:g}"
    told = f"Beside {_names(sweep)[sweep.beside.candidate]} at its best of what was tried within the limit ({rate}) "
    told += f"it gained {more} {sweep.unit}, {sure} (95 % over {sweep.held_items} rows, one seed; both were chosen on "
    told += "these rows, which flatters the choice)."
    return [told]


def _limit(sweep: SweepRecord) -> str:
    where = "on the sweep's text to keep"
    if sweep.limit_stated:
        return f"The limit is the recipe's budget of kl; here it is held {where}, not on the control data."
    return f"The recipe's budget says no limit of kl, so the default of {sweep.limit:g} nats was used, {where}."


def _untried(sweep: SweepRecord) -> list[str]:
    failed = [
        f"{name} at {numbers.learning_rate(candidate.learning_rate)}: {candidate.failed}"
        for name, candidate in zip(_names(sweep), sweep.candidates, strict=True)
        if candidate.failed
    ]
    return [
        *([f"Not tried: {'; '.join(sweep.untried)}."] if sweep.untried else []),
        *([f"Failed: {' '.join(failed)}"] if failed else []),
    ]


def _probes(sweep: SweepRecord) -> str:
    size = "" if sweep.probe_tokens is None else f" ({numbers.count(sweep.probe_tokens)} tokens)"
    return f"{sweep.probes} {'texts' if size else 'texts or images'} to keep{size}"


def _nats(value: float) -> str:
    """Three decimals, more where there would be nothing but zeros."""
    return f"{value:.3f}" if value >= 0.001 else numbers.three_digits(value)


def advice_markdown(sweep: SweepRecord, written: str = "advice.yaml") -> str:
    """`advice.md`.

    Args:
        sweep: the record.
        written: the path of the recipe that was written.
    """
    parts = [
        f"# Where to start with {escape(Path(sweep.model).name)}",
        *(escape(sentence) for sentence in advice_sentences(sweep)[:1]),
        f"```yaml\n{advice_fields(sweep)}\n```",
        f"`retain tune {written}` trains with this; `advice.json` has all numbers.",
        markdown_table(advice_table(sweep)),
        "\n".join(f"- {escape(sentence)}" for sentence in advice_sentences(sweep)[1:]),
        *([f"## What the benchmark shows\n\n{escape(' '.join(sweep.benchmark))}"] if sweep.benchmark else []),
    ]
    return "\n\n".join(parts) + "\n"


def write_advice(directory: Path, sweep: SweepRecord) -> list[Path]:
    """Write `advice.json` and `advice.md`, each whole or not at all.

    Returns:
        Their paths.
    """
    record, text = (directory / name for name in ADVICE_FILES)
    write_text(record, sweep.model_dump_json(indent=2) + "\n")
    write_text(text, advice_markdown(sweep, str(directory / "advice.yaml")))
    return [text, record]
