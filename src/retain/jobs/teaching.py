"""What a run's teacher says: the teacher itself beside the student, or a classifier's answers, kept in a file."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict

from retain.activations.distributed import gathered, wait
from retain.data.item import items_hash
from retain.errors import InputError
from retain.evaluate.batching import head_batching
from retain.evaluate.encode import class_names, log_probabilities
from retain.evaluate.input_hash import InputHash
from retain.evaluate.shares import Share
from retain.hf.models.head import is_classifier
from retain.hf.models.sides import root_of
from retain.jobs.inputs.teachers import Teacher, check_order, teacher_of
from retain.jobs.run import Run
from retain.jobs.state_files import key_of, read_or_none, rewrite
from retain.train.regularise.distillation import TeacherLogits, row_keys


class Taught(BaseModel):
    """A teacher's answers for the items of a training set.

    Attributes:
        labels: the classes, in the order of the numbers.
        log_probabilities: of each class for each item, in nats.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    labels: tuple[str, ...]
    log_probabilities: tuple[tuple[float, ...], ...]


def penalty_teacher(run: Run, model: Any) -> Any:
    """What the KL penalty compares with in place of the base: a model, a classifier's answers, or None for the base.

    Args:
        run: names the teacher.
        model: the student.

    Raises:
        InputError: the teacher cannot be loaded, or its classes are not the student's.
    """
    teacher = teacher_of(run.recipe, run.data.family, run.data.labels)
    if teacher is None:
        return None
    if is_classifier(model) and run.recipe.kl_on == "batch":
        return _answers(run, model, teacher)
    loaded = teacher.load()
    if is_classifier(model):
        check_order(loaded, model)
    return loaded


def _answers(run: Run, model: Any, teacher: Teacher) -> TeacherLogits:
    """The teacher's answers for all training items, asked once; runs in one folder share them."""
    items = run.data.train
    key = key_of(teacher.files, run.recipe.dtype, items_hash(items), run.data.labels, run.preprocessor.max_length)
    file, share = run.shared / f"teacher-{key}.json", Share.of_group()
    with run.in_turn(file, run.events) if share.rank == 0 else nullcontext():  # the others wait for the first
        known = read_or_none(file, Taught)
        if not all(gathered(known is not None)) or known is None:
            known = _asked(run, teacher, share)
            if share.rank == 0:
                rewrite(file, known.model_dump_json())
            wait()
    names = class_names(root_of(model))
    if sorted(names) != sorted(known.labels):
        raise InputError(
            f"teacher: {run.recipe.teacher} tells the classes {', '.join(known.labels[:8])} apart, and the model "
            f"{', '.join(names[:8])}; give a teacher that was trained on the same classes."
        )
    order = [known.labels.index(name) for name in names]
    values = torch.tensor(known.log_probabilities, dtype=torch.float64)[:, order].float()
    keys = [key for item in items for key in row_keys(run.preprocessor.batch([item]))]
    return TeacherLogits(keys, values)


def _asked(run: Run, teacher: Teacher, share: Share) -> Taught:
    """Load the teacher, ask it, and let it go."""
    items, loaded = run.data.train, teacher.load()
    preprocessor = teacher.spec.preprocessor()
    task = run.events.task("the teacher answers", total=len(items))
    found = log_probabilities(
        loaded,
        preprocessor,
        items,
        run.recipe.evaluation_batch_size,
        task.advance,
        InputHash(),
        batching=head_batching(loaded, preprocessor, items),
        share=share,
    )
    return Taught(labels=tuple(class_names(root_of(loaded))), log_probabilities=tuple(map(tuple, found.tolist())))
