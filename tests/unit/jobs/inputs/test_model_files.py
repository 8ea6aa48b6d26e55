"""A model is known by the content of its files, which are read once while they stay as they are."""

import hashlib
import json
import os
import shutil
import time

import pytest

from retain.errors import InputError
from retain.events import Events
from retain.jobs.inputs import model_files as module
from retain.jobs.inputs.model_files import files_fingerprint
from tiny import make_llama, make_tokenizer


@pytest.fixture
def folder(tmp_path):
    make_llama().save_pretrained(tmp_path / "llama")
    make_tokenizer().save_pretrained(tmp_path / "llama")
    return tmp_path / "llama"


@pytest.fixture
def old(folder, monkeypatch):
    """The same folder as if it had been written long ago, in a process that has read nothing."""
    monkeypatch.setattr(module, "SETTLED_SECONDS", -1)
    monkeypatch.setattr(module, "_DIGESTS", {})
    return folder


@pytest.fixture
def reads(monkeypatch):
    """The names of weight files that are read from now on."""
    seen = []
    real = hashlib.file_digest

    def told(file, name):
        seen.append(file.name.rpartition("/")[2])
        return real(file, name)

    monkeypatch.setattr(hashlib, "file_digest", told)
    return seen


def change_one_byte(file):
    """Change a weight, and leave size and time of modification as they are."""
    status = file.stat()
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_a_copy_is_the_same_model_and_another_weight_makes_another(folder, tmp_path):
    known = files_fingerprint(str(folder))
    os.utime(folder / "model.safetensors", ns=(1, 1))
    assert files_fingerprint(str(folder)) == known
    copied = shutil.copytree(folder, tmp_path / "elsewhere" / "copy", copy_function=shutil.copyfile)
    assert files_fingerprint(str(copied)) == known
    change_one_byte(copied / "model.safetensors")
    assert files_fingerprint(str(copied)) != known
    (folder / "config.json").write_text("{}", encoding="utf-8")
    assert files_fingerprint(str(folder)) != known
    assert files_fingerprint("owner/name") == "owner/name"


def test_a_home_is_a_folder(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder.parent))
    assert files_fingerprint("~/llama") == files_fingerprint(str(folder))


def test_reports_and_notes_beside_a_model_are_no_part_of_it(folder):
    known = files_fingerprint(str(folder))
    for name in ("result.json", "scaling.json", "trainer_state.json", "notes.txt", ".retain.jsonl"):
        (folder / name).write_text("{}", encoding="utf-8")
    assert files_fingerprint(str(folder)) == known
    for name in ("tokenizer.json", "special_tokens_map.json", "vocab.txt", "merges.txt", "chat_template.jinja"):
        before = files_fingerprint(str(folder))
        (folder / name).write_text(f"another {name}", encoding="utf-8")
        assert files_fingerprint(str(folder)) != before, name


def test_pickles_count_only_where_they_are_what_is_loaded(folder):
    known = files_fingerprint(str(folder))
    (folder / "training_args.bin").write_bytes(b"as a Trainer leaves them")
    assert files_fingerprint(str(folder)) == known
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    before = files_fingerprint(str(folder))
    change_one_byte(folder / "pytorch_model.bin")
    assert len({known, before, files_fingerprint(str(folder))}) == 3


def test_weights_are_read_once_by_all_processes_that_share_a_cache(old, tmp_path, reads, monkeypatch):
    cache = tmp_path / "cache"
    known = files_fingerprint(str(old), cache)
    assert reads == ["model.safetensors"]
    assert files_fingerprint(str(old), cache) == known
    monkeypatch.setattr(module, "_DIGESTS", {})  # another process
    assert files_fingerprint(str(old), cache) == known
    assert len(reads) == 1
    change_one_byte(old / "model.safetensors")
    assert files_fingerprint(str(old), cache) != known
    assert len(reads) == 2
    assert (cache / module.KNOWN).is_file()


def test_a_file_that_just_changed_is_read_again(folder, tmp_path, reads, monkeypatch):
    """A clock's tick may hide the next change."""
    now = (folder / "model.safetensors").stat().st_ctime
    monkeypatch.setattr(module, "_DIGESTS", {})
    monkeypatch.setattr(time, "time", lambda: now + 1)
    known = files_fingerprint(str(folder), tmp_path / "cache")
    assert files_fingerprint(str(folder), tmp_path / "cache") == known
    assert len(reads) == 2
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("content", ["", "[]", '{"x": 1}', '{"/m/model.safetensors": [1, 2, 3]}'])
def test_a_damaged_cache_counts_as_none(old, tmp_path, content):
    known = files_fingerprint(str(old))
    module._DIGESTS.clear()
    (tmp_path / module.KNOWN).write_text(content, encoding="utf-8")
    assert files_fingerprint(str(old), tmp_path) == known
    assert len(json.loads((tmp_path / module.KNOWN).read_text(encoding="utf-8"))) == 1


def test_only_so_many_files_are_remembered(old, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MOST_KNOWN", 2)
    for name in "abc":
        files_fingerprint(str(shutil.copytree(old, old.parent / name)), tmp_path / "cache")
    known = json.loads((tmp_path / "cache" / module.KNOWN).read_text(encoding="utf-8"))
    assert list(known) == [str(old.parent / name / "model.safetensors") for name in "bc"]


def test_a_cache_that_cannot_be_written_stops_nothing(old, tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert files_fingerprint(str(old), tmp_path / "file" / "cache") == files_fingerprint(str(old))


def test_much_to_read_is_told(old, monkeypatch):
    seen = []
    files_fingerprint(str(old), None, Events(seen.append))
    assert not seen
    module._DIGESTS.clear()
    monkeypatch.setattr(module, "LARGE_BYTES", 1)
    files_fingerprint(str(old), None, Events(seen.append))
    size = (old / "model.safetensors").stat().st_size
    assert [(event.done, event.total) for event in seen] == [(0, size), (size, size)]


def test_a_file_that_cannot_be_read_is_a_refusal(folder, monkeypatch):
    def refuse(file, name):
        raise PermissionError(13, "Permission denied", file.name)

    monkeypatch.setattr(hashlib, "file_digest", refuse)
    with pytest.raises(InputError, match=r"model: .*model\.safetensors cannot be read \(Permission denied\)"):
        files_fingerprint(str(folder))


def test_code_counts_where_a_configuration_names_it(folder):
    (folder / "train.py").write_text("script = 1")
    known = files_fingerprint(str(folder))
    (folder / "train.py").write_text("script = 2")
    assert files_fingerprint(str(folder)) == known
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoModel": "modeling_own.Own"}}))
    for name in ("modeling_own.py", "layers_of_own.py"):
        before = files_fingerprint(str(folder))
        (folder / name).write_text("scale = 2")
        changed = files_fingerprint(str(folder))
        (folder / name).write_text("scale = 3")
        assert len({known, before, changed, files_fingerprint(str(folder))}) == 4
