"""Two processes, each with a share of the data, get the statistics and the adapter that one process gets."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

WORKER = Path(__file__).with_name("distributed_worker.py")


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """What became of each scenario: None, or what went wrong."""
    folder = tmp_path_factory.mktemp("together")
    paths = [str(WORKER.parents[2]), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(WORKER), str(folder)], capture_output=True, timeout=500, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr.decode()[-4000:]
    return json.loads((folder / "outcomes.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "scenario",
    [
        "halves",
        "adapters",
        "kept_in_a_folder",
        "in_parts",
        "interrupted",
        "one_process_was_behind",
        "a_layer_that_runs_in_one_process",
        "a_layer_that_shares_in_one_process",
        "a_sharer_that_runs_in_one_process",
        "sharing_that_ends_in_one_process",
        "a_process_without_data",
        "a_process_without_data_in_parts",
        "adapters_in_parts",
    ],
)
def test_two_processes_do_what_one_does(scenario, outcomes):
    assert outcomes[scenario] is None, outcomes[scenario]
