"""Models that read padding as text: found out by one small check a run, and read in batches of one length."""

from __future__ import annotations

import json
import time

import pytest
import torch
import transformers as t

import retain
from retain.cli.main import main
from retain.data.item_types import LabelledText
from retain.data.preprocess import TextPreprocessor
from retain.evaluate.batching import batching_of, head_batching, training_batches_told
from retain.events import SILENT
from retain.hf.models.head import output_layer
from retain.records.result import read_result
from retain.train.linear_probe import fit_head
from tiny import make_llama, make_rwkv, make_text_tokenizer, make_tokenizer, write_jsonl

LETTERS = "abcdefghijklmnopqrstuvwxyz"
QUESTIONS = [{"question": " ".join(LETTERS[i : i + 1 + i % 7]), "answers": [LETTERS[i]]} for i in range(10)]
NOTE = "reads an item otherwise beside another"


def measured(base, tuned, **more):
    return retain.measure(
        base, tuned, tokenizer=make_tokenizer(), keep={"questions": QUESTIONS}, show_progress=False, drift=False, **more
    )


def answers(folder):
    rows = (folder / "items.jsonl").read_text("utf-8").splitlines()
    return [[json.loads(row)[side]["answer"] for side in ("base", "tuned")] for row in rows]


def test_an_answer_does_not_depend_on_its_neighbours(tmp_path):
    """A recurrent model without a mask gives the same answers in batches as alone."""
    base, tuned = make_rwkv(0), make_rwkv(1)
    many = measured(base, tuned, output=tmp_path / "many", batch_size=8, max_new_tokens=5)
    measured(base, tuned, output=tmp_path / "alone", batch_size=1, max_new_tokens=5)
    assert answers(tmp_path / "many") == answers(tmp_path / "alone")
    assert NOTE in " ".join(many.provenance.notes)
    assert many.judgement.aa_check.passed


def test_models_with_attention_keep_their_batches():
    result = measured(make_llama(0), make_llama(1))
    assert NOTE not in " ".join(result.provenance.notes)


def test_only_the_tuned_model_reads_padding(tmp_path):
    """Both sides are then read alike, so that their inputs have one hash."""
    base, tuned = make_llama(0), make_llama(0)

    def unmasked(module, given, named):
        return given, {**named, "attention_mask": None}

    for layer in tuned.model.layers:
        layer.self_attn.register_forward_pre_hook(unmasked, with_kwargs=True)
    result = measured(base, tuned, output=tmp_path / "run")
    assert NOTE in " ".join(result.provenance.notes)
    assert all(one == other for one, other in answers(tmp_path / "run")), "without padding there is nothing to mask"


def test_a_recurrent_model_is_tuned_by_the_command_line(tmp_path):
    make_rwkv().save_pretrained(tmp_path / "m")
    make_tokenizer().save_pretrained(tmp_path / "m")
    rows = [{"prompt": f"word{i} word1", "completion": f" word{i}" * (1 + i % 4)} for i in range(20)]
    flags = [
        "--model", str(tmp_path / "m"), "--train", str(write_jsonl(tmp_path / "train.jsonl", rows[:10])),
        "--test", str(write_jsonl(tmp_path / "test.jsonl", rows[10:])), "--output", str(tmp_path / "run"),
        "--keep", str(write_jsonl(tmp_path / "questions.jsonl", QUESTIONS[:3])), "--drift", "false", "--max-steps", "1",
        "--generate", "2", "--max-new-tokens", "4",
        "--method", "lora", "--rank", "2", "--method.target_modules", '["key","value"]',
    ]  # fmt: skip
    assert main(["tune", *flags]) == 0
    notes = " ".join(read_result(tmp_path / "run" / "result.json").provenance.notes)
    assert "what it learned from a row" not in notes, "in training rows are filled up on the right, behind the text"
    assert NOTE in " ".join(read_result(tmp_path / "run" / "result.json").provenance.notes)
    assert main(["tune", *flags, "--margin", "7"]) == 0, "the base's predictions are read from their file"
    assert NOTE in " ".join(read_result(tmp_path / "run" / "result.json").provenance.notes)


@pytest.mark.parametrize(("kind", "found"), [("ConvBert", True), ("Bert", False)])
def test_a_classifier_that_looks_into_padding(kind, found):
    labels = {"id2label": {0: "x", 1: "y"}, "label2id": {"x": 0, "y": 1}}
    sizes = {"vocab_size": 64, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    more = {"embedding_size": 16, "head_ratio": 1} if kind == "ConvBert" else {}
    config = getattr(t, f"{kind}Config")(**sizes, **more, **labels, intermediate_size=16, initializer_range=0.3)
    torch.manual_seed(0)
    models = [getattr(t, f"{kind}ForSequenceClassification")(config).eval() for _ in range(2)]
    test = [{"text": " ".join(LETTERS[: 2 + i % 9]), "label": "xy"[i % 2]} for i in range(20)]
    options = {"tokenizer": make_text_tokenizer(), "test": test, "show_progress": False, "drift": False}
    many, alone = (retain.measure(*models, **options, batch_size=size) for size in (8, 1))
    assert (NOTE in " ".join(many.provenance.notes)) == found
    for one, other in zip(many.task, alone.task, strict=True):
        assert one.tuned == pytest.approx(other.tuned, abs=1e-5)


def classifier(kind):
    labels = {"id2label": {0: "x", 1: "y"}, "label2id": {"x": 0, "y": 1}}
    sizes = {"vocab_size": 64, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    more = {"embedding_size": 16, "head_ratio": 1} if kind == "ConvBert" else {}
    torch.manual_seed(0)
    config = getattr(t, f"{kind}Config")(**sizes, **more, **labels, intermediate_size=16, initializer_range=0.3)
    return getattr(t, f"{kind}ForSequenceClassification")(config).eval()


@pytest.mark.parametrize(("kind", "found"), [("ConvBert", True), ("Bert", False)])
def test_a_head_is_fitted_on_what_is_measured_and_training_is_told_of(kind, found):
    """A head that is fitted in batches is then the one that is fitted on each text alone."""
    items = [LabelledText(text=" ".join(LETTERS[i % 5 : 7 + i % 9]), label="xy"[i % 2]) for i in range(24)]
    preprocessor, weights = TextPreprocessor(make_text_tokenizer(), 40), []
    for size in (8, 1):
        model = classifier(kind)
        batching = head_batching(model, preprocessor, items)
        assert (batching == "one length") == found
        fit_head(model, preprocessor, items, ["x", "y"], size, SILENT, batching)
        weights.append(output_layer(model).weight)
    torch.testing.assert_close(*weights, atol=1e-3, rtol=1e-3)
    told = training_batches_told(model, preprocessor, items, 8)
    assert bool(told) == found
    assert training_batches_told(model, preprocessor, items, 1) == []


def test_a_model_without_a_mask_that_looks_ahead_is_told_of_in_training():
    """Rows are filled up on the right: only what looks ahead sees that."""
    preprocessor, model = TextPreprocessor(make_tokenizer(), 64), make_llama()
    assert training_batches_told(model, preprocessor, ["x"], 8) == []
    model.model.register_forward_pre_hook(mean_added, with_kwargs=True)
    assert "--batch-size 1" in training_batches_told(model, preprocessor, ["x"], 8)[0]


def mean_added(module, given, named):
    """What a layer that averages over the whole row, padding and all, does."""
    states = module.embed_tokens(named.pop("input_ids"))
    return given, {**named, "inputs_embeds": states + states.mean(dim=1, keepdim=True)}


def test_the_check_takes_a_fraction_of_a_second():
    model, preprocessor = make_llama(), TextPreprocessor(make_tokenizer(), 512)
    batching_of(model, preprocessor)
    begun = time.process_time()
    batching_of(model, preprocessor)
    assert time.process_time() - begun < 2  # 0.03 s on an idle core
