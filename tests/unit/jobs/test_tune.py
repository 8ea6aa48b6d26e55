"""One run from its recipe to its record, and what the record says of it."""

import pytest
import torch

from retain.errors import InputError
from retain.events import Events
from retain.hf.models.precision import weights_dtype
from retain.jobs import tune as module
from retain.jobs.inputs.prepare import prepare
from retain.jobs.tune import complete, tune
from retain.records.checkpoint_seal import SEAL


def test_a_complete_run_is_read_and_not_done_again(recipe, monkeypatch):
    seen = []
    first = tune(recipe(), Events(seen.append))
    names = list(dict.fromkeys(event.name.split(" · ")[0] for event in seen))
    assert names[:3] == ["the base answers", "lora learns", "the tuned model answers"]
    monkeypatch.setattr(module, "train_or_load", None)
    assert tune(recipe(), Events()) == first


def test_another_run_in_its_folder_is_refused_once_it_trained_something(recipe, make_run):
    make_run().folder.claim(make_run(seed=1).identity)
    assert make_run().folder.conflict(make_run().identity) is None
    make_run().folder.checkpoints.joinpath("checkpoint-1").mkdir(parents=True)
    make_run().folder.checkpoints.joinpath("checkpoint-1", SEAL).write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match="holds another run"):
        tune(recipe(), Events())


def test_fields_of_regularisation_and_calibration_are_on_record_where_they_are_used(make_run):
    plain = complete(make_run(drift=False)).training
    assert not {"replay", "kl_weight", "calibrate_keep"} & plain.keys()
    assert plain["max_steps"] == 2
    run = make_run(output=str(make_run().folder.path / "other"), replay=0.2, calibrate_tokens=64)
    found = complete(run)
    assert found.training["replay"] == 0.2
    assert found.training["calibrate_tokens"] == 64
    assert "kl_weight" not in found.training
    assert found.parameters.adapter_bytes > 0
    assert found.cost.measure_seconds > 0
    assert found.cost.scaling_seconds == 0


def test_the_record_says_in_which_type_the_base_was_where_the_recipe_leaves_it_to_the_device(make_run):
    found = complete(make_run(dtype="fast"))
    assert found.training["dtype"] == found.conditions["tuned"].dtype == weights_dtype("fast")


@pytest.mark.parametrize(("asked", "notes"), [("fast", 0), ("float32", 0), ("bfloat16", 1)])
def test_a_check_speaks_of_the_type_that_is_asked_for(recipe, monkeypatch, asked, notes):
    """The checkpoint is in float32; a processor without units for bfloat16 makes `fast` float32 too."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True}, raising=False)
    told = [note for note in prepare(recipe(dtype=asked)).notes if "no units" in note]
    assert len(told) == notes
