"""The example of two LoRAs in one model: each token goes to its own adapter, or to none."""

import runpy
import sys
from pathlib import Path

import pytest
import torch
from peft import IA3Config, LoraConfig, get_peft_model

from tiny import make_llama

EXAMPLE = Path(__file__).parents[3] / "examples" / "two_tasks.py"


@pytest.fixture(scope="module")
def example():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EXAMPLE.parent))  # as for a script
        return runpy.run_path(str(EXAMPLE))


@pytest.fixture(scope="module")
def adapters(tmp_path_factory):
    """Two LoRAs on q_proj whose inputs lie at right angles: the first reads numbers 0 and 1, the second 2 and 3."""
    folder, found = tmp_path_factory.mktemp("adapters"), []
    for place in range(2):
        model = get_peft_model(make_llama(), LoraConfig(r=2, lora_alpha=2, target_modules=["q_proj"]))
        generator = torch.Generator().manual_seed(place)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "lora_A" in name:
                    parameter.copy_(torch.eye(32)[2 * place : 2 * place + 2])
                if "lora_B" in name:
                    parameter.normal_(generator=generator)
        model.save_pretrained(folder / str(place))
        found.append(str(folder / str(place)))
    return found


def layer_of(model):
    return model.get_base_model().model.layers[0].self_attn.q_proj


def test_an_input_along_one_adapter_gets_that_one_and_one_along_none_the_base(example, adapters, tiny_folder):
    always = layer_of(example["routed"](str(tiny_folder), adapters))
    some = layer_of(example["routed"](str(tiny_folder), adapters, 0.2))
    first, both = (layer_of(example["merged"](str(tiny_folder), which)) for which in (adapters[:1], adapters))
    base = make_llama().model.layers[0].self_attn.q_proj
    with torch.no_grad():
        always(torch.zeros(1, 1, 32)), some(torch.zeros(1, 1, 32))  # prototypes are made at the first call
        along = always.lora_arrow["arrow_router"].prototypes[0].reshape(1, 1, 32)
        across = torch.zeros(1, 1, 32)
        across[..., 10] = 3.0
        for router in (always, some):
            assert torch.allclose(router(along), first(along), atol=1e-5)
            assert not torch.allclose(router(along), base(along), atol=1e-2)
        assert torch.allclose(some(across), base(across), atol=1e-6)
        mixed = along + 0.5 * always.lora_arrow["arrow_router"].prototypes[1]
        assert torch.allclose(always(mixed), first(mixed), atol=1e-5)  # one adapter a token: the other is not added
        assert not torch.allclose(both(mixed), first(mixed), atol=1e-2)


def test_what_cannot_be_routed_is_said_before_anything_is_measured(example, adapters, tmp_path):
    checked = example["checked"]
    assert checked(adapters) == adapters
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "adapter").symlink_to(adapters[0])
    assert checked([str(tmp_path / "run"), adapters[1]])[0] == str(tmp_path / "run" / "adapter")
    others = {
        "wide": LoraConfig(r=3, target_modules=["q_proj"]),
        "elsewhere": LoraConfig(r=2, target_modules=["v_proj"]),
        "ia3": IA3Config(target_modules=["q_proj"], feedforward_modules=[]),
    }
    told = {"wide": "LORA of rank 2 and LORA of rank 3", "elsewhere": "on other layers", "ia3": "and IA3 of rank"}
    for name, config in others.items():
        get_peft_model(make_llama(), config).save_pretrained(tmp_path / name)
        with pytest.raises(SystemExit, match=told[name]):
            checked([adapters[0], str(tmp_path / name)])
    with pytest.raises(SystemExit, match="no adapter is found"):
        checked([adapters[0], str(tmp_path)])


@pytest.mark.parametrize("threshold", ["2", "-1", "0"])
def test_a_threshold_that_is_no_cosine_is_refused(example, adapters, threshold, monkeypatch, capsys):
    asked = ["two_tasks.py", "base", adapters[0], "test", adapters[1], "test", "--no-adapter", threshold]
    monkeypatch.setattr(sys, "argv", asked)
    with pytest.raises(SystemExit):
        example["main"]()
    assert "it is a cosine, between 0 and 1" in capsys.readouterr().err
