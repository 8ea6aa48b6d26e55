"""A Ray cluster as an executor: each unit is a task with its resources, done wherever the cluster has room.

Where the machines see the command's folder, runs are done in place. Where one does not, files go by name and bytes
through the object store: what runs share by way of the desk (`retain.jobs.workers.desk`), what a run writes with its
outcome.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from retain.errors import InputError
from retain.events import Event
from retain.jobs.workers.desk import Desk
from retain.jobs.workers.executor import Listener, Told
from retain.jobs.workers.local import CHECKPOINT_SECONDS
from retain.jobs.workers.ray_cluster import joined
from retain.jobs.workers.ray_task import clean_up, do_unit, sees
from retain.jobs.workers.run_files import pack, unpack_plain
from retain.jobs.workers.unit import Outcome, Setup, Unit
from retain.recipe import Recipe

MOST_AT_ONCE = 256
"""Tasks that the cluster has at the same time, so that each costs the same whatever their number."""

LOST = (
    ray.exceptions.WorkerCrashedError,
    ray.exceptions.NodeDiedError,
    ray.exceptions.OutOfMemoryError,
    ray.exceptions.ObjectLostError,
    ray.exceptions.OwnerDiedError,
    ray.exceptions.LocalRayletDiedError,
)
"""Errors by which Ray tells that a worker is gone."""


class RayWorkers:
    """Units as tasks of a Ray cluster.

    Args:
        recipe: names the cluster, the resources of a run and the folder.
        setup: what each worker is told.
        listen: is told how far a unit is.
        told: is told of where files go.
    """

    def __init__(self, recipe: Recipe, setup: Setup, listen: Listener, told: Told) -> None:
        self._recipe, self._listen, self._told = recipe, listen, told
        self._setup = setup.model_copy(update={"threads": threads_of(recipe)})
        self.places = min(recipe.workers or MOST_AT_ONCE, MOST_AT_ONCE)
        self._running: dict[Any, Unit] = {}
        self._output = Path(recipe.output).absolute()
        self._read = 0.0
        self._mark = secrets.token_hex(4)

    def __enter__(self) -> Self:
        """Join the cluster, and see whether its machines see the command's folder.

        Raises:
            InputError: there is no such cluster, or it has no machine with what a run asks for.
        """
        with contextlib.ExitStack() as held:
            held.enter_context(joined(str(self._recipe.ray)))
            self._resources = self._checked_resources()
            here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
            self._desk: Any = ray.remote(Desk).options(num_cpus=0, scheduling_strategy=here).remote()
            self._shared = self._is_shared()
            if not self._shared:
                self._told(f"not every machine of the cluster sees {self._output}: files are sent.")
                self._give_shared()
            self._settings = ray.put((self._setup.model_dump_json(), self._mark, self._shared))
            self._task: Any = ray.remote(do_unit)
            self._joined = held.pop_all()
        return self

    def begin(self, unit: Unit) -> None:
        """Hand a unit to the cluster."""
        files: dict[str, bytes] = {}
        if not self._shared and self._setup.kind == "run":
            files = pack(self._output / "runs" / unit.name)
        task = self._task.options(name=unit.name, max_retries=0, **self._resources)
        reference = task.remote(self._settings, unit.model_dump_json(), self._desk, files)
        self._running[reference] = unit

    def wait(self, seconds: float) -> list[Outcome]:
        """The units that are over; those whose worker or machine is gone are lost."""
        if not self._running:
            time.sleep(seconds)
            return []
        ready, _ = ray.wait(list(self._running), num_returns=1, timeout=seconds)
        if ready:
            more, _ = ray.wait(list(self._running), num_returns=len(self._running), timeout=0)
            ready = more or ready
        if time.monotonic() - self._read > seconds:
            self._show()
        return [self._outcome(reference) for reference in ready]

    def _outcome(self, reference: Any) -> Outcome:
        unit = self._running.pop(reference)
        try:
            state, text, files = ray.get(reference)
        except LOST as error:
            self._lost(unit)
            return Outcome(unit.number, "lost", str(error).strip().partition("\n")[0])
        except ray.exceptions.TaskUnschedulableError as error:
            return Outcome(unit.number, "failed", f"the cluster cannot do it: {error}")
        except ray.exceptions.RayError as error:
            return Outcome(unit.number, "failed", " ".join(str(error).split())[-300:])
        return Outcome(unit.number, state, text, files)

    def _lost(self, unit: Unit) -> None:
        """Let others do what a lost worker had begun for all."""
        with contextlib.suppress(ray.exceptions.RayError):
            ray.get(self._desk.leave.remote(unit.number))

    def _show(self) -> None:
        """Show what workers told since the last time."""
        self._read = time.monotonic()
        units = {unit.number: unit for unit in self._running.values()}
        with contextlib.suppress(ray.exceptions.RayError):
            for number, values in ray.get(self._desk.told.remote(), timeout=10):
                if number in units:
                    self._listen(units[number], Event(*values))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the cluster; interrupt what is being done there, and wait for its checkpoints."""
        try:
            self._interrupt()
            self._show()
            if not self._shared:
                self._take_shared()
                self._on_every_node(clean_up, self._mark)
        finally:
            self._joined.close()

    def _interrupt(self) -> None:
        if not self._running:
            return
        for reference in self._running:
            with contextlib.suppress(ray.exceptions.RayError):
                ray.cancel(reference)
        ray.wait(list(self._running), num_returns=len(self._running), timeout=CHECKPOINT_SECONDS)
        if not self._shared:
            for name, files in ray.get(self._desk.interrupted.remote()).items():
                unpack_plain(self._output / "runs" / name, files)

    def _checked_resources(self) -> dict[str, Any]:
        """The resources of a run.

        Raises:
            InputError: no machine of the cluster has them.
        """
        nodes = [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]  # Ray types this one not
        gpus = self._recipe.gpus_per_run
        if gpus is None:
            gpus = 1.0 if any(node["Resources"].get("GPU") for node in nodes) else 0.0
        if self._setup.kind == "nothing":
            gpus = 0.0
        cpus = self._setup.threads or 1
        enough = [
            node
            for node in nodes
            if node["Resources"].get("CPU", 0) >= cpus and node["Resources"].get("GPU", 0) >= gpus
        ]
        if not enough:
            has = "; ".join(
                f"{node['NodeManagerHostname']}: {node['Resources'].get('CPU', 0):g} CPUs, "
                f"{node['Resources'].get('GPU', 0):g} GPUs"
                for node in nodes
            )
            raise InputError(
                f"ray: a run asks for {cpus} CPUs and {gpus:g} GPUs, and no machine of the cluster has them ({has}). "
                "Ask for less: --cpus-per-run, --gpus-per-run."
            )
        return {"num_cpus": cpus, "num_gpus": gpus}

    def _is_shared(self) -> bool:
        """Whether every machine sees the command's folder: a file with a number drawn here is looked for there."""
        if self._setup.kind == "nothing":
            return True
        nonce, mark = secrets.token_hex(16), self._output / f".retain-seen.{os.getpid()}.partial"
        self._output.mkdir(parents=True, exist_ok=True)
        mark.write_text(nonce, encoding="ascii")
        try:
            return all(self._on_every_node(sees, str(mark), nonce))
        finally:
            mark.unlink(missing_ok=True)

    def _on_every_node(self, function: Any, *arguments: Any) -> list[Any]:
        nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]  # Ray types this one not
        task = ray.remote(function)
        asked = [
            task.options(num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=True)).remote(
                *arguments
            )
            for node in nodes
        ]
        try:
            return list(ray.get(asked, timeout=300))
        except ray.exceptions.RayTaskError as error:
            raise InputError(
                f"ray: a machine of the cluster cannot run retain ({' '.join(str(error.cause).split())[:200]}); "
                "install the same version with the same packages on each."
            ) from error
        except ray.exceptions.GetTimeoutError as error:
            raise InputError(
                "ray: a machine of the cluster did not answer within five minutes; see `ray status`."
            ) from error

    def _give_shared(self) -> None:
        """Give what earlier commands made for all runs."""
        for path in shared_places(self._output):
            ray.get(self._desk.give.remote(path.relative_to(self._output).as_posix(), -1, pack(path)))

    def _take_shared(self) -> None:
        """Write what was made for all runs here, for later commands."""
        there = {path.relative_to(self._output).as_posix() for path in shared_places(self._output)}
        with contextlib.suppress(ray.exceptions.RayError):
            for name in ray.get(self._desk.names.remote()):
                if name not in there:
                    unpack_plain(self._output / name, ray.get(self._desk.take.remote(name)))


def shared_places(output: Path) -> list[Path]:
    """The files and folders that all runs of a comparison share, as far as they are there."""
    found = [*output.glob("base-*.json"), *output.glob("head-*"), *output.glob("statistics/*")]
    found += (output / "sweep").glob("statistics/*")
    return sorted(path for path in found if not path.name.startswith("."))


def threads_of(recipe: Recipe) -> int:
    """Threads of a run on Ray: those stated, those of the environment, or one."""
    stated = os.environ.get("OMP_NUM_THREADS", "")
    return recipe.cpus_per_run or (int(stated) if stated.isdecimal() and int(stated) else 1)
