"""From a recipe to a plan of processes, from an `accelerate config` file to refusals, before anything is loaded."""

import json
from dataclasses import replace

import pytest
import torch
import yaml

from retain.errors import InputError
from retain.jobs.launch import plan as plan_module
from retain.jobs.launch.command import launch_command, worker_environment
from retain.jobs.launch.plan import Plan, launch_problems, launch_told
from retain.jobs.launch.support import BACKENDS, method_cells, regulariser_cells
from retain.methods import table
from retain.recipe import Recipe

FILE = {"compute_environment": "LOCAL_MACHINE", "distributed_type": "MULTI_CPU", "num_machines": 1, "num_processes": 4}
FSDP = {**FILE, "distributed_type": "FSDP", "fsdp_config": {"fsdp_version": 2}}
BASIC = {"model": "m", "train": "t", "test": "e", "output": "o"}


@pytest.fixture
def recipe(tmp_path):
    def make(values=None, *, name="accelerate.yaml", rank=None, **fields):
        if values is None:
            return Recipe(**BASIC, **fields)
        path = tmp_path / name
        path.write_text(json.dumps(values) if name.endswith("json") else yaml.safe_dump(values), encoding="utf-8")
        launch = {"config": str(path)} | ({} if rank is None else {"machine_rank": rank})
        return Recipe(**BASIC, launch=launch, **fields)

    return make


def test_the_number_of_processes_and_the_global_batch_are_on_record_and_in_the_identity(recipe):
    two = recipe(launch={"processes": 2}, batch_size=3, training={"gradient_accumulation_steps": 4})
    plan = Plan.of(two)
    assert plan.facts(two) == {
        "processes": 2, "devices": 1, "global_batch_size": 24, "machines": 1, "backend": "DDP",
    }  # fmt: skip
    assert plan.identity() == {"processes": 2, "backend": "DDP"}
    assert launch_told(two) == ["trained in 2 processes (DDP), 24 rows a step in all"]
    one = recipe(batch_size=8)
    assert Plan.of(one).facts(one) == {"processes": 1, "devices": 1, "global_batch_size": 8}
    assert Plan.of(one).identity() == {}
    assert Plan.of(recipe(launch={"processes": 1})).identity() == {}


@pytest.mark.parametrize(
    ("values", "backend"),
    [
        (FILE, "DDP"),
        (FSDP, "FSDP2"),
        ({**FILE, "distributed_type": "MULTI_GPU", "num_processes": 2}, "DDP"),
        ({**FILE, "distributed_type": "NO", "num_processes": 1}, "DDP"),
    ],
)
@pytest.mark.parametrize("name", ["a.yaml", "a.json"])
def test_a_file_of_accelerate_says_how(recipe, values, backend, name):
    plan = Plan.of(recipe(values, name=name))
    assert (plan.backend, plan.processes, plan.use_cpu) == (backend, values["num_processes"], True)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({**FSDP, "fsdp_config": {"fsdp_version": 1}}, "fsdp_version: 2"),
        ({**FSDP, "fsdp_config": {}}, "fsdp_version: 2"),
        ({**FILE, "distributed_type": "MEGATRON_LM"}, "distributed_type MEGATRON_LM"),
        ({**FILE, "compute_environment": "AMAZON_SAGEMAKER"}, "machines of your own"),
        ({**FSDP, "parallelism_config": {"parallelism_config_tp_size": 2}}, "tensor, context"),
        ({**FILE, "num_processes": "four"}, "num_processes must be a whole number"),
        ({**FILE, "num_machines": 3}, "cannot be shared out over 3 machines"),
        ({**FILE, "num_machines": 2}, "main_process_ip"),
        ({**FILE, "machine_rank": 2}, "counts 1 machines"),
        ({**FILE, "mixed_precision": "bf16"}, "--training.bf16 true"),
        ({**FILE, "distributed_type": "DEEPSPEED"}, "install deepspeed"),
        ([1, 2], "holds no fields"),
    ],
)
def test_a_file_that_cannot_be_followed_is_refused_with_the_cure(recipe, values, words):
    assert any(words in problem for problem in launch_problems(recipe(values)))


def test_a_file_that_is_not_there_and_more_processes_than_devices_are_refused(recipe, tmp_path, monkeypatch):
    assert "launch: config" in launch_problems(Recipe(**BASIC, launch={"config": str(tmp_path / "none.yaml")}))[0]
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 2)
    assert launch_problems(recipe(launch={"processes": 2})) == []
    assert "which has 2 devices" in launch_problems(recipe(launch={"processes": 3}))[0]
    with pytest.raises(InputError, match="which has 2 devices"):
        Plan.of(recipe(launch={"processes": 3}))
    monkeypatch.setattr(plan_module, "usable_processors", lambda: 2)
    assert launch_problems(recipe(launch={"processes": 3}, training={"use_cpu": True})) == []
    assert "at most 8" in launch_problems(recipe(launch={"processes": 900}, training={"use_cpu": True}))[0]


def test_mixed_precision_and_machines_come_to_the_launcher_as_the_recipe_says(recipe, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    several = {**FILE, "num_machines": 2, "main_process_ip": "10.0.0.1", "main_process_port": 29500}
    given = recipe(several, rank=1, training={"bf16": True})
    command = launch_command(Plan.of(given), given, tmp_path, ["run", "shared"])
    said = " ".join(command)
    assert "--machine_rank 1" in said
    assert "--mixed_precision bf16" in said
    assert command[-4:] == ["--module", "retain.jobs.launch.worker", "run", "shared"]
    sharded = recipe(FSDP, name="sharded.yaml")
    assert "--multi_gpu" not in launch_command(Plan.of(sharded), sharded, tmp_path, [])
    found = worker_environment(Plan.of(given), "1:secret", {"RANK": "3", "MASTER_PORT": "1", "HOME": "/home"})
    assert found["RETAIN_LAUNCH"] == "1:secret"
    assert {"RANK", "MASTER_PORT"}.isdisjoint(found)
    assert found["ACCELERATE_USE_CPU"] == "true"
    assert "ACCELERATE_USE_CPU" not in worker_environment(replace(Plan.of(given), use_cpu=False), "1:x", {})


def test_regularisers_that_a_backend_cannot_have_are_refused_with_what_to_use_instead(recipe):
    wanted = {"kl_weight": 1.0, "kl_monitor": True, "ewc": 1.0, "update_limit": 0.1, "replay": 0.1}
    held, limited = launch_problems(recipe(FSDP, **wanted))
    assert "EWC" in held
    assert "update limit" in limited
    assert all("--kl-weight" in problem for problem in (held, limited))
    assert launch_problems(recipe(FILE, **wanted)) == []
    refused = {(cell.what, cell.backend) for cell in regulariser_cells() if cell.state == "refused"}
    assert ("kl_weight", "DeepSpeed ZeRO-3") in refused
    assert ("kl_weight", "FSDP2") not in refused


def test_a_device_map_and_several_processes_are_refused_together(recipe):
    assert "device map" in launch_problems(recipe(FILE, device_map="auto"))[0]
    assert launch_problems(recipe(device_map="auto")) == []


def test_a_comparison_runs_on_one_machine(recipe):
    several = {**FILE, "num_machines": 2, "main_process_ip": "10.0.0.1", "main_process_port": 29500}
    assert launch_problems(recipe(several)) == []
    assert "one machine" in launch_problems(recipe(several, methods=("lora", "vefa")))[0]


def test_every_method_has_a_cell_for_every_backend():
    cells = list(method_cells())
    assert {(cell.what, cell.backend) for cell in cells} == {(r.name, b) for r in table.rows() for b in BACKENDS}
    assert all(cell.state == "tested" for cell in cells if cell.backend == "DDP")
    assert all(cell.note for cell in cells)
