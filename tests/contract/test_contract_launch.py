"""Two processes give what one gives with the same global batch, whatever regularises it; regularisers run on FSDP2."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from launch_worker import SHARDED, stages
from safetensors.torch import load_file

from retain.jobs.launch.support import method_cells, regulariser_cells
from retain.methods import table
from retain.recipe import Recipe
from tiny import WORDS

REGULARISED = ("vefa", "lora", "sc-lora")
ALL = tuple(row.name for row in table.rows())
SENSITIVE = {"corda-kpm": 5e-4, "lora-null": 5e-4}
"""Initialisations that divide by small eigenvalues of the second moments, which magnifies their rounding."""

TOGETHER = {"kl_weight": 0.5, "kl_monitor": True, "replay": 0.2, "update_limit": 0.05}


@pytest.fixture(scope="module")
def recipes(tiny_folder, tiny_data, tmp_path_factory):
    """A folder, and recipes by method, place and batch size."""
    folder = tmp_path_factory.mktemp("launch")
    draw = random.Random(3)  # noqa: S311 -- some text, no secret
    texts = (" ".join(draw.choices(WORDS, k=draw.randint(5, 30))) for _ in range(40))
    (folder / "keep.txt").write_text("\n\n".join(texts), encoding="utf-8")

    def make(method, where, batch_size):
        values = {
            "model": str(tiny_folder), "train": str(tiny_data / "train.jsonl"), "test": str(tiny_data / "test.jsonl"),
            "keep": [str(tiny_data / "letters.jsonl")], "output": str(folder / where / method), "method": method,
            "max_steps": 4, "generate": 3, "drift": False, "batch_size": batch_size, "learning_rate": 0.01,
            "calibrate_keep": str(folder / "keep.txt"), "calibrate_tokens": 700, "calibrate_batch_size": 3,
            "training": {"logging_steps": 1, "weight_decay": 0.01},
        }  # fmt: skip
        return (
            values
            | (TOGETHER if method in REGULARISED else {})
            | ({} if method in {"full", "vefa", "ia3"} else {"rank": 2})
        )

    return folder, make


@pytest.fixture(scope="module")
def two_processes(recipes):
    """The folder of all runs, and what the two processes said if they failed."""
    folder, make = recipes
    values = {method: make(method, "two", 4) for method in ALL}
    (folder / "recipes.json").write_text(json.dumps(values), encoding="utf-8")
    worker = Path(__file__).with_name("launch_worker.py")
    done = subprocess.run([sys.executable, str(worker), str(folder)], capture_output=True, timeout=600, check=False)
    return folder, done.stderr.decode()[-6000:]


@pytest.mark.parametrize("method", ALL)
def test_two_processes_train_and_measure_what_one_does(method, recipes, two_processes):
    folder, errors = two_processes
    assert (folder / f"{method}-0").exists(), errors
    assert (folder / f"{method}-1").exists(), errors
    stages(Recipe(**recipes[1](method, "one", 8)))
    one, two = folder / "one" / method, folder / "two" / method
    place = "model/model.safetensors" if method == "full" else "adapter/adapter_model.safetensors"
    expected, found = load_file(one / place), load_file(two / place)
    for name, values in expected.items():
        torch.testing.assert_close(found[name], values, rtol=1e-5, atol=SENSITIVE.get(method, 2e-5))
    answers = [next(where.glob("base-*.json")) for where in (one, two)]
    assert answers[0].name == answers[1].name
    assert answers[0].read_bytes() == answers[1].read_bytes()  # bit for bit: the batches are the same
    curves = [json.loads((where / "training.json").read_text(encoding="utf-8"))["curve"] for where in (one, two)]
    for field in ("loss", "kl_nats_per_token", "update_size"):
        mine, theirs = ([point[field] or 0.0 for point in curve] for curve in curves)
        assert mine == pytest.approx(theirs, rel=1e-3, abs=1e-6), field


@pytest.mark.parametrize("name", SHARDED)
def test_the_penalty_the_monitor_and_the_whole_weights_under_fsdp2_are_those_of_the_whole_model(name, two_processes):
    folder, errors = two_processes
    assert {f"fsdp2-{name}-0", f"fsdp2-{name}-1"} <= {path.name for path in folder.iterdir()}, errors


def test_the_cells_of_the_table_that_say_tested_are_those_above():
    tested = {(cell.what, cell.backend) for cell in (*method_cells(), *regulariser_cells()) if cell.state == "tested"}
    assert {what for what, backend in tested if backend == "DDP"} == {*ALL, *TOGETHER}
    assert {what for what, backend in tested if backend == "FSDP2"} == {*SHARDED, "kl_weight", "kl_monitor"}
    assert {backend for _, backend in tested} == {"DDP", "FSDP2"}
