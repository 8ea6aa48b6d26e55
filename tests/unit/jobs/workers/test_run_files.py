"""The files of a run by name and bytes: they arrive as they were, known to the log, the record last."""

import pytest

from retain.errors import InputError
from retain.jobs.workers import run_files as files
from retain.jobs.workers.desk import Desk
from retain.jobs.workers.run_files import pack, unpack
from retain.records.manifest import changed, foreign, is_tree

RUN = {
    "result.json": b"{}",
    "run.json": b"{}",
    "adapter/adapter_model.safetensors": b"weights",
    "adapter/adapter_config.json": b"{}",
    "checkpoints/checkpoint-3/optimizer.pt": b"state",
    "checkpoints/checkpoint-3/retain_checkpoint.json": b"seal",
}


def test_a_run_arrives_as_it_was_and_is_retains(tmp_path, monkeypatch):
    written, write = [], files.write_bytes
    monkeypatch.setattr(files, "write_bytes", lambda path, content: (written.append(path.name), write(path, content)))
    unpack(tmp_path / "run", RUN)
    assert pack(tmp_path / "run") == RUN
    assert written[-1] == "result.json"
    assert written.index("optimizer.pt") < written.index("retain_checkpoint.json")
    assert foreign(tmp_path / "run") == []
    assert is_tree(tmp_path / "run" / "adapter")
    (tmp_path / "run" / "adapter" / "adapter_model.safetensors").write_bytes(b"weightz")
    assert changed(tmp_path / "run" / "adapter")


def test_it_arrives_twice_without_harm_and_takes_the_place_of_nothing_else(tmp_path):
    unpack(tmp_path / "run", RUN)
    unpack(tmp_path / "run", RUN)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "result.json").write_text("the user's", encoding="utf-8")
    with pytest.raises(InputError, match="not retain's"):
        unpack(tmp_path / "other", RUN)
    assert (tmp_path / "other" / "result.json").read_text(encoding="utf-8") == "the user's"


@pytest.mark.parametrize("name", ["../out.json", "/somewhere/out.json", "a/../../out.json"])
def test_no_name_leads_out_of_the_folder(tmp_path, name):
    with pytest.raises(InputError, match="does not lie in the folder"):
        unpack(tmp_path / "run", {name: b"x"})


def test_a_file_for_all_is_made_by_one_and_by_another_where_that_one_is_gone():
    desk = Desk()
    assert [desk.claim("base", 1), desk.claim("base", 2), desk.claim("head", 2)] == ["make", "wait", "make"]
    desk.leave(1)
    assert desk.claim("base", 3) == "make"
    desk.give("base", 3, {"": b"answers"})
    assert desk.claim("base", 2) == "there"
    assert desk.take("base") == {"": b"answers"}
    assert desk.names() == ["base"]
    desk.tell(2, (0, "learns", 1, 4))
    assert [desk.told(), desk.told()] == [[(2, (0, "learns", 1, 4))], []]
