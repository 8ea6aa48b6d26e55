"""The Fisher information of a base: against its closed form, and against whole backward passes."""

import itertools
from types import SimpleNamespace

import pytest
import torch
from peft import LoraConfig, get_peft_model
from test_kl_penalty import batches, moved
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    BertForSequenceClassification,
    BitsAndBytesConfig,
    ViTForImageClassification,
)

from retain import VeFAConfig
from retain.errors import InputError
from retain.hf.adapters.initialise import weight_of
from retain.hf.models.trained_parts import trained_parts
from retain.train.regularise import fisher as subject
from retain.train.regularise.fisher import Fisher, drawn_labels, fisher_diagonal
from tiny import make_bert, make_llama, make_vit


class Softmax(nn.Module):
    """Logits W x of one layer that is used `uses` times: W x, then W x in all."""

    def __init__(self, classes=3, inputs=4, uses=1):
        super().__init__()
        self.head, self.uses = nn.Linear(inputs, classes, bias=False, dtype=torch.float64), uses

    def forward(self, x):
        return SimpleNamespace(logits=sum(self.head(x) for _ in range(self.uses)))


def with_lora(model):
    torch.manual_seed(0)
    return get_peft_model(model, LoraConfig(target_modules=["head"], r=2))


def all_labels(monkeypatch, model, x):
    """Σ p(labels) F(labels) over all labels of all positions: the expectation over what is drawn, exactly."""
    log_p = model(x).logits.log_softmax(-1)[0].detach().reshape(-1, model(x).logits.shape[-1])
    expected = 0.0
    for labels in itertools.product(range(log_p.shape[1]), repeat=len(log_p)):
        shape = model(x).logits.shape[:-1]
        drawn = torch.tensor(labels).reshape(shape)
        monkeypatch.setattr(subject, "drawn_labels", lambda log_p, generator, drawn=drawn: drawn)
        odds = sum(log_p[place, label] for place, label in enumerate(labels)).exp()
        expected = expected + odds * fisher_diagonal(model, [{"x": x}], dtype=torch.float64).diagonal["head"]
    return expected


@pytest.mark.parametrize(("positions", "uses"), [(None, 1), (3, 1), (2, 2)])
def test_the_expectation_over_drawn_labels_is_the_closed_form(monkeypatch, positions, uses):
    model = with_lora(Softmax(uses=uses))
    generator = torch.Generator().manual_seed(3)
    shape = (1, 4) if positions is None else (1, positions, 4)
    x = torch.randn(shape, generator=generator, dtype=torch.float64)
    p = model(x).logits.softmax(-1).detach().reshape(-1, 3)
    # By hand, for logits u·W x: E_y[(∂ log p(y) / ∂W_ij)²] = u²·p_i (1 − p_i)·x_j², a mean over positions.
    by_hand = uses**2 * ((p * (1 - p)).T @ x.reshape(-1, 4).square()) / len(p)
    torch.testing.assert_close(all_labels(monkeypatch, model, x), by_hand, rtol=1e-12, atol=1e-15)


def test_labels_are_drawn_as_often_as_they_are_likely():
    p = torch.tensor([0.5, 0.0, 0.3, 0.2]).expand(20_000, 4)
    drawn = drawn_labels(p.log(), torch.Generator().manual_seed(0))
    shares = torch.bincount(drawn, minlength=4) / 20_000
    torch.testing.assert_close(shares, p[0], rtol=0, atol=0.015)  # 4 standard errors
    assert shares[1] == 0
    assert torch.equal(drawn, drawn_labels(p.log(), torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("config", [LoraConfig(target_modules="all-linear"), VeFAConfig(target_modules="all-linear")])
def test_layers_give_what_whole_backward_passes_of_the_base_give(config):
    model, given = moved(make_llama(), config).train(), batches(2)
    flags = [parameter.requires_grad for parameter in model.parameters()]
    found = fisher_diagonal(model, given, dtype=torch.float32)
    whole = fisher_diagonal(make_llama().requires_grad_(), given, teacher=make_llama(), dtype=torch.float32)
    assert found.predictions == whole.predictions == 30  # the marked positions of all rows
    for name, values in found.diagonal.items():
        torch.testing.assert_close(values, whole.diagonal[f"{name}.weight"], rtol=1e-4, atol=1e-12)
    assert {"model.embed_tokens.weight", "model.norm.weight"} <= whole.diagonal.keys()  # all that is trained
    assert model.training
    assert [parameter.requires_grad for parameter in model.parameters()] == flags
    assert all(parameter.grad is None for parameter in model.parameters())
    assert fisher_diagonal(model, given).diagonal["model.layers.0.mlp.up_proj"].dtype == torch.bfloat16


def test_padding_and_company_in_a_batch_change_nothing():
    model = moved(make_llama())
    together = batches(1)
    alone = [{name: value[row : row + 1, : (9, 6)[row]] for name, value in together[0].items()} for row in range(2)]
    for one, other in zip(
        fisher_diagonal(model, together).diagonal.values(), fisher_diagonal(model, alone).diagonal.values(), strict=True
    ):
        assert torch.equal(one, other)


def test_classifiers_of_text_and_of_images_count_their_items():
    text = BertForSequenceClassification(make_bert(num_labels=3).config)
    lora = LoraConfig(target_modules=["query", "dense"], modules_to_save=["classifier"], task_type="SEQ_CLS")
    found = fisher_diagonal(get_peft_model(text, lora), batches(1))
    assert found.predictions == 2
    assert {"classifier.weight", "classifier.bias", "bert.pooler.dense"} <= found.diagonal.keys()
    images = ViTForImageClassification(make_vit(num_labels=4).config)
    vefa = VeFAConfig(target_modules="all-linear", modules_to_save=["classifier"])
    pixels = {"pixel_values": torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))}
    found = fisher_diagonal(get_peft_model(images, vefa), [pixels])
    assert found.predictions == 3
    assert not found.unreached


def test_it_is_kept_in_a_file_and_read_back_bit_for_bit(tmp_path):
    found = fisher_diagonal(moved(make_llama()), batches(1))
    found.save(tmp_path / "f.safetensors")
    read = Fisher.load(tmp_path / "f.safetensors")
    assert read.predictions == found.predictions
    assert read.key == found.key
    assert all(torch.equal(values, read.diagonal[name]) for name, values in found.diagonal.items())
    content = (tmp_path / "f.safetensors").read_bytes()
    for name, broken in (("cut", content[:200]), ("empty", b""), ("text", b"no tensors at all")):
        (tmp_path / name).write_bytes(broken)
        with pytest.raises(InputError, match="remove it"):
            Fisher.load(tmp_path / name)


def test_what_no_prediction_rests_on_is_named():
    model = make_llama()
    with torch.no_grad():
        model.model.layers[1].self_attn.o_proj.weight.zero_()  # so v_proj of that block moves nothing
    found = fisher_diagonal(moved(model), batches(1))
    assert set(found.unreached) == {f"model.layers.1.self_attn.{name}_proj" for name in "qkv"}


def test_without_a_base_or_a_distribution_there_is_no_fisher():
    with pytest.raises(InputError, match="give teacher="):
        fisher_diagonal(make_llama().requires_grad_(), batches(1))
    number = BertForSequenceClassification(make_bert(num_labels=1).config)
    with pytest.raises(InputError, match="no distribution"):
        fisher_diagonal(get_peft_model(number, LoraConfig(target_modules=["query"])), batches(1))
    with pytest.raises(InputError, match="at least one"):
        fisher_diagonal(moved(make_llama()), [])


def test_over_a_quantised_base_it_is_that_of_the_dequantised_weights(tmp_path):
    pytest.importorskip("bitsandbytes")
    make_llama().save_pretrained(tmp_path)
    config = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_compute_dtype=torch.float32)
    packed = moved(AutoModelForCausalLM.from_pretrained(tmp_path, quantization_config=config))
    plain = make_llama()
    with torch.no_grad():
        for part in trained_parts(packed):
            W0, _ = weight_of(part.layer.get_base_layer(), part.root)
            plain.get_submodule(part.name).weight.copy_(W0)
    expected = fisher_diagonal(moved(plain), batches(1), dtype=torch.float32).diagonal
    for name, values in fisher_diagonal(packed, batches(1), dtype=torch.float32).diagonal.items():
        close = {"rtol": 0.02, "atol": 0.02 * float(expected[name].max())}
        torch.testing.assert_close(values, expected[name], **close)
