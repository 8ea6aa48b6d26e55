"""What becomes of the files in the folder of a run."""

import pytest

from retain.errors import InputError
from retain.jobs.run_folder import RunFolder, Trained, file_bytes
from retain.records.result import Cost

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
