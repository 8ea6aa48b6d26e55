"""One process on a machine with several devices uses one of them, and says how to use the others."""

import pytest
import torch

from retain.recipe import Recipe
from retain.train.arguments import on_one_device, training_arguments, unused_devices

RECIPE = Recipe(model="m", train="t", test="e", output="o", batch_size=4)


def test_several_devices_do_not_multiply_the_batch(tmp_path):
    arguments = training_arguments(RECIPE, tmp_path)
    arguments._n_gpu = 4  # what transformers finds on a machine with four, and would train on by DataParallel
    assert arguments.train_batch_size == 16
    assert on_one_device(arguments).train_batch_size == 4
    assert arguments.n_gpu == 1


@pytest.mark.parametrize(("present", "processes", "told"), [(0, 1, False), (1, 1, False), (4, 1, True), (4, 4, False)])
def test_devices_that_stay_idle_are_told_of(monkeypatch, present, processes, told):
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: present)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("cuda"))
    note = unused_devices(processes)
    assert (note is not None) is told
    assert note is None or "--launch.processes 4" in note
