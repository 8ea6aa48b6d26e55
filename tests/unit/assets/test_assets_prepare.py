import hashlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from retain_assets import asset as asset_module
from retain_assets import fetch as fetch_module
from retain_assets.asset import Asset, is_ready, prepare
from retain_assets.fetch import AssetError, NpmPackage, Package, fetch, verified

CONTENT = b"a wheel"
PACKAGE = Package("made-up", "1.0", hashlib.sha256(CONTENT).hexdigest())


def make(downloaded: Path, staging: Path) -> dict[str, object]:
    (staging / "things").mkdir()
    (staging / "things" / "one.txt").write_bytes(downloaded.read_bytes())
    return {"things": 1}


ASSET = Asset("things", PACKAGE, ("things",), make, 1, "made up", "none")


@pytest.fixture
def downloads(monkeypatch):
    """Stand in for pip: record each download and leave the pinned file."""
    done = []

    def pretend(package, into):
        done.append(package)
        (into / "made_up-1.0.whl").write_bytes(CONTENT)
        return into / "made_up-1.0.whl"

    monkeypatch.setattr(asset_module, "fetch", pretend)
    return done


@pytest.mark.usefixtures("downloads")
def test_a_prepared_asset_is_ready_and_leaves_nothing_else(tmp_path):
    assert not is_ready(ASSET, tmp_path)
    assert prepare(ASSET, tmp_path) == {"things": 1}
    assert is_ready(ASSET, tmp_path)
    assert (tmp_path / "things" / "one.txt").read_bytes() == CONTENT
    assert {path.name for path in tmp_path.iterdir()} == {"things", "manifests"}


@pytest.mark.usefixtures("downloads")
def test_another_edition_or_a_lost_output_is_made_anew(tmp_path):
    prepare(ASSET, tmp_path)
    newer = replace(ASSET, edition=2)
    assert not is_ready(newer, tmp_path)
    prepare(newer, tmp_path)
    assert is_ready(newer, tmp_path)
    (tmp_path / "things" / "one.txt").unlink()
    (tmp_path / "things").rmdir()
    assert not is_ready(newer, tmp_path)


@pytest.mark.usefixtures("downloads")
def test_a_failure_leaves_what_was_there(tmp_path):
    prepare(ASSET, tmp_path)

    def fail(_downloaded, staging):
        (staging / "things").mkdir()
        raise AssetError("broken")

    with pytest.raises(AssetError, match="broken"):
        prepare(replace(ASSET, make=fail), tmp_path)
    assert is_ready(ASSET, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"things", "manifests"}


def test_only_the_pinned_content_passes(tmp_path):
    (tmp_path / "made_up-1.0.whl").write_bytes(CONTENT)
    assert verified(PACKAGE, tmp_path).name == "made_up-1.0.whl"
    (tmp_path / "made_up-1.0.whl").write_bytes(b"changed")
    with pytest.raises(AssetError, match=PACKAGE.sha256):
        verified(PACKAGE, tmp_path)


def test_a_failed_download_says_asked_found_and_try(tmp_path, monkeypatch):
    monkeypatch.setattr(fetch_module, "_pip_download", lambda *_: "ERROR: No matching distribution found")
    with pytest.raises(AssetError) as caught:
        fetch(PACKAGE, tmp_path)
    assert "made-up==1.0" in str(caught.value)
    assert "No matching distribution" in str(caught.value)
    assert "Try:" in str(caught.value)


def test_pip_refuses_what_is_not_pinned_before_opening_it(tmp_path, monkeypatch):
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    (shelf / "made_up-1.0-py3-none-any.whl").write_bytes(b"not what was pinned")
    for setting, value in {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(shelf), "PIP_CONFIG_FILE": "/dev/null"}.items():
        monkeypatch.setenv(setting, value)
    (tmp_path / "into").mkdir()
    with pytest.raises(AssetError, match=r"(?s)Asked pip for made-up==1\.0.*Found: .*hash"):
        fetch(PACKAGE, tmp_path / "into")


def test_an_asset_of_two_packages_takes_both_files_and_names_both(tmp_path, monkeypatch):
    def pretend(package, into):
        (into / "file").write_text(package.name, encoding="utf-8")
        return into / "file"

    def join(one, two, staging):
        (staging / "names.txt").write_text(one.read_text() + two.read_text(), encoding="utf-8")
        return {}

    monkeypatch.setattr(asset_module, "fetch", pretend)
    both = Asset("both", PACKAGE, ("names.txt",), join, 1, "made up", "none", also=(NpmPackage("other", "2", "0"),))
    prepare(both, tmp_path)
    assert (tmp_path / "names.txt").read_text(encoding="utf-8") == "made-upother"
    assert is_ready(both, tmp_path)
    assert not is_ready(replace(both, also=(NpmPackage("other", "3", "0"),)), tmp_path)


def test_names_and_groups_are_asked_for_once_and_none_means_the_demo(monkeypatch, tmp_path, capsys):
    import prepare as script

    monkeypatch.setattr(script, "is_ready", lambda *_: True)
    for arguments, said in (
        ([], "smollm2, support, facts, reference."),
        (["fashion", "vision"], "fashion, vit, emoji, digits."),
    ):
        assert script.main([*arguments, "--into", str(tmp_path)]) == 0
        assert capsys.readouterr().out.endswith(f": {said}\n")
    with pytest.raises(SystemExit):
        script.main(["nothing"])
    assert "nothing; there are demo, headlines-recipe, understanding" in capsys.readouterr().err


def test_the_script_answers_without_torch_and_names_what_it_knows():
    script = Path(__file__).parents[3] / "assets" / "prepare.py"
    done = subprocess.run(
        [sys.executable, "-X", "importtime", str(script), "--help"], capture_output=True, text=True, check=True
    )
    for group in (
        "demo: smollm2, support, facts, reference",
        "understanding: minilm, topics, valence,",
        "vision: vit, emoji, digits, fashion",
        "safety: harmful",
        "language: brown, world, glosses",
    ):
        assert group in done.stdout
    assert "retain_assets.smollm2" in done.stderr
    assert "torch" not in done.stderr
