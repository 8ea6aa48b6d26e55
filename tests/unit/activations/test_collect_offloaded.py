"""A base that lies partly on disk is calibrated and adapted like one that does not."""

import pytest
import torch
from transformers import AutoModelForCausalLM

from calibration import batches, llama, same_moments, sentences
from retain import SCLoRAConfig, sc_lora
from retain.activations import collect

LEARN, KEEP = sentences(10), sentences(10, seed=3)
PARTS = ["model.embed_tokens", "model.layers.0", "model.layers.1", "model.norm", "model.rotary_emb", "lm_head"]


@pytest.fixture
def offloaded(tmp_path, monkeypatch):
    """A function that loads the model with one part on disk."""
    monkeypatch.chdir(tmp_path)  # PEFT rewrites the files on disk under the working directory: it drops the leading "/"
    llama().float().save_pretrained(tmp_path / "base")

    def load(part):
        places = {name: "disk" if name == part else "cpu" for name in PARTS}
        return AutoModelForCausalLM.from_pretrained(
            tmp_path / "base", device_map=places, offload_folder=tmp_path / "offload", dtype=torch.float32
        )

    return load


@pytest.mark.parametrize("part", ["model.embed_tokens", "model.layers.1"])
def test_statistics_are_those_of_the_whole_model(offloaded, part):
    found = collect(offloaded(part), batches(LEARN))
    same_moments(found, collect(llama().float(), batches(LEARN)), atol=1e-6)


@pytest.mark.filterwarnings("ignore::retain.methods.initialisations.adapter.CalibrationWarning")
def test_an_adapter_starts_where_it_does_on_the_whole_model(offloaded):
    made = [
        sc_lora(base, SCLoRAConfig(r=2), learn=batches(LEARN), keep=batches(KEEP))
        for base in (offloaded("model.layers.1"), llama().float())
    ]
    disk, whole = ({k: v for k, v in model.named_buffers() if k.endswith("lora_B.default.initial")} for model in made)
    assert len(whole) == 14
    for name, Q in whole.items():
        torch.testing.assert_close(disk[name] @ disk[name].T, Q @ Q.T, rtol=0, atol=1e-3)
