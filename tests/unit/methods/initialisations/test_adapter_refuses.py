"""Statistics that are missing or of something else are refused before anything is put on the model."""

import pytest
from peft.tuners.lora import LoraLayer

from calibration import batches, gpt2, llama, sentences
from retain import SCLoRAConfig, sc_lora
from retain.activations import collect
from retain.errors import InputError, TargetError

ROWS = sentences(12)


def refused(said, learn=None, keep=None, error=InputError, **fields):
    model = llama()
    with pytest.raises(error, match=f"(?s){said}"):
        sc_lora(model, SCLoRAConfig(**{"r": 2, **fields}), learn=learn, keep=keep)
    assert not any(isinstance(module, LoraLayer) for module in model.modules())


@pytest.mark.parametrize(
    ("initialisation", "said"), [("sc-lora", "learn and keep"), ("corda-kpm", "keep"), ("lora-null", "keep")]
)
def test_data_that_an_initialisation_needs(initialisation, said):
    refused(f"initialisation='{initialisation}' needs {said}:", initialisation=initialisation)


def test_statistics_of_another_model():
    refused("another model.*Calibrate this model", collect(gpt2(), batches(ROWS)), batches(ROWS))


def test_statistics_of_a_model_with_other_weights():
    other = llama()
    other.model.layers[0].mlp.up_proj.weight.data[0, 0] += 1
    refused("keep: .*another model", batches(ROWS), collect(other, batches(ROWS), name="keep"))


def test_statistics_of_fewer_layers():
    some = collect(llama(), batches(ROWS), targets={"target_modules": ["q_proj"]})
    refused("no statistics of 12 of the 14 layers.*k_proj first.*same target_modules", some, some)


def test_statistics_of_samples_scaled_in_another_way():
    plain = collect(llama(), batches(ROWS))
    refused("keep: .*sample_norm='none', asked for is 'max'", batches(ROWS), plain, sample_norm="max")


def test_every_problem_is_told_at_once():
    other = collect(gpt2(), batches(ROWS))
    with pytest.raises(InputError) as caught:
        sc_lora(llama(), SCLoRAConfig(r=2), learn=other, keep=other)
    assert len(caught.value.problems) == 2  # another model, and none of its layers: of both sets, and told once


def test_ranks_that_a_layer_does_not_allow():
    refused("k_proj: rank 9 is larger than the 8", batches(ROWS), batches(ROWS), TargetError, r=9)
    refused("down_proj: rank 17 is larger than the 16", error=TargetError, r=17, initialisation="milora")
