"""Whether the adapter acts where it is served: base and adapter are run here on a few prompts, the server beside."""

from __future__ import annotations

from typing import Any

from retain.errors import InputError
from retain.evaluate.served.acting import (
    PROMPTS,
    check_acting,
    continued,
    read_here,
    written_here,
)
from retain.evaluate.served.predictor import ServedPredictor
from retain.evaluate.suites.suite import Settings
from retain.events import Events
from retain.hf.adapters.folder import inner_adapters, is_adapter
from retain.hf.adapters.load import load_adapter
from retain.jobs.served.opening import ServedOpening
from retain.records.paths import expanded
from retain.records.served_record import ActingCheck

OUTCOMES = {"acts": 0, "cannot tell": 4}
"""Exit codes of the check; 3 for all else."""


def acting(opened: ServedOpening, base: Any, events: Events) -> ActingCheck:
    """Compare what is served with adapter and base.

    Args:
        opened: the served model.
        base: the loaded base; it comes back without the adapter.
        events: receives the progress.

    Raises:
        InputError: the adapter cannot be loaded.
    """
    prompts = opened.prompts(PROMPTS)
    ends = opened.ends(base)
    on_base = written_here(base, prompts, ends, events, "the base answers a few prompts")
    source = adapter_source(str(opened.recipe.adapter))
    if is_adapter(source):
        tuned = load_adapter(opened.spec.load()[0], source)
    else:
        tuned, _ = opened.spec.at(source, "adapter").load()
    on_adapter = written_here(tuned, prompts, ends, events, "the adapter answers them here")
    rows = continued(prompts, on_adapter, on_base)
    read = read_here(base, rows), read_here(tuned, rows)
    del tuned
    task = events.task("the served model answers them", total=len(prompts) + len(rows))
    predictor = ServedPredictor(
        opened.tuned,
        opened.preprocessor,
        Settings(),
        opened.vocabulary,
        ends,
        opened.recipe.concurrency,
        tick=task.advance,
    )
    return check_acting(opened.tuned, predictor, prompts, (on_base, read[0]), (on_adapter, read[1]), rows)


def adapter_source(given: str, field: str = "adapter") -> str:
    """The folder of the adapter, or of the full model, that a run's folder or another holds.

    Args:
        given: the folder; what is none is given back.
        field: of the recipe, for refusals.

    Raises:
        InputError: there is none.
    """
    folder = expanded(given)
    if not folder.is_dir():
        return given
    for inner in (folder, folder / "adapter", folder / "model"):
        if (inner / "adapter_config.json").is_file() or (inner / "config.json").is_file():
            return str(inner)
    inside = inner_adapters(folder)
    if len(inside) == 1:
        return str(inside[0])
    cure = f"; give one of the adapters inside it: {', '.join(map(str, inside[:5]))}" if inside else ""
    raise InputError(
        f"{field}: {given} holds neither an adapter (adapter_config.json) nor a model (config.json){cure}."
    )


def exit_code(found: ActingCheck, cautions: tuple[str, ...]) -> int:
    """0 where the adapter acts and nothing else differs, 4 where it cannot be told, 3 otherwise."""
    code = OUTCOMES.get(found.verdict, 3)
    return 3 if code == 0 and cautions else code
