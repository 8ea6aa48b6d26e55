"""The benchmarks of the whole job and of a GPU do every step, at sizes at which times mean nothing, on the CPU."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).resolve().parents[3] / "benchmarks"
OURS = ("common", "cases", "bases", "layer", "model", "serving", "gpu", "job")


@pytest.fixture
def script(monkeypatch):
    """Import a benchmark by its file's name, as when it is run; afterwards these common names are free again."""
    for name in OURS:
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.setenv("RETAIN_BENCHMARK_DEVICE", "cpu")
    threads = torch.get_num_threads()
    yield importlib.import_module
    torch.set_num_threads(threads)
    for name in OURS:
        sys.modules.pop(name, None)


def test_trl_and_retain_train_the_same_and_the_cache_answers_the_same(script, tiny_folder, tiny_data, tmp_path):
    given = ["--model", tiny_folder, "--train", tiny_data / "train.jsonl", "--keep", tiny_data / "letters.jsonl"]
    sizes = ["--steps", 3, "--batch-size", 2, "--rank", 2, "--results", tmp_path, "--here"]
    script("job").main([*map(str, given), *map(str, sizes), "--threads", str(torch.get_num_threads())])
    record = json.loads((tmp_path / "job.json").read_text(encoding="utf-8"))
    assert record["passed"]
    assert [check["check"] for check in record["gate"]][:2] == ["tokens trained", "parameters trained"]
    trl, own, asked, cached, bare = record["rows"]
    assert trl["losses"][0] == pytest.approx(own["losses"][0], rel=1e-4)  # the first batch, and B = 0
    assert (asked["base"], asked["tuned"]) == (cached["base"], cached["tuned"])
    assert bare["items"] == asked["items"]
    assert bare["to_training"] > 0


def test_a_training_on_other_tokens_is_no_comparison(script):
    one = {"tokens": 10, "trainable": 4, "losses": [2.0, 1.0]}
    assert [check["passed"] for check in script("job").training_gate(one, one)] == [True] * 3
    other = {"tokens": 11, "trainable": 4, "losses": [2.0, 1.2]}
    assert [check["passed"] for check in script("job").training_gate(one, other)] == [False, True, False]


def test_the_gpus_script_does_every_step_and_says_that_this_is_none(script, tmp_path, capsys):
    gpu = script("gpu")
    given = ["--device", "cpu", "--tiny", "--bases", "float32", "--cases", "VeFA", "--results", str(tmp_path)]
    gpu.main([*given, "--threads", str(torch.get_num_threads())])
    first = capsys.readouterr().out.splitlines()[0]
    assert first.startswith("Device: CPU")
    assert "NO GPU" in first
    record = json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))
    assert record["passed"]
    assert record["left_out"] == {}
    named = " ".join(check["check"] for check in record["gate"])
    assert all(f"{mode}: VeFA" in named for mode in gpu.MODES)
    forms = {(row["of"], row["case"], row["form"]) for row in record["rows"]}
    assert {("layer", "VeFA", "compiled"), ("layer", "VeFA", "as it is"), ("model", "VeFA", "as it is")} <= forms
    assert any(of == "serving" for of, _, _ in forms)
    assert "NO GPU" in (tmp_path / "gpu.md").read_text(encoding="utf-8")


def test_a_wrong_form_is_told_and_not_timed(script, tmp_path, monkeypatch):
    gpu = script("gpu")
    right = gpu.difference
    monkeypatch.setattr(
        gpu, "difference", lambda one, other: 1.0 if any("vefa" in key for key in one) else right(one, other)
    )
    given = ["--device", "cpu", "--tiny", "--bases", "float32", "--cases", "VeFA", "--minutes", "0.2"]
    monkeypatch.setattr(gpu, "MODES", ("as it is",))
    monkeypatch.setattr(gpu, "steps", lambda *_: [])
    monkeypatch.setattr(gpu, "mixed", lambda *_: ([], []))
    with pytest.raises(SystemExit, match="gate is not passed"):
        gpu.main([*given, "--results", str(tmp_path), "--threads", str(torch.get_num_threads())])
    record = json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))
    assert {row["case"] for row in record["rows"]} <= {"frozen"}


def test_without_a_gpu_it_ends_with_a_sentence(script, monkeypatch):
    gpu = script("gpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match="No GPU"):
        gpu.main([])
