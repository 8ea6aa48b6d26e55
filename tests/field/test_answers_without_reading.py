"""A suite whose answers can be had without reading its questions proves nothing of a model, whatever its score."""

from __future__ import annotations

import copy

import pytest

import retain
from tiny import WORDS, make_bert, make_llama, make_text_tokenizer, make_tokenizer

LETTERS = WORDS[:26]
SETTINGS = {"show_progress": False, "drift": False, "generate": 0, "batch_size": 128, "max_length": 60}


@pytest.fixture(scope="module")
def speaker():
    """Make a model that knows nothing and only ever says one word, whatever it is asked."""
    import torch

    def make(word):
        model, tokenizer = make_llama(), make_tokenizer()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.zero_()
            model.model.embed_tokens.weight.fill_(1.0)
            model.model.norm.weight.fill_(1.0)
            model.lm_head.weight[tokenizer.convert_tokens_to_ids(word)].fill_(1.0)
        return model, tokenizer

    return make


def judged(model, tokenizer, rows):
    """The verdict on a suite when nothing at all was changed."""
    result = retain.measure(model, copy.deepcopy(model), tokenizer=tokenizer, keep={"suite": rows}, **SETTINGS)
    (verdict,) = result.judgement.suites
    assert verdict.verdict == "too few items to say", verdict.reason
    assert verdict.base_guesses
    assert result.judgement.overall == "too few items to say"
    return result


def four_choices(answer, count=200):
    """Questions with four options; `answer` gives the place of the right one from the number of the question."""
    return [
        {
            "question": f"{LETTERS[i % 26]} word{i % 30} {LETTERS[i // 26]}",
            "choices": [LETTERS[(i + k) % 26] for k in range(4)],
            "answer": answer(i),
        }
        for i in range(count)
    ]


def test_a_random_model_is_not_kept_where_every_answer_is_the_same_letter(speaker):
    rows = [{**row, "choices": ["a", "b", "c", "d"]} for row in four_choices(lambda i: 0)]
    result = judged(*speaker("a"), rows)
    assert result.keep[0].base == 1.0  # all right, and all for nothing
    assert "100% can be had without reading the questions" in result.judgement.suites[0].reason


def test_a_random_model_is_not_kept_where_nine_in_ten_answers_are_the_same_text(speaker):
    rows = [
        {**row, "choices": ["yes", "no"] if i % 2 else ["no", "yes"], "answer": (i % 2 == 0) ^ (i % 10 == 0)}
        for i, row in enumerate(four_choices(lambda i: 0))
    ]
    rows = [{**row, "answer": int(row["answer"]), "choices": [c[0] for c in row["choices"]]} for row in rows]
    assert judged(*speaker("y"), rows).keep[0].base == 0.9


def test_a_random_model_is_not_kept_where_the_shortest_choice_is_right():
    """Without knowing anything, the total log-likelihood prefers few tokens."""
    rows = [
        {**row, "choices": [row["choices"][k] if k == i % 4 else f"{row['choices'][k]} z z" for k in range(4)]}
        for i, row in enumerate(four_choices(lambda i: i % 4))
    ]
    assert judged(make_llama(), make_tokenizer(), rows).keep[0].base > 0.95


def test_a_random_model_is_not_kept_where_one_written_answer_is_right_for_most(speaker):
    rows = [{"question": f"{LETTERS[i % 26]} {i}", "answers": ["b" if i % 20 == 0 else "a"]} for i in range(100)]
    assert judged(*speaker("a"), rows).keep[0].base == 0.95


def test_writing_all_answers_at_once_is_no_knowledge(speaker):
    """The model says "a" only; half of the questions take "a", the others "a a" as well."""
    rows = [{"question": f"{LETTERS[i % 26]} {i}", "answers": ["a a" if i % 2 else "a"]} for i in range(100)]
    assert judged(*speaker("a"), rows).keep[0].base == 1.0


def test_a_model_that_writes_the_question_back_is_not_kept(speaker):
    """The right answer stands in each question and is another one each time."""
    from retain.data.item_types import Question
    from retain.evaluate.suites.suite import Suite
    from retain.evaluate.tasks.table import TASK_TYPES

    items = [Question(question=f"is it {a} or {b}", answers=(a,)) for a in LETTERS for b in "xyz" if a != b]
    found = TASK_TYPES["question"].chance(Suite("either", "question", "keep", items))
    assert (found.strategy, round(found.mean, 3)) == ("the question's first words again", 1.0)


def test_a_classifier_that_names_the_largest_class_is_not_kept():
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        **{**make_bert().config.to_dict(), "id2label": {0: "no", 1: "yes"}, "label2id": {"no": 0, "yes": 1}}
    )
    model = BertForSequenceClassification(config).eval()
    model.classifier.bias.data[:] = model.classifier.bias.new_tensor([9.0, -9.0])
    rows = [{"text": f"{LETTERS[i % 26]} word{i}", "label": "yes" if i % 10 == 0 else "no"} for i in range(100)]
    assert judged(model, make_text_tokenizer(), rows).keep[0].base == 0.9


def test_a_suite_that_needs_reading_stays_a_suite():
    """Rotated answers: no letter, length or text is right more often than another."""
    from retain.data.item_types import Choice
    from retain.evaluate.suites.suite import Suite
    from retain.evaluate.tasks.table import TASK_TYPES

    items = [Choice(**row) for row in four_choices(lambda i: i % 4)]
    assert TASK_TYPES["choice"].chance(Suite("s", "choice", "keep", items)).mean == pytest.approx(0.25, abs=0.05)


def test_check_says_what_can_be_had_without_reading(tiny_folder, tiny_data, tmp_path, capsys):
    from retain.cli.main import main
    from tiny import write_jsonl

    rows = [{**row, "choices": ["a", "b", "c", "d"]} for row in four_choices(lambda i: 2)]
    keep = write_jsonl(tmp_path / "a200.jsonl", rows)
    data = ["--train", str(tiny_data / "train.jsonl"), "--keep", str(keep), "--output", str(tmp_path / "run")]
    assert main(["check", "--model", str(tiny_folder), *data]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "a200: 100% of its answers can be had without reading (always 'c'); that counts as chance" in told
    assert "cannot show loss" in told
    assert "choice 3 is the right one in all 200 items" in told


def listed_first(count=60):
    """As SciQ and TruthfulQA come: the right answer is the first of the options, which the question does not list."""
    return [{**row, "question": f"word{i % 30} {'?' * i}"} for i, row in enumerate(four_choices(lambda i: 0, count))]


def test_a_suite_that_names_the_right_option_first_keeps_its_worth():
    """Options are scored one by one: their order tells a model nothing."""
    from retain.data.item_types import Choice
    from retain.evaluate.suites.suite import Suite
    from retain.evaluate.tasks.table import TASK_TYPES

    items = [Choice(**row) for row in listed_first()]
    assert TASK_TYPES["choice"].chance(Suite("s", "choice", "keep", items)).mean < 0.4
    shown = [Choice(**{**row, "question": f"{row['question']}: {', '.join(row['choices'])}"}) for row in listed_first()]
    assert TASK_TYPES["choice"].chance(Suite("s", "choice", "keep", shown)).mean > 0.999


def test_a_model_without_any_weights_is_not_kept_where_the_first_option_is_right():
    """All options are equally likely to it; among equals the right one counts as last."""
    model = make_llama()
    for parameter in model.parameters():
        parameter.data.zero_()
    assert judged(model, make_tokenizer(), listed_first()).keep[0].base == 0.0


def test_a_random_model_is_not_kept_on_any_text(tiny_data):
    """Its cross-entropy is that of a model to which all tokens are equally likely: nothing was there to be lost."""
    model = make_llama()
    result = retain.measure(
        model,
        copy.deepcopy(model),
        tokenizer=make_tokenizer(),
        held_out_text=tiny_data / "text.txt",
        keep={"rows": [{"prompt": f"{a} then", "completion": f" {b}"} for a in LETTERS for b in "xy"]},
        **SETTINGS,
    )
    assert [(one.verdict, one.base_guesses) for one in result.judgement.suites] == [("too few items to say", True)] * 2
    assert "predicts the same wherever it stands" in result.judgement.suites[0].reason
