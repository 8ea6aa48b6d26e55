"""What a model reads besides one row of tokens: two streams with a mask each, further inputs, inputs without tokens."""

import pytest
import torch
from transformers import BartConfig, BartForConditionalGeneration, ViTConfig, ViTForImageClassification

from calibration import VOCABULARY, batches, llama, same_moments, sentences
from retain.activations import collect
from retain.activations.sequences import Sequences
from retain.errors import InputError

ROWS, DECODED = sentences(8, seed=1), sentences(8, seed=2)


def bart():
    torch.manual_seed(0)
    sizes = {
        f"{side}_{name}": 1 for side in ("encoder", "decoder") for name in ("layers", "attention_heads", "ffn_dim")
    }
    config = BartConfig(
        vocab_size=VOCABULARY, d_model=8, max_position_embeddings=32, pad_token_id=0, init_std=0.2, **sizes
    )  # fmt: skip
    return BartForConditionalGeneration(config).double().eval()


def padded(rows, width, prefix=""):
    batch = batches(rows, len(rows))[0]
    return {prefix + key: torch.nn.functional.pad(value, (0, width - value.shape[1])) for key, value in batch.items()}


def streams(encoder_width, decoder_width):
    return [padded(ROWS, encoder_width) | padded(DECODED, decoder_width, "decoder_")]


@pytest.mark.parametrize("widths", [(10, 12), (10, 10)])
def test_each_stream_of_an_encoder_decoder_has_its_own_mask(widths):
    one_by_one = [
        {"input_ids": torch.tensor([row]), "decoder_input_ids": torch.tensor([decoded])}
        for row, decoded in zip(ROWS, DECODED, strict=True)
    ]
    expected = collect(bart(), one_by_one, dtype="float64", share_inputs=False)
    found = collect(bart(), streams(*widths), dtype="float64", share_inputs=False)
    same_moments(found, expected)
    assert found.moments("model.decoder.layers.0.fc1").tokens == sum(map(len, DECODED))
    assert found.moments("model.encoder.layers.0.fc1").tokens == sum(map(len, ROWS))


def test_a_decoder_is_not_calibrated_on_text_that_nobody_gave():
    with pytest.raises(InputError, match="decoder_input_ids"):
        collect(bart(), [padded(ROWS, 10) | {"labels": padded(DECODED, 10)["input_ids"]}])


OTHER_INPUTS = {
    "decoder_input_ids": torch.arange(16).view(8, 2),
    "pixel_values": torch.arange(8 * 12.0).view(8, 3, 2, 2),
    "token_type_ids": torch.arange(8)[:, None],
}


@pytest.mark.parametrize("name", OTHER_INPUTS)
def test_the_data_hash_is_of_all_that_the_model_reads(name):
    hashes = set()
    for value in (OTHER_INPUTS[name], OTHER_INPUTS[name] + 1):
        sequences = Sequences()
        sequences.add({"input_ids": torch.ones(8, 1, dtype=torch.long), name: value})
        hashes.add(sequences.data_hash)
    assert len(hashes) == 2


def test_images_have_no_mask_and_every_patch_counts():
    torch.manual_seed(0)
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 12}
    model = ViTForImageClassification(ViTConfig(**sizes, image_size=8, patch_size=4)).double().eval()
    pixels = torch.randn(6, 3, 8, 8, dtype=torch.float64)
    whole, halves = ([{"pixel_values": part} for part in pixels.split(size)] for size in (6, 3))
    found = collect(model, whole, dtype="float64")
    same_moments(found, collect(model, halves, dtype="float64"))
    assert found.tokens == 6 * 5  # four patches and the class token
    assert found.manifest.notes == ()
    assert found.manifest.data_hash == collect(model, halves).manifest.data_hash


def test_embeddings_can_be_given_instead_of_tokens():
    model = llama()
    given = [
        {"inputs_embeds": model.model.embed_tokens(batch["input_ids"]), "attention_mask": batch["attention_mask"]}
        for batch in batches(ROWS)
    ]
    same_moments(collect(model, given, dtype="float64"), collect(model, batches(ROWS), dtype="float64"))


def test_positions_that_are_given_are_used():
    one = [{"input_ids": torch.tensor([row])} for row in ROWS]
    moved = [batch | {"position_ids": torch.arange(len(batch["input_ids"][0]))[None] * 2} for batch in one]
    plain, other = (collect(llama(), given, dtype="float64") for given in (one, moved))
    name = "model.layers.0.self_attn.o_proj"
    assert not torch.allclose(plain.second_moment(name), other.second_moment(name))


def test_activations_that_are_not_finite_are_refused():
    model = llama()
    model.model.embed_tokens.weight.data[5] = float("inf")
    with pytest.raises(InputError, match="is not finite on these data"):
        collect(model, batches([[4, 5, 6], [7, 8, 9]]))
