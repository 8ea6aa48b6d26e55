"""A narrow task: file a customer's message as a ticket of one form. The messages are made by this script.

Things are WordNet's nouns for artefacts; what is said about them is written here. An untreated model learns to answer
everything with a ticket. Validation and test have other things than training; the shifted part has other wordings, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
    kind = _drawn(sorted(MESSAGES), thing, "kind")
    wordings = MESSAGES[kind]
    haste = _drawn(sorted(HASTE), thing, "haste")
    number = 1000 + draw(SEED, thing, "number") % 9000
    said = _drawn(wordings[-SHIFTED:] if shifted else wordings[:-SHIFTED], thing, "wording").format(thing)
    closing = _drawn(HASTE[haste], thing, "closing")
    message = f"Order {number}: {said} {closing}".strip()
    turns = (("user", message), ("assistant", f"#{number} | {kind} | {thing} | {haste}"))
    return {"messages": [{"role": role, "content": content} for role, content in turns]}


def _drawn(values: Sequence[str], *parts: str) -> str:
    return values[draw(SEED, *parts) % len(values)]


def rows(names: Sequence[str]) -> Iterator[tuple[str, dict[str, object]]]:
    """Each part's rows; no thing is in two parts."""
    start = 0
    for part, size in SIZES.items():
        for name in names[start : start + size]:
            yield part, ticket(name, shifted=part == "shifted")
        start += size


def make(package: Path, staging: Path) -> dict[str, object]:
    """Write `tickets/train.jsonl` and `tickets/test.jsonl`, whose parts are named by `condition`."""
    made = list(rows(things(package)))
    train = [row for part, row in made if part == "train"]
    measured = [{**row, "condition": part} for part, row in made if part != "train"]
    folder = staging / FOLDER
    return {"train": write(folder / "train.jsonl", train), "test": write(folder / "test.jsonl", measured)}


TICKETS = Asset(
    name="tickets",
    package=kinds.KINDS.package,
    outputs=(FOLDER,),
    make=make,
    edition=1,
    source=f"messages written for retain; things from {kinds.KINDS.source}",
    licence=kinds.KINDS.licence,
)
