"""The identity of a run as it always was, and the names of runs."""

import json
from pathlib import Path

import pytest

from retain.hf.models import precision
from retain.jobs.identity import identity_of, run_names
from retain.recipe import Recipe

BASIC = {"model": "m", "train": "t", "test": "e", "output": "o"}
RECORDED = json.loads((Path(__file__).parents[2] / "golden" / "identities.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", RECORDED)
def test_what_identifies_a_run_is_what_it_was(case):
    """With another identity every finished run is measured again, or refused; see golden/make_identities.py."""
    recipe = Recipe.model_validate(case["recipe"])
    found = identity_of(recipe, case["hashes"], "files", calibrated=case["calibrated"], apart=case["apart"])
    assert json.loads(json.dumps(found)) == case["identity"]  # the order of the fields tells nothing


def test_a_judges_command_is_never_in_the_identity():
    found = identity_of(Recipe(**BASIC, judge="judge --key SECRET"), {}, "files")
    assert found["measuring"]["judge"].startswith("judge (sha256 ")
    assert "SECRET" not in json.dumps(found)


@pytest.mark.parametrize("has_units", [True, False])
def test_fast_is_the_type_that_it_means_here(monkeypatch, has_units):
    """A training that began in bfloat16 does not go on in float32 on another machine."""
    monkeypatch.setattr(precision, "_computes_in_bfloat16", lambda _: has_units)
    meant, other = ("bfloat16", "float32") if has_units else ("float32", "bfloat16")
    found = identity_of(Recipe(**BASIC, dtype="fast"), {}, "files")
    assert found == identity_of(Recipe(**BASIC, dtype=meant), {}, "files")
    assert found != identity_of(Recipe(**BASIC, dtype=other), {}, "files")


def test_what_depends_on_a_field_without_effect_has_none_either():
    """A teacher's tokens are read by a KL penalty alone, so without one they make no other run."""
    asked = {"teacher_top": 64, "teacher": "larger"}
    assert identity_of(Recipe(**BASIC, **asked), {}, "files") == identity_of(Recipe(**BASIC), {}, "files")
    penalty = {"kl_weight": 1.0, "kl_on": "batch", "teacher": "larger"}
    found = [identity_of(Recipe(**BASIC, **penalty, teacher_top=top), {}, "files") for top in (None, 64)]
    assert found[0] != found[1]


def test_generated_text_depends_on_what_it_is_kept_apart_from():
    hashes = {"train": "1", "test": "2", "calibrate:keep": "3"}
    found = identity_of(Recipe(**BASIC), hashes, "files", calibrated=True)
    assert found["training"]["apart from test"] == "2"
    apart = identity_of(Recipe(**BASIC), hashes, "files", calibrated=True, apart={"test": "9", "keep:a": "8"})
    assert (apart["training"]["apart from test"], apart["training"]["apart from keep:a"]) == ("9", "8")
    given = identity_of(Recipe(**BASIC, calibrate_keep="k"), hashes, "files", calibrated=True)
    assert not any(name.startswith("apart") for name in given["training"])


def test_runs_are_named_by_method_rate_and_seed_and_by_a_hash_where_fields_differ():
    one, other = Recipe(**BASIC, method="lora", rank=2), Recipe(**BASIC, method="lora", rank=4, seed=3)
    assert run_names([one, Recipe(**BASIC)])[0] == "lora-lr0.0005-seed0"
    names = run_names([one, other])
    assert [name.rpartition("-lr")[2] for name in names] == ["0.0005-seed0", "0.0005-seed3"]
    assert len({name.split("-lr")[0] for name in names}) == 2
