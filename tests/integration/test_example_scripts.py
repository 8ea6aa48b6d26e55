"""The examples run as they stand, on a tiny model."""

import os
import subprocess
import sys
from pathlib import Path

from retain.records.result import read_result

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(name, tiny_folder, tiny_data, tmp_path):
    data = [str(tiny_data / name) for name in ("train.jsonl", "test.jsonl", "letters.jsonl", "text.txt")]
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), str(tiny_folder), *data, str(tmp_path / "out")],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert "letters: lost" in done.stdout
    assert (tmp_path / "out" / "adapter" / "adapter_config.json").is_file()
    return read_result(tmp_path / "out" / "result.json"), done.stdout


def test_own_loop(tiny_folder, tiny_data, tmp_path):
    result, _ = run("own_loop.py", tiny_folder, tiny_data, tmp_path)
    assert result.task[0].tuned < result.task[0].base


def test_sc_lora(tiny_folder, tiny_data, tmp_path):
    result, said = run("sc_lora.py", tiny_folder, tiny_data, tmp_path)
    assert result.task[0].tuned < result.task[0].base
    assert result.method.config["beta"] == 0.8
    assert "cut to rank 4" in said


def test_kl_penalty(tiny_folder, tiny_data, tmp_path):
    result, said = run("kl_penalty.py", tiny_folder, tiny_data, tmp_path)
    assert result.task[0].tuned < result.task[0].base
    assert "KL to the base by step" in said
    assert float(said.partition("the KL penalty weighs ")[2].split()[0]) > 0


def test_examples_are_short():
    assert all(len(path.read_text(encoding="utf-8").splitlines()) < 80 for path in EXAMPLES.glob("*.py"))
