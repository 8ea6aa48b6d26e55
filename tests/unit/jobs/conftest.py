"""Runs on the tiny Llama, prepared as `retain tune` prepares them."""

from __future__ import annotations

import pytest

from retain.events import SILENT
from retain.jobs.inputs.prepare import prepare
from retain.jobs.run import Run
from retain.recipe import Recipe


@pytest.fixture
def recipe(tiny_folder, tiny_data, tmp_path):
    """Make a recipe for a few steps on the tiny model and data; any field can be another."""

    def make(**fields):
        values = {
            "model": str(tiny_folder),
            "train": str(tiny_data / "train.jsonl"),
            "test": str(tiny_data / "test.jsonl"),
            "keep": [str(tiny_data / "letters.jsonl")],
            "held_out_text": [str(tiny_data / "text.txt")],
            "output": str(tmp_path / "run"),
            "method": {"name": "lora", "r": 2},
            "max_steps": 2,
            "generate": 0,
            "drift": False,
        }
        return Recipe(**{**values, **fields})

    return make


@pytest.fixture
def make_run(recipe):
    """Make a prepared run; fields as those of a recipe."""

    def make(shared=None, **fields):
        made = recipe(**fields)
        return Run.of(made, prepare(made), SILENT, shared)

    return make
