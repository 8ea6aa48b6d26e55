"""Damaged files of a run: told in a sentence or made anew, never a traceback and never another result in silence."""

import json
import shutil

import pytest
from safetensors.torch import load_file, save_file

from damaged_runs import Cases, tried
from retain.cli.main import main
from retain.errors import InputError
from retain.records.manifest import MANIFEST


@pytest.fixture(scope="module")
def cases(tiny_folder, tiny_data, tmp_path_factory):
    import retain.cli.screen
    import retain.jobs.calibrate
    import retain.jobs.tune  # noqa: F401

    return Cases(tiny_folder, tiny_data, tmp_path_factory.mktemp("damaged"))


@pytest.mark.parametrize(("name", "number"), [("checkpoint", 3), ("finished", 5), ("adapter", 4), ("statistics", 4)])
def test_drawn_damage_is_told_or_mended(name, number, cases):
    counts, bad = tried(cases.make(name), number, seed=20)
    assert not bad, "\n\n".join(bad)
    assert sum(counts.values()) == number


@pytest.fixture
def trained(cases, tmp_path):
    """A run that was trained and not measured, and its command."""
    folder = cases.place / "trained" / "0" / "run"
    if not folder.exists():
        cases.make("trained")
        shutil.copytree(folder, folder.with_name("whole"))
    shutil.rmtree(folder)
    shutil.copytree(folder.with_name("whole"), folder)
    return folder, cases.tuned(folder)


def test_a_flipped_bit_in_trained_weights_is_found(trained, capsys):
    folder, words = trained
    weights = folder / "adapter" / "adapter_model.safetensors"
    held = load_file(weights)
    next(iter(held.values())).view(-1)[0] += 1e-3
    save_file(held, weights, metadata={"format": "pt"})
    assert main(words) == 2
    assert "adapter_model.safetensors is not what retain wrote there" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 100_000, '{"training": 1}', '{"seed": ' + "1" * 5000 + "}"])
@pytest.mark.parametrize("name", ["training.json", "adapter/adapter_config.json"])
def test_damaged_facts_of_the_training_are_told(name, text, trained, capsys):
    folder, words = trained
    (folder / name).write_text(text, encoding="utf-8")
    assert main(words) == 2
    told = capsys.readouterr().err
    assert name.rpartition("/")[2] in told
    assert "trains again" in told


def test_a_damaged_run_json_is_made_anew(trained, capsys, monkeypatch):
    """Its hash tells that this very run is asked for; another one is refused."""
    folder, words = trained
    monkeypatch.setattr("retain.jobs.tune._do", lambda run: (_ for _ in ()).throw(InputError("reached")))
    for text in ("", "{", "[" * 100_000, '{"training": {}}'):
        (folder / "run.json").write_text(text, encoding="utf-8")
        assert main([*words, "--seed", "5"]) == 2
        assert "which one cannot be told" in (told := capsys.readouterr().err) or "holds another run" in told
        assert main(words) == 2
        assert "reached" in capsys.readouterr().err
        assert json.loads((folder / "run.json").read_text(encoding="utf-8"))["training"]["seed"] == 0
    assert list(folder.glob("run.json.damaged*"))


@pytest.mark.parametrize("verb", ["scale", "tune"])
def test_a_damaged_recipe_json_of_an_earlier_run_is_told(verb, trained, tmp_path, capsys):
    folder, _ = trained
    (folder / "result.json").write_text("{}", encoding="utf-8")
    for text in ("", "[]", '{"seed": [', "[" * 100_000):
        (folder / "recipe.json").write_text(text, encoding="utf-8")
        words = [str(folder)] if verb == "scale" else ["--from", str(folder), "--train", "x.jsonl"]
        assert main([verb, *words, "--output", str(tmp_path / "out")]) == 2
        assert "recipe.json" in capsys.readouterr().err


def test_a_lost_log_does_not_stop_a_run(trained, monkeypatch, capsys):
    """Runs of an earlier version, and folders copied without their hidden files, go on."""
    folder, words = trained
    (folder / MANIFEST).unlink()
    monkeypatch.setattr("retain.jobs.tune._do", lambda run: (_ for _ in ()).throw(InputError("reached")))
    assert main(words) == 2
    assert "reached" in capsys.readouterr().err
    (folder / "adapter" / "adapter_config.json").write_text("{}", encoding="utf-8")
    monkeypatch.undo()
    assert main(words) == 2
    assert "adapter_config.json is not what retain wrote there" in capsys.readouterr().err


def test_items_of_another_run_are_not_reported(tmp_path, capsys):
    from full_samples import full_run
    from retain.records.items import Item, Side, write_items
    from retain.records.result import write_result

    def items(answer):
        side = Side(answer=answer, scores={})
        return [Item(part="task", suite="test", index=0, question="q", base=side, tuned=side)]

    for name in ("one", "other"):
        digest = write_items(items(name), tmp_path / name / "items.jsonl")
        result = full_run()
        named = result.provenance.model_copy(update={"items_hash": digest})
        write_result(result.model_copy(update={"provenance": named}), tmp_path / name / "result.json")
    shutil.copyfile(tmp_path / "other" / "items.jsonl", tmp_path / "one" / "items.jsonl")
    assert main(["report", str(tmp_path / "one"), "--output", str(tmp_path / "shown")]) == 2
    assert "is not what the record was written with" in capsys.readouterr().err
    (tmp_path / "one" / "items.jsonl").write_text("", encoding="utf-8")
    assert main(["report", str(tmp_path / "one"), "--output", str(tmp_path / "shown")]) == 2
    assert "is not what the record was written with" in capsys.readouterr().err


def test_an_error_that_nobody_foresaw_ends_with_a_sentence_and_a_log(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("retain.jobs.report.report", lambda *_: 1 / 0)
    assert main(["report", "run"]) == 1
    told, (log,) = capsys.readouterr().err, tmp_path.glob("retain-error-*.log")
    assert "ZeroDivisionError" in told
    assert str(log) in told
    assert "Traceback" in log.read_text(encoding="utf-8")


def test_a_full_disk_is_told_as_such(tmp_path, monkeypatch, capsys):
    from safetensors import SafetensorError

    def full(*_):
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("retain.jobs.report.report", full)
    assert main(["report", "run"]) == 1
    assert "No space left on device" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.fixture
def finished(cases, tmp_path):
    """A copy of a complete run that its own command takes for its folder, and the command."""
    folder = cases.place / "finished" / "0" / "run"
    if not folder.with_name("whole").exists():
        if not folder.exists():
            cases.make("finished")
        shutil.copytree(folder, folder.with_name("whole"))
    shutil.rmtree(folder)
    shutil.copytree(folder.with_name("whole"), folder)
    return folder, cases.tuned(folder)


@pytest.mark.parametrize("how", ["cut", "edited", "emptied"])
def test_damaged_items_are_told_when_the_complete_command_is_repeated(how, finished, capsys):
    folder, words = finished
    items = folder / "items.jsonl"
    content = items.read_bytes()
    items.write_bytes({"cut": content[:-40], "edited": content.replace(b"0", b"1", 1), "emptied": b""}[how])
    assert main(words) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert "items.jsonl: its content is not what the record was written with" in told
    items.rename(items.with_name("moved.jsonl"))
    (folder / "result.json").rename(folder / "moved.json")
    assert main(words) == 0
    assert items.is_file()


def test_a_cut_adapter_is_told_when_the_complete_command_is_repeated(finished, capsys):
    folder, words = finished
    weights = folder / "adapter" / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    assert main(words) == 2
    assert "adapter_model.safetensors is not what retain wrote there" in capsys.readouterr().err


def test_a_complete_run_whose_items_were_removed_is_complete(finished, capsys):
    folder, words = finished
    assert main(words) == 0
    (folder / "items.jsonl").unlink()
    assert main(words) == 0
