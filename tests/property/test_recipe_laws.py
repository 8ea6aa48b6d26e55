"""A run's identity follows the marks of the recipe's fields, whatever their values."""

from __future__ import annotations

import types
from typing import Annotated, Literal, Union, get_args, get_origin

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from retain.jobs.identity import identity_of
from retain.recipe import KL, Recipe
from retain.recipe.marks import decisions

quick = settings(max_examples=12, deadline=None, derandomize=True)

BASIC = {"model": "m", "train": "t", "test": "e", "output": "o"}
HASHES = {"train": "1", "test": "2", "keep:a": "3", "held_out_text": "4", "calibrate:keep": "5", "calibrate:learn": "6"}

names = st.text("abc/.", min_size=1, max_size=4)
shares = st.floats(0.01, 0.9)
OWN = {
    "method": st.fixed_dictionaries({"name": st.sampled_from(["lora", "full"])}, optional={"r": st.integers(1, 9)}),
    "training": st.dictionaries(names, st.integers(0, 9) | st.booleans(), max_size=2),
    "budget": st.dictionaries(st.sampled_from(["a", "b", KL]), shares, max_size=3),
    "kl_weight": shares | st.just("budget") | st.just(0.0),
    "ewc": shares | st.just(0.0),
    "feature_weight": shares | st.just(0.0),
    "alphas": st.sets(shares, min_size=1, max_size=4).map(sorted),
    "memory_limit": st.sampled_from(["2GB", "7"]),
    "methods": st.lists(names, max_size=2),
    "seeds": st.integers(1, 3) | st.lists(st.integers(0, 9), min_size=1, max_size=2),
    "learning_rate": shares,
    "learning_rates": st.lists(shares, max_size=2),
    "generate": st.integers(2, 90),
    "launch": st.fixed_dictionaries({"processes": st.integers(2, 4)}),
    "quantization": st.sampled_from(["4bit", "8bit", "torchao-int8"]) | st.just({"load_in_8bit": True}),
    "device_map": st.just("auto") | st.just({"": "cpu"}),
    "max_memory": st.dictionaries(st.sampled_from(["0", "cpu"]), st.sampled_from(["1GB", "700MB"]), max_size=2),
    "gpus_per_run": st.sampled_from([0.0, 0.5, 1.0, 2.0]),
    "ray": st.sampled_from(["auto", "local"]),
    "run": st.sampled_from(["1/2", "2/3", "slurm"]),
    "columns": st.dictionaries(names, names, max_size=2),
    "serve": st.lists(st.sampled_from(["vllm", "ollama", "llama.cpp"]), unique=True, max_size=2),
    "template": st.sampled_from(["{{ messages }}", "{% for m in messages %}{% endfor %}"]),
    "template_arguments": st.dictionaries(st.sampled_from(["thinking", "date"]), st.integers(0, 9), max_size=2),
}  # fmt: skip
"""Values of fields whose type alone does not say what can be meant."""


PLACES = ("workers", "ray", "run", "cpus_per_run", "gpus_per_run", "device_map", "max_memory")
"""Fields that say where something is done. Many exclude one another, so each is drawn alone, with what it needs."""

NEEDED = {
    "gpus_per_run": {"ray": "auto"},
    "max_memory": {"device_map": "auto"},
    "relearn": {"gone": ["capitals"], "held_out_text": ["text.txt"]},
}


def values(name):
    """Values that a field can have."""
    field = Recipe.model_fields[name]
    annotation = field.annotation
    alternatives = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)
    nothing = st.none() if type(None) in alternatives else st.nothing()
    if name in OWN:
        return nothing | OWN[name]
    (kind,) = [kind for kind in alternatives if kind is not type(None)]
    if get_origin(kind) is Literal:
        return nothing | st.sampled_from(get_args(kind))
    if kind in (str, tuple[str, ...]):
        return nothing | (names if kind is str else st.lists(names, max_size=2))
    limits = [mark for mark in field.metadata if type(mark).__module__ == "annotated_types"]
    inner = Annotated[kind, *limits] if limits else kind
    return nothing | st.from_type(inner).filter(lambda value: isinstance(value, bool) or abs(value) < 1e6)


def valid(fields):
    """A recipe of these values, if they go together."""
    try:
        return Recipe.model_validate({**BASIC, **fields})
    except ValidationError:
        return None


TOGETHER = 10
"""Fields of a drawn recipe, at most: of more some hardly ever go together."""

fields_of_recipes = st.sets(
    st.sampled_from([name for name in Recipe.model_fields if name not in PLACES]), max_size=TOGETHER
).flatmap(lambda chosen: st.fixed_dictionaries({name: values(name) for name in sorted(chosen)}))
regularised = st.fixed_dictionaries(
    {"budget": st.just({KL: 0.5}), "update_limit": shares},
    optional={name: values(name) for name in ("kl_weight", "ewc", "replay", "kl_monitor")},
)


def parts_that_differ(one, other, calibrated):
    first, second = (identity_of(run, HASHES, "files", calibrated=calibrated) for run in (one, other))
    return {part for part in first if first[part] != second[part]}


def follows(recipe, calibrated):
    """What the training part holds besides the fields: the limit it keeps, who wrote its texts, the processes."""
    reads_text = calibrated or recipe.needs_keep_text
    return recipe.limits_training and recipe.budget.get(KL), reads_text and recipe.generates_keep_text, recipe.launch


def is_used(recipe, condition):
    """Whether a condition holds, and whatever it depends on itself."""
    further = getattr(decisions(Recipe).get(condition), "when", "")
    return bool(getattr(recipe, condition)) and (further in ("", condition) or is_used(recipe, further))


def expected(name, one, other, calibrated):
    """The parts of the identity that a changed field should change, by its mark."""
    decides = decisions(Recipe)[name]
    in_use = not decides.when or any(is_used(recipe, decides.when) for recipe in (one, other))
    reads_text = calibrated or one.needs_keep_text
    part = {
        "training": "training",
        "initialisation": "training" if calibrated else None,
        "text": "training" if reads_text else None,
        "measuring": "measuring",
        "items": "measuring",
    }.get(decides.part)
    parts = {part} if part and in_use else set()
    return parts | ({"training"} if follows(one, calibrated) != follows(other, calibrated) else set())


@pytest.mark.parametrize("name", list(Recipe.model_fields))
@quick
@given(data=st.data())
def test_a_field_changes_the_part_that_its_mark_names_and_no_other(name, data):
    fields = {**data.draw(fields_of_recipes | regularised), **NEEDED.get(name, {})}
    calibrated = data.draw(st.booleans())
    one, other = valid(fields), valid({**fields, name: data.draw(values(name))})
    assume(one is not None)
    assume(other is not None)
    changed = one.rate != other.rate if name == "learning_rate" else getattr(one, name) != getattr(other, name)
    assume(changed)
    assert parts_that_differ(one, other, calibrated) == expected(name, one, other, calibrated)


@quick
@given(fields_of_recipes)
def test_equal_recipes_have_one_identity(fields):
    one = valid(fields)
    assume(one is not None)
    again = Recipe.model_validate_json(one.model_dump_json())
    assert not parts_that_differ(one, again, calibrated=True)
