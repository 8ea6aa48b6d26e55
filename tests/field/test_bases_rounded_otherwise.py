"""Adapters put on a base that is rounded otherwise than in training: known again, or told that it is not."""

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from retain.errors import InputError
from retain.hf.adapters.attach import attach
from retain.hf.adapters.load import load_adapter
from retain.hf.adapters.origin import ORIGIN_NOTE, origin_notes
from retain.hf.adapters.save import save_weights

HALF = (torch.bfloat16, torch.float16)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two bases of one shape, whose layers are large enough to be quantised."""
    place = tmp_path_factory.mktemp("bases")
    for seed in (0, 1):
        torch.manual_seed(seed)
        sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
        LlamaForCausalLM(LlamaConfig(vocab_size=64, **sizes)).save_pretrained(place / str(seed))
    return place


def base(folder, kind="float32"):
    """The base as people load it."""
    if kind in {"nf4", "int8"}:
        config = pytest.importorskip("transformers").BitsAndBytesConfig
        pytest.importorskip("bitsandbytes")
        how = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"} if kind == "nf4" else {"load_in_8bit": True}
        return AutoModelForCausalLM.from_pretrained(folder, quantization_config=config(**how), device_map="cpu")
    if kind == "torchao":
        quantization = pytest.importorskip("torchao.quantization")
        model = AutoModelForCausalLM.from_pretrained(folder)
        quantization.quantize_(model, quantization.Int8WeightOnlyConfig())
        return model
    return AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, kind))


def adapter(folder, place, kind="float32"):
    save_weights(attach(base(folder, kind), "lora", {"r": 2, "target_modules": ["q_proj"]}), place)
    return place


HERE_IT_IS, HERE_NOT = "not quantised, and the base here is quantised", "quantised, and the base here is not"


@pytest.mark.parametrize(
    ("trained", "loaded", "told"),
    [
        ("bfloat16", "float16", None),
        ("float16", "bfloat16", None),
        ("float32", "nf4", HERE_IT_IS),
        ("nf4", "bfloat16", HERE_NOT),
        ("float32", "int8", HERE_IT_IS),
        ("nf4", "int8", "quantised in another way"),
        ("float32", "torchao", HERE_IT_IS),
        ("nf4", "nf4", None),
    ],
)
def test_the_same_base_is_known_with_what_quantising_makes_of_it_and_another_is_refused(
    folders, tmp_path, trained, loaded, told
):
    adapter(folders / "0", tmp_path / "adapter", trained)
    own = base(folders / "0", loaded)
    notes = origin_notes(tmp_path / "adapter", own)
    assert len(notes) == (told is not None)
    assert told is None or told in notes[0]
    load_adapter(own, tmp_path / "adapter")
    with pytest.raises(InputError, match="another base"):
        load_adapter(base(folders / "1", loaded), tmp_path / "adapter")


def test_a_base_that_save_pretrained_wrote_anew(folders, tmp_path):
    adapter(folders / "0", tmp_path / "adapter")
    base(folders / "0", "bfloat16").save_pretrained(tmp_path / "again", max_shard_size="40KB")
    for kind in ("float16", "bfloat16", "float32"):
        load_adapter(base(tmp_path / "again", kind), tmp_path / "adapter")
    load_adapter(base(folders / "0"), adapter(tmp_path / "again", tmp_path / "of the rounded"))
    with pytest.raises(InputError, match="another base"):
        load_adapter(base(folders / "1"), tmp_path / "of the rounded")


def test_what_cannot_be_compared_is_told(folders, tmp_path):
    model = attach(base(folders / "0"), "lora", {"r": 2, "target_modules": ["q_proj"], "init_lora_weights": "pissa"})
    save_weights(model, tmp_path / "pissa")
    (told,) = origin_notes(tmp_path / "pissa", base(folders / "0"))
    assert "could not be compared" in told
    (told,) = origin_notes(adapter(folders / "0", tmp_path / "adapter"), base(folders / "0").to("meta"))
    assert "could not be compared" in told
    (tmp_path / "adapter" / ORIGIN_NOTE).unlink()
    assert origin_notes(tmp_path / "adapter", base(folders / "0")) == [], "an adapter that retain did not write"
