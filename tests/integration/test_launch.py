"""A run in two processes that Accelerate's launcher starts: its weights, record, progress, end, and going on."""

import psutil
import pytest
import torch
from safetensors.torch import load_file

from children import light
from retain.errors import InputError
from retain.events import Events
from retain.jobs.tune import tune
from retain.recipe import Recipe


def test_a_run_in_two_processes_is_told_recorded_and_leaves_nothing_behind(
    tiny_folder, tiny_data, tmp_path, monkeypatch
):
    for name, value in light().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("retain.jobs.record.write_run_report", lambda *_: [])  # it has tests of its own
    seen, before = [], psutil.Process().children(recursive=True)
    recipe = Recipe(
        model=str(tiny_folder), train=str(tiny_data / "train.jsonl"), test=str(tiny_data / "test.jsonl"),
        keep=[str(tiny_data / "letters.jsonl")], output=str(tmp_path / "run"), method="vefa", max_steps=2,
        generate=0, drift=False, batch_size=4, launch={"processes": 2}, training={"logging_steps": 1},
    )  # fmt: skip
    result = tune(recipe, Events(seen.append))
    alone = {"launch": {}, "batch_size": 8, "output": str(tmp_path / "one")}
    one = tune(recipe.model_copy(update=alone), Events())
    assert [point.loss for point in result.curve] == pytest.approx([point.loss for point in one.curve], rel=1e-4)
    weights = [load_file(tmp_path / name / "adapter" / "adapter_model.safetensors") for name in ("run", "one")]
    for name, values in weights[1].items():
        torch.testing.assert_close(weights[0][name], values, rtol=1e-5, atol=2e-5)
    facts = {name: result.training[name] for name in ("processes", "devices", "global_batch_size", "backend")}
    assert facts == {"processes": 2, "devices": 1, "global_batch_size": 8, "backend": "DDP"}
    assert len(result.curve) == 2
    names = [event.name.split(" · ")[0] for event in seen]
    assert names.index("the base answers") < names.index("vefa learns") < names.index("the tuned model answers")
    learned = [event for event in seen if event.name.startswith("vefa learns")]
    assert (learned[-1].done, learned[-1].total) == (2, 2)
    assert {*psutil.Process().children(recursive=True)} <= {*before}
    assert not [
        process for process in psutil.process_iter(["cmdline"]) if str(tmp_path) in str(process.info["cmdline"])
    ]
    assert tune(recipe, Events()) == result  # it is read
    for other in ({}, {"processes": 4}):
        with pytest.raises(InputError, match="differs in launch"):
            tune(recipe.model_copy(update={"launch": other}), Events())
