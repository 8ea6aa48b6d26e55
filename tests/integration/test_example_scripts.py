"""The examples run as they stand, on a tiny model."""

import runpy
import sys
from pathlib import Path

import pytest

from retain.records.result import read_result

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def run(tiny_folder, tiny_data, tmp_path, monkeypatch, capsys):
    """Run a script as Python runs it, but in this process: starting another takes longer than the script."""

    def script(name):
        data = [str(tiny_data / name) for name in ("train.jsonl", "test.jsonl", "letters.jsonl", "text.txt")]
        monkeypatch.setattr(sys, "argv", [name, str(tiny_folder), *data, str(tmp_path / "out")])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        said = capsys.readouterr().out
        assert "letters: lost" in said
        assert (tmp_path / "out" / "adapter" / "adapter_config.json").is_file()
        return read_result(tmp_path / "out" / "result.json"), said

    return script


def test_own_loop(run):
    result, _ = run("own_loop.py")
    assert result.task[0].tuned < result.task[0].base


def test_sc_lora(run):
    result, said = run("sc_lora.py")
    assert result.task[0].tuned < result.task[0].base
    assert result.method.config["beta"] == 0.8
    assert "cut to rank 4" in said


def test_kl_penalty(run):
    result, said = run("kl_penalty.py")
    assert result.task[0].tuned < result.task[0].base
    assert "KL to the base by step" in said
    assert float(said.partition("the KL penalty weighs ")[2].split()[0]) > 0


def test_examples_are_short():
    assert all(len(path.read_text(encoding="utf-8").splitlines()) < 100 for path in EXAMPLES.glob("*.py"))
