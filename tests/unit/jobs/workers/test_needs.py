"""A package that a recipe's workers need is missed before anything is loaded."""

from retain.cli.main import main
from retain.jobs.workers import needs
from retain.recipe import Recipe

BASIC = {"model": "m", "train": "t", "test": "e", "output": "o"}


def test_ray_is_missed_where_it_is_asked_for_and_not_there(monkeypatch, tiny_folder, tiny_data, tmp_path, capsys):
    monkeypatch.setattr(needs, "find_spec", lambda name: None)
    assert needs.worker_problems(Recipe(**BASIC)) == []
    data = ["--train", str(tiny_data / "train.jsonl"), "--test", str(tiny_data / "test.jsonl")]
    words = ["--model", str(tiny_folder), *data, "--method", "lora", "--output", str(tmp_path / "run")]
    assert main(["check", *words, "--ray", "auto"]) == 2
    assert "pip install 'retain[ray]'" in capsys.readouterr().err


def test_runs_that_are_spread_have_no_processes_of_their_own():
    """Each worker has one device, so a run of several processes would fail there after all was read."""
    several = {**BASIC, "launch": {"processes": 2}}
    assert needs.worker_problems(Recipe(**several)) == []
    assert "leave launch out" in needs.worker_problems(Recipe(**several, workers=2))[0]


def test_gpus_of_a_run_are_for_a_cluster(capsys):
    words = ["--model", "m", "--train", "t", "--test", "e", "--output", "o", "--workers", "2", "--gpus-per-run", "1"]
    assert main(["compare", *words]) == 2
    assert "gpus_per_run: it is for --ray" in capsys.readouterr().err.replace("\n", " ")
