"""Processes that tests start: Python with few libraries to load, or two copies of this process that talk by gloo."""

from __future__ import annotations

import os
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
PATIENCE = timedelta(minutes=5)


def light(*paths: Path | str, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """An environment in which PEFT is loaded sooner: see `light_start/sitecustomize.py`.

    Args:
        paths: folders of modules that the process imports.
        environment: what the process gets besides.
    """
    found = [HERE / "light_start", *paths, environment.get("PYTHONPATH", "")]
    given = {"PYTHONPATH": os.pathsep.join(str(path) for path in found if str(path)), "HF_HUB_OFFLINE": "1"}
    return {**environment, "OMP_NUM_THREADS": "1", **given}


class Ended(NamedTuple):
    """What became of two processes: whether both ended well, and all that they said."""

    well: bool
    said: str


def in_two(work: Callable[..., None], folder: Path, *given: Any, patience: timedelta = PATIENCE) -> Ended:
    """Run work(rank, *given) in two forks of this process that are one group.

    They find one another by a file, so that no port can be taken by somebody else, and import nothing anew.

    Args:
        work: what each does.
        folder: an empty place for the file and for what each says.
        given: handed to it.
        patience: how long one waits for the other; after it they hang.
    """
    from torch.multiprocessing import start_processes

    folder.mkdir(parents=True, exist_ok=True)
    both = start_processes(_one_of_two, (work, folder, given, patience), nprocs=2, join=False, start_method="fork")
    end, well, more = time.monotonic() + 2 * patience.total_seconds(), False, ""
    try:
        while not (well := both.join(timeout=1)) and time.monotonic() < end:
            pass
        more = "" if well else "it hangs\n"
    except Exception as error:  # noqa: BLE001 -- whatever it is, the test shows it
        more = f"{error}\n"
    finally:
        for process in both.processes:
            process.kill()
    said = "\n".join(path.read_text(encoding="utf-8")[-4000:] for path in sorted(folder.glob("said-*")))
    return Ended(well, more + said)


def _one_of_two(rank: int, work: Callable[..., None], folder: Path, given: tuple, patience: timedelta) -> None:
    import torch
    import torch.distributed as dist

    sys.stdout = sys.stderr = (folder / f"said-{rank}").open("w", encoding="utf-8", buffering=1)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2, timeout=patience)
    work(rank, *given)
    dist.destroy_process_group()
