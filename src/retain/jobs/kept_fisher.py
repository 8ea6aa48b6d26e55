"""The Fisher information that EWC reads: measured once on the text to keep, and kept for all runs on one base."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from retain.activations.distributed import rank
from retain.data.preprocess import Inputs
from retain.hf.models.memory import telling_memory
from retain.hf.models.trained_parts import trained_parts
from retain.jobs.calibrate import Calibration
from retain.jobs.launch.together import first_process_first
from retain.train.regularise.callback import fingerprint
from retain.train.regularise.fisher import SCHEMA, Fisher, fisher_diagonal

SHOWN = 3
"""Names given in a note."""


def kept_fisher(job: Calibration, model: Any, batches: Sequence[Inputs], teacher: Any = None) -> Fisher:
    """The Fisher information of a model's base, from its file where that is there already.

    Of several processes the first measures it and the others read its file, so that it has the bits of one process.

    Args:
        job: the calibration whose folder it is kept in; its notes receive what nothing holds.
        model: with its adapter.
        batches: of the text or images to keep.
        teacher: the base as a model of its own, where it is not inside.
    """
    parts = [(part.name, part.shape) for part in trained_parts(model)]
    seed = job.recipe.calibrate_seed
    file = job.folder / f"fisher-{job.key_of(SCHEMA, fingerprint(batches), parts, seed)}.safetensors"
    with first_process_first(), job.in_turn(file, job.events):
        if file.is_file():
            found = Fisher.load(file)
        else:
            task = job.events.task("the base reads what to keep, forwards and backwards", total=len(batches))
            with telling_memory("calibrating"):
                found = fisher_diagonal(
                    model, batches, teacher=teacher, seed=seed, on_row=lambda done, _: task.update(done=done)
                )
            if rank() == 0:
                found.save(file)
    if unreached := found.unreached:
        shown = ", ".join(unreached[:SHOWN]) + (", …" if len(unreached) > SHOWN else "")
        job.notes.append(
            f"ewc: the predictions on the text to keep rest on none of the weights of {len(unreached)} of {len(parts)} "
            f"parts ({shown}), so nothing holds those."
        )
    return found
