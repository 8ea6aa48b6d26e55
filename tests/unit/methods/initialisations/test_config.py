"""The configuration of data-driven initialisations checks itself and knows what PEFT is told."""

import pytest

from retain.errors import InputError
from retain.methods import table
from retain.methods.initialisations.config import SCLoRAConfig, without_effect


def test_every_mistake_is_named_at_once():
    wrong = {"r": True, "beta": -1, "lora_dropout": 1, "lora_alpha": 0, "initialisation": "pissa", "sample_norm": "all"}
    with pytest.raises(InputError) as caught:
        SCLoRAConfig(**wrong)
    assert len(caught.value.problems) == len(wrong)
    assert "known are sc-lora, corda-kpm, lora-null, milora, random-start" in str(caught.value)


def test_the_scale_and_what_peft_is_told():
    config = SCLoRAConfig(r=4, lora_alpha=6, beta=0.3, target_modules=["q_proj"], modules_to_save=["head"])
    assert config.scale == 1.5
    assert config.lora_fields == {
        "r": 4,
        "lora_alpha": 6,
        "lora_dropout": 0.0,
        "target_modules": ["q_proj"],
        "modules_to_save": ["head"],
    }
    assert config.targets == {"target_modules": ["q_proj"], "modules_to_save": ["head"]}
    assert (SCLoRAConfig(r=8).scale, SCLoRAConfig(r=8).lora_fields["lora_alpha"]) == (1, 8)


def test_fields_without_effect_are_those_that_the_row_does_not_list():
    assert without_effect("sc-lora") == []
    assert without_effect("lora-null") == ["beta", "seed"]
    assert without_effect("milora") == ["beta", "sample_norm", "seed"]
    assert without_effect("random-start") == ["beta", "sample_norm"]


def test_the_help_names_every_initialisation():
    from dataclasses import fields

    texts = {field.name: field.metadata["help"] for field in fields(SCLoRAConfig)}
    assert all(row.name in texts["initialisation"] for row in table.INITIALISATIONS)
