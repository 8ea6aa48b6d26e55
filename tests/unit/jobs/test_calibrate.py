"""From texts to second moments: which texts are read, under which name they lie, and what is kept out of them."""

import json
import sys

import pytest

from retain.activations import load
from retain.data.item import PlainText
from retain.errors import InputError
from retain.evaluate.suites.suite import Suites
from retain.events import SILENT, Events
from retain.jobs import calibrate as module
from retain.jobs.calibrate import Calibration, calibrate
from retain.jobs.inputs.data import APART, not_apart
from retain.recipe import CalibrateRecipe

TARGETS = {"target_modules": ["q_proj"]}


def plain(*texts):
    """Plain texts to calibrate on."""
    return [PlainText(text=text) for text in texts]


@pytest.fixture
def job(make_run):
    """Make the calibration of a run on its base."""

    def make(**fields):
        run = make_run(**{"calibrate_tokens": 40, "calibrate_batch_size": 4, **fields})
        return Calibration.of(run, run.base(), "weights")

    return make


def test_texts_are_cut_to_the_tokens_of_the_recipe(job):
    rows = job().rows(plain("a b c " * 20, "d e f " * 20))
    assert sum(map(len, rows)) == 40


def test_what_is_there_is_not_collected_again(job, monkeypatch):
    calibration = job()
    first = calibration.statistics(["keep"], {"keep": plain(*["a b c d"] * 9)}, TARGETS, "none")["keep"]
    monkeypatch.setattr(sys.modules["retain.activations.collect"], "_collect", None)
    again = calibration.statistics(["keep"], {"keep": plain(*["a b c d"] * 9)}, TARGETS, "none")["keep"]
    assert again.manifest == first.manifest
    assert again.folder.name.startswith("keep-")
    assert again.folder.parent == calibration.folder


@pytest.mark.parametrize(
    ("texts", "targets", "norm", "fields"),
    [
        (plain(*["a b c e"] * 9), TARGETS, "none", {}),
        (plain(*["a b c d"] * 9), {"target_modules": ["v_proj"]}, "none", {}),
        (plain(*["a b c d"] * 9), TARGETS, "max", {}),
        (plain(*["a b c d"] * 9), TARGETS, "none", {"calibrate_precision": "float64"}),
    ],
)
def test_the_folder_is_named_by_all_that_second_moments_depend_on(job, texts, targets, norm, fields):
    known = job().statistics(["keep"], {"keep": plain(*["a b c d"] * 9)}, TARGETS, "none")["keep"].folder
    found = job(**fields).statistics(["keep"], {"keep": texts}, targets, norm)["keep"].folder
    assert found != known
    assert found.parent == known.parent


def test_a_text_of_the_base_that_holds_what_is_measured_is_left_out(job, monkeypatch):
    calibration = job()
    monkeypatch.setattr(module, "generate_texts", lambda *_, **__: [[6, 7], [8, 9], [10, 11]])
    monkeypatch.setattr(module, "find_contained", lambda texts, *_: {1: "an item"})
    assert calibration.rows(None) == [[6, 7], [10, 11]]
    assert calibration.notes == ["keep: 1 of 3 texts that the base wrote held what is measured; they were left out."]


def test_progress_counts_the_batches_of_all_passes(job, make_run):
    seen = []
    run = make_run(calibrate_tokens=40, calibrate_batch_size=2)
    calibration = Calibration.of(run, run.base(), "weights")
    object.__setattr__(calibration, "events", Events(seen.append))
    calibration.statistics(["learn"], {"learn": plain(*["a b c d"] * 6)}, TARGETS, "none")
    assert (seen[0].name, seen[0].done, seen[0].total) == ("the base reads what to learn", 0, 3)
    assert (seen[-1].done, seen[-1].total) == (3, 3)


def test_calibrate_writes_both_sets_and_what_they_were_kept_apart_from(recipe, tiny_folder, tiny_data, tmp_path):
    given = CalibrateRecipe(
        model=str(tiny_folder),
        train=str(tiny_data / "train.jsonl"),
        calibrate_keep=str(tiny_data / "train.jsonl"),
        calibrate_tokens=60,
        test=str(tiny_data / "test.jsonl"),
        output=str(tmp_path / "moments"),
        target_modules="q_proj,v_proj",
    )
    made, found = calibrate(given, SILENT)
    assert set(made) == {"learn", "keep"}
    assert {name.rpartition(".")[2] for name in load(tmp_path / "moments" / "learn").manifest.layers} == {
        "q_proj",
        "v_proj",
    }
    assert any("share" in sentence for sentence in found)
    known = json.loads((tmp_path / "moments" / APART).read_text(encoding="utf-8"))
    assert set(known) == {"test"}
    assert not_apart(str(tmp_path / "moments"), Suites()) == []


def test_only_a_language_model_writes_itself(tmp_path, tiny_folder):
    path = tmp_path / "labels.jsonl"
    path.write_text('{"text": "a", "label": "x"}\n{"text": "b", "label": "y"}\n' * 4, encoding="utf-8")
    given = CalibrateRecipe(model=str(tiny_folder), train=str(path), calibrate_keep="self", output=str(tmp_path / "o"))
    with pytest.raises(InputError, match="only a language model can write"):
        calibrate(given, SILENT)
