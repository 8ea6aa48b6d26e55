"""The task of a Ray worker: one unit. Light to import, so that the number of threads is set before torch is."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retain.errors import RetainError
from retain.events import Event, Events
from retain.jobs.workers.process import Throttled
from retain.jobs.workers.unit import Setup, State, Unit
from retain.jobs.workers.work import Work, attempt, do, settle
from retain.recipe.from_run import STARTED_IN

if TYPE_CHECKING:
    from retain.jobs.run import Run

SECONDS_BETWEEN_LOOKS = 0.5
"""Time between two questions whether what another unit makes is there."""

SWEEP = "sweep"

SCRATCH = "retain-ray-"
"""Beginning of the names of folders in which units are done on machines that do not see the command's."""


def do_unit(
    settings: tuple[str, str, bool], unit_text: str, desk: Any, files: Mapping[str, bytes]
) -> tuple[State, str, Mapping[str, bytes]]:
    """Do a unit.

    Args:
        settings: the setup, the command's mark on folders here, and whether every machine sees its output.
        unit_text: the unit.
        desk: the handle of the `Desk`.
        files: what is there of the run already, where the folder is not seen.

    Returns:
        The outcome's state, text and files.
    """
    setup_text, mark, shared = settings
    setup, unit = Setup.model_validate_json(setup_text), Unit.model_validate_json(unit_text)

    def tell(event: Event) -> None:
        desk.tell.remote(unit.number, (event.task, event.name, event.done, event.total))

    try:
        settle(setup)
    except RetainError as error:
        return "failed", str(error), {}
    events = Events(Throttled(tell))
    if shared or setup.kind == "nothing":
        outcome = do(setup, unit, events)
        return outcome.state, outcome.text, {}
    if setup.kind == "candidate":
        return _try_elsewhere(setup, unit, events, desk, mark)
    with _scratch(mark) as place:
        return _do_elsewhere(setup, unit, events, _Elsewhere(place, desk, unit), files)


def sees(mark: str, nonce: str) -> bool:
    """Whether a file with this content is seen here."""
    with contextlib.suppress(OSError):
        return Path(mark).read_text(encoding="ascii") == nonce
    return False


@contextlib.contextmanager
def _scratch(mark: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix=f"{SCRATCH}{mark}-", ignore_cleanup_errors=True) as place:
        yield Path(place)


class _Elsewhere:
    """The folder of a unit on a machine that does not see the command's, and what all units share by the desk."""

    def __init__(self, place: Path, desk: Any, unit: Unit) -> None:
        self.place, self.desk, self.unit = place, desk, unit

    def of(self, run: Run) -> Run:
        """A run that is done here."""
        from retain.jobs.run_folder import RunFolder  # noqa: PLC0415 -- torch, once its threads are set

        folder = RunFolder(self.place / "runs" / self.unit.name)
        return replace(run, folder=folder, shared=self.place, in_turn=self.in_turn)

    @contextlib.contextmanager
    def in_turn(self, path: Path, events: Events) -> Iterator[None]:
        """Take what another unit made; or make it, and give it to all."""
        import ray  # noqa: PLC0415 -- an extra

        from retain.jobs.workers.run_files import pack, unpack_plain  # noqa: PLC0415 -- as above

        name, told = path.relative_to(self.place).as_posix(), False
        while (answer := ray.get(self.desk.claim.remote(name, self.unit.number))) == "wait":
            if not told:
                events.task(f"waits for {path.name}, which another run makes")
                told = True
            time.sleep(SECONDS_BETWEEN_LOOKS)
        if answer == "there":
            if not path.exists():
                unpack_plain(path, ray.get(self.desk.take.remote(name)))
            yield
            return
        try:
            yield
            if path.exists():
                ray.get(self.desk.give.remote(name, self.unit.number, pack(path)))
        finally:
            ray.get(self.desk.leave.remote(self.unit.number))


def _do_elsewhere(
    setup: Setup, unit: Unit, events: Events, elsewhere: _Elsewhere, files: Mapping[str, bytes]
) -> tuple[State, str, Mapping[str, bytes]]:
    from retain.jobs.tune import complete  # noqa: PLC0415 -- torch, once its threads are set
    from retain.jobs.workers.prepared import checked, prepared_runs  # noqa: PLC0415 -- likewise
    from retain.jobs.workers.run_files import pack, unpack  # noqa: PLC0415 -- likewise

    folder = elsewhere.place / "runs" / unit.name

    def complete_here(unit: Unit, events: Events) -> str:
        run = checked(replace(prepared_runs(setup.recipe)[unit.number], events=events), unit)
        if files:
            unpack(folder, files)
        complete(elsewhere.of(run))
        return ""

    try:
        outcome = attempt(complete_here, unit, events)
    except KeyboardInterrupt:
        if folder.is_dir():
            elsewhere.desk.keep.remote(unit.name, pack(folder))
        raise
    written = pack(folder) if outcome.state == "done" else {}
    return outcome.state, outcome.text, {name: content for name, content in written.items() if name != STARTED_IN}


def _try_elsewhere(
    setup: Setup, unit: Unit, events: Events, desk: Any, mark: str
) -> tuple[State, str, Mapping[str, bytes]]:
    """Try a candidate in a folder of this process, in which the next ones are tried too."""
    from retain.jobs.workers.prepared import tries_candidates  # noqa: PLC0415 -- torch, once its threads are set

    if mark not in _SWEEPS:
        place = Path(tempfile.mkdtemp(prefix=f"{SCRATCH}{mark}-"))
        elsewhere = _Elsewhere(place, desk, unit)
        work = tries_candidates(setup, lambda run: replace(run, shared=place / SWEEP, in_turn=elsewhere.in_turn))
        _SWEEPS[mark] = elsewhere, work
    elsewhere, work = _SWEEPS[mark]
    elsewhere.unit = unit
    outcome = attempt(work, unit, events)
    return outcome.state, outcome.text, {}


_SWEEPS: dict[str, tuple[_Elsewhere, Work]] = {}
"""The sweep that this process is at, by the mark of its command."""


def clean_up(mark: str) -> bool:
    """Remove the folders of a command's units that were killed on this machine."""
    for place in Path(tempfile.gettempdir()).glob(f"{SCRATCH}{mark}-*"):
        shutil.rmtree(place, ignore_errors=True)
    return True
