"""The verdict of a run in the model card of what it trained, in place."""

from __future__ import annotations

from pathlib import Path

from retain.records.files import write_text
from retain.records.manifest import CARD, is_own
from retain.records.paths import without_paths
from retain.records.result import Result
from retain.report.page.model_card import TITLE, model_card


def tell_verdict(directory: Path, result: Result) -> None:
    """Add what a run learned and lost to the card beside its weights; a card that a person wrote on is left alone.

    Args:
        directory: the run's folder.
        result: its record.
    """
    for name in ("adapter", "model"):
        card = directory / name / CARD
        if not card.is_file() or not is_own(card):
            continue
        before = card.read_text(encoding="utf-8").partition(f"\n{TITLE}\n")[0].rstrip()
        write_text(card, f"{before}\n\n{without_paths(model_card(result))}")
