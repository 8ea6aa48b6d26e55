"""What is attached can be saved and loaded again, or is refused before anything is trained."""

import pytest

from retain.errors import InputError
from retain.hf.adapters.attach import attach
from retain.hf.adapters.load import load_adapter
from tiny import make_llama


@pytest.mark.parametrize("name", ["ia3", "oft", "hra", "vera", "lora", "vefa", "lorfa"])
def test_methods_with_default_targets_load_again(name, tmp_path):
    attach(make_llama(), name, {}).save_pretrained(tmp_path)
    assert load_adapter(make_llama(), tmp_path).peft_config["default"].peft_type.lower() == name


def test_ia3_on_all_linear_layers_is_refused_because_peft_cannot_load_it():
    with pytest.raises(InputError, match="not loaded again"):
        attach(make_llama(), "ia3", {"target_modules": "all-linear"})
