import hashlib
import shutil
import subprocess

import pytest
from retain_assets import fetch as fetch_module
from retain_assets.fetch import AssetError, DebianPackage, NpmPackage, fetch

CONTENT = b"a package"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
NPM = NpmPackage("made-up", "1.0.0", SHA256)
DEBIAN = DebianPackage("made-up", "1.0-1", SHA256)


def tool(folder, name, script):
    """Put a program called `name` first on PATH; it runs `script`."""
    program = folder / name
    program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    program.chmod(0o755)


@pytest.fixture
def path(tmp_path, monkeypatch):
    """A folder of programs that is all of PATH, apart from the system's own shell."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


@pytest.fixture
def into(tmp_path):
    folder = tmp_path / "into"
    folder.mkdir()
    return folder


@pytest.mark.parametrize(("package", "name"), [(NPM, "npm"), (DEBIAN, "apt-get")])
@pytest.mark.usefixtures("path")
def test_a_missing_tool_says_asked_found_and_try(package, name, into):
    with pytest.raises(AssetError, match=rf"(?s)Asked {name} for made-up.*Found: no {name} on PATH.*Try: ."):
        fetch(package, into)


@pytest.mark.parametrize(("package", "name"), [(NPM, "npm"), (DEBIAN, "apt-get")])
def test_a_failed_tool_is_quoted(package, name, path, into):
    tool(path, "dpkg-deb", "exit 0")
    tool(path, name, "echo 'no such package' >&2; exit 3")
    with pytest.raises(AssetError, match=r"(?s)Asked .*Found: no such package\nTry: "):
        fetch(package, into)


def test_npm_is_asked_for_one_version_and_runs_no_script_of_it(path, into):
    tool(path, "npm", f'echo "$@" > {path}/asked; printf "a package" > made-up-1.0.0.tgz')
    assert fetch(NPM, into) == into / "made-up-1.0.0.tgz"
    asked = (path / "asked").read_text(encoding="utf-8").split()
    assert asked[0] == "pack"
    assert {"--ignore-scripts", "made-up@1.0.0"} <= set(asked)


@pytest.mark.parametrize(("package", "name"), [(NPM, "npm"), (DEBIAN, "apt-get")])
def test_another_content_is_refused_and_not_unpacked(package, name, path, into):
    tool(path, "dpkg-deb", f"echo unpacked > {path}/unpacked")
    tool(path, name, "printf changed > made-up.file")
    with pytest.raises(AssetError, match=SHA256):
        fetch(package, into)
    assert not (path / "unpacked").exists()


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="needs dpkg-deb to make a package")
def test_a_debian_package_is_unpacked(tmp_path, into, monkeypatch):
    tree = tmp_path / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN" / "control").write_text(
        "Package: made-up\nVersion: 1.0-1\nArchitecture: all\nMaintainer: A <a@b.c>\nDescription: none\n",
        encoding="utf-8",
    )
    (tree / "usr" / "share").mkdir(parents=True)
    (tree / "usr" / "share" / "words").write_text("one two", encoding="utf-8")
    made = tmp_path / "made-up_1.0-1_all.deb"
    subprocess.run(["dpkg-deb", "--build", str(tree), str(made)], check=True, capture_output=True)
    real = fetch_module._run

    def run(command, folder):
        if command[0] != "apt-get":
            return real(command, folder)
        assert command[-1] == "made-up=1.0-1"
        shutil.copy(made, folder)
        return ""

    monkeypatch.setattr(fetch_module, "_needed", lambda *_: None)
    monkeypatch.setattr(fetch_module, "_run", run)
    folder = fetch(DebianPackage("made-up", "1.0-1", hashlib.sha256(made.read_bytes()).hexdigest()), into)
    assert (folder / "usr" / "share" / "words").read_text(encoding="utf-8") == "one two"
