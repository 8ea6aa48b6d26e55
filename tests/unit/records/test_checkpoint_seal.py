"""A checkpoint is whole by the list of its hashes, or it is not used."""

import json

import pytest

from retain.records import checkpoint_seal
from retain.records.checkpoint_seal import SEAL, flaw, last_whole, remove_checkpoints, seal
from retain.records.manifest import begin


def make(folder, step, *, sealed=True):
    place = folder / "checkpoints" / f"checkpoint-{step}"
    place.mkdir(parents=True)
    for name in ("adapter_model.safetensors", "optimizer.pt", "trainer_state.json"):
        (place / name).write_text(f"{name} {step}", encoding="utf-8")
    if sealed:
        seal(place)
    return place


def test_the_last_whole_one_is_taken_by_its_step(tmp_path):
    for step in (2, 10, 9):
        make(tmp_path, step)
    make(tmp_path, 11, sealed=False)
    assert last_whole(tmp_path / "checkpoints").name == "checkpoint-10"
    assert not (tmp_path / "checkpoints" / "checkpoint-11").exists()
    assert last_whole(tmp_path / "nowhere") is None


@pytest.mark.parametrize("name", ["optimizer.pt", "trainer_state.json", "adapter_model.safetensors", SEAL])
@pytest.mark.parametrize("damage", ["delete", "empty", "flip"])
def test_one_with_a_missing_or_damaged_part_is_not_used_and_the_one_before_is(
    name, damage, tmp_path, caplog, monkeypatch
):
    monkeypatch.setattr(checkpoint_seal.log, "disabled", False)  # as another library may do
    begin(tmp_path)
    make(tmp_path, 3)
    path = make(tmp_path, 4) / name
    content = path.read_bytes()
    if damage == "delete":
        path.unlink()
    else:
        path.write_bytes(b"" if damage == "empty" else bytes([content[0] ^ 1]) + content[1:])
    assert last_whole(tmp_path / "checkpoints").name == "checkpoint-3"
    told = "is not used" in caplog.text
    assert told or (name == SEAL and damage == "delete"), "as one that was cut off while it was written"


def test_files_that_were_put_in_afterwards_are_seen(tmp_path):
    place = make(tmp_path, 3)
    (place / "notes.txt").write_text("mine", encoding="utf-8")
    assert flaw(place) is None
    (place / "pytorch_model.bin").write_text("other", encoding="utf-8")
    assert "was not there" in flaw(place)


def test_one_of_another_run_is_not_used(tmp_path):
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        begin(tmp_path / name)
    make(tmp_path / "other", 3).rename(tmp_path / "moved")
    (tmp_path / "one" / "checkpoints").mkdir()
    (tmp_path / "moved").rename(tmp_path / "one" / "checkpoints" / "checkpoint-3")
    assert last_whole(tmp_path / "one" / "checkpoints") is None


@pytest.mark.parametrize("found", ["[]", "{}", '{"schema": "retain.checkpoint/1", "files": {}}', "[" * 9999])
def test_a_damaged_list_is_none(found, tmp_path):
    place = make(tmp_path, 3)
    (place / SEAL).write_text(found, encoding="utf-8")
    assert "damaged" in flaw(place)


def test_older_ones_are_removed_and_the_folder_with_the_last(tmp_path):
    for step in (1, 2, 3):
        make(tmp_path, step)
    remove_checkpoints(tmp_path / "checkpoints", most=2)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["checkpoint-2", "checkpoint-3"]
    assert json.loads((tmp_path / "checkpoints" / "checkpoint-3" / SEAL).read_text(encoding="utf-8"))["files"]
    remove_checkpoints(tmp_path / "checkpoints")
    assert not (tmp_path / "checkpoints").exists()
