"""The base is float32 and the tuned model was saved in bfloat16: the commonest pair of all."""

import pytest
import torch

import retain
from retain.cli.main import main
from retain.errors import RetainError
from retain.records.result import read_result
from tiny import make_llama, make_tokenizer


@pytest.fixture
def pair(tmp_path, tiny_folder):
    """Save a model that was tuned a little, in a dtype; give both folders."""

    def make(dtype):
        model = make_llama()
        model.model.layers[0].mlp.up_proj.weight.data.mul_(1.1)
        model.to(dtype).save_pretrained(tmp_path / "tuned")
        make_tokenizer().save_pretrained(tmp_path / "tuned")
        return str(tiny_folder), str(tmp_path / "tuned")

    return make


def measure(base, tuned, tiny_data, output, *more):
    data = ["--keep", str(tiny_data / "letters.jsonl"), "--held-out-text", str(tiny_data / "text.txt")]
    return main(["measure", "--model", base, "--tuned", tuned, *data, "--output", str(output), *more])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_16_bit_copy_of_a_float32_base_is_measured_in_float32(dtype, pair, tiny_data, tmp_path):
    base, tuned = pair(dtype)
    assert measure(base, tuned, tiny_data, tmp_path / "out") == 0
    result = read_result(tmp_path / "out" / "result.json")
    assert {side.dtype for side in result.conditions.values()} == {"float32"}
    told = [note for note in result.provenance.notes if "--dtype" in note]
    assert str(dtype).removeprefix("torch.") in told[0]
    assert "float32" in told[0]


def test_the_dtype_that_is_asked_for_is_that_of_both(pair, tiny_data, tmp_path):
    base, tuned = pair(torch.float32)
    assert measure(base, tuned, tiny_data, tmp_path / "out", "--dtype", "bfloat16") == 0
    result = read_result(tmp_path / "out" / "result.json")
    assert {side.dtype for side in result.conditions.values()} == {"bfloat16"}
    assert not [note for note in result.provenance.notes if "--dtype" in note]


def test_in_python_two_dtypes_are_refused_before_anything_is_answered(tiny_data):
    asked = []
    base, tuned = make_llama(), make_llama(seed=1).to(torch.bfloat16)
    for model in (base, tuned):
        model.register_forward_pre_hook(lambda *_: asked.append(1))
    keep = {"letters": str(tiny_data / "letters.jsonl")}
    with pytest.raises(RetainError, match="dtype: base float32, tuned bfloat16.*--dtype float32"):
        retain.measure(base, tuned, tokenizer=make_tokenizer(), keep=keep, show_progress=False)
    assert len(asked) == 1  # whether the base looks ahead is tried on four tokens; no item was asked


def test_models_that_end_their_answers_at_other_tokens_end_at_either(tiny_folder, tiny_data, tmp_path):
    model = make_llama()
    model.generation_config.eos_token_id = [1, 4]
    model.save_pretrained(tmp_path / "tuned")
    data = ["--test", str(tiny_data / "test.jsonl"), "--generate", "4", "--max-new-tokens", "4"]
    out = str(tmp_path / "out")
    assert (
        main(["measure", "--model", str(tiny_folder), "--tuned", str(tmp_path / "tuned"), *data, "--output", out]) == 0
    )
    notes = read_result(tmp_path / "out" / "result.json").provenance.notes
    assert [note for note in notes if "other end tokens (1 and 1, 4)" in note]
