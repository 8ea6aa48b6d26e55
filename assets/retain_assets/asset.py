"""What an asset is: outputs under one folder, made at once or not at all, with a manifest that says what they are."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from retain_assets.fetch import Package, fetch

MANIFESTS = "manifests"


@dataclass(frozen=True)
class Asset:
    """A recipe from one package to some outputs.

    Attributes:
        name: as given on the command line.
        outputs: files or folders, relative to the folder of assets.
        make: reads the downloaded file and writes every output below a staging folder; returns what is worth knowing
            about them (counts), for the manifest.
        edition: raised whenever `make` would write something else; older outputs are then made anew.
        source: what it is and who made it.
        licence: what may be done with it.
    """

    name: str
    package: Package
    outputs: tuple[str, ...]
    make: Callable[[Path, Path], dict[str, object]]
    edition: int
    source: str
    licence: str

    def manifest(self, counts: dict[str, object]) -> dict[str, object]:
        """What is written beside the outputs, and compared to tell whether they are this edition's."""
        return {
            "asset": self.name,
            "edition": self.edition,
            "outputs": list(self.outputs),
            "made_from": asdict(self.package),
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
        downloads, staging = Path(folder) / "download", Path(folder) / "made"
        downloads.mkdir()
        staging.mkdir()
        counts = asset.make(fetch(asset.package, downloads), staging)
        _manifest_path(asset, root).unlink(missing_ok=True)
        for output in asset.outputs:
            _put(staging / output, root / output)
        note = staging / "manifest.json"
        note.write_text(json.dumps(asset.manifest(counts), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        _put(note, _manifest_path(asset, root))
    return counts


def _put(made: Path, place: Path) -> None:
    """Move `made` to `place`, over what an earlier edition left there."""
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.is_dir():
        shutil.rmtree(place)
    made.replace(place)


def _manifest_path(asset: Asset, root: Path) -> Path:
    return root / MANIFESTS / f"{asset.name}.json"
