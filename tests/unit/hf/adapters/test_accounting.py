"""An adapter that is not of this model is refused, whichever property of its files tells so; the base comes back."""

import json
import warnings

import pytest
import torch
from peft import LoraConfig, TrainableTokensConfig, get_peft_model
from safetensors.torch import load_file, save_file
from torch import nn

from retain.errors import InputError
from retain.hf.adapters.load import load_adapter
from retain.hf.models.sides import is_adapted, mutates_base
from tiny import make_llama

IDS = torch.arange(2, 10).view(1, 8)


def saved(folder, **fields):
    """A LoRA of two kinds of layers, trained a little, as PEFT writes it."""
    model = get_peft_model(make_llama(), LoraConfig(**{"target_modules": ["q_proj", "v_proj"], "r": 4, **fields}))
    torch.manual_seed(3)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data.add_(0.02 * torch.randn_like(parameter))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save_pretrained(folder)
    return folder


def rewrite(folder, change):
    path = folder / "adapter_model.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in change(load_file(path)).items()}, path)


def reconfigure(folder, **fields):
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def refused(folder, match):
    base = make_llama()
    before = {name: tensor.clone() for name, tensor in base.state_dict().items()}
    with pytest.raises(InputError, match=match) as caught:
        load_adapter(base, folder)
    assert "\n" not in caught.value.problems[0]
    assert not is_adapted(base)
    assert before.keys() == base.state_dict().keys()
    assert all(torch.equal(tensor, before[name]) for name, tensor in base.state_dict().items())
    assert all(parameter.requires_grad for parameter in base.parameters())


def doubled(tensors):
    return tensors | {name.replace("layers.1", "layers.2"): tensor.clone() for name, tensor in tensors.items()}


def halved(tensors):
    return {name: tensor for name, tensor in tensors.items() if "layers.1" not in name}


def one_changed(change):
    def changed(tensors):
        first = min(tensors)
        return {**tensors, first: change(tensors[first].clone())}

    return changed


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (doubled, "4 of its 12 tensors have no place in this one"),
        (lambda tensors: tensors | {"stray": torch.ones(2)}, "1 of its 9 tensors have no place"),
        (halved, "have no weights in it"),
        (one_changed(lambda t: t.view(torch.int32)), "whole numbers where weights should be"),
        (one_changed(lambda t: t > 0), "bool, which no weight is"),
        (one_changed(lambda t: t.fill_(float("nan"))), "not finite"),
        (one_changed(lambda t: t.fill_(float("-inf"))), "not finite"),
        (one_changed(lambda t: t.fill_(3e38)), "too large for a weight"),
        (one_changed(lambda t: t[:2]), "size mismatch"),
        (one_changed(lambda t: t[None]), "size mismatch"),
        (lambda _: {"none": torch.zeros(0)}, "no tensor beside it is larger"),
    ],
)
def test_each_tensor_of_the_file_is_accounted_for(tmp_path, change, told):
    rewrite(saved(tmp_path), change)
    refused(tmp_path, told)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"target_modules": ["q_proj", "v_projx"]}, "no place in this one|v_projx"),
        ({"target_modules": ["q_proj"]}, "no place in this one"),
        ({"target_modules": "(["}, "cannot be loaded"),
        ({"rank_pattern": {"k_proj": 4}}, "rank_pattern names k_proj"),
        ({"alpha_pattern": {"layers.9": 4}}, r"alpha_pattern names layers\.9"),
        ({"lora_alpha": 1e300}, "alpha"),
        ({"r": 8}, "size mismatch"),
        ({"r": 10**7}, "r is 10000000"),
        ({"r": -3}, "cannot be loaded"),
    ],
)
def test_each_name_and_size_of_the_configuration_is_in_the_model(tmp_path, fields, told):
    reconfigure(saved(tmp_path), **fields)
    refused(tmp_path, told)


@pytest.mark.parametrize(
    "fields",
    [
        {"target_modules": ["q_proj", "v_proj", "query_key_value", "c_attn"]},
        {"modules_to_save": ["wte"]},
        {"layers_to_transform": [0, 1, 7]},
    ],
)
def test_names_for_other_architectures_do_no_harm_where_every_tensor_has_its_place(tmp_path, fields):
    model = get_peft_model(
        make_llama(), LoraConfig(**{"target_modules": ["q_proj", "v_proj"], "r": 4, **fields})
    ).eval()
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter)
    model.save_pretrained(tmp_path)
    assert torch.equal(load_adapter(make_llama(), tmp_path)(IDS).logits, model(IDS).logits)
    rewrite(tmp_path, doubled)
    refused(tmp_path, "4 of its 12 tensors have no place")


def test_left_over_names_are_told_as_they_stand_in_the_file(tmp_path):
    rewrite(saved(tmp_path), doubled)
    refused(tmp_path, r"base_model\.model\.model\.layers\.2\.self_attn\.q_proj\.lora_A\.weight")


def test_what_a_refused_adapter_wrapped_is_taken_off_again(tmp_path):
    model = get_peft_model(make_llama(), TrainableTokensConfig(token_indices=[1], target_modules=["embed_tokens"]))
    model.save_pretrained(tmp_path / "tokens")
    rewrite(tmp_path / "tokens", lambda tensors: tensors | {"stray": torch.ones(2)})
    refused(tmp_path / "tokens", "no place")
    saved(tmp_path / "heads", modules_to_save=["lm_head"], trainable_token_indices=[1, 2])
    rewrite(tmp_path / "heads", lambda tensors: tensors | {"stray": torch.ones(2)})
    refused(tmp_path / "heads", "no place")


def test_a_model_with_adapters_takes_no_second_one_inside(tmp_path):
    model = load_adapter(make_llama(), saved(tmp_path))
    for adapted in (model, model.get_base_model()):
        with pytest.raises(InputError, match="carries adapters already"):
            load_adapter(adapted, tmp_path)


def test_a_base_whose_weights_the_file_replaces_is_no_longer_inside(tmp_path):
    model = get_peft_model(make_llama(), LoraConfig(target_modules=["q_proj"], task_type="CAUSAL_LM"))
    untouched, trained = tmp_path / "untouched", tmp_path / "trained"
    model.save_pretrained(untouched, save_embedding_layers=True)
    nn.init.normal_(model.get_base_model().get_input_embeddings().weight)
    model.save_pretrained(trained, save_embedding_layers=True)
    assert mutates_base(load_adapter(make_llama(), untouched)) is None
    assert "embed_tokens.weight" in mutates_base(load_adapter(make_llama(), trained))


def test_heads_that_peft_names_for_a_task_need_not_all_be_there(tmp_path):
    from transformers import BertForSequenceClassification

    from tiny import make_bert

    def bert():
        torch.manual_seed(0)
        return BertForSequenceClassification(make_bert().config)

    model = get_peft_model(bert(), LoraConfig(target_modules=["query"], task_type="SEQ_CLS"))
    assert set(model.peft_config["default"].modules_to_save) == {"classifier", "score"}
    model.save_pretrained(tmp_path)
    assert is_adapted(load_adapter(bert(), tmp_path))
