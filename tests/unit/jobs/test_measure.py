"""`retain.measure`, as people with their own training loop call it."""

import pytest
import torch
from peft import LoraConfig, PromptTuningConfig, get_peft_model
from transformers import (
    BertConfig,
    BertForMaskedLM,
    CLIPConfig,
    CLIPModel,
    T5Config,
    T5ForConditionalGeneration,
    ViTConfig,
    ViTForImageClassification,
)

import retain
from retain.errors import InputError
from retain.records.items import read_items
from retain.records.result import read_result
from tiny import make_llama, make_text_tokenizer, make_tokenizer

TOKENIZER = make_tokenizer()
LETTERS = "abcdefghijklmnopqrstuvwxyz"
TEST = [{"prompt": f"{a} word{i}", "completion": f" {LETTERS[-i]} z"} for i, a in enumerate(LETTERS)]
KEEP = [{"question": f"{a} then", "choices": ["b", "c", "d"], "answer": i % 3} for i, a in enumerate(LETTERS)]


def tuned_lora():
    model = get_peft_model(make_llama(), LoraConfig(target_modules="all-linear", r=2))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.3, generator=torch.Generator().manual_seed(1))
    return model


def test_an_adapted_model_alone_gives_the_record_and_its_files(tmp_path, tiny_data):
    result = retain.measure(
        tuned_lora(),
        tokenizer=TOKENIZER,
        test=TEST,
        keep={"letters": KEEP},
        held_out_text=tiny_data / "text.txt",
        output=tmp_path / "measured",
        generate=3,
        max_new_tokens=3,
        show_progress=False,
    )
    assert read_result(tmp_path / "measured" / "result.json") == result
    assert (result.method.name, result.seed, result.cost.steps) == ("lora", None, 0)
    assert [suite.name for suite in result.keep] == ["letters"]
    assert result.drift.kl_nats_per_token > 0
    assert result.parameters.trainable < result.parameters.total
    assert result.cost.measure_seconds > 0
    assert len(list(read_items(tmp_path / "measured" / "items.jsonl"))) > len(TEST) + len(KEEP)
    assert (tmp_path / "measured" / "report.html").is_file()


def test_two_models_give_the_same_record_as_one_with_its_base_inside():
    model = tuned_lora()
    inside = retain.measure(model, tokenizer=TOKENIZER, test=TEST, generate=0, show_progress=False)
    apart = retain.measure(
        make_llama(), model.merge_and_unload(), tokenizer=TOKENIZER, test=TEST, generate=0, show_progress=False
    )
    assert apart.method.name == "full"
    assert apart.task[0].tuned == pytest.approx(inside.task[0].tuned, abs=1e-5)
    assert apart.drift.update_relative_frobenius == pytest.approx(inside.drift.update_relative_frobenius, rel=1e-4)
    assert apart.provenance.model_hash == inside.provenance.model_hash


def test_what_a_base_said_before_is_not_what_was_changed():
    untouched = retain.measure(make_llama(), make_llama(), tokenizer=TOKENIZER, keep=KEEP, show_progress=False)
    assert (untouched.keep[0].lost, untouched.keep[0].gained) == (0, 0)
    assert untouched.drift.update_relative_frobenius == 0


def test_a_base_that_was_changed_in_place_is_refused():
    base = make_llama()
    merged = get_peft_model(base, LoraConfig(target_modules="all-linear", r=2)).merge_and_unload()
    with pytest.raises(InputError, match="changed the base in place"):
        retain.measure(base, merged, tokenizer=TOKENIZER, test=TEST, generate=0, show_progress=False)


def test_a_base_with_its_own_adapter_on_is_seen_without_it():
    base = make_llama()
    model = get_peft_model(base, LoraConfig(target_modules="all-linear", r=2, init_lora_weights=False))
    together = retain.measure(base, model, tokenizer=TOKENIZER, test=TEST, generate=0, show_progress=False)
    alone = retain.measure(model, tokenizer=TOKENIZER, test=TEST, generate=0, show_progress=False)
    assert together.task == alone.task
    assert together.task[0].base != together.task[0].tuned


def test_virtual_tokens_of_a_prompt_method_are_not_scored(tiny_data):
    config = PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3)
    result = retain.measure(
        get_peft_model(make_llama(), config),
        tokenizer=TOKENIZER,
        test=TEST,
        held_out_text=tiny_data / "text.txt",
        generate=0,
        show_progress=False,
    )
    assert result.method.name == "prompt_tuning"
    assert result.drift.kl_nats_per_token > 0
    assert result.drift.update_relative_frobenius is None
    assert "prompt" in result.drift.note


def test_an_adapter_that_transformers_put_on_is_named():
    model = make_llama()
    model.add_adapter(LoraConfig(target_modules=["q_proj"], r=2))
    result = retain.measure(model, tokenizer=TOKENIZER, test=TEST, generate=0, show_progress=False)
    assert result.method.name == "lora"
    assert result.parameters.trainable == 2 * 2 * (32 + 32)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({}, "nothing to measure"),
        ({"test": [{"prompt": "a"}]}, "Known are: prompt, completion; prompt, harmful;"),
        ({"test": [*TEST, {"prompt": "a"}]}, 'row 27: "completion" missing'),
        ({"keep": "missing.jsonl"}, "missing.jsonl"),
        ({"keep": {"few": []}}, "few: holds no items"),
        ({"test": TEST, "no_such_setting": 1}, "no_such_setting"),
    ],
)
def test_bad_input_is_told(arguments, told):
    with pytest.raises(InputError) as error:
        retain.measure(tuned_lora(), tokenizer=TOKENIZER, show_progress=False, **arguments)
    assert told in str(error.value)


ENCODER = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1}
HEADS = {"num_attention_heads": 4}
T5 = {"vocab_size": 70, "d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2}
VIT = {**ENCODER, **HEADS, "image_size": 16, "patch_size": 8}
PAIRS = [{"query": f"a {letter}", "match": f"b {letter}"} for letter in LETTERS]


def masked_model():
    torch.manual_seed(0)
    return BertForMaskedLM(BertConfig(**ENCODER, **HEADS)).eval()


def joint_model():
    torch.manual_seed(0)
    config = CLIPConfig(text_config={**ENCODER, **HEADS, "eos_token_id": 3}, vision_config=VIT, projection_dim=16)
    return CLIPModel(config).eval()


@pytest.mark.parametrize("make", [masked_model, joint_model])
def test_a_model_that_predicts_no_text_is_measured_by_its_features(make):
    given = {"keep": {"pairs": PAIRS}, "tokenizer": make_text_tokenizer(), "show_progress": False, "drift": False}
    result = retain.measure(make(), make(), **given)
    assert {(suite.name, suite.n, suite.base == suite.tuned) for suite in result.keep} == {("pairs", len(PAIRS), True)}
    with pytest.raises(InputError) as caught:
        retain.measure(make(), make(), **{**given, "keep": {"letters": KEEP}})
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: T5ForConditionalGeneration(T5Config(**T5, decoder_start_token_id=0)), "is an encoder-decoder"),
        (lambda: ViTForImageClassification(ViTConfig(**VIT)), "reads images, and the data are texts"),
        (lambda: make_llama().to("meta"), "weights are not there"),
        (lambda: torch.nn.Sequential(make_llama()), "Sequential, Sequential was given, and a loaded model"),
    ],
)
def test_a_model_that_does_not_read_the_data_as_they_are_is_told(make, told):
    with pytest.raises(InputError, match=told):
        retain.measure(make(), make(), tokenizer=TOKENIZER, keep={"letters": KEEP}, show_progress=False)
