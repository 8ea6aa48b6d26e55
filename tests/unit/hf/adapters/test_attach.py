"""Any PEFT method by name and plain fields; every mistake named."""

import pytest
import torch
from peft import PeftModel
from transformers import BertConfig, BertModel, LlamaConfig, LlamaForCausalLM, T5Config, T5ForConditionalGeneration

from retain.errors import InputError, TargetError
from retain.hf.adapters.attach import attach, known_methods, validate

SIZES = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 4, "vocab_size": 32}
IDS = torch.arange(2, 10).view(1, 8)


def llama():
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(**SIZES)).eval()


def adapted(model):
    return {name.rpartition(".")[2] for name, module in model.named_modules() if hasattr(module, "merged_adapters")}


@pytest.mark.parametrize("name", ["vefa", "lorfa", "lora", "oft", "hra", "vera", "boft", "loha", "lokr"])
def test_methods_start_as_the_base_on_all_linear_layers(name):
    base = llama()
    expected = base(IDS).logits
    model = attach(base, name, {})
    assert isinstance(model, PeftModel)
    assert adapted(model) == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    torch.testing.assert_close(model.eval()(IDS).logits, expected, rtol=0, atol=1e-6)


def test_given_fields_are_kept():
    model = attach(llama(), "lora", {"r": 3, "target_modules": ["q_proj"], "use_rslora": True}, adapter="mine")
    config = model.peft_config["mine"]
    assert (config.r, config.use_rslora, adapted(model)) == (3, True, {"q_proj"})


def test_ia3_takes_its_feed_forward_layers_as_given():
    named = ["q_proj", "down_proj"]
    model = attach(llama(), "ia3", {"target_modules": named, "feedforward_modules": named})
    assert all(m.is_feedforward for m in model.modules() if hasattr(m, "is_feedforward"))


def test_ia3_keeps_the_default_of_peft():
    assert adapted(attach(llama(), "ia3", {})) == {"k_proj", "v_proj", "down_proj"}


def test_ia3_without_a_default_says_what_is_missing():
    with pytest.raises(InputError, match="target_modules"):
        attach(torch.nn.Sequential(torch.nn.Linear(4, 4)), "ia3", {})


def test_methods_for_other_modules_keep_their_own_targets():
    assert adapted(attach(llama(), "ln_tuning", {})) == {"input_layernorm", "post_attention_layernorm", "norm"}


def test_prompts_work_on_a_language_model():
    model = attach(llama(), "prompt_tuning", {"num_virtual_tokens": 3})
    assert model(input_ids=IDS).logits.shape[1] == 8 + 3


def test_layers_to_transform_keeps_the_architectures_default_targets():
    assert adapted(attach(llama(), "lora", {"layers_to_transform": [0]})) == {"q_proj", "v_proj"}


@pytest.mark.parametrize(
    ("model", "task"),
    [
        (llama, "CAUSAL_LM"),
        (
            lambda: T5ForConditionalGeneration(T5Config(d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)),
            "SEQ_2_SEQ_LM",
        ),
        (lambda: BertModel(BertConfig(**SIZES)), None),
    ],
)
def test_the_task_type_is_that_of_the_models_head(model, task):
    assert attach(model(), "vefa", {}).active_peft_config.task_type == task


def test_an_unknown_method_lists_the_known_ones_and_the_nearest():
    with pytest.raises(InputError, match=r"'vfea' is unknown \(did you mean .*vefa.*\); PEFT knows adalora"):
        attach(llama(), "vfea", {})
    assert {"vefa", "lorfa", "lora", "ia3", "oft", "hra"} <= set(known_methods())


def test_all_unknown_fields_are_named_with_the_nearest():
    with pytest.raises(InputError) as caught:
        attach(llama(), "lorfa", {"lorfa_alfa": 3, "rang": 2, "r": 4})
    first, second = caught.value.problems
    assert "'lorfa_alfa' is unknown (did you mean lorfa_alpha" in first
    assert "'rang' is unknown" in second
    assert "rank_pattern" in second


def test_validate_needs_no_model():
    assert validate("lora", {"r": 4}) == []
    assert validate("none", {})[0].startswith("method 'none' is unknown")
    assert len(validate("lora", {"a": 1, "b": 2})) == 2
    assert validate("lorfa", {"r": 0, "lorfa_dropout": 2}) == [
        "r=0: a rank is a whole number ≥ 1.",
        "lorfa_dropout=2: a dropout lies in [0, 1).",
    ]
    assert "total_step" in validate("adalora", {"total_step": -1})[0]


def test_what_peft_refuses_is_an_input_error():
    with pytest.raises(InputError, match=r"method c3a: PEFT cannot make this adapter.*block size"):
        attach(llama(), "c3a", {})
    with pytest.raises(TargetError, match="embedding"):
        attach(llama(), "vefa", {"target_modules": ["embed_tokens"]})
