"""A run in two processes that Accelerate's launcher starts: its record, its progress, its end, and going on."""

import psutil
import pytest

from retain.errors import InputError
from retain.events import Events
from retain.jobs.tune import tune
from retain.recipe import Recipe


def test_a_run_in_two_processes_is_told_recorded_and_leaves_nothing_behind(
    tiny_folder, tiny_data, tmp_path, monkeypatch
):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    seen = []
    recipe = Recipe(
        model=str(tiny_folder), train=str(tiny_data / "train.jsonl"), test=str(tiny_data / "test.jsonl"),
        keep=[str(tiny_data / "letters.jsonl")], output=str(tmp_path / "run"), method="vefa", max_steps=2,
        generate=0, drift=False, batch_size=4, launch={"processes": 2}, training={"logging_steps": 1},
    )  # fmt: skip
    result = tune(recipe, Events(seen.append))
    facts = {name: result.training[name] for name in ("processes", "devices", "global_batch_size", "backend")}
    assert facts == {"processes": 2, "devices": 1, "global_batch_size": 8, "backend": "DDP"}
    assert len(result.curve) == 2
    names = [event.name.split(" · ")[0] for event in seen]
    assert names.index("the base answers") < names.index("vefa learns") < names.index("the tuned model answers")
    learned = [event for event in seen if event.name.startswith("vefa learns")]
    assert (learned[-1].done, learned[-1].total) == (2, 2)
    assert psutil.Process().children(recursive=True) == []
    assert not [
        process for process in psutil.process_iter(["cmdline"]) if str(tmp_path) in str(process.info["cmdline"])
    ]
    assert tune(recipe, Events()) == result  # it is read
    for other in ({}, {"processes": 4}):
        with pytest.raises(InputError, match="differs in launch"):
            tune(recipe.model_copy(update={"launch": other}), Events())
