"""The head of a classifier: found in every family of models, saved and given back bit for bit."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from retain.errors import InputError
from retain.hf.adapters.attach import attach
from retain.hf.models.head import (
    BASE_HEAD,
    head_inputs,
    head_names,
    is_classifier,
    output_layer,
    renew_output_layer,
    restore_head,
    save_head,
    saved_labels,
    set_output_layer,
)
from retain.hf.models.sides import base_view
from retain.jobs.inputs.models import ModelSpec
from tiny import make_bert, make_llama, make_text_tokenizer, make_tokenizer, make_vit

SIZES = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
TEXT = {"vocab_size": 50, "max_position_embeddings": 40, **SIZES}
IMAGE = {"image_size": 16, "patch_size": 8, **SIZES}


def make(name, classes=3):
    """A tiny classifier of a family."""
    import transformers

    fields = {
        "Bert": TEXT,
        "Roberta": {**TEXT, "pad_token_id": 1},
        "DistilBert": {"vocab_size": 50, "dim": 16, "hidden_dim": 24, "n_layers": 1, "n_heads": 2},
        "Llama": {**TEXT, "num_key_value_heads": 1, "pad_token_id": 0},
        "ViT": IMAGE,
        "Dinov2": {**IMAGE, "mlp_ratio": 2},
        "ResNet": {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"},
    }[name]
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(**fields, num_labels=classes)
    kind = "Image" if name in {"ViT", "Dinov2", "ResNet"} else "Sequence"
    return getattr(transformers, f"{name}For{kind}Classification")(config).eval()


def inputs(name):
    generator = torch.Generator().manual_seed(1)
    if name in {"ViT", "Dinov2", "ResNet"}:
        size = 64 if name == "ResNet" else 16
        return {"pixel_values": torch.randn(5, 3, size, size, generator=generator)}
    ids = torch.randint(3, 50, (5, 7), generator=generator)
    mask = torch.ones_like(ids)
    mask[1, 4:], mask[3, 2:] = 0, 0
    return {"input_ids": ids.masked_fill(mask == 0, 1 if name == "Roberta" else 0), "attention_mask": mask}


HEADS = {
    "Bert": ["classifier"],
    "Roberta": ["classifier"],
    "DistilBert": ["pre_classifier", "classifier"],
    "Llama": ["score"],
    "ViT": ["classifier"],
    "Dinov2": ["classifier"],
    "ResNet": ["classifier"],
}


@pytest.mark.parametrize("name", HEADS)
def test_the_head_is_found(name):
    model = make(name)
    assert head_names(model) == HEADS[name]
    assert is_classifier(model)
    assert output_layer(model).out_features == 3
    body = sum(p.numel() for p in getattr(model, model.base_model_prefix).parameters())
    head = sum(p.numel() for part in HEADS[name] for p in model.get_submodule(part).parameters())
    assert body + head == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("name", HEADS)
def test_what_the_output_layer_reads_gives_the_logits(name):
    model, batch = make(name), inputs(name)
    layer = output_layer(model)
    features = head_inputs(model, [batch, {key: value[:2] for key, value in batch.items()}])
    with torch.no_grad():
        logits = model(**batch).logits
    found = features @ layer.weight.T + (0 if layer.bias is None else layer.bias)
    torch.testing.assert_close(found, torch.cat([logits, logits[:2]]), atol=1e-5, rtol=1e-4)
    assert not layer._forward_pre_hooks


def test_language_models_and_bodies_have_no_head():
    assert head_names(make_llama()) == head_names(make_bert()) == head_names(make_vit()) == []
    assert not is_classifier(make_llama())


@pytest.mark.parametrize("name", HEADS)
def test_a_head_comes_back_bit_for_bit(name, tmp_path):
    model, other = make(name), make(name)
    for part in HEADS[name]:
        for parameter in other.get_submodule(part).parameters():
            parameter.data.add_(1)
    save_head(model, ["k", "a", "ü"], tmp_path)
    assert saved_labels(tmp_path) == ["k", "a", "ü"]
    restore_head(other, tmp_path)
    assert all(torch.equal(one, two) for one, two in zip(model.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("name", ["Bert", "Roberta", "DistilBert", "Llama", "ViT"])
def test_the_head_before_training_is_saved_from_inside_an_adapter(name, tmp_path):
    model = attach(make(name), "lora", {"r": 2})
    for parameter_name, parameter in model.named_parameters():
        if "modules_to_save" in parameter_name:
            parameter.data.add_(1)
    with base_view(model):
        save_head(model, ["a", "b", "c"], tmp_path)
    fresh = make(name)
    kept = {name: value.clone() for name, value in fresh.state_dict().items()}
    renew_output_layer(fresh)
    restore_head(fresh, tmp_path)
    assert all(torch.equal(value, kept[key]) for key, value in fresh.state_dict().items())


def test_a_damaged_or_foreign_head_is_refused(tmp_path):
    assert saved_labels(tmp_path) is None
    model = make("Bert")
    save_head(model, ["a", "b", "c"], tmp_path)
    with pytest.raises(InputError, match="does not fit"):
        restore_head(make("Bert", classes=2), tmp_path)
    with pytest.raises(InputError, match="does not fit"):
        restore_head(make("Llama"), tmp_path)
    path = tmp_path / BASE_HEAD
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="damaged head file"):
        saved_labels(tmp_path)
    with pytest.raises(InputError, match="does not fit"):
        restore_head(model, tmp_path)
    save_file(load_file_of(content, tmp_path), str(path), metadata={"labels": "["})
    with pytest.raises(InputError, match="damaged head file"):
        saved_labels(tmp_path)


def load_file_of(content, folder):
    (folder / "whole.safetensors").write_bytes(content)
    return load_file(str(folder / "whole.safetensors"))


def test_a_refused_head_leaves_the_model_as_it_was(tmp_path):
    save_head(make("Bert", classes=2), ["a", "b"], tmp_path)
    model = make("Bert")
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(InputError):
        restore_head(model, tmp_path)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_a_head_that_is_not_linear_is_told_of():
    model = make("Bert")
    model.classifier = nn.Sequential(nn.Linear(16, 5))
    with pytest.raises(InputError, match="no linear output layer for its 3 classes"):
        set_output_layer(model, torch.zeros(3, 16), torch.zeros(3))


def saved_classifier(folder, names):
    model = make("Bert", classes=len(names))
    model.config.id2label = dict(enumerate(names))
    model.config.label2id = {name: index for index, name in enumerate(names)}
    model.save_pretrained(folder)
    return model


def test_a_checkpoint_keeps_its_own_head_and_its_order(tmp_path):
    model = saved_classifier(tmp_path, ["c", "a", "b"])
    for labels in (["a", "b", "c"], ["a", "b"]):
        found, is_new = ModelSpec(str(tmp_path), "text-classifier", labels).load()
        assert not is_new
        assert [found.config.id2label[index] for index in range(3)] == ["c", "a", "b"]
        assert torch.equal(found.classifier.weight, model.classifier.weight)


@pytest.mark.parametrize("labels", [["x", "y", "z"], ["x", "y"], ["a", "b", "other"]])
def test_other_classes_get_a_new_head_also_where_there_are_as_many(tmp_path, labels):
    """A head for (c, a, b) says nothing of (x, y, z): keeping it would only rename its classes."""
    model = saved_classifier(tmp_path, ["c", "a", "b"])
    found, is_new = ModelSpec(str(tmp_path), "text-classifier", labels).load()
    again, _ = ModelSpec(str(tmp_path), "text-classifier", labels).load()
    assert is_new
    assert [found.config.id2label[index] for index in range(len(labels))] == labels
    assert not torch.equal(found.classifier.weight[:2], model.classifier.weight[:2])
    assert torch.equal(found.classifier.weight, again.classifier.weight)


def test_a_body_without_its_pooler_is_filled_up_in_the_same_way_each_time(tmp_path):
    """What a checkpoint lacks is drawn; drawn anew for the tuned side, it would pass for a change."""
    from transformers import BertForMaskedLM

    BertForMaskedLM(make_bert().config).save_pretrained(tmp_path)
    state = torch.random.get_rng_state()
    one, two = (ModelSpec(str(tmp_path), "text-features").load().model.state_dict() for _ in range(2))
    assert all(torch.equal(value, two[key]) for key, value in one.items())
    assert torch.equal(state, torch.random.get_rng_state())


def test_a_decoder_without_a_padding_token_can_judge_texts_in_batches(tmp_path):
    model = make_llama()
    model.config.pad_token_id = None
    model.save_pretrained(tmp_path)
    tokenizer = make_tokenizer()
    tokenizer.pad_token = None
    tokenizer.save_pretrained(tmp_path)
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert not settings.get("pad_token")
    judge, is_new = ModelSpec(str(tmp_path), "text-classifier", ["a", "b"]).load()
    preprocessor = ModelSpec(str(tmp_path), "text-classifier", max_length=40).preprocessor()
    assert is_new
    with torch.no_grad():
        together = judge(**preprocessor.batch(["a b c d", "a"])).logits
        alone = judge(**preprocessor.batch(["a"])).logits
    torch.testing.assert_close(together[1:], alone, atol=1e-5, rtol=1e-4)


def test_a_reader_of_texts_is_that_of_the_model(tmp_path):
    make_text_tokenizer().save_pretrained(tmp_path)
    preprocessor = ModelSpec(str(tmp_path), "text-classifier", max_length=40).preprocessor()
    assert list(preprocessor.batch(["a b"])) == ["input_ids", "token_type_ids", "attention_mask"]
