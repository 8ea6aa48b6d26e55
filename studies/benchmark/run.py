"""The benchmark: python studies/benchmark/run.py does each run of plan.yaml that has no record yet, one by one.

Each is an ordinary run of retain in a process of its own (one.py). What is kept of a complete one is at once collected
into records/. Stop it whenever you like: the same command goes on with the run in hand. What failed is noted in
`failed.txt` of the folder of runs and tried once more at the end. Workers, also those of another start of it, each take
the next run that no other is at. A GPU is used where there is one; it serves several workers at once.

    --task NAME …        only these tasks
    --workers N          so many runs at once
    --minutes N          begin no run after that
    --dry                say what would be done next
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import one
from choose import best_rate
from collect import collect
from filelock import FileLock, Timeout
from plan import LORA, Cell, Plan, read_plan

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
BULKY = ("model", "checkpoints")
"""Folders of a run that are not needed once it is measured: a whole model's weights."""


class Work:
    """What the workers share: what failed, who is at what, and which rates are chosen.

    Args:
        plan: of the benchmark.
        asked: on the command line.
    """

    def __init__(self, plan: Plan, asked: argparse.Namespace) -> None:
        self.plan, self.asked = plan, asked
        self.failed: set[Cell] = set()
        self.unmade: set[str] = set()
        self._making: set[str] = set()
        self._chosen: dict[tuple[str, str], float] = {}
        self._busy = 0
        self._choosing = threading.Condition()

    def all_go_on(self) -> None:
        """Let the workers go on until none has anything left; when interrupted they begin nothing more."""
        with ThreadPoolExecutor(self.asked.workers) as workers:
            try:
                for each in [workers.submit(self.go_on) for _ in range(self.asked.workers)]:
                    each.result()
            except BaseException:
                self.asked.ends = -math.inf
                raise

    def failed_for_good(self, before: frozenset[Cell]) -> set[Cell]:
        """What failed and was not done since, also where there was no time to try it again."""
        return {cell for cell in self.failed | before if not _record(self.asked, cell).is_file()}

    def go_on(self) -> None:
        """Do a run after the other until none is left, also none that waits for another worker's run."""
        while (taken := self._taken()) is not None:
            self._do(*taken)

    def _taken(self) -> tuple[Cell, FileLock] | None:
        with self._choosing:
            while (taken := self.next(self.unmade | self._making)) is None:
                if not self._busy:
                    return None
                self._choosing.wait()
            self._busy += 1
            if not _is_made(self.plan, taken[0].task):
                self._making.add(taken[0].task)
            return taken

    def _do(self, cell: Cell, lock: FileLock) -> None:
        try:
            made = _made(self.plan, cell.task, self.asked.runs)
            with self._choosing:
                self._making.discard(cell.task)
                self.unmade |= set() if made else {cell.task}
                self._choosing.notify_all()
            if made and not _recorded(self.plan, cell, self.asked):
                self.failed.add(cell)
        finally:
            lock.release()
            with self._choosing:
                self._busy -= 1
                self._choosing.notify_all()

    def next(self, without: AbstractSet[str] = frozenset()) -> tuple[Cell, FileLock] | None:
        """The first run in the plan's order that has no record, did not fail before and no other worker is at; locked.

        None where there is none now, or the time is up.

        Args:
            without: tasks of which no run is taken.
        """
        if time.monotonic() > self.asked.ends:
            return None
        for cell in self.plan.cells(self._best_rate):
            record = _record(self.asked, cell)
            if (self.asked.task and cell.task not in self.asked.task) or cell.task in without:
                continue
            if cell in self.failed or record.is_file():
                continue
            if self.plan.is_after(cell.method) and not self._is_ready(cell):
                continue
            (self.asked.runs / cell.task).mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.asked.runs / cell.task / f"{cell.name}.lock")
            try:
                lock.acquire(blocking=False)
            except Timeout:
                continue
            if not record.is_file():  # else another worker ended it in between
                return cell, lock
            lock.release()
        return None

    def _is_ready(self, cell: Cell) -> bool:
        """Whether LoRA's run that this one changes is there."""
        needed = self.plan.needs(cell, self._best_rate(cell.task, LORA))
        return needed is not None and (self.asked.runs / cell.task / needed.name / "result.json").is_file()

    def _best_rate(self, task: str, method: str) -> float | None:
        """The chosen rate, which stays what it is once it is known."""
        if (task, method) not in self._chosen:
            rate = best_rate(self.plan, self.asked.records, task, method)
            if rate is None:
                return None
            self._chosen[task, method] = rate
        return self._chosen[task, method]


def main() -> int:
    """Do what is left; return the exit code."""
    asked = _parser().parse_args()
    asked.ends = time.monotonic() + 60 * asked.minutes
    asked.runs, asked.records = asked.runs.resolve(), asked.records.resolve()
    os.chdir(ROOT)  # recipes name their data from there
    plan = read_plan()
    if asked.dry:
        return _dry(plan, asked)
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")  # looks for a GPU without opening it before the fork
    paths = [str(ROOT / "src"), str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)  # of scripts, and of the process that runs are forked from
    multiprocessing.set_forkserver_preload(["one"])
    work, tried = Work(plan, asked), None
    while work.failed != tried:
        tried, work.failed = frozenset(work.failed), set()
        work.all_go_on()
        if not work.failed:
            break
    failed, unmade = work.failed_for_good(tried or frozenset()), work.unmade
    left = [f"{len(failed)} failed"] * bool(failed) + [f"{task} could not be prepared" for task in sorted(unmade)]
    _say("; ".join(["time is up" if time.monotonic() > asked.ends else "no run is left", *left]) + ".")
    return 1 if left else 0


def _dry(plan: Plan, asked: argparse.Namespace) -> int:
    taken = Work(plan, asked).next()
    if taken is None:
        print("no run is left.")
    else:
        print(f"next: {taken[0].task} {taken[0].name}")
        taken[1].release()
    return 0


def _recorded(plan: Plan, cell: Cell, asked: argparse.Namespace) -> bool:
    """Do a run and collect its record; false where it failed."""
    _say(f"{cell.task} {cell.name} …")
    facts = _done(cell, asked)
    if facts is None:
        return False
    folder, records = asked.runs / cell.task / cell.name, asked.records / cell.task
    collect(folder, records, facts)
    for name in BULKY:
        shutil.rmtree(folder / name, ignore_errors=True)
    took = f"{facts['wall_seconds']:.0f} s, {facts['cpu_seconds']:.0f} s of processor time"
    _say(f"{cell.task} {cell.name}: {took}; {len(list(records.glob('*.items.json')))} of {plan.planned(cell.task)}")
    return True


def _record(asked: argparse.Namespace, cell: Cell) -> Path:
    """The columns of a complete run."""
    records: Path = asked.records
    return records / cell.task / f"{cell.name}.items.json"


def _is_made(plan: Plan, task: str) -> bool:
    """Whether what a task needs beside the assets is there."""
    return "needs" not in plan.tasks[task] or (ROOT / plan.tasks[task]["needs"]).is_file()


def _made(plan: Plan, task: str, runs: Path) -> bool:
    """Make what a task needs beside the assets, once; false where a script failed."""
    with FileLock(runs / task / "made.lock"):
        if not _is_made(plan, task):
            for command in plan.tasks[task]["make"]:
                _say(f"{task}: {command} …")
                done = subprocess.run([sys.executable, *command.split()], check=False)  # noqa: S603
                if done.returncode:
                    _say(f"{task}: {command} failed with {done.returncode}; its runs are left out")
                    return False
    return True


def _done(cell: Cell, asked: argparse.Namespace) -> dict[str, Any] | None:
    """Do a run in a process of its own; give what it cost, or None where it failed."""
    began = time.monotonic()
    log = asked.runs / cell.task / f"{cell.name}.log"
    context = multiprocessing.get_context("forkserver")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=one.child, args=(cell, asked.runs, asked.records, log, sender))
    child.start()
    sender.close()
    try:
        spent = receiver.recv()  # comes last, so the run is complete; exit codes are read by several threads at once
    except EOFError:
        spent = None
    child.join()
    if spent is None:
        _say(f"{cell.task} {cell.name}: failed with {child.exitcode}; see its log")
        with (asked.runs / "failed.txt").open("a", encoding="utf-8") as note:
            note.write(f"{cell.task} {cell.name} {child.exitcode}\n")
        return None
    return {
        "task": cell.task,
        "method": cell.method,
        "rate": cell.rate,
        "seed": cell.seed,
        "commit": asked.commit,
        "wall_seconds": round(time.monotonic() - began, 1),
        "cpu_seconds": round(spent, 1),
    }


def _commit() -> str:
    git = shutil.which("git") or "git"
    done = subprocess.run(  # noqa: S603 - a constant command
        [git, "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout.strip() or "unknown"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", nargs="*", default=[])
    parser.add_argument("--runs", type=Path, default=ROOT / "runs/benchmark")
    parser.add_argument("--records", type=Path, default=HERE / "records")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=math.inf)
    parser.add_argument("--commit", default=_commit(), help="of this code, where it is no repository (%(default)s)")
    parser.add_argument("--dry", action="store_true")
    return parser


def _say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
