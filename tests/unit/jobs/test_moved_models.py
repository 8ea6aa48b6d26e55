"""A run goes on after its model was copied, restored or moved; with another model of the same size it does not."""

import json
import os
import shutil

import pytest
import torch
from safetensors.torch import load_file
from transformers import TrainerCallback

from retain.errors import InputError
from retain.events import SILENT
from retain.jobs.tune import tune
from retain.recipe.from_run import RECIPE
from retain.train import loop
from tiny import make_llama

STEPS = {"max_steps": 4}


class StopAtTwo(TrainerCallback):
    def on_step_end(self, args, state, control, **_):
        if state.global_step == 2:
            raise KeyboardInterrupt


@pytest.fixture
def base(tiny_folder, tmp_path):
    return shutil.copytree(tiny_folder, tmp_path / "base")


@pytest.fixture
def cut(recipe, base, tmp_path, monkeypatch):
    """A run that was interrupted in the second of four steps."""
    monkeypatch.setattr("retain.train.callbacks.SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    with monkeypatch.context() as patched:
        patched.setattr(loop, "StopWhenNotFinite", StopAtTwo)
        with pytest.raises(KeyboardInterrupt):
            tune(recipe(model=str(base), output=str(tmp_path / "cut"), **STEPS), SILENT)
    return tmp_path / "cut"


def test_with_a_copy_of_its_model_a_run_goes_on_to_the_same_bits(recipe, base, cut, tmp_path):
    tune(recipe(model=str(base), output=str(tmp_path / "whole"), **STEPS), SILENT)
    copied = shutil.copytree(base, tmp_path / "elsewhere" / "restored", copy_function=shutil.copyfile)
    shutil.rmtree(base)
    assert list(cut.glob("checkpoints/checkpoint-*")), "there is something to go on from"
    result = tune(recipe(model=str(copied), output=str(cut), **STEPS), SILENT)
    whole, found = (load_file(place / "adapter" / "adapter_model.safetensors") for place in (tmp_path / "whole", cut))
    assert whole.keys() == found.keys()
    assert all(torch.equal(tensor, found[name]) for name, tensor in whole.items())
    assert json.loads((cut / RECIPE).read_text(encoding="utf-8"))["model"] == str(copied)
    assert tune(recipe(model=str(copied), output=str(cut), **STEPS), SILENT) == result


def test_with_other_weights_of_the_same_size_it_is_refused(recipe, base, cut):
    file = base / "model.safetensors"
    before = file.stat()
    make_llama(seed=5).save_pretrained(base)
    assert file.stat().st_size == before.st_size
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(InputError, match="differs in model files"):
        tune(recipe(model=str(base), output=str(cut), **STEPS), SILENT)


def test_a_check_of_a_free_folder_reads_no_weights(make_run, monkeypatch):
    run = make_run()
    monkeypatch.setattr("retain.jobs.run.files_fingerprint", None)
    assert run.conflict() is None
