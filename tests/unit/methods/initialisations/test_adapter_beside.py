"""An SC-LoRA adapter beside one that also trains a copy of the head: only the base's own layers are adapted."""

import pytest
from peft import LoraConfig, get_peft_model

from calibration import batches, llama, sentences
from retain import SCLoRAConfig, sc_lora
from retain.hf.adapters.residual_lora import residual_layers

LEARN, KEEP = sentences(10), sentences(10, seed=3)
HEAD = {"modules_to_save": ["lm_head"]}


def own(model, name="default", **fields):
    config = SCLoRAConfig(r=2, **fields)
    return sc_lora(model, config, learn=batches(LEARN), keep=batches(KEEP), adapter_name=name)


@pytest.mark.filterwarnings("ignore::retain.methods.initialisations.adapter.CalibrationWarning")
@pytest.mark.parametrize(
    "adapt",
    [
        lambda base: get_peft_model(base, LoraConfig(target_modules="all-linear", **HEAD)),
        lambda base: own(base, **HEAD),
    ],
    ids=["lora", "sc-lora"],
)
def test_a_copy_of_the_head_is_not_taken_for_a_layer(adapt):
    model = own(adapt(llama()), "second")
    names = list(residual_layers(model, "second"))
    assert len(names) == 14
    assert not any("lm_head" in name for name in names)
