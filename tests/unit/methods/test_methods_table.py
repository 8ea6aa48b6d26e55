"""The table of methods: read without torch, and each row's code is where the row says."""

import dataclasses
import subprocess
import sys

import pytest

from retain.hf.adapters.attach import known_methods
from retain.hf.tuners.feature_layer import FeatureLayer
from retain.methods import table
from retain.methods.initialisations.config import SCLoRAConfig


@pytest.mark.parametrize("module", ["retain.methods.table", "retain.recipe"])
def test_it_is_read_without_torch(module):
    code = f"import sys, {module}; print({{'torch', 'peft', 'transformers'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.mark.parametrize("row", table.METHODS, ids=lambda row: row.name)
def test_a_feature_method_has_its_classes_under_one_name(row):
    assert row.config.method == row.name
    assert row.tuner.prefix == f"{row.name}_"
    assert issubclass(row.layer, FeatureLayer)
    assert all(name.startswith(row.tuner.prefix) for name in row.layer.module_names)


@pytest.mark.parametrize("row", table.INITIALISATIONS, ids=lambda row: row.name)
def test_an_initialisation_has_its_function_and_known_texts_and_fields(row):
    assert callable(row.initialise)
    assert set(row.reads) <= {"learn", "keep"}
    assert set(row.fields) <= {field.name for field in dataclasses.fields(SCLoRAConfig)}
    assert ("sample_norm" in row.fields) == bool(row.reads)
    assert "seed" in row.fields or not row.drawn


def test_names_are_distinct_and_every_row_says_what_it_does():
    names = [row.name for row in table.rows()]
    assert len(set(names)) == len(names)
    assert all(row.title and row.summary for row in table.rows())
    assert {row.name for row in (*table.METHODS, *table.OTHERS)} - {"full"} <= set(known_methods())
    assert not {row.name for row in table.INITIALISATIONS} & set(known_methods())


def test_learning_rates():
    assert (table.learning_rate("vefa"), table.learning_rate("sc-lora"), table.learning_rate("full")) == (
        3e-3,
        1e-4,
        2e-5,
    )
    assert table.learning_rate("hra") == table.OTHER_LEARNING_RATE
    listed = table.learning_rates_listed()
    assert listed.startswith("3e-3 vefa, ia3; 5e-4 lorfa, lora, others; 1e-4 rotation, sc-lora, ")
    assert listed.endswith("; of encoders 1.1e-3 lorfa, 6e-4 sc-lora, 1.1e-3 lora")
    assert all(row.name in table.names_listed() for row in table.rows())
    assert [table.learning_rate("lora", kind) for kind in ("language", "encoder", "vision")] == [5e-4, 1.1e-3, 5e-4]
    assert table.learning_rate("hra", "encoder") == table.OTHER_LEARNING_RATE
