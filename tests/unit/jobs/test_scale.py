"""`retain.scale` in Python, and the form in which an update is written."""

import json

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file

import retain
from retain.data.preprocess import TextPreprocessor
from retain.errors import InputError
from retain.evaluate.pair import Pair
from retain.hf.models.head import BASE_HEAD
from retain.jobs.scale import write_setting
from tiny import make_llama, make_tokenizer

TOKENIZER = make_tokenizer()
KEEP = [{"question": f"{a} then", "choices": ["b", "c"], "answer": i % 2} for i, a in enumerate("abcdefghij")]


def adapted():
    model = get_peft_model(make_llama(), LoraConfig(target_modules=["q_proj"], r=2))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.fill_(0.1)
    return model.eval()


def test_a_curve_alone_chooses_nothing_and_leaves_the_model(tmp_path):
    model = adapted()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    outcome = retain.scale(
        model, tokenizer=TOKENIZER, keep={"letters": KEEP}, alphas=(0.5, 1.0), output=tmp_path, show_progress=False
    )
    assert {point.alpha for point in outcome.scaling.curve} == {0.5, 1.0}
    assert not (tmp_path / "adapter").exists()
    assert json.loads((tmp_path / "scaling.json").read_text())["scaling"]["alphas"] == [0.5, 1.0]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_budget_that_is_kept_writes_the_adapter(tmp_path):
    budget = retain.Budget(letters=99, confidence=0.5)
    (tmp_path / "model").mkdir()
    outcome = retain.scale(
        adapted(),
        tokenizer=TOKENIZER,
        budget=budget,
        keep={"letters": KEEP},
        alphas=(1.0,),
        output=tmp_path,
        show_progress=False,
    )
    assert outcome.kept
    assert (tmp_path / "adapter" / "adapter_model.safetensors").is_file()
    assert not (tmp_path / "model").exists(), "what an earlier call wrote is gone"


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"alphas": (1.0, 0.5)}, "alphas"),
        ({"budget": retain.Budget(numbers=2)}, "no retention suite 'numbers'"),
        ({"windows": 3}, "windows: is no setting; did you mean window"),
    ],
)
def test_what_cannot_be_meant_is_refused(given, problem):
    with pytest.raises(InputError, match=problem):
        retain.scale(adapted(), tokenizer=TOKENIZER, keep={"letters": KEEP}, show_progress=False, **given)


def test_an_adapter_is_written_at_its_coefficient_with_the_head_of_its_base(tmp_path):
    (tmp_path / "beside").mkdir()
    (tmp_path / "beside" / BASE_HEAD).write_bytes(b"head")
    preprocessor = TextPreprocessor(TOKENIZER, 60)
    target = write_setting(Pair(adapted()), 0.5, preprocessor, tmp_path, tmp_path / "beside")
    assert target == tmp_path / "adapter"
    assert (target / BASE_HEAD).read_bytes() == b"head"
    assert (target / "tokenizer.json").is_file()
    B = [value for name, value in load_file(target / "adapter_model.safetensors").items() if "lora_B" in name]
    assert all(torch.allclose(value, torch.full_like(value, 0.05)) for value in B)


def test_a_whole_model_is_written_whole(tmp_path):
    base, tuned = make_llama(), make_llama()
    with torch.no_grad():
        tuned.lm_head.weight += 1.0
    target = write_setting(Pair(tuned, base), 0.5, TextPreprocessor(TOKENIZER, 60), tmp_path)
    assert target == tmp_path / "model"
    written = load_file(target / "model.safetensors")["lm_head.weight"]
    assert torch.allclose(written, base.lm_head.weight + 0.5, atol=1e-6)
