"""Any method by its name: what a recipe's values become for it, and what is refused before a model is there."""

import pytest
import torch
from transformers import BertForSequenceClassification

from retain.errors import InputError, TargetError
from retain.methods import lookup
from retain.methods.initialisations.config import SCLoRAConfig
from tiny import make_bert, make_llama


def test_known_methods_are_pefts_ours_and_the_initialisations():
    known = lookup.known_methods()
    assert known == sorted(known)
    assert {"lora", "vefa", "lorfa", "sc-lora", "milora"} <= set(known)
    assert [name for name in known if lookup.is_data_driven(name)] == [
        "corda-kpm",
        "lora-null",
        "milora",
        "random-start",
        "sc-lora",
    ]


def test_the_texts_that_a_method_reads():
    assert lookup.calibration("sc-lora") == ("learn", "keep")
    assert lookup.calibration("lora-null") == ("keep",)
    assert lookup.calibration("milora") == lookup.calibration("lora") == ()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sc-lora", {"r": 4, "beta": 0.5}),
        ("corda-kpm", {"r": 4}),
        ("random-start", {"r": 4, "seed": 7}),
        ("lorfa", {"r": 4}),
        ("vefa", {}),
        ("nothing", {}),
    ],
)
def test_a_recipes_rank_beta_and_seed_go_where_they_act(name, expected):
    assert lookup.with_shared(name, {}, 4, 0.5, 7) == expected
    assert lookup.with_shared(name, {}, None, None, 7) == {key: 7 for key in expected if key == "seed"}


def test_fields_of_the_method_itself_come_first():
    assert lookup.with_shared("sc-lora", {"r": 2}, 4, None, 0)["r"] == 2
    assert lookup.with_shared("lora", {"r": 2}, 4, None, 0)["r"] == 2


def test_a_classifiers_head_is_trained_in_full_and_not_adapted():
    model = BertForSequenceClassification(make_bert().config)
    fields = lookup.with_head(model, "sc-lora", {})
    assert fields["task_type"] == "SEQ_CLS"
    assert "classifier" in fields["exclude_modules"]
    assert lookup.with_head(make_llama(), "sc-lora", {"r": 3}) == {"r": 3}


def test_mistakes_are_named():
    assert lookup.validate("sc-lora", {"r": 4, "beta": 0.2}) == []
    assert lookup.validate("sc-lora", {"beta": 2, "lora_dropout": 1}) == [
        "method sc-lora: beta=2: beta lies in [0, 1].",
        "method sc-lora: lora_dropout=1: a dropout lies in [0, 1).",
    ]
    (problem,) = lookup.validate("milora", {"beta": 0.5})
    assert "field 'beta' is unknown; its fields are" in problem
    assert "initialisation" in lookup.validate("milora", {"initialisation": "sc-lora"})[0]
    assert lookup.validate("lora", {"r": 4}) == []


@pytest.mark.parametrize(
    ("name", "near"), [("sc-lara", "sc-lora"), ("lorra", "lora"), ("sparce", "sparse"), ("milorra", "milora")]
)
def test_an_unknown_method_has_one_hint_of_all_methods(name, near):
    (problem,) = lookup.validate(name, {})
    assert f"method {name!r} is unknown (did you mean {near}" in problem
    assert problem.lower().count("did you mean") == 1


def test_a_configuration_has_the_initialisation_of_its_name():
    assert lookup.initialisation_config("lora-null", {"r": 3}) == SCLoRAConfig(r=3, initialisation="lora-null")
    with pytest.raises(InputError, match="field 'alpha' is unknown"):
        lookup.initialisation_config("lora-null", {"alpha": 3})


@pytest.mark.parametrize("name", ["sc-lora", "lora", "vefa"])
def test_targets_are_tried_on_a_model_without_weights(name):
    with torch.device("meta"):
        model = make_llama()
    lookup.check(model, name, {"target_modules": ["q_proj"]})
    with torch.device("meta"):
        model = make_llama()
    with pytest.raises((InputError, TargetError), match="nowhere"):
        lookup.check(model, name, {"target_modules": ["nowhere"]})
