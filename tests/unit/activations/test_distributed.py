"""Two processes, each with a share of the data, get the statistics and the adapter that one process gets."""

import distributed_worker
import pytest

from children import in_two


@pytest.mark.parametrize("scenario", distributed_worker.SCENARIOS)
def test_two_processes_do_what_one_does(scenario, tmp_path):
    ended = in_two(distributed_worker.work, tmp_path / "processes", scenario, tmp_path / scenario)
    assert ended.well, ended.said
