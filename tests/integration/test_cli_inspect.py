"""`retain inspect` as a user meets it: files, table, exit codes, messages. On a tiny model."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

import retain
from calibration import batches, sentences
from retain.activations import collect
from retain.cli.main import main
from tiny import make_llama

pytestmark = pytest.mark.usefixtures("drawn")

LEARN, KEEP = batches(sentences(40)), batches(sentences(40, seed=1))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("statistics")
    for name, rows in (("learn", LEARN), ("keep", KEEP)):
        collect(make_llama(), rows, folder=made / name, name=name)
    return made


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("run")
    model = retain.sc_lora(make_llama(), retain.SCLoRAConfig(r=2), learn=LEARN, keep=KEEP)
    model.save_pretrained(made / "adapter")
    return made


def test_statistics_are_drawn_beside_themselves(folder, tmp_path, capsys):
    place = shutil.copytree(folder, tmp_path / "statistics")
    assert main(["inspect", str(place), "--rank", "4"]) == 0
    assert (place / "inspect.png").read_bytes()[:4] == b"\x89PNG"
    assert "model.layers.1.mlp.down" in (place / "inspect.md").read_text("utf-8")
    assert {path.name for path in place.rglob(".*")} == {".retain.jsonl"}, "nothing temporary is left behind"
    out = capsys.readouterr().out
    for part in ("q_proj, k_proj", "effective rank", "4 strongest directions", f"{place / 'inspect.png'}"):
        assert part.lower() in out.lower()


def test_an_adapter_is_drawn_where_it_is_told(run_folder, tmp_path, capsys):
    assert main(["inspect", str(run_folder), "--output", str(tmp_path / "look")]) == 0
    assert sorted(path.name for path in (tmp_path / "look").glob("[!.]*")) == ["inspect.md", "inspect.png"]
    assert sorted(path.name for path in run_folder.iterdir()) == ["adapter"]
    assert "Training starts in 2 directions of each of 14 layers" in capsys.readouterr().out


def test_drawn_statistics_are_still_statistics(folder, tmp_path):
    place = shutil.copytree(folder / "keep", tmp_path / "keep")
    assert main(["inspect", str(place)]) == 0
    assert main(["inspect", str(place)]) == 0


@pytest.mark.parametrize("case", ["nowhere", "empty", "manifest", "note"])
def test_bad_input_ends_with_2_and_says_what_to_try(case, folder, run_folder, tmp_path, capsys):
    place = tmp_path / case
    if case == "empty":
        place.mkdir()
    elif case == "manifest":
        shutil.copytree(folder, place)
        (place / "learn" / "manifest.json").write_text('{"schema_": "retain.stat', encoding="utf-8")
    elif case == "note":
        shutil.copytree(run_folder, place)
        (place / "adapter" / "retain_initialisation.json").unlink()
    assert main(["inspect", str(place)]) == 2
    err = capsys.readouterr().err
    assert err.startswith("retain inspect: one problem:")
    tries = {"nowhere": "retain calibrate", "empty": "retain calibrate", "manifest": "retain calibrate"}
    assert tries.get(case, "retain measure --tuned") in err
    assert not list(tmp_path.rglob("inspect.*"))


@pytest.mark.parametrize("verb", ["inspect", "calibrate"])
def test_help_needs_no_torch(verb):
    code = f"""
import sys
from retain.cli.main import main
try:
    main([{verb!r}, "--help"])
finally:
    assert "torch" not in sys.modules and "matplotlib" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--output" in done.stdout
