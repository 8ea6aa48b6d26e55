"""What is said of the weights that no adapter touches."""

import pytest

from retain.hf.adapters.attach import attach
from retain.hf.models.coverage import coverage
from tiny import make_bert, make_llama, make_vit


@pytest.mark.parametrize("method", ["vefa", "lora", "ia3"])
def test_a_model_that_is_adapted_throughout_or_by_half_says_nothing(method):
    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj"]
    more = {"feedforward_modules": ["down_proj"]} if method == "ia3" else {}
    assert coverage(attach(make_llama(), method, {"target_modules": targets, **more})) == []


def test_the_share_is_of_the_base_and_the_head_is_no_part_of_it():
    model = make_llama()
    total = sum(parameter.numel() for parameter in model.parameters())
    linear = {name: p.numel() for name, p in model.named_parameters() if "_proj" in name}
    untouched = sum(size for name, size in linear.items() if "q_proj" not in name)
    (note,) = coverage(attach(model, "lora", {"target_modules": ["q_proj"]}))
    assert note.startswith(
        f"No adapter touches {untouched:,} of the base's {total:,} weights ({100 * untouched / total:.0f} %)"
    )
    assert "lm_head" not in note


def test_copies_trained_in_full_are_touched():
    fields = {"target_modules": ["q_proj"], "modules_to_save": ["mlp"]}
    assert coverage(attach(make_llama(), "lora", fields)) == []


def test_prompts_full_training_and_other_kinds_of_models_say_nothing():
    assert coverage(attach(make_llama(), "prompt_tuning", {"num_virtual_tokens": 2})) == []
    assert coverage(make_llama()) == []
    assert coverage(attach(make_bert(), "vefa")) == []
    assert coverage(attach(make_vit(), "lora")) == []
