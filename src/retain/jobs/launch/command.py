"""The command of Accelerate's launcher that starts the workers of a plan on this machine."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from retain.jobs.launch.plan import Plan
from retain.jobs.launch.variables import without_launcher
from retain.jobs.launch.wire import ADDRESS
from retain.recipe import Recipe

WORKER = "retain.jobs.launch.worker"


def launch_command(plan: Plan, recipe: Recipe, scratch: Path, arguments: list[str]) -> list[str]:
    """The command that starts the workers.

    Args:
        plan: the processes.
        recipe: names the mixed precision.
        scratch: a folder for the launcher's file.
        arguments: of each worker.
    """
    precision = next((name for name in ("bf16", "fp16") if recipe.training.get(name) is True), "no")
    command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(_config(plan, scratch))]
    command += ["--mixed_precision", precision, "--machine_rank", str(plan.machine_rank), "--dynamo_backend", "no"]
    if plan.backend == "DDP":
        command.append("--multi_gpu")  # its launcher of several processes, also of those on processors
    if plan.machines == 1:
        command += ["--main_process_port", "0"]
    else:
        command += ["--same_network", "--rdzv_conf", "timeout=3600"]
    if "OMP_NUM_THREADS" not in os.environ:
        threads = max(1, (os.cpu_count() or 1) // plan.processes_here)
        command += ["--num_cpu_threads_per_process", str(threads)]
    return [*command, "--module", WORKER, *arguments]


def _config(plan: Plan, scratch: Path) -> Path:
    """Accelerate's file: the user's, or one that says how many processes; never the one in the user's home."""
    if plan.config is not None:
        return plan.config.resolve()
    values = {
        "compute_environment": "LOCAL_MACHINE",
        "distributed_type": "MULTI_GPU",
        "num_machines": 1,
        "num_processes": plan.processes,
        "mixed_precision": "no",
        "use_cpu": False,
    }
    path = scratch / "accelerate.json"
    path.write_text(json.dumps(values), encoding="utf-8")
    return path


def worker_environment(plan: Plan, address: str, environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of the launcher and its workers.

    Args:
        plan: the processes.
        address: of the job.
        environment: of this process.
    """
    own = without_launcher(environment)
    own |= {ADDRESS: address, "TOKENIZERS_PARALLELISM": environment.get("TOKENIZERS_PARALLELISM", "false")}
    if plan.use_cpu:
        own["ACCELERATE_USE_CPU"] = "true"
    return own
