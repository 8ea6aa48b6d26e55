"""Nothing of the user's is deleted or overwritten by any verb, wherever it lies; a finished run needs no writing."""

import errno
import json
import os
import shutil

import pytest

import retain
from full_samples import full_run
from retain.cli.main import main
from retain.jobs.record import write_record
from retain.jobs.sequence import write_sequence
from retain.records.files import write_bytes
from retain.records.manifest import MANIFEST
from tiny import make_llama


@pytest.fixture
def mine(tmp_path):
    """A file of the user's, whose bytes must be there at the end."""

    def write(name, text="the user's"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture
def measured(tmp_path, monkeypatch):
    """The folder of a record of an earlier version: without a log of what retain wrote. Pictures are not drawn."""
    for module in ("retain.report.write", "retain.report.page.inspection"):
        monkeypatch.setattr(f"{module}.save_png", lambda _figure, path: write_bytes(path, path.name.encode()))
    monkeypatch.setattr("retain.report.write.run_page", lambda *_: "<html></html>")
    monkeypatch.setattr("retain.report.write.run_figure", lambda *_: None)
    monkeypatch.setattr("retain.report.write.sheet_figure", lambda *_: None)
    write_record(tmp_path / "measured", full_run(), [])
    return tmp_path / "measured"


def common(tiny_folder, tiny_data):
    words = ["--model", str(tiny_folder), "--test", str(tiny_data / "test.jsonl")]
    return [*words, "--keep", str(tiny_data / "letters.jsonl"), "--held-out-text", str(tiny_data / "text.txt")]


@pytest.mark.parametrize("name", ["adapter", "model"])
def test_scale_does_not_delete_the_model_and_adapter_in_its_output(name, tiny_folder, tiny_data, tmp_path, capsys):
    place = tmp_path / name
    if name == "model":
        shutil.copytree(tiny_folder, place)
    else:
        place.mkdir()
        (place / "adapter_config.json").write_text("{}", encoding="utf-8")
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    tuned = tmp_path / "tuned"
    shutil.copytree(tiny_folder, tuned)
    words = ["scale", *common(tiny_folder, tiny_data), "--tuned", str(tuned), "--output", str(tmp_path)]
    assert main(words) == 2
    assert "not retain's" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in place.rglob("*") if path.is_file()} == before
    assert not (tmp_path / "scaling.json").exists()


def test_scale_does_not_replace_its_own_input(tiny_folder, tiny_data, tmp_path, capsys):
    inside = tmp_path / "model"
    shutil.copytree(tiny_folder, inside)
    words = ["scale", *common(inside, tiny_data), "--tuned", str(tiny_folder), "--output", str(tmp_path)]
    assert main(words) == 2
    assert "would be replaced" in capsys.readouterr().err
    assert (inside / "config.json").is_file()


@pytest.mark.parametrize("name", ["drift.png", "report.md", "items.jsonl", "result.json"])
def test_measure_refuses_a_folder_with_pictures_and_pages_of_others(
    name, tiny_folder, tiny_data, mine, tmp_path, capsys
):
    kept = mine(f"out/{name}")
    words = ["measure", *common(tiny_folder, tiny_data), "--tuned", str(tiny_folder), "--output", str(tmp_path / "out")]
    assert main(words) == 2
    assert f"{name} is not retain's" in capsys.readouterr().err
    assert kept.read_text(encoding="utf-8") == "the user's"
    assert [path.name for path in (tmp_path / "out").iterdir()] == [name], "refused before any work"


@pytest.mark.parametrize("name", ["curve.png", "model_card.md"])
def test_report_refuses_files_of_the_user(name, measured, mine, tmp_path, capsys):
    kept = mine(f"shown/{name}")
    assert main(["report", str(measured), "--output", str(tmp_path / "shown")]) == 2
    assert "not retain's" in capsys.readouterr().err
    assert kept.read_text(encoding="utf-8") == "the user's"


def test_a_report_that_the_user_wrote_on_is_not_replaced(measured, tmp_path, capsys):
    shown = tmp_path / "shown"
    assert main(["report", str(measured), "--output", str(shown)]) == 0
    assert main(["report", str(measured), "--output", str(shown)]) == 0, "its own report it replaces"
    page = shown / "report.md"
    page.write_text(page.read_text(encoding="utf-8") + "\nMy remark.\n", encoding="utf-8")
    assert main(["report", str(measured), "--output", str(shown)]) == 2
    assert "was changed since retain wrote it" in capsys.readouterr().err
    assert page.read_text(encoding="utf-8").endswith("My remark.\n")


def test_a_link_to_a_file_of_the_user_is_not_replaced(measured, mine, tmp_path, capsys):
    notes = mine("notes.md")
    (tmp_path / "shown").mkdir()
    (tmp_path / "shown" / "report.md").symlink_to(notes)
    assert main(["report", str(measured), "--output", str(tmp_path / "shown")]) == 2
    assert (tmp_path / "shown" / "report.md").is_symlink()
    assert notes.read_text(encoding="utf-8") == "the user's"


@pytest.mark.parametrize("output", ["", "  ", "a\0b"])
@pytest.mark.parametrize("verb", ["check", "measure"])
def test_an_output_without_a_name_is_refused(verb, output, tiny_folder, tiny_data, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    more = ["--tuned", str(tiny_folder)] if verb == "measure" else ["--train", str(tiny_data / "train.jsonl")]
    assert main([verb, *common(tiny_folder, tiny_data), *more, f"--output={output}"]) == 2
    assert "output: " in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_check_sees_an_output_that_cannot_be_written(tiny_folder, tiny_data, capsys):
    words = ["check", *common(tiny_folder, tiny_data), "--train", str(tiny_data / "train.jsonl")]
    assert main([*words, "--output", "/proc/retain-out"]) == 2
    assert "nothing can be written into /proc" in capsys.readouterr().err


def test_a_sequence_is_not_written_over_another_file(mine):
    kept = mine("report.json")
    report = retain_report()
    with pytest.raises(retain.InputError, match="not retain's"):
        write_sequence(report, kept)
    assert kept.read_text(encoding="utf-8") == "the user's"
    write_sequence(report, kept.with_name("mine.json"))
    write_sequence(report, kept.with_name("mine.json"))


def retain_report():
    from retain.jobs.sequence import SequenceReport

    return SequenceReport(("a",), ("base", "one"), ((0.5,), (1.0,)), (1.0, (0.9, 1.0)), None, None, None, None)


@pytest.mark.parametrize("there", ["notes.txt", "adapter_config.json"])
def test_an_export_does_not_replace_a_folder_of_the_user(there, tmp_path):
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(make_llama(), LoraConfig(r=2, target_modules=["q_proj"]))
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / there).write_text("the user's", encoding="utf-8")
    with pytest.raises(retain.InputError, match="something else than retain wrote there"):
        retain.export(model, tmp_path / "served", to="lora")
    assert (tmp_path / "served" / there).read_text(encoding="utf-8") == "the user's"
    retain.export(model, tmp_path / "own", to="lora")
    retain.export(model, tmp_path / "own", rank=1, to="lora")
    (tmp_path / "own" / "notes.txt").write_text("the user's", encoding="utf-8")
    with pytest.raises(retain.InputError, match=r"notes\.txt"):
        retain.export(model, tmp_path / "own", to="lora")


def test_an_export_does_not_replace_the_folder_of_a_run(tmp_path, measured):
    from peft import LoraConfig, get_peft_model

    assert main(["report", str(measured)]) == 2, "its pages have no log, so nobody knows who wrote them"
    assert main(["report", str(measured), "--output", str(tmp_path / "run")]) == 0
    model = get_peft_model(make_llama(), LoraConfig(r=2, target_modules=["q_proj"]))
    with pytest.raises(retain.InputError, match="results of retain"):
        retain.export(model, tmp_path / "run", to="lora")
    assert (tmp_path / "run" / "report.md").is_file()


def test_second_moments_are_not_saved_over_files_of_the_user(mine):
    from retain.activations import collect
    from retain.activations.store import MANIFEST as NAME

    batch = {"input_ids": __import__("torch").arange(8)[None]}
    sums = collect(make_llama(), [batch])
    kept = mine(f"sums/{NAME}")
    with pytest.raises(retain.InputError, match="not retain's"):
        sums.save(kept.parent)
    assert kept.read_text(encoding="utf-8") == "the user's"
    sums.save(kept.parent / "own")
    sums.save(kept.parent / "own")


def test_calibrate_refuses_a_folder_of_the_user_in_the_place_of_its_own(tiny_folder, tiny_data, mine, tmp_path, capsys):
    kept = mine("out/keep/moments-00000.safetensors")
    words = ["calibrate", "--model", str(tiny_folder), "--train", str(tiny_data / "train.jsonl")]
    assert main([*words, "--calibrate-tokens", "64", "--output", str(tmp_path / "out")]) == 2
    assert "not retain's" in capsys.readouterr().err
    assert kept.read_text(encoding="utf-8") == "the user's"


def test_a_finished_run_is_shown_again_on_read_only_storage(tiny_folder, tiny_data, tmp_path, monkeypatch, capsys):
    output = tmp_path / "run"
    words = ["tune", *common(tiny_folder, tiny_data), "--train", str(tiny_data / "train.jsonl"), "--method", "lora"]
    words += ["--max-steps", "1", "--generate", "0", "--held-out-tokens", "64", "--drift", "false"]
    words += ["--output", str(output)]
    assert main(words) == 0
    kept = {path: path.stat().st_mtime_ns for path in output.rglob("*")}

    read_only(output, monkeypatch)
    assert main(words) == 0
    assert "adapter" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in output.rglob("*")} == kept


def read_only(folder, monkeypatch):
    """Storage that refuses every change under a folder, as the system does."""

    def refusing(real):
        def change(path, *rest, **more):
            if str(path).startswith(str(folder)):
                raise OSError(errno.EROFS, "Read-only file system", str(path))
            return real(path, *rest, **more)

        return change

    for name in ("replace", "rename", "unlink", "mkdir"):
        monkeypatch.setattr(f"os.{name}", refusing(getattr(os, name)))
    monkeypatch.setattr("retain.records.manifest._append", refusing(None))
    monkeypatch.setattr("retain.records.file_lock._make", refusing(None))


def test_a_run_that_trained_nothing_does_not_keep_its_folder(tiny_folder, tiny_data, tmp_path, capsys):
    from retain.jobs.run_folder import RunFolder

    folder = RunFolder(tmp_path / "run")
    folder.claim({"training": {"train data": "with a broken picture"}, "measuring": {}})
    (folder.path / "base-0123456789ab.json").write_text("{}", encoding="utf-8")
    assert folder.conflict({"training": {"train data": "mended"}, "measuring": {}}) is None
    folder.weights("lora").mkdir()
    assert "train data" in folder.conflict({"training": {"train data": "mended"}, "measuring": {}})


def test_what_the_user_put_beside_checkpoints_stays(tmp_path):
    from retain.records.checkpoint_seal import last_whole, remove_checkpoints, seal

    checkpoint = tmp_path / "checkpoints" / "checkpoint-3"
    checkpoint.mkdir(parents=True)
    (checkpoint / "optimizer.pt").write_bytes(b"state")
    seal(checkpoint)
    (checkpoint / "notes.txt").write_text("the user's", encoding="utf-8")
    assert last_whole(checkpoint.parent) == checkpoint
    remove_checkpoints(checkpoint.parent)
    assert [path.name for path in checkpoint.iterdir()] == ["notes.txt"]


def test_the_log_outlasts_a_line_that_was_cut_off(measured, tmp_path):
    shown = tmp_path / "shown"
    assert main(["report", str(measured), "--output", str(shown)]) == 0
    with (shown / MANIFEST).open("a", encoding="utf-8") as log:
        log.write('{"name": "report.md", "dig')
    (shown / "drift.png").unlink()
    assert main(["report", str(measured), "--output", str(shown)]) == 0
    lines = (shown / MANIFEST).read_text(encoding="utf-8").splitlines()
    assert json.loads(lines[-1])["name"] == "drift.png"


def test_reports_of_others_do_not_replace_that_of_a_run(measured, tmp_path, capsys):
    """A comparison, or another run's report, in a folder that holds a record: page and record would not agree."""
    shutil.copytree(measured, other := tmp_path / "other")
    before = {path.name: path.read_bytes() for path in other.iterdir()}
    assert main(["report", str(measured), "--output", str(other)]) == 2
    assert "holds the record of another run, whose report would be replaced" in capsys.readouterr().err
    assert main(["report", str(measured), str(tmp_path / "other"), "--output", str(other)]) == 2
    assert "holds the record of another run" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in other.iterdir()} == before


@pytest.mark.parametrize(("name", "held"), [("run.json", "a run of"), ("result.json", "the record of another run")])
def test_a_comparison_does_not_begin_in_the_folder_of_a_run(name, held, tiny_folder, tiny_data, mine, tmp_path, capsys):
    mine(f"run/{name}", "{}")
    more = ["--train", str(tiny_data / "train.jsonl"), "--methods", "lora", "--output", str(tmp_path / "run")]
    assert main(["compare", *common(tiny_folder, tiny_data), *more]) == 2
    assert f"holds {held}" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["run.json", "summary.json", "scaling.json"])
def test_measuring_from_python_does_not_replace_what_another_verb_wrote(name, tiny_data, mine, tmp_path):
    from tiny import make_tokenizer

    mine(f"run/{name}", "{}")
    with pytest.raises(retain.InputError, match="whose report would be replaced"):
        retain.measure(
            make_llama(),
            make_llama(),
            tokenizer=make_tokenizer(),
            test=tiny_data / "test.jsonl",
            output=tmp_path / "run",
        )
