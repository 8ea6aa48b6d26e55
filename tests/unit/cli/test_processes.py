"""Commands that a launcher starts several times: one process says so, all of them end, and nothing is written."""

import os

import pytest

from retain.cli.main import main
from retain.cli.processes import Started, forget_launcher, refusal, started

TORCHRUN = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2"}
SRUN = {"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "4", "SLURM_NTASKS": "4"}


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        ({}, None),
        (TORCHRUN, Started("torchrun or accelerate launch", 0, 2)),
        ({**TORCHRUN, "WORLD_SIZE": "1"}, None),
        ({"WORLD_SIZE": "8"}, None),
        (SRUN, Started("srun", 1, 4)),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "4"}, None),  # a batch script, which no srun started
        ({"SLURM_ARRAY_TASK_ID": "3", "SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1"}, None),
        ({"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2"}, Started("mpirun", 1, 2)),
        ({"PMI_RANK": "2", "PMI_SIZE": "3"}, Started("mpirun", 2, 3)),
        ({"RANK": "none", "WORLD_SIZE": "2"}, None),
        ({**SRUN, "SLURM_PROCID": "0", "SLURM_PTY_PORT": "40123"}, None),  # a shell on a terminal
    ],
)
def test_the_launcher_is_found_in_the_environment(environment, found):
    assert started(environment) == found


@pytest.mark.parametrize(
    ("words", "environment", "goes_on"),
    [
        (["--output", "runs/1"], SRUN, True),
        (["--output=runs/seed-1"], SRUN, True),
        (["recipes/1.yaml", "--output", "runs/a"], SRUN, True),
        (["recipe.yaml", "--run", "1/4"], SRUN, True),
        (["recipe.yaml", "--run=2/4"], SRUN, True),  # shares count from 1
        (["recipe.yaml", "--run", "4/4"], SRUN, False),
        (["--output", "runs/11", "--seed", "1"], SRUN, False),
        (["--output", "runs/0"], TORCHRUN, False),
        (["--launch.machine_rank", "0"], {"RANK": "0", "WORLD_SIZE": "2"}, True),  # a pod
        (["--launch.machine_rank", "0"], TORCHRUN, False),
    ],
)
def test_runs_that_have_nothing_to_do_with_one_another_go_on(words, environment, goes_on):
    assert (refusal("tune", words, environment) is None) is goes_on


@pytest.mark.parametrize("verb", ["tune", "compare", "measure", "scale", "calibrate", "suites", "report"])
def test_the_first_process_says_it_and_the_others_end_in_silence(verb, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    for rank in ("0", "1"):
        for name, value in {**TORCHRUN, "RANK": rank}.items():
            monkeypatch.setenv(name, value)
        assert main([verb, "--model", "m", "--output", "out"]) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert ("started this command 2 times" in said.err) is (rank == "0")
        assert ("--launch.processes" in said.err) is (rank == "0" and verb in {"tune", "compare"})
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("left", [{"WORLD_SIZE": "4"}, {"LOCAL_RANK": "0"}, {"OMPI_COMM_WORLD_SIZE": "2"}])
def test_what_a_shell_or_a_launcher_left_makes_no_group_of_processes(left):
    environment = {**left, "PATH": "/bin", "SLURM_PROCID": "0"}
    forget_launcher(environment)
    assert environment == {"PATH": "/bin", "SLURM_PROCID": "0"}


def test_a_command_begins_without_them(monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert main(["tune", "--help", "nonsense"]) == 2
    assert "WORLD_SIZE" not in os.environ
