"""The verdict of a finished run, made again from its record: evidence that needs neither models nor data."""

from __future__ import annotations

import hashlib
from pathlib import Path

from retain.errors import InputError
from retain.evaluation.judging import disagreements, replay
from retain.results import Judgement, read_items, read_result


def replay_run(folder: str | Path) -> Judgement:
    """Judge a run again from `result.json` and `items.jsonl`.

    Raises:
        InputError: the record is missing or damaged, its items are not those that it was written with, its two sides
            were not asked alike, or the verdict that it states does not follow from them.
    """
    place = Path(folder).expanduser()
    result = read_result(place / "result.json")
    path = place / "items.jsonl"
    if not path.is_file():
        raise InputError(f"{path}: missing; the verdict is made from the items, so it cannot be replayed.")
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    stated = result.provenance.items_hash
    if stated and stated != found:
        raise InputError(f"{path}: its content is not what the record was written with (sha256 {found[:12]}…).")
    if result.conditions is not None and result.conditions["base"] != result.conditions["tuned"]:
        raise InputError(f"{place}: base and tuned model were not asked alike, so nothing follows from the record.")
    try:
        items = list(read_items(path))
    except ValueError as error:
        raise InputError(f"{path}: damaged items: {error}") from error
    unlike = disagreements(result, items)
    if unlike:
        raise InputError([f"{place}: {sentence}" for sentence in unlike])
    judgement = replay(result, items)
    if result.judgement is not None and judgement != result.judgement:
        raise InputError(
            f"{place}: the record says {result.judgement.overall!r}, its items say {judgement.overall!r} "
            "(or the reasons differ): the record was changed, or written by another version of retain."
        )
    return judgement
