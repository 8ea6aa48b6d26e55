"""A narrow task: file a customer's message as a ticket of one form. The messages are made by this script.

Things are WordNet's nouns for artefacts; what is said about them is written here. An untreated model learns to answer
everything with a ticket. Validation and test have other things than training; the shifted part has other wordings, too.
Messages of one wording are one group: they are drawn together where intervals are made.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

from retain_assets import kinds
from retain_assets.asset import Asset
from retain_assets.rows import write
from retain_assets.text import draw, shuffled

SEED = 34
SIZES = {"train": 400, "test": 100, "shifted": 40, "validation": 40}
FOLDER = "tickets"

MESSAGES = {
    "DELIVERY": (
        "my {} has not arrived yet.", "where is my {}? It should have been here by now.",
        "I am still waiting for the {}.", "the parcel with the {} never came.",
        "the courier seems to have lost my {}.", "nobody has brought me the {} I paid for.",
    ),
    "DAMAGE": (
        "the {} arrived broken.", "my {} has a crack in it.", "the {} stopped working after a day.",
        "there is a large scratch on the {}.", "a part of the {} fell off.", "the {} came apart in my hands.",
    ),
    "REFUND": (
        "I want my money back for the {}.", "please refund the {} I sent back.",
        "I returned the {} and was not paid.", "when will I be refunded for the {}?",
        "the {} went back last week, so where is my money?", "kindly return the price of the {}.",
    ),
    "EXCHANGE": (
        "the {} is too small, can I have a larger one?", "I would like to swap my {} for another colour.",
        "you sent a green {} and I ordered a blue one.", "can I change the {} for a different model?",
        "this is not the {} I picked, please send the right one.", "may I trade my {} for a bigger one?",
    ),
    "CANCEL": (
        "please cancel the {}.", "I no longer need the {}.", "I ordered the {} by mistake, stop it.",
        "do not send the {} any more.", "forget about the {}, I bought it elsewhere.", "take the {} off my order.",
    ),
    "INVOICE": (
        "I was charged twice for the {}.", "please send me the bill for the {}.",
        "the price on the invoice for my {} is wrong.", "I need a receipt for the {}.",
        "the amount you took for the {} is not what was agreed.", "could I have the {} on a tax bill?",
    ),
}  # fmt: skip
SHIFTED = 2  # the last wordings of each kind occur in the shifted part alone
HASTE = {
    "urgent": ("I need this solved today.", "This is urgent!", "Please hurry."),
    "normal": ("Thank you.", "", "Kind regards."),
    "low": ("There is no hurry.", "Whenever you find the time.", "It can wait."),
}


def things(package: Path) -> list[str]:
    """WordNet's nouns for artefacts that no suite asks about and no text to keep mentions, in drawn order."""
    taken = {each.word for part in kinds.parts(package)[0].values() for each in part}
    return shuffled(set(kinds.artefacts(package)) - taken, SEED)


def ticket(thing: str, *, shifted: bool) -> dict[str, object]:
    """A message about a thing and the ticket that it becomes; everything is drawn from the thing's name."""
    kind, wording = _worded(thing, shifted=shifted)
    haste = _drawn(sorted(HASTE), thing, "haste")
    number = 1000 + draw(SEED, thing, "number") % 9000
    closing = _drawn(HASTE[haste], thing, "closing")
    message = f"Order {number}: {wording.format(thing)} {closing}".strip()
    turns = (("user", message), ("assistant", f"#{number} | {kind} | {thing} | {haste}"))
    return {"messages": [{"role": role, "content": content} for role, content in turns]}


def _worded(thing: str, *, shifted: bool) -> tuple[str, str]:
    """The kind of a thing's message and its wording."""
    kind = _drawn(sorted(MESSAGES), thing, "kind")
    wordings = MESSAGES[kind]
    return kind, _drawn(wordings[-SHIFTED:] if shifted else wordings[:-SHIFTED], thing, "wording")


def _drawn(values: Sequence[str], *parts: str) -> str:
    return values[draw(SEED, *parts) % len(values)]


def measured(thing: str, part: str) -> dict[str, object]:
    """A thing's row of the test file: of which part it is, and with whom it shares its wording."""
    shifted = part == "shifted"
    return {**ticket(thing, shifted=shifted), "condition": part, "group": _worded(thing, shifted=shifted)[1]}


def parts(names: Sequence[str]) -> dict[str, Sequence[str]]:
    """The things of each part; none is in two."""
    ends = list(accumulate(SIZES.values()))
    return {part: names[end - size : end] for (part, size), end in zip(SIZES.items(), ends, strict=True)}


def make(package: Path, staging: Path) -> dict[str, object]:
    """Write `tickets/train.jsonl` and `tickets/test.jsonl`, whose parts are named by `condition`."""
    things_of = parts(things(package))
    train = [ticket(thing, shifted=False) for thing in things_of["train"]]
    rest = [measured(thing, part) for part in SIZES if part != "train" for thing in things_of[part]]
    folder = staging / FOLDER
    return {"train": write(folder / "train.jsonl", train), "test": write(folder / "test.jsonl", rest)}


TICKETS = Asset(
    name="tickets",
    package=kinds.KINDS.package,
    outputs=(FOLDER,),
    make=make,
    edition=2,
    source=f"messages written for retain; things from {kinds.KINDS.source}",
    licence=kinds.KINDS.licence,
)
