"""Batches as a model takes them: what it reads, where it runs, and how far."""

import pytest
import torch
from torch import nn
from transformers import T5Config, T5ForConditionalGeneration

from calibration import embedded, llama
from retain.activations.batches import Runner
from retain.errors import InputError
from tiny import make_bert

IDS = torch.tensor([[0, 5, 6], [7, 8, 9]])
MASK = torch.tensor([[0, 1, 1], [1, 1, 1]])


def test_labels_and_what_the_model_does_not_take_are_dropped():
    batch = {"input_ids": IDS, "attention_mask": MASK, "labels": IDS, "text": ["a", "b"]}
    own = embedded(lambda: nn.Linear(6, 6))
    assert set(Runner(own).inputs(batch)) == {"input_ids", "attention_mask"}
    takes_any = Runner(make_bert()).inputs(batch)
    assert "text" in takes_any
    assert "labels" not in takes_any


def test_positions_count_from_the_first_real_token_where_padding_comes_first():
    given = Runner(llama()).inputs({"input_ids": IDS, "attention_mask": MASK})
    assert given["position_ids"].tolist() == [[0, 0, 1], [0, 1, 2]]
    assert given["use_cache"] is False
    right = Runner(llama()).inputs({"input_ids": IDS, "attention_mask": MASK.flip(1)})
    assert "position_ids" not in right
    own = {"input_ids": IDS, "attention_mask": MASK, "position_ids": IDS}
    assert torch.equal(Runner(llama()).inputs(own)["position_ids"], IDS)


def test_the_head_is_left_out_where_nothing_in_it_is_observed():
    model = llama()
    runner = Runner(model)
    layers = {"q": model.model.layers[0].self_attn.q_proj}
    assert runner.part_for(layers) is model.model
    assert runner.part_for({**layers, "lm_head": model.lm_head}) is model


def test_a_module_of_ones_own_is_run_as_it_is():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 3)

        def forward(self, x):
            return self.layer(x)

    model = Own()
    runner = Runner(model)
    assert runner.part_for({"layer": model.layer}) is model
    assert set(runner.inputs({"x": torch.ones(1, 3), "y": 1})) == {"x"}
    assert runner.device.type == "cpu"


def test_an_encoder_decoder_needs_both_texts_and_tells_their_masks_apart():
    torch.manual_seed(0)
    config = T5Config(vocab_size=40, d_model=16, d_kv=8, d_ff=24, num_layers=1, num_heads=2, decoder_start_token_id=0)
    runner = Runner(T5ForConditionalGeneration(config))
    with pytest.raises(InputError, match="decoder_input_ids"):
        runner.inputs({"input_ids": IDS, "attention_mask": MASK})
    given = runner.inputs({"input_ids": IDS, "attention_mask": MASK, "decoder_input_ids": IDS})
    assert given["decoder_input_ids"].shape == given["decoder_attention_mask"].shape == (2, 4)
    assert given["decoder_attention_mask"].tolist() == [[1, 1, 1, 0]] * 2
    assert given["attention_mask"].shape == (2, 3)
