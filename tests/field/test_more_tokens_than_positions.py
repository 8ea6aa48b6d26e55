"""Models with a table of positions and longer texts: every verb stays within it, or says which length does."""

from __future__ import annotations

import json

import pytest
import torch
import transformers as t

from retain.cli.main import main
from retain.records.result import read_result
from tiny import make_bert, make_llama, make_text_tokenizer, make_tokenizer, write_jsonl

SMALL = {
    "vocab_size": 70, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16,
}  # fmt: skip
LETTERS = "abcdefghijklmnopqrstuvwxyz"
LONG = " ".join(LETTERS * 8)  # 208 tokens


def saved(folder, model, tokenizer):
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory):
    """A GPT-2 of 64 positions."""
    torch.manual_seed(0)
    sizes = {"vocab_size": 70, "n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 64}
    model = t.GPT2LMHeadModel(t.GPT2Config(**sizes, bos_token_id=1, eos_token_id=1))
    return saved(tmp_path_factory.mktemp("gpt2"), model, make_tokenizer())


def classifier(folder, kind, config):
    torch.manual_seed(0)
    return saved(folder, kind(config), make_text_tokenizer())


@pytest.fixture
def labelled(tmp_path):
    """Long texts of two classes, to train on and to test."""
    rows = [{"text": f"word{i} {LONG}", "label": "xy"[i % 2]} for i in range(24)]
    return [
        "--train", str(write_jsonl(tmp_path / "train.jsonl", rows[:12])),
        "--test", str(write_jsonl(tmp_path / "test.jsonl", rows[12:])),
        "--output", str(tmp_path / "run"),
    ]  # fmt: skip


@pytest.fixture
def spoken(tmp_path):
    """Short examples, to train on and to test."""
    rows = [{"prompt": f"word{i} a {LETTERS[i]}", "completion": f" {LETTERS[i + 1]} z"} for i in range(20)]
    return [
        "--train", str(write_jsonl(tmp_path / "train.jsonl", rows[:12])),
        "--test", str(write_jsonl(tmp_path / "test.jsonl", rows[12:])),
        "--output", str(tmp_path / "run"),
    ]  # fmt: skip


QUICK = ["--max-steps", "1", "--method", "lora", "--rank", "2", "--drift", "false", "--batch-size", "4"]


def notes(tmp_path):
    return " ".join(read_result(tmp_path / "run" / "result.json").provenance.notes)


@pytest.mark.parametrize(("pad", "right"), [(1, 512), (3, 510)])
def test_roberta_of_514_positions_counts_from_its_padding_token(pad, right, tmp_path, capsys):
    """Pad id 1 leaves 512 tokens; with pad id 3 it is 510, where 512 gave an IndexError."""
    config = t.RobertaConfig(**SMALL, max_position_embeddings=514, pad_token_id=pad)
    rows = [{"text": f"word{i} {LONG} {LONG} {LONG}", "label": "xy"[i % 2]} for i in range(4)]
    flags = ["--model", classifier(tmp_path / "m", t.RobertaModel, config), "--output", str(tmp_path / "run")]
    flags += ["--train", str(write_jsonl(tmp_path / "train.jsonl", rows[:2]))]
    flags += ["--test", str(write_jsonl(tmp_path / "test.jsonl", rows[2:]))]
    assert main(["tune", *flags, *QUICK]) == 0
    assert ("only 510 positions" in notes(tmp_path)) == (right == 510)
    assert f"longer than {right} tokens" in notes(tmp_path)


@pytest.mark.parametrize(
    ("kind", "config", "stated", "right"),
    [
        (t.RobertaModel, t.RobertaConfig(**SMALL, max_position_embeddings=130, pad_token_id=1), 130, 128),
        (t.MPNetModel, t.MPNetConfig(**SMALL, max_position_embeddings=66, pad_token_id=1), 66, 64),
        (t.BertModel, t.BertConfig(**SMALL, max_position_embeddings=64), 512, 64),
        (t.DistilBertModel, t.DistilBertConfig(vocab_size=70, dim=16, n_layers=1, n_heads=2, hidden_dim=16,
            max_position_embeddings=40), 41, 40),
    ],
)  # fmt: skip
def test_a_length_that_is_stated_and_too_long_is_refused_with_the_right_one(
    kind, config, stated, right, tmp_path, labelled, capsys
):
    flags = ["--model", classifier(tmp_path / "m", kind, config), *labelled]
    for verb in ("check", "tune"):
        assert main([verb, *flags, "--max-length", str(stated)]) == 2
        assert f"this model has only {right} positions; say --max-length {right}." in capsys.readouterr().err
    assert main(["check", *flags, "--max-length", str(right)]) == 0
    assert main(["check", *flags]) == 0, "a default is lowered"
    out = capsys.readouterr().out
    assert f"only {right} positions" in out
    assert f"train: 12 of 12 are longer than {right} tokens" in out
    assert main(["tune", *flags, *QUICK]) == 0
    assert f"only {right} positions" in notes(tmp_path)


def test_bert_is_measured_at_the_default_length(tmp_path, labelled, capsys):
    labels = {"id2label": {0: "x", 1: "y"}, "label2id": {"x": 0, "y": 1}}
    for seed in (0, 1):
        model = t.BertForSequenceClassification(make_bert(**labels).config)
        saved(tmp_path / f"m{seed}", model, make_text_tokenizer())
    flags = ["--model", str(tmp_path / "m0"), "--tuned", str(tmp_path / "m1"), *labelled[2:], "--drift", "false"]
    assert main(["measure", *flags]) == 0
    assert "only 64 positions" in notes(tmp_path)
    assert main(["measure", *flags, "--max-length", "512"]) == 2
    assert "say --max-length 64." in capsys.readouterr().err


def test_more_tokens_to_write_than_positions_are_told_by_check(gpt2, tmp_path, spoken, capsys):
    assert main(["check", "--model", gpt2, *spoken, "--max-new-tokens", "80"]) == 2
    told = capsys.readouterr().err
    assert "test: max_new_tokens: 80 tokens are to be written, but this model has only 64 positions" in told
    assert "say --max-new-tokens 32" in told
    suite = tmp_path / "facts.yaml"
    write_jsonl(tmp_path / "facts.jsonl", [{"question": f"a {c}", "answers": [c]} for c in LETTERS])
    suite.write_text(
        "suite: 1\nname: facts\nversion: 1\ntitle: Facts\nabout: Facts.\ntask_type: question\npart: keep\n"
        "licence: ours\nsources:\n  - file: facts.jsonl\noptions:\n  max_new_tokens: 64\n",
        "utf-8",
    )
    assert main(["check", "--model", gpt2, *spoken, "--keep", str(suite)]) == 2
    assert "facts: max_new_tokens: 64 tokens" in capsys.readouterr().err


def test_gpt2_reads_and_writes_within_its_positions_whatever_is_longer(gpt2, tmp_path, spoken, capsys):
    """Choices, questions, text and examples beyond the positions: all within one run."""
    choices = [
        {"question": f"word{i} {LONG} then", "choices": [LETTERS[i], LETTERS[i + 1]], "answer": i % 2} for i in range(9)
    ]
    questions = [{"question": f"word{i} {LONG} and", "answers": [LETTERS[i]]} for i in range(9)]
    (tmp_path / "text.txt").write_text("\n\n".join(f"word{i} {LONG[::-1]}" for i in range(4)), "utf-8")
    flags = [
        "--model", gpt2, *spoken, "--generate", "2",
        "--keep", str(write_jsonl(tmp_path / "choices.jsonl", choices)),
        str(write_jsonl(tmp_path / "questions.jsonl", questions)),
        "--held-out-text", str(tmp_path / "text.txt"),
    ]  # fmt: skip
    assert main(["check", *flags]) == 0
    told = capsys.readouterr().out
    assert "only 64 positions" in told
    assert "choices: 9 of 9 are longer than 64 tokens" in told
    assert "questions: 9 of 9 are longer than 64 tokens (a prompt than 48" in told
    assert main(["tune", *flags, *QUICK[:-4], "--batch-size", "4"]) == 0
    record = read_result(tmp_path / "run" / "result.json")
    assert record.drift.tokens > 0
    assert "9 of 9 items of choices were longer than 64 tokens and were cut" in " ".join(record.provenance.notes)
    assert main(["scale", str(tmp_path / "run"), "--alphas", "0.5", "--keep", flags[-3]]) == 0


def test_text_that_the_base_writes_stays_within_its_positions(gpt2, tmp_path, spoken):
    quick = ["--max-steps", "1", "--method", "sc-lora", "--rank", "2", "--drift", "false", "--generate", "0"]
    assert main(["tune", "--model", gpt2, *spoken, *quick, "--calibrate-tokens", "600"]) == 0
    (written,) = (tmp_path / "run" / "statistics").glob("self-*.jsonl")
    rows = [json.loads(row)["ids"] for row in written.read_text("utf-8").splitlines()]
    assert 8 <= max(map(len, rows)) <= 64


def test_virtual_tokens_of_a_prompt_take_positions_from_both_sides(gpt2, tmp_path, spoken):
    method = ["--method", "prompt_tuning", "--method.num_virtual_tokens", "8"]
    long = [{"prompt": f"word{i} {LONG}", "completion": " z"} for i in range(12)]
    train = ["--train", str(write_jsonl(tmp_path / "long.jsonl", long))]
    assert main(["tune", "--model", gpt2, *spoken, *train, *method, "--max-steps", "1", "--generate", "2"]) == 0
    assert "only 56 positions" in notes(tmp_path)
    flags = ["--model", gpt2, "--tuned", str(tmp_path / "run" / "adapter"), *spoken[2:4]]
    assert main(["measure", *flags, "--output", str(tmp_path / "again"), "--generate", "2"]) == 0


def test_llama_reads_beyond_its_length_in_training_and_is_told(tmp_path, spoken, capsys):
    model = saved(tmp_path / "llama", make_llama(), make_tokenizer())
    long = write_jsonl(tmp_path / "long.jsonl", [{"prompt": f"{LONG} {LONG}", "completion": " b"}])
    assert main(["check", "--model", model, *spoken, "--train", str(long)]) == 0
    told = capsys.readouterr().out
    assert "longest example has 418 tokens, and this model was trained on at most 256" in told
    assert "say --max-length 256" in told


def test_measuring_models_in_memory_stays_within_positions(gpt2):
    import retain

    base, tuned = (t.GPT2LMHeadModel.from_pretrained(gpt2) for _ in range(2))
    keep = {"long": [{"question": f"{c} {LONG}", "choices": ["a", "b"], "answer": 0} for c in LETTERS]}
    options = {"tokenizer": make_tokenizer(), "keep": keep, "show_progress": False, "drift": False}
    result = retain.measure(base, tuned, **options)
    assert "26 of 26 items of long were longer than 64 tokens" in " ".join(result.provenance.notes)
    with pytest.raises(retain.InputError, match="only 64 positions; say --max-length 64"):
        retain.measure(base, tuned, **options, max_length=65)


def test_llama_in_memory_is_measured_beyond_its_length_in_training_and_it_is_noted():
    import retain

    keep = {"long": [{"question": f"{c} {LONG} {LONG}", "choices": ["a", "b"], "answer": 0} for c in LETTERS[:4]]}
    options = {"tokenizer": make_tokenizer(), "keep": keep, "show_progress": False, "drift": False}
    result = retain.measure(make_llama(0), make_llama(1), **options)
    assert "418 tokens, and this model was trained on at most 256" in " ".join(result.provenance.notes)
