"""A teacher for the KL penalty: a model or what an earlier run made, checked against the student, and loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from retain.data.preprocess import Preprocessor
from retain.errors import InputError
from retain.evaluate.encode import class_names
from retain.hf.adapters.folder import is_adapter
from retain.hf.adapters.load import load_adapter
from retain.hf.models.head import restore_head, saved_labels
from retain.hf.models.sides import root_of
from retain.jobs.cache_folder import cache_folder
from retain.jobs.inputs.loading import PLAIN
from retain.jobs.inputs.model_files import files_fingerprint
from retain.jobs.inputs.models import ModelSpec
from retain.recipe import Recipe
from retain.recipe.from_run import RECIPE, read_recipe
from retain.records.paths import expanded


@dataclass(frozen=True)
class Teacher:
    """Where a teacher lies.

    Attributes:
        spec: the model, or the base under an adapter.
        adapter: the folder of an adapter on it, or None.
        cache: the user's folder in which digests of weight files are kept.
    """

    spec: ModelSpec
    adapter: Path | None = None
    cache: Path | None = None

    @property
    def files(self) -> list[str]:
        """Fingerprints of its files, for the identity of a run."""
        places = (str(expanded(place)) for place in (self.spec.source, self.adapter) if place is not None)
        return [files_fingerprint(place, self.cache) for place in places]

    def load(self) -> Any:
        """Load it, frozen and in eval mode.

        Raises:
            InputError: it cannot be loaded, or is to judge classes that it has no head for.
        """
        model, head_is_new = self.spec.load()
        if self.adapter is not None:
            if head_is_new and saved_labels(self.adapter) is not None:
                restore_head(model, self.adapter)
                head_is_new = False
            model = load_adapter(model, self.adapter)
        if head_is_new:
            raise InputError(_untrained(self.spec))
        return model.requires_grad_(False).eval()  # noqa: FBT003 -- torch's own signature


def teacher_of(recipe: Recipe, family: Any, labels: Sequence[str]) -> Teacher | None:
    """The teacher that a recipe names; None for the base.

    Args:
        recipe: of one run.
        family: the class that the student is loaded as.
        labels: its classes.

    Raises:
        InputError: the folder is an adapter alone, or a run that has delivered nothing.
    """
    if not recipe.kl_weight or recipe.teacher is None:
        return None
    cache = cache_folder(recipe.cache)
    own = replace(ModelSpec.of(recipe, family, labels), loading=PLAIN, template=None, template_values={})
    folder = expanded(recipe.teacher)
    if not (folder / RECIPE).is_file():
        if is_adapter(recipe.teacher) and not (folder / "config.json").is_file():
            raise InputError(
                f"teacher: {recipe.teacher} is an adapter, and its base is not beside it: give the folder of the run "
                "that made it, or a whole model (retain export --to merged)."
            )
        return Teacher(own.at(recipe.teacher, "teacher"), cache=cache)
    earlier = read_recipe(folder)
    if (folder / "model").is_dir():
        return Teacher(own.at(folder / "model", "teacher"), cache=cache)
    if not (folder / "adapter").is_dir():
        raise InputError(
            f"teacher: {recipe.teacher} delivered no weights: finish that run with retain tune, or give another."
        )
    known = saved_labels(folder / "adapter") or labels
    spec = replace(own.at(str(earlier["model"]), "teacher"), labels=tuple(known))
    return Teacher(spec, folder / "adapter", cache)


def teacher_problems(recipe: Recipe, family: Any, labels: Sequence[str], preprocessor: Preprocessor) -> list[str]:
    """A sentence for each reason why a recipe's teacher cannot teach its model; found without loading weights."""
    try:
        teacher = teacher_of(recipe, family, labels)
        if teacher is None:
            return []
        problems = _class_problems(recipe, teacher, labels) if family.endswith("classifier") else []
        if recipe.teacher_top and family.endswith("classifier"):
            problems.append("teacher_top: is for language models; a classifier's teacher is asked once anyway.")
        if family == "causal-lm" or recipe.kl_on == "keep":
            problems += _reading_problems(recipe, teacher, preprocessor)
    except InputError as error:
        return list(error.problems)
    return problems


def _class_problems(recipe: Recipe, teacher: Teacher, labels: Sequence[str]) -> list[str]:
    beside = None if teacher.adapter is None else saved_labels(teacher.adapter)
    known = beside or _known_classes(teacher.spec)
    if known is None:
        return [_untrained(teacher.spec)]
    if sorted(known) != sorted(labels):
        told = f"tells the classes {', '.join(known[:8])} apart, and the data have {', '.join(labels[:8])}"
        return [f"teacher: {recipe.teacher} {told}; give a teacher that was trained on the same classes."]
    if recipe.kl_on == "keep" and list(known) != list(labels):
        told = f"has the classes in another order ({', '.join(known[:8])})"
        return [f"teacher: {recipe.teacher} {told}; say --kl-on batch, which matches them by name."]
    return []


def _known_classes(spec: ModelSpec) -> list[str] | None:
    """The classes of a whole model by its configuration; None where these are not those of the data."""
    names = class_names(replace(spec, labels=()).empty())
    return None if all(name.startswith("LABEL_") for name in names) else names


def _reading_problems(recipe: Recipe, teacher: Teacher, preprocessor: Preprocessor) -> list[str]:
    """The reasons why the student's inputs mean something else to the teacher."""
    theirs = teacher.spec.preprocessor()
    if not preprocessor.reads_text:
        if theirs.identity() == preprocessor.identity():
            return []
        told = f"reads images in another way (size or colours) than {recipe.model}"
        return [f"teacher: {recipe.teacher} {told}; say --kl-on batch, where it reads them in its own."]
    mine, other = (one.tokenizer.get_vocab() for one in (preprocessor, theirs))
    if mine == other:
        return []
    odd, _ = min(mine.items() ^ other.items(), key=lambda pair: pair[1])
    cure = "give a teacher with the same tokenizer"
    if preprocessor.modality == "text" and teacher.spec.family != "causal-lm":
        cure += ", or say --kl-on batch, where it reads texts by its own"
    told = f"{len(other)} and {len(mine)} tokens; {odd!r} is the first that differs"
    return [f"teacher: {recipe.teacher} has another vocabulary than {recipe.model} ({told}); {cure}."]


def _untrained(spec: ModelSpec) -> str:
    return (
        f"teacher: {spec.source} has no trained head for the classes {', '.join(spec.labels[:8])}; give a model that "
        "was trained on them, whose config.json names them (id2label)."
    )


def check_order(teacher: Any, student: Any) -> None:
    """Refuse a teacher that is kept beside the student and has the classes in another order.

    Raises:
        InputError: it has.
    """
    names = [class_names(root_of(side)) for side in (teacher, student)]
    if names[0] != names[1]:
        raise InputError(
            f"teacher: its classes are {', '.join(names[0][:8])}, and the model's {', '.join(names[1][:8])}, in "
            "another order; say --kl-on batch, which matches them by name."
        )
