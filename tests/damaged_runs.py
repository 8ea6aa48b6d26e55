"""What verbs make of damaged files: each case is a folder, what is asked of it, and what must come out."""

from __future__ import annotations

import hashlib
import random
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from damage import damage
from interruptions import Child, in_child, outcome

SMALL = ["--drift", "false", "--test-items", "4", "--keep-items", "8", "--generate", "0", "--held-out-tokens", "64"]
SHORT = ["--max-steps", "4", "--batch-size", "4", "--training.logging_steps", "2"]
SECONDS = 600
"""After which a child hangs: many times what it takes, for machines that are busy."""


@dataclass(frozen=True)
class Case:
    """A folder, the same of another run, what is asked of the folder, and the answer when it is whole."""

    folder: Path
    other: Path
    ask: Callable[[Path, Path], int]
    answer: Callable[[Path, Path], object]


class Cases:
    """Makes the folders once, in children, and asks them again and again after damage."""

    def __init__(self, model: Path, data: Path, place: Path) -> None:
        self.model, self.data, self.place = model, data, place

    def words(self, verb: str, output: Path, *more: str) -> list[str]:
        given = {"model": self.model, "train": self.data / "train.jsonl", "keep": self.data / "letters.jsonl"}
        given |= {"held-out-text": self.data / "text.txt", "output": output}
        given |= {"test": self.data / "test.jsonl"} if verb != "calibrate" else {}
        return [verb, *(word for name, value in given.items() for word in (f"--{name}", str(value))), *more]

    def tuned(self, output: Path, seed: int = 0) -> list[str]:
        return self.words("tune", output, "--method", "lora", "--seed", str(seed), *SMALL, *SHORT)

    def make(self, name: str) -> Case:
        """The folder of a case; the run is always at one place, so that its command stays the same."""
        folders = [self.place / name / str(seed) / "run" for seed in (0, 1)]
        for seed, folder in enumerate(folders):
            made = in_child(lambda folder=folder, seed=seed: self._make(name, folder, seed), folder, self.place / "log")
            assert made.code in {0, 130}, made.text
        asks = {"trained": self._tune, "checkpoint": self._tune, "finished": _report, "adapter": self._load}
        answers = {"trained": _run_answer, "checkpoint": _run_answer, "finished": _page_answer}
        return Case(*folders, asks.get(name, _sum_up), answers.get(name, _printed))

    def _make(self, name: str, folder: Path, seed: int) -> int:
        from retain.cli.main import main

        if name == "statistics":
            return main(self.words("calibrate", folder, "--calibrate-tokens", "256", "--calibrate-seed", str(seed)))
        if name == "checkpoint":
            from retain.train.callbacks import StopOnSignal

            own = StopOnSignal.on_step_end

            def stop(self, args, state, control, **more):
                self._stopping = state.global_step == 2
                return own(self, args, state, control, **more)

            StopOnSignal.on_step_end = stop
        if name == "trained":
            from retain.jobs import tune

            def interrupted(*_, **__):
                raise KeyboardInterrupt

            tune.measure_pair = interrupted
        return main(self.tuned(folder, seed))

    def _tune(self, folder: Path, _: Path) -> int:
        from retain.cli.main import main

        return main(self.tuned(folder))

    def _load(self, folder: Path, shown: Path) -> int:
        """What every verb does with `--tuned`: refuse what is not as it was written, and load it."""
        from transformers import AutoModelForCausalLM

        from retain.errors import RetainError
        from retain.hf.adapters.load import load_adapter
        from retain.records.manifest import check_unchanged

        try:
            check_unchanged(folder / "adapter")
            model = load_adapter(AutoModelForCausalLM.from_pretrained(self.model), folder / "adapter")
        except RetainError as error:
            sys.stderr.write(f"{error}\n")
            return 2
        _print_sum(shown, (value.detach() for value in model.state_dict().values()))
        return 0


def _print_sum(shown, tensors) -> None:
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode() + tensor.contiguous().numpy().tobytes())
    shown.write_text(digest.hexdigest(), encoding="ascii")


def _sum_up(folder: Path, shown: Path) -> int:
    """Read every sum of second moments."""
    from retain.activations import load
    from retain.errors import RetainError

    try:
        found = [load(folder / part) for part in ("learn", "keep")]
        moments = [part.moments(layer) for part in found for layer in part.manifest.layers]
        tensors = [tensor for one in moments for tensor in (one.gram, one.total)]
    except RetainError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    _print_sum(shown, tensors)
    return 0


def _report(folder: Path, shown: Path) -> int:
    """Judge again from the record, and write its page."""
    from retain.cli.main import main

    code = main(["gate", str(folder)])
    return main(["report", str(folder), "--output", str(shown)]) if code in {0, 3, 4} else code


def _run_answer(folder: Path, _: Path) -> object:
    known = outcome(folder)
    return {name: known.get(name) for name in ("adapter/adapter_model.safetensors", "items.jsonl", "result.json")}


def _page_answer(_: Path, shown: Path) -> object:
    return (shown / "report.md").read_bytes() if (shown / "report.md").is_file() else None


def _printed(_: Path, shown: Path) -> object:
    return shown.read_text(encoding="ascii") if shown.is_file() else None


def tried(case: Case, number: int, seed: int) -> tuple[Counter, list[str]]:
    """Damage a folder so many times, ask each time, and count what came of it.

    Returns:
        The counts of "error" (a clear one), "same", "silent", "traceback" and "hang", and what the last three were.
    """
    place, counts, bad = case.folder.parents[1], Counter(), []
    kept, shown = place / "kept", place / "shown"
    shutil.copytree(case.folder, kept)
    expected = _asked(case, shown)[1]
    for index in range(number):
        shutil.rmtree(case.folder)
        shutil.copytree(kept, case.folder)
        what = damage(case.folder, case.other, random.Random(f"{seed} {index}"))  # noqa: S311 -- no secret
        child, answer = _asked(case, shown)
        kind = _kind(child, same=answer == expected)
        counts[kind] += 1
        if kind in {"silent", "traceback", "hang"}:
            bad.append(f"{kind}: {what}: {child.code} {child.text[-900:]}")
    return counts, bad


def _asked(case: Case, shown: Path) -> tuple[Child, object]:
    shutil.rmtree(shown, ignore_errors=True)
    shown.unlink(missing_ok=True)
    log = case.folder.parents[1] / "log"
    child = in_child(lambda: case.ask(case.folder, shown), case.folder, log, seconds=SECONDS)
    return child, case.answer(case.folder, shown)


def _kind(child: Child, *, same: bool) -> str:
    if child.hung:
        return "hang"
    if child.has_traceback or child.code not in {0, 1, 2, 3, 4} or "was not foreseen" in child.text:
        return "traceback"
    if child.code in {1, 2}:
        return "error"
    return "same" if same else "silent"
