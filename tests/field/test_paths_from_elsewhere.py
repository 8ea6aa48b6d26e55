"""Folders that are not where a command looks: other working directories, names taken for hub ids, folders inside."""

import json

import pytest
from peft import LoraConfig, get_peft_model

from retain.cli.main import main
from retain.hf.adapters.save import save_weights
from retain.recipe.from_run import note_start, read_recipe, scale_values
from tiny import make_llama, make_tokenizer


@pytest.fixture
def told(capsys):
    """What a command that is refused prints."""

    def run(*words):
        assert main([str(word) for word in words]) == 2
        return capsys.readouterr().err

    return run


@pytest.fixture
def adapter(tmp_path):
    """An adapter as PEFT writes it."""
    model = get_peft_model(make_llama(), LoraConfig(r=2, target_modules=["q_proj"]))
    model.save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


def measuring(model, tuned, tiny_data, output):
    keep = tiny_data / "letters.jsonl"
    return "measure", "--model", model, "--tuned", tuned, "--keep", keep, "--output", output


def test_an_adapter_as_the_base(adapter, tiny_data, tmp_path, told):
    said = told(*measuring(adapter, adapter, tiny_data, tmp_path / "out"))
    assert "is an adapter, not a base" in said
    assert "--tuned" in said


def test_a_classifiers_adapter_with_a_config_beside_it_as_the_base(adapter, tiny_data, tmp_path, told):
    make_llama().config.save_pretrained(adapter)
    make_tokenizer().save_pretrained(adapter)
    assert "is an adapter, not a base" in told(*measuring(adapter, adapter, tiny_data, tmp_path / "out"))


@pytest.mark.parametrize("name", ["moe", "runs/moe"])
def test_a_missing_folder_is_first_told_as_a_missing_folder(name, adapter, tiny_data, tmp_path, told, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = told(*measuring(name, adapter, tiny_data, "out"))
    assert f"there is no folder '{name}' in {tmp_path.name}" in said


def test_a_tuned_folder_that_is_missing(tiny_folder, tiny_data, tmp_path, told):
    assert "tuned: there is no folder 'runs-a'" in told(*measuring(tiny_folder, "runs-a", tiny_data, tmp_path / "out"))


@pytest.mark.parametrize("name", ["./moe", "../moe", "a/b/c"])
def test_what_can_only_be_a_path_is_not_looked_for_on_the_hub(name, adapter, tiny_data, tmp_path, told):
    said = told(*measuring(name, adapter, tiny_data, tmp_path / "out"))
    assert f"there is no folder {name}" in said
    assert "hub id" in said
    assert "huggingface.co" not in said


def test_a_base_without_a_tokenizer(adapter, tiny_data, tmp_path, told):
    make_llama().save_pretrained(tmp_path / "bare")
    said = told(*measuring(tmp_path / "bare", adapter, tiny_data, tmp_path / "out"))
    assert "tokenizer.save_pretrained(folder)" in said
    assert "sentencepiece" not in said


def test_an_adapter_with_a_name_lies_one_folder_deeper(tiny_folder, tiny_data, tmp_path, told):
    model = get_peft_model(make_llama(), LoraConfig(r=2, target_modules=["q_proj"]), adapter_name="lora")
    model.save_pretrained(tmp_path / "named")
    said = told(*measuring(tiny_folder, tmp_path / "named", tiny_data, tmp_path / "out"))
    assert str(tmp_path / "named" / "lora") in said


@pytest.fixture
def run_folder(tmp_path, monkeypatch):
    """A run that was started in one directory with relative paths, and what is needed to scale it from another."""
    start = tmp_path / "start"
    for name in ("moe", "data", "runs/a/adapter"):
        (start / name).mkdir(parents=True)
    for name in ("test.jsonl", "capitals.jsonl"):
        (start / "data" / name).write_text("{}\n")
    monkeypatch.chdir(start)

    def make(output):
        values = {
            "model": "moe",
            "test": "data/test.jsonl",
            "keep": ["caps:=data/capitals.jsonl", "arc_easy"],
            "output": output,
            "train": "owner/set",
        }
        (start / "runs/a/recipe.json").write_text(json.dumps(values))
        note_start(start / "runs/a", output)
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        monkeypatch.chdir(elsewhere)
        return start

    return make


@pytest.mark.parametrize("output", ["runs/a", "./runs/a", "data/../runs/a", "{start}/runs/a"])
def test_a_run_is_scaled_from_another_directory(output, run_folder, tmp_path):
    start = run_folder(output.format(start=tmp_path / "start"))
    _, values = scale_values("../start/runs/a", {})
    assert values["model"] == str(start / "moe")
    assert values["test"] == str(start / "data/test.jsonl")
    assert values["keep"] == [f"caps:={start}/data/capitals.jsonl", "arc_easy"]
    assert values["tuned"] == "../start/runs/a/adapter"


def test_a_run_that_was_moved_with_all_around_it(run_folder, tmp_path):
    start = run_folder("data/../runs/a")
    start.rename(tmp_path / "moved")
    assert read_recipe(tmp_path / "moved/runs/a")["model"] == str(tmp_path / "moved/moe")
    assert str(tmp_path) not in (tmp_path / "moved/runs/a/started_in.txt").read_text()


def test_from_where_it_was_started_paths_stay_as_they_were_given(run_folder, monkeypatch):
    start = run_folder("runs/a")
    monkeypatch.chdir(start)
    assert read_recipe(start / "runs/a")["model"] == "moe"
    assert not (start / "runs/a/started_in.txt").exists()


def test_the_card_of_an_adapter_names_no_folder_of_its_user(tmp_path):
    model = make_llama()
    model.config._name_or_path = str(tmp_path / "secret" / "base")
    save_weights(get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"])), tmp_path / "adapter")
    assert "secret" not in (tmp_path / "adapter" / "README.md").read_text()
    assert "secret" not in (tmp_path / "adapter" / "retain_adapter.json").read_text()
