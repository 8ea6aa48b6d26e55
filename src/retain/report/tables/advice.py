"""What a pilot is told as: a table, sentences, Markdown, and what the terminal shows."""

from __future__ import annotations

from pathlib import Path

from rich import box
from rich.console import Group, RenderableType
from rich.constrain import Constrain
from rich.table import Table as Shown
from rich.text import Text

from retain.records import numbers
from retain.records.files import write_text
from retain.records.sweep_record import Pilot, Point, Trial
from retain.report.page.markdown import escape, markdown_table
from retain.report.tables.scores_table import Table

WIDTH = 100

CAUTION = (
    "These numbers are a start and not evidence: few steps, one seed, few rows. What a whole training learns and loses "
    "is measured by retain tune."
)


def advice_table(pilot: Pilot) -> Table:
    """One row a candidate: what it gained and how far it moved at each setting, and which was chosen."""
    alphas = sorted({point.alpha for trial in pilot.trials for point in trial.points})
    classes = pilot.base_accuracy is not None
    head = ["Method", "Rate", *([] if classes else ["Replay"])]
    for alpha in alphas:
        head += [f"Gain α={alpha:g}", f"KL α={alpha:g}", *([f"Right α={alpha:g}"] if classes else [])]
    rows = tuple(_row(pilot, place, alphas) for place in range(len(pilot.trials)))
    told = f"Gain: fall of the loss in {pilot.unit} on {pilot.held_items} training rows held out (base "
    told += f"{pilot.base_loss:.3f}), ± its standard error. KL: KL(base ‖ tuned) in {pilot.unit} on {_probes(pilot)}. "
    told += "α: the part of the update that acts. Rate: the learning rate, constant after a short warm-up."
    return Table(f"Pilot of {pilot.pilot_steps} steps", (*head, "s/step", "Chosen"), rows, told)


def _row(pilot: Pilot, place: int, alphas: list[float]) -> tuple[str, ...]:
    trial = pilot.trials[place]
    found = {point.alpha: point for point in trial.points}
    classes = pilot.base_accuracy is not None
    cells = [trial.method, numbers.learning_rate(trial.learning_rate)]
    cells += [] if classes else [f"{100 * trial.replay:g}%"]
    for alpha in alphas:
        cells += _cells(found.get(alpha), classes=classes)
    chosen = f"◀ α={pilot.chosen.alpha:g}" if place == pilot.chosen.trial else ""
    return (*cells, numbers.three_digits(trial.step_seconds or None), "failed" if trial.failed else chosen)


def _cells(point: Point | None, *, classes: bool) -> list[str]:
    if point is None:
        return [numbers.MISSING] * (3 if classes else 2)
    gain = f"{numbers.signed(point.gain, numbers.NATS)} ±{point.gain_error:.3f}"
    return [gain, _nats(point.kl), *([numbers.percent(point.accuracy)] if classes else [])]


def advice_sentences(pilot: Pilot) -> list[str]:
    """What to start with, why, within which limit, how long it will take, and what this does not say."""
    return [*_chosen(pilot), CAUTION, *_untried(pilot), *pilot.notes]


def _chosen(pilot: Pilot) -> list[str]:
    best, point = pilot.best, pilot.best_point
    gain = f"{numbers.signed(point.gain, numbers.NATS)} ± {point.gain_error:.3f} {pilot.unit}"
    setting = f"{best.method} at learning rate {numbers.learning_rate(best.learning_rate)}"
    setting += f" with {100 * best.replay:g}% replay" if best.replay else ""
    limit = f"{pilot.limit:g} nats of KL"
    if pilot.chosen.within:
        why = f"it gained most ({gain}) of all that stayed within {limit} ({_nats(point.kl)})"
    else:
        why = f"nothing measured stayed within {limit}; this moved least ({_nats(point.kl)}, gain {gain})"
    told = [f"Start with {setting}, α = {point.alpha:g}: {why}.", _limit(pilot)]
    if point.gain <= 0:
        told.append("Nothing was learned in so few steps: try more steps (--pilot-steps) or larger learning rates.")
    if point.alpha < 1:
        told.append(
            f"It was chosen at α = {point.alpha:g}, which no recipe says: train with a budget (--budget "
            f"kl:{pilot.limit:g}), which finds the part of the update to take, or scale what was trained with retain "
            f"dial RUN --alpha {point.alpha:g}."
        )
    time = numbers.seconds(pilot.whole_seconds)
    told.append(
        f"The whole training has {numbers.count(pilot.whole_steps)} steps, about {time} at this candidate's pace; "
        "measuring and calibration come on top."
    )
    return told


def _limit(pilot: Pilot) -> str:
    where = "on the pilot's text to keep"
    if pilot.limit_stated:
        return f"The limit is the recipe's budget of kl; here it is held {where}, not on the control data."
    return f"The recipe's budget says no limit of kl, so the default of {pilot.limit:g} nats was used, {where}."


def _untried(pilot: Pilot) -> list[str]:
    failed = [f"{_name(trial)}: {trial.failed}" for trial in pilot.trials if trial.failed]
    return [
        *([f"Not tried: {'; '.join(pilot.untried)}."] if pilot.untried else []),
        *([f"Failed: {' '.join(failed)}"] if failed else []),
    ]


def _name(trial: Trial) -> str:
    return f"{trial.method} at {numbers.learning_rate(trial.learning_rate)}"


def _probes(pilot: Pilot) -> str:
    size = "" if pilot.probe_tokens is None else f" ({numbers.count(pilot.probe_tokens)} tokens)"
    return f"{pilot.probes} texts or pictures to keep{size}"


def _nats(value: float) -> str:
    """Three decimals, more where there would be nothing but zeros."""
    return f"{value:.3f}" if value >= 0.001 else numbers.three_digits(value)


def advice_markdown(pilot: Pilot) -> str:
    """`advice.md`."""
    parts = [
        f"# Where to start with {escape(Path(pilot.model).name)}",
        *(escape(sentence) for sentence in advice_sentences(pilot)[:1]),
        markdown_table(advice_table(pilot)),
        "\n".join(f"- {escape(sentence)}" for sentence in advice_sentences(pilot)[1:]),
        "`retain tune advice.yaml` trains with this; `advice.json` has all numbers.",
    ]
    return "\n\n".join(parts) + "\n"


def write_advice(directory: Path, pilot: Pilot) -> list[Path]:
    """Write `advice.json` and `advice.md`, each whole or not at all.

    Returns:
        Their paths.
    """
    record, text = directory / "advice.json", directory / "advice.md"
    write_text(record, pilot.model_dump_json(indent=2) + "\n")
    write_text(text, advice_markdown(pilot))
    return [text, record]


def advice_view(pilot: Pilot) -> RenderableType:
    """Table and sentences for a terminal of 100 columns."""
    table = advice_table(pilot)
    shown = Shown(
        title=Text(table.caption, "bold"), box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False, padding=(0, 1)
    )
    seen = [place for place, name in enumerate(table.head) if not name.startswith("Right α=0")]
    for place in seen:
        shown.add_column(Text(table.head[place]), justify="right" if place else "left", no_wrap=place > 0)
    for row in table.rows:
        shown.add_row(*(Text(row[place], "green" if row[place].startswith("◀") else "") for place in seen))
    told = [Text(sentence) for sentence in advice_sentences(pilot)]
    return Constrain(Group(shown, Text(table.note, "dim"), Text(), *told), WIDTH)
