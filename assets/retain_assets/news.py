"""The benchmark's headlines: learned from four topics of BBC news; the fifth, sport, is the shift."""

from __future__ import annotations

from pathlib import Path

from retain_assets.asset import Asset
from retain_assets.headlines import HEADLINES, example
from retain_assets.rows import write
from retain_assets.topics import Filed, filed

SHIFTED = "sports"
SIZES = {"train": 800, "test": 100, "validation": 40}
FOLDER = "news"


def parts(articles: list[Filed]) -> dict[str, list[Filed]]:
    """The articles of each part, which share none: the shifted part has as many as validation."""
    usual = [each for each in articles if each.topic != SHIFTED]
    found: dict[str, list[Filed]] = {}
    start = 0
    for part, size in SIZES.items():
        found[part] = usual[start : start + size]
        start += size
    found["shifted"] = [each for each in articles if each.topic == SHIFTED][: SIZES["validation"]]
    return found


def make(wheel: Path, staging: Path) -> dict[str, object]:
    """Write `news/train.jsonl` and `news/test.jsonl`, whose parts are named by `condition`."""
    found = parts(filed(wheel))
    train = [example(each.article) for each in found.pop("train")]
    measured = [{**example(each.article), "condition": part} for part, own in found.items() for each in own]
    folder = staging / FOLDER
    return {"train": write(folder / "train.jsonl", train), "test": write(folder / "test.jsonl", measured)}


NEWS = Asset(
    name="news",
    package=HEADLINES.package,
    outputs=(FOLDER,),
    make=make,
    edition=1,
    source=HEADLINES.source,
    licence=HEADLINES.licence,
)
