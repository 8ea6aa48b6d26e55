"""What lies beside the tuned weights: other tokenizers, templates, added tokens, embeddings of more rows."""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from retain.cli.main import main
from retain.records.result import read_result
from tiny import make_llama, make_tokenizer, write_jsonl

MORE = ["<tool>", "</tool>", "<a>", "<b>"]


def bigger_tokenizer():
    tokenizer = make_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": MORE})
    return tokenizer


def without_template():
    tokenizer = make_tokenizer()
    tokenizer.chat_template = None
    return tokenizer


def base_folder(folder, rows=62, tokenizer=None):
    """A base whose embeddings have as many rows as its tokenizer has tokens."""
    make_llama(vocabulary=rows).save_pretrained(folder)
    (tokenizer or make_tokenizer()).save_pretrained(folder)
    return folder


def grown(base, rows):
    model = AutoModelForCausalLM.from_pretrained(base)
    model.resize_token_embeddings(rows, mean_resizing=False)
    return model


def whole_model(folder, base, rows, tokenizer):
    model = grown(base, rows)
    model.model.layers[0].mlp.up_proj.weight.data.mul_(1.05)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def adapter(folder, base, rows, tokenizer, **fields):
    torch.manual_seed(0)
    config = LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM", **fields)
    model = get_peft_model(grown(base, rows), config)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data.add_(0.02 * torch.randn_like(parameter))
    model.save_pretrained(folder, save_embedding_layers=not fields and rows != 62)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def measured(tmp_path, tiny_data, capsys):
    """Measure a tuned model; its notes, and what was printed where it was refused."""

    def run(base, tuned, *more, test=None):
        out = tmp_path / "out"
        data = ["--keep", str(tiny_data / "letters.jsonl"), "--held-out-text", str(tiny_data / "text.txt")]
        data += ["--test", str(test)] if test else []
        code = main(["measure", "--model", str(base), "--tuned", str(tuned), *data, "--output", str(out), *more])
        if code == 0:
            return read_result(out / "result.json"), "\n".join(read_result(out / "result.json").provenance.notes)
        assert code == 2
        return None, capsys.readouterr().err

    return run


def test_a_model_with_four_more_rows_is_measured_on_text_too(tmp_path, measured):
    base = base_folder(tmp_path / "base")
    tuned = whole_model(tmp_path / "tuned", base, 66, bigger_tokenizer())
    result, notes = measured(base, tuned)
    assert result.drift.kl_nats_per_token > 0
    assert "has 4 tokens more (<tool>, </tool>, <a>, <b>)" in notes
    assert "embeddings of 62 tokens and the tuned model of 66" in notes
    assert "--tokenizer tuned" in notes


def test_its_own_tokenizer_can_be_given_to_both(tmp_path, measured):
    base = base_folder(tmp_path / "base")
    tuned = whole_model(tmp_path / "tuned", base, 66, bigger_tokenizer())
    result, notes = measured(base, tuned, "--tokenizer", "tuned")
    assert result.keep[0].n == 48
    assert "Both models were given the tuned model's (--tokenizer tuned)" in notes
    assert "each new one is the mean of the base's" in notes


def test_a_model_with_fewer_rows_than_a_padded_base(tmp_path, measured):
    base = base_folder(tmp_path / "base", rows=70)
    tuned = whole_model(tmp_path / "tuned", base, 64, make_tokenizer())
    result, notes = measured(base, tuned)
    assert result.drift.kl_nats_per_token > 0
    assert "over the first 64" in notes


@pytest.mark.parametrize("fields", [{}, {"modules_to_save": ["embed_tokens", "lm_head"]}])
def test_an_adapter_with_more_tokens_and_their_embeddings(tmp_path, measured, fields):
    base = base_folder(tmp_path / "base")
    tuned = adapter(tmp_path / "tuned", base, 66, bigger_tokenizer(), **fields)
    result, notes = measured(base, tuned)
    assert "brings embeddings of 66 tokens; the base has 62" in notes
    assert result.drift.kl_nats_per_token > 0
    again, _ = measured(base, base)
    assert [item.base for item in result.keep] == [item.base for item in again.keep], "the base as it is"


def test_an_adapter_with_more_tokens_and_without_embeddings(tmp_path, measured):
    base = base_folder(tmp_path / "base")
    tuned = adapter(tmp_path / "tuned", base, 62, bigger_tokenizer())
    _, notes = measured(base, tuned)
    assert "has 4 tokens more" in notes


def test_a_template_that_only_the_tuned_folder_has(tmp_path, measured):
    base = base_folder(tmp_path / "base", tokenizer=without_template())
    tuned = whole_model(tmp_path / "tuned", base, 62, make_tokenizer())
    rows = [
        {"messages": [{"role": "user", "content": f"word{i} a b"}, {"role": "assistant", "content": "word1"}]}
        for i in range(12)
    ]
    chats = write_jsonl(tmp_path / "chats.jsonl", rows)
    _, told = measured(base, tuned, test=chats)
    assert "a chat template" in told
    assert "--tokenizer tuned" in told
    result, notes = measured(base, tuned, "--tokenizer", "tuned", test=chats)
    assert result.task[0].n == 12
    assert "has a chat template" in notes


def test_ids_that_mean_other_tokens_are_refused_until_somebody_says_which_is_right(tmp_path, measured):
    base = base_folder(tmp_path / "base")
    other = make_tokenizer()
    swapped = other.backend_tokenizer.to_str().replace('"a":6', '"a":700').replace('"b":7', '"b":6')
    other._tokenizer = other.backend_tokenizer.from_str(swapped.replace('"a":700', '"a":7'))
    tuned = whole_model(tmp_path / "tuned", base, 62, other)
    _, told = measured(base, tuned)
    assert "gives ids to other tokens" in told
    assert "--tokenizer base" in told
    result, _ = measured(base, tuned, "--tokenizer", "base")
    assert result is not None


def test_there_is_nothing_to_tell_of_a_tokenizer_that_is_the_same(tmp_path, measured):
    base = base_folder(tmp_path / "base")
    _, notes = measured(base, adapter(tmp_path / "tuned", base, 62, make_tokenizer()))
    assert "okenizer" not in notes


def test_a_tokenizer_that_is_not_there_cannot_be_taken(tmp_path, measured):
    base = base_folder(tmp_path / "base")
    tuned = tmp_path / "tuned"
    grown(base, 62).save_pretrained(tuned)
    _, told = measured(base, tuned, "--tokenizer", "tuned")
    assert "no tokenizer lies beside" in told
