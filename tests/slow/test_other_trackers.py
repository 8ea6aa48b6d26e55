"""Trackers beyond TensorBoard and MLflow, each for real and without a network, in a process of its own.

Only those that are installed are tried. All six passed with wandb 0.31.0, trackio 0.43.0, comet_ml 3.58.8, clearml
2.1.12, swanlab 0.10.3 and dvclive 3.49.1.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

HERE = Path(__file__).resolve().parents[1]

SCRIPT = """
import sys
from pathlib import Path

import retain
from retain.data.examples import Example
from retain.data.tokens import encode_example
from retain.events import SILENT
from retain.hf.adapters.attach import attach
from retain.recipe import Recipe
from retain.train.arguments import training_arguments
from retain.train.loop import TrainingSet, train
from retain.train.trackers.reporting import tracking
from retain.train.trackers.tracker import Closing
from tiny import make_llama, make_tokenizer

tokenizer = make_tokenizer()
rows = [encode_example(tokenizer, Example(prompt=f"word{i} a", completion=" b c"), 32) for i in range(24)]
batches = retain.text_batches(tokenizer, ["a b c d word1 word2"] * 4)
for seed in (0, 1):
    folder = Path(f"cmp/runs/lora-lr0.01-seed{seed}")
    settings = {"report_to": sys.argv[1], "logging_steps": 2}
    values = {"model": "m", "train": "t", "test": "e", "output": "o", "method": "lora", "max_steps": 4}
    recipe = Recipe(**values, batch_size=4, learning_rate=0.01, seed=seed, training=settings)
    model = attach(make_llama(), "lora", {"target_modules": ["q_proj"]})
    lessons = TrainingSet.of_text(rows, pad_id=0)
    train(model, lessons, recipe, folder, SILENT, [retain.KLMonitor(batches, every=3)])
    (folder / "report.md").write_text("# what was lost")
    arguments = training_arguments(recipe, folder)
    figures, texts = {"eval_lost/capitals/accuracy": 0.25}, {"verdict": "kept", "verdict_reason": "because"}
    with tracking(arguments, recipe, folder, closing=True) as reporter:
        reporter.report(arguments, Closing(figures, texts, (folder / "report.md",), step=4))
        assert [one.works for one in reporter.reporters] == [True]
"""

TRACKERS = {
    "wandb": {"WANDB_MODE": "offline"},
    "trackio": {"TRACKIO_DIR": "db"},
    "comet_ml": {"COMET_API_KEY": "none", "COMET_START_ONLINE": "0"},
    "clearml": {"CLEARML_OFFLINE_MODE": "1"},
    "swanlab": {"SWANLAB_MODE": "offline"},
    "dvclive": {},
}
"""Each with the variables by which it needs no network."""


@pytest.mark.parametrize("name", TRACKERS)
def test_two_runs_of_a_comparison_and_their_ends_reach_it(name, tmp_path):
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    path = os.pathsep.join([str(HERE.parent / "src"), str(HERE)])
    surroundings = os.environ | TRACKERS[name] | {"HOME": str(tmp_path), "PYTHONPATH": path, "DO_NOT_TRACK": "true"}
    (tmp_path / "script.py").write_text(SCRIPT, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "script.py", name],
        cwd=tmp_path,
        env=surroundings,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "gets nothing more" not in said
    assert "another is begun" not in said
    folders = [tmp_path / "cmp" / "runs" / f"lora-lr0.01-seed{seed}" for seed in (0, 1)]
    if name in {"wandb", "comet_ml", "clearml", "swanlab"}:
        noted = [json.loads((folder / "trackers.json").read_text(encoding="utf-8"))[name] for folder in folders]
        assert len({one["id"] for one in noted}) == 2
        assert {one["project"] for one in noted} == {"cmp"}
    if name in {"wandb", "comet_ml", "swanlab", "dvclive"}:
        assert all(any((folder / "trackers").rglob("*")) for folder in folders)
