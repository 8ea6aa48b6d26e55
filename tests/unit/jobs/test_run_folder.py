"""The folder of a run: its identity as it always was, and what becomes of its files."""

import json
from pathlib import Path

import pytest

from retain.errors import InputError
from retain.jobs.run_folder import RunFolder, Trained, file_bytes, identity_of, key_of, output_problem, run_name
from retain.recipe import Recipe
from retain.records.result import Cost

BASIC = {"model": "m", "train": "t", "test": "e", "output": "o"}
RECORDED = json.loads((Path(__file__).parents[2] / "golden" / "identities.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", RECORDED)
def test_what_identifies_a_run_is_what_it_was(case):
    """With another identity every finished run is measured again, or refused; see golden/make_identities.py."""
    recipe = Recipe.model_validate(case["recipe"])
    found = identity_of(recipe, case["hashes"], "files", calibrated=case["calibrated"], apart=case["apart"])
    assert json.dumps(found) == json.dumps(case["identity"])


def test_a_judges_command_is_never_in_the_identity():
    found = identity_of(Recipe(**BASIC, judge="judge --key SECRET"), {}, "files")
    assert found["measuring"]["judge"].startswith("judge (sha256 ")
    assert "SECRET" not in json.dumps(found)


def test_generated_text_depends_on_what_it_is_kept_apart_from():
    hashes = {"train": "1", "test": "2", "calibrate:keep": "3"}
    found = identity_of(Recipe(**BASIC), hashes, "files", calibrated=True)
    assert found["training"]["apart from test"] == "2"
    apart = identity_of(Recipe(**BASIC), hashes, "files", calibrated=True, apart={"test": "9", "keep:a": "8"})
    assert (apart["training"]["apart from test"], apart["training"]["apart from keep:a"]) == ("9", "8")
    given = identity_of(Recipe(**BASIC, calibrate_keep="k"), hashes, "files", calibrated=True)
    assert not any(name.startswith("apart") for name in given["training"])


def test_runs_are_named_by_method_rate_and_seed_and_by_a_hash_where_fields_differ():
    one, other = Recipe(**BASIC, method="lora", rank=2), Recipe(**BASIC, method="lora", rank=4, seed=3)
    assert run_name(one, [one, Recipe(**BASIC)]) == "lora-lr0.0005-seed0"
    names = [run_name(run, [one, other]) for run in (one, other)]
    assert [name.rpartition("-lr")[2] for name in names] == ["0.0005-seed0", "0.0005-seed3"]
    assert len({name.split("-lr")[0] for name in names}) == 2


IDENTITY = {"training": {"rank": 2}, "measuring": {"margin": 5.0}}


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path / "run")


def trained():
    return Trained(cost=Cost(), trainable=1, total=2, config={}, model_hash="h")


def save(path):
    (path / "adapter_model.safetensors").write_bytes(b"weights")


def test_a_claimed_folder_is_free_for_the_same_run_only(folder):
    folder.claim(IDENTITY)
    folder.claim(IDENTITY)
    assert folder.conflict({**IDENTITY, "measuring": {"margin": 1.0}}) is None
    other = {**IDENTITY, "training": {"rank": 3, "replay": 0.5}}
    assert folder.conflict(other) is None, "nothing was trained yet"
    folder.save_weights(save, "lora", trained())
    assert "differs in rank, replay" in folder.conflict(other)
    with pytest.raises(InputError, match="another run"):
        folder.claim(other)


def test_a_folder_with_other_files_is_no_run(folder):
    folder.path.mkdir()
    assert folder.conflict(IDENTITY) is None
    (folder.path / "notes.txt").write_text("mine", encoding="utf-8")
    assert "holds no run of retain" in folder.conflict(IDENTITY)


def test_other_measuring_drops_what_was_measured_and_keeps_what_was_trained(folder):
    folder.claim(IDENTITY)
    folder.save_weights(save, "lora", trained())
    for path in (folder.result, folder.scaling_file, folder.path / "control-base.json"):
        path.write_text("{}", encoding="utf-8")
    assert folder.is_complete(IDENTITY)
    other = {**IDENTITY, "measuring": {"margin": 1.0}}
    assert not folder.is_complete(other)
    folder.claim(other)
    assert sorted(path.name for path in folder.path.iterdir()) == ["adapter", "run.json", "training.json"]
    assert folder.training() == trained()


def test_weights_are_saved_completely_or_not_at_all(folder):
    def fail(path):
        save(path)
        raise OSError("disk full")

    folder.path.mkdir()
    (folder.path / "checkpoints").mkdir()
    with pytest.raises(OSError, match="disk full"):
        folder.save_weights(fail, "lora", trained())
    assert folder.training() is None
    assert folder.delivered("lora") is None
    assert (folder.path / "checkpoints").exists()
    folder.save_weights(save, "lora", trained())
    assert sorted(path.name for path in folder.path.iterdir()) == ["adapter", "training.json"]


def test_what_is_delivered_can_be_taken_back(folder):
    folder.save_weights(save, "lora", trained())
    folder.deliver("lora", (folder.path / "adapter").mkdir)
    assert folder.delivered("lora") == folder.path / "adapter"
    assert (folder.unscaled / "adapter_model.safetensors").exists()
    folder.deliver("lora", None)
    assert folder.delivered("lora") is None
    folder.restore("lora")
    assert not folder.unscaled.exists()
    assert file_bytes(folder.weights("lora")) == len(b"weights")


def test_a_full_model_lies_in_a_folder_of_its_own(folder):
    assert folder.weights("full").name == "model"
    assert folder.weights("lora").name == "adapter"


def test_a_key_sees_values_and_order_of_lists_but_not_of_mappings():
    assert key_of({"a": 1, "b": 2}) == key_of({"b": 2, "a": 1})
    assert key_of([1, 2]) != key_of([2, 1])


def test_a_file_in_the_place_of_the_output_is_a_problem(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert output_problem(tmp_path / "new" / "run") == []
    assert "is a file" in output_problem(tmp_path / "file" / "run")[0]
