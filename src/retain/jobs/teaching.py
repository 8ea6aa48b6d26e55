"""What a run's teacher says: the teacher itself beside the student, or its answers, kept in a file.

Of a classifier these are the probabilities of all classes, of a language model those of the most likely tokens.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict

from retain.activations.distributed import gathered, rank, wait
from retain.data.item import items_hash
from retain.errors import InputError
from retain.evaluate.batching import head_batching
from retain.evaluate.encode import class_names, log_probabilities
from retain.evaluate.input_hash import InputHash
from retain.evaluate.shares import Share
from retain.hf.models.describe import vocabulary_of
from retain.hf.models.head import is_classifier
from retain.hf.models.inference import evaluating
from retain.hf.models.lm_head import logits_of
from retain.hf.models.memory import telling_memory
from retain.hf.models.sides import root_of
from retain.jobs.inputs.teachers import Teacher, check_order, teacher_of
from retain.jobs.launch.together import first_process_first
from retain.jobs.run import Run
from retain.jobs.state_files import key_of, read_or_none, rewrite
from retain.train.loop import TrainingSet
from retain.train.regularise.distillation import TeacherLogits, learned_positions, row_keys
from retain.train.regularise.divergence import placed
from retain.train.regularise.teacher_tokens import Likely, TeacherTokens, row_key


class Taught(BaseModel):
    """A teacher's answers for the items of a training set.

    Attributes:
        labels: the classes, in the order of the numbers.
        log_probabilities: of each class for each item, in nats.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    labels: tuple[str, ...]
    log_probabilities: tuple[tuple[float, ...], ...]


def penalty_teacher(run: Run, model: Any, learned: TrainingSet) -> Any:
    """What the KL penalty compares with in place of the base: a model, its answers, or None for the base.

    Args:
        run: names the teacher.
        model: the student.
        learned: its training set.

    Raises:
        InputError: the teacher cannot be loaded, or its classes are not the student's.
    """
    teacher = teacher_of(run.recipe, run.data.family, run.data.labels)
    if teacher is None:
        return None
    if is_classifier(model) and run.recipe.kl_on == "batch":
        return _answers(run, model, teacher)
    if run.recipe.teacher_top:
        return _tokens(run, model, teacher, learned)
    loaded = teacher.load()
    if is_classifier(model):
        check_order(loaded, model)
    return loaded


def _answers(run: Run, model: Any, teacher: Teacher) -> TeacherLogits:
    """The teacher's answers for all training items, asked once; runs in one folder share them."""
    items = run.data.train
    key = key_of(teacher.files, run.spec.dtype, items_hash(items), run.data.labels, run.preprocessor.max_length)
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


def _tokens(run: Run, model: Any, teacher: Teacher, learned: TrainingSet) -> TeacherTokens:
    """The teacher's most likely tokens for all training rows, asked once; runs in one folder share them.

    Of several processes the first asks, and the others read its file.
    """
    recipe = run.recipe
    asked = (teacher.files, run.spec.dtype, recipe.teacher_top, recipe.kl_temperature)
    file = run.shared / f"teacher-{key_of(*asked, _rows_hash(learned.rows))}.safetensors"
    with first_process_first(), run.in_turn(file, run.events):
        if file.is_file():
            return TeacherTokens.load(file)
        found = _most_likely(run, model, teacher.load(), learned)
        if rank() == 0:
            found.save(file)
        return found


def _most_likely(run: Run, model: Any, teacher: Any, learned: TrainingSet) -> TeacherTokens:
    """Ask a loaded teacher for its most likely tokens at all learned positions."""
    top, temperature, size = int(run.recipe.teacher_top or 0), run.recipe.kl_temperature, run.recipe.batch_size
    sizes = {vocabulary_of(one) for one in (model, teacher)}
    vocabulary = sizes.pop() if len(sizes) == 1 else min(*sizes, len(run.preprocessor.tokenizer))
    order = sorted(range(len(learned.rows)), key=lambda row: -len(learned.rows[row]["input_ids"]))
    task = run.events.task("the teacher answers", total=len(order))
    keys, counts, parts = [], [], []
    with torch.no_grad(), evaluating(teacher), telling_memory("asking the teacher"):
        for start in range(0, len(order), size):
            inputs = learned.collator([learned.rows[row] for row in order[start : start + size]])
            read = {name: value for name, value in inputs.items() if name != "labels"}
            logits = logits_of(teacher, placed(teacher, read))
            positions = learned_positions(inputs, inputs["labels"].shape[1])
            chosen = logits[:, -positions.shape[1] :][positions.to(logits.device)][:, :vocabulary]
            found = Likely.of(chosen, top, temperature)
            parts.append(Likely(*(value.cpu() for value in vars(found).values())))
            keys += [row_key(inputs, row) for row in range(len(positions))]
            counts += positions.sum(1).tolist()
            task.advance(len(positions))
    return TeacherTokens(keys, counts, Likely.joined(parts), vocabulary=vocabulary, temperature=temperature)


def _rows_hash(rows: Sequence[Mapping[str, Sequence[int]]]) -> str:
    """A hash of tokenised rows and of what is learned in them."""
    digest = hashlib.sha256()
    for row in rows:
        for name in ("input_ids", "labels"):
            digest.update(np.asarray(row[name], dtype=np.int64).tobytes())
            digest.update(b";")
    return digest.hexdigest()


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
