"""A language model reads from left to right: an encoder that is loaded as one would be shown what it is to predict."""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tests.tiny import make_llama, make_rwkv
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    BertConfig,
    ElectraConfig,
    GPT2Config,
    MambaConfig,
    RobertaConfig,
    XLNetConfig,
)

from retain.errors import InputError
from retain.evaluate.causality import looks_ahead, other_reader
from retain.jobs.inputs.models import ModelSpec

SIZES = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 60}
SMALL = {"n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 60}
MAMBA = {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 4, "vocab_size": 60}
XLNET = {"d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 32, "vocab_size": 60}
DTYPES = [torch.float32, torch.bfloat16]


def built(config):
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config).eval()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "make",
    [
        make_llama,
        make_rwkv,
        lambda: built(GPT2Config(**SMALL)),
        lambda: built(MambaConfig(**MAMBA)),
        lambda: built(BertConfig(**SIZES, is_decoder=True)),
        lambda: make_llama(vocabulary=3),
    ],
)
def test_a_decoder_does_not_look_ahead(make, dtype):
    assert not looks_ahead(make().to(dtype))


@pytest.mark.parametrize("given", [{"target_modules": ["embed_tokens", "q_proj"]}, {"trainable_token_indices": [1, 2]}])
def test_a_decoder_with_adapted_embeddings_does_not_look_ahead(given):
    assert not looks_ahead(get_peft_model(make_llama(), LoraConfig(**given)))


@pytest.mark.parametrize(
    "config", [BertConfig(**SIZES), RobertaConfig(**SIZES), ElectraConfig(**SIZES), XLNetConfig(**XLNET)]
)
def test_an_encoder_looks_ahead(config):
    assert looks_ahead(built(config))


@pytest.mark.parametrize("kind", ["bert", "roberta", "electra", "camembert", "xlm-roberta"])
def test_an_encoder_is_refused_by_its_configuration_where_text_is_predicted(kind):
    config = AutoConfig.for_model(kind)
    assert "is_decoder: true" in other_reader(config, "causal-lm", "model", "m")
    assert other_reader(config, "text-classifier", "model", "m") is None
    assert other_reader(config, "text-features", "model", "m") is None
    config.is_decoder = True
    assert other_reader(config, "causal-lm", "model", "m") is None


@pytest.mark.parametrize("kind", ["gpt2", "llama", "mamba", "opt", "bloom", "xglm"])
def test_a_decoder_is_not_refused_by_its_configuration(kind):
    assert other_reader(AutoConfig.for_model(kind), "causal-lm", "model", "m") is None


@pytest.mark.parametrize("config", [BertConfig(**SIZES), XLNetConfig(**XLNET)])
def test_a_folder_with_an_encoder_is_not_loaded_to_predict_text(config, tmp_path):
    built(config).save_pretrained(tmp_path)
    with pytest.raises(InputError, match="cannot be asked what comes next"):
        ModelSpec(str(tmp_path)).load()
