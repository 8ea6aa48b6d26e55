"""What an asset is: outputs under one folder, made at once or not at all, with a manifest that says what they are."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from retain_assets.fetch import AnyPackage, fetch

MANIFESTS = "manifests"


@dataclass(frozen=True)
class Asset:
    """A recipe from one package, or a few, to some outputs.

    Attributes:
        name: as given on the command line.
        package: what it is made from; None: from nothing but what `make` holds.
        outputs: files or folders, relative to the folder of assets.
        make: takes what `fetch` left of each package, then a staging folder, and writes every output below that;
            returns what is worth knowing about them (counts), for the manifest.
        edition: raised whenever `make` would write something else; older outputs are then made anew.
        source: what it is and who made it.
        licence: what may be done with it.
        also: further packages that it is made from.
    """

    name: str
    package: AnyPackage | None
    outputs: tuple[str, ...]
    make: Callable[..., dict[str, object]]
    edition: int
    source: str
    licence: str
    also: tuple[AnyPackage, ...] = ()

    @property
    def packages(self) -> tuple[AnyPackage, ...]:
        """All that it is made from, in the order in which `make` takes them."""
        return (*(() if self.package is None else (self.package,)), *self.also)

    def manifest(self, counts: dict[str, object]) -> dict[str, object]:
        """What is written beside the outputs, and compared to tell whether they are this edition's."""
        further = {"made_also_from": [asdict(package) for package in self.also]} if self.also else {}
        return {
            "asset": self.name,
            "edition": self.edition,
            "outputs": list(self.outputs),
            "made_from": None if self.package is None else asdict(self.package),
            **further,
            "source": self.source,
            "licence": self.licence,
            "counts": counts,
        }


def is_ready(asset: Asset, root: Path) -> bool:
    """Whether `root` holds every output of this edition, made from the pinned file."""
    try:
        written = json.loads(_manifest_path(asset, root).read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return False
    same = written == json.loads(json.dumps(asset.manifest(written.get("counts", {}))))
    return same and all((root / output).exists() for output in asset.outputs)


def prepare(asset: Asset, root: Path) -> dict[str, object]:
    """Download, make and install the outputs of `asset`; return its counts.

    Everything is made in a temporary folder inside `root` and renamed into place; the manifest comes last, so an
    interrupted run leaves either nothing new or outputs that the next run replaces.
    """
    with tempfile.TemporaryDirectory(prefix=f".{asset.name}-", dir=root) as folder:
        staging = Path(folder) / "made"
        staging.mkdir()
        counts = asset.make(*_fetch_all(asset, Path(folder)), staging)
        _manifest_path(asset, root).unlink(missing_ok=True)
        for output in asset.outputs:
            _put(staging / output, root / output)
        note = staging / "manifest.json"
        note.write_text(json.dumps(asset.manifest(counts), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        _put(note, _manifest_path(asset, root))
    return counts


def _fetch_all(asset: Asset, folder: Path) -> list[Path]:
    """Download every package of `asset`, each into a folder of its own below `folder`."""
    found = []
    for number, package in enumerate(asset.packages):
        place = folder / f"download-{number}"
        place.mkdir()
        found.append(fetch(package, place))
    return found


def _put(made: Path, place: Path) -> None:
    """Move `made` to `place`, over what an earlier edition left there."""
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.is_dir():
        shutil.rmtree(place)
    made.replace(place)


def _manifest_path(asset: Asset, root: Path) -> Path:
    return root / MANIFESTS / f"{asset.name}.json"
