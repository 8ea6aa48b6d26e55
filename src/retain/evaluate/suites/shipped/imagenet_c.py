# ruff: noqa: INP001 (lies beside its suite file and is read with it; no package)
"""Images of ImageNet-C, which lie in KIND/SEVERITY/CLASS: their condition, their class, and what they are made of."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

MAPPING = "LOC_synset_mapping.txt"


def rows(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """One image; the same photograph in all its corruptions is one group.

    Raises:
        ValueError: the image lies in other folders than those.
    """
    if len(row["folders"]) != 3:
        raise ValueError("expected KIND/SEVERITY/CLASS/IMAGE")
    kind, severity, synset = row["folders"]
    image = Path(row["image"])
    label = names(image.parents[3] / MAPPING).get(synset, synset)
    yield {"image": str(image), "label": label, "condition": f"{kind}/{severity}", "group": f"{synset}/{image.stem}"}


@cache
def names(path: Path) -> dict[str, str]:
    """The words for each class, where the file of them is there."""
    if not path.is_file():
        return {}
    lines = path.read_text(encoding="utf-8").splitlines()
    return dict(line.split(" ", 1) for line in lines if " " in line)
