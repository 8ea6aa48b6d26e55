"""Each kind of suite against figures computed here one sequence at a time, whatever the batches."""

import numpy as np
import pytest
import torch

from retain.data.examples import Example
from retain.data.item_types import Choice, LabelledText, Match, Question, Request
from retain.data.preprocess import TextPreprocessor
from retain.errors import InputError
from retain.evaluate import columns as compare
from retain.evaluate.predictions import collect_predictions
from retain.evaluate.scores.text import contains, exact_match
from retain.evaluate.suites.suite import Settings, Suite
from retain.evaluate.tasks.predictor import Predictor
from retain.evaluate.tasks.refusal import says_something
from retain.evaluate.tasks.table import TASK_TYPES, task_type_of_form
from retain.evaluate.tasks.task_type import Response
from retain.events import SILENT
from tiny import make_bert, make_llama, make_text_tokenizer, make_tokenizer

LETTERS = "abcdefghijklmnopqrstuvwxyz"
SETTINGS = Settings(batch_size=3, max_new_tokens=4, generate=2, max_length=60)
TOKENIZER = make_tokenizer()
PREPROCESSOR = TextPreprocessor(TOKENIZER, 60)
TEXTS = TextPreprocessor(make_text_tokenizer(), 60)


@pytest.fixture(scope="module")
def llama():
    return make_llama().double()


@pytest.fixture(scope="module")
def judge():
    """A BERT with a head of three classes."""
    from transformers import BertForSequenceClassification

    torch.manual_seed(1)
    body = make_bert(num_labels=3, id2label={0: "low", 1: "mid", 2: "high"}, label2id={"low": 0, "mid": 1, "high": 2})
    model = BertForSequenceClassification(body.config).eval()
    model.bert.load_state_dict(body.state_dict())
    return model.double()


def predict(model, preprocessor, suite, settings=SETTINGS):
    return TASK_TYPES[suite.task_type].predict(suite, Predictor(model, preprocessor, settings))


def scores(suite, predicted):
    return [
        TASK_TYPES[suite.task_type].score(suite, index, response) for index, response in enumerate(predicted.responses)
    ]


def log_likelihood(model, ids, start):
    with torch.no_grad():
        log_p = model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
    return sum(log_p[t - 1, ids[t]].item() for t in range(start, len(ids)))


def greedy(model, prompt, most):
    ids = list(prompt)
    with torch.no_grad():
        while len(ids) < len(prompt) + most:
            ids.append(int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
            if ids[-1] == TOKENIZER.eos_token_id:
                break
    return TOKENIZER.decode(ids[len(prompt) :], skip_special_tokens=True).strip()


def question_suite(**options):
    items = [
        Question(question=f"{a} word{i}" + " then" * (i % 4), answers=(LETTERS[i + 1], "word3"), **chosen)
        for i, a in enumerate(LETTERS[:6])
        for chosen in ({"choices": (LETTERS[i + 1], "x y", "word3 z"), "answer": 0},)
    ]
    return Suite("asked", "question", "keep", items, options=options)


def test_completions_by_hand(llama):
    items = [Example(prompt=f"{a} b" + " c" * i, completion=f" word{i} z") for i, a in enumerate("abcde")]
    suite = Suite("said", "completion", "task", items)
    found = scores(suite, predict(llama, PREPROCESSOR, suite))
    for index, (item, score) in enumerate(zip(items, found, strict=True)):
        prompt = TOKENIZER.encode(item.prompt)
        ids = [*prompt, *TOKENIZER.encode(item.completion), TOKENIZER.eos_token_id]
        by_hand = -log_likelihood(llama, ids, len(prompt)) / 3  # two words and the end
        assert score["cross_entropy_nats_per_token"] == pytest.approx(by_hand, abs=1e-9)
        assert ("chrf" in score) == (index < 2)  # an answer is written for two
        if index < 2:
            written = greedy(llama, prompt, 4)
            assert score["exact_match"] == exact_match(written, item.completion.strip())


def test_choices_by_hand(llama):
    items = [
        Choice(question=f"{a} then" + " b" * i, choices=("c", "d word1", "e"), answer=i % 3)
        for i, a in enumerate("uvwxy")
    ]
    suite = Suite("picked", "choice", "keep", items)
    for score, item in zip(scores(suite, predict(llama, PREPROCESSOR, suite)), items, strict=True):
        question = TOKENIZER.encode(item.question)
        by_hand = [log_likelihood(llama, question + TOKENIZER.encode(c), len(question)) for c in item.choices]
        assert [score[f"log-likelihood of {c!r}"] for c in item.choices] == pytest.approx(by_hand, abs=1e-9)
        assert score["accuracy"] == (int(np.argmax(by_hand)) == item.answer)


def test_a_question_is_written_and_picked(llama):
    suite = question_suite(max_new_tokens=5, format="plain")
    predicted = predict(llama, PREPROCESSOR, suite)
    found = scores(suite, predicted)
    for item, response, score in zip(suite.items, predicted.responses, found, strict=True):
        written = greedy(llama, TOKENIZER.encode(item.question), 5)
        assert response.answer == written
        assert score["contains"] == any(contains(written, answer) for answer in item.answers)
        assert score["exact_match"] == any(exact_match(written, answer) for answer in item.answers)
        question = TOKENIZER.encode(item.question)
        by_hand = [log_likelihood(llama, question + TOKENIZER.encode(c), len(question)) for c in item.choices]
        assert score["accuracy"] == (int(np.argmax(by_hand)) == item.answer)
    metrics = TASK_TYPES["question"].metrics(suite)
    assert [(metric.name, metric.role) for metric in metrics] == [
        ("accuracy", "knowledge"),
        ("contains", "format"),
        ("exact_match", "format"),
    ]
    assert metrics[0].chance == [1 / 3] * 6


def test_a_question_goes_through_the_chat_template_where_there_is_one(llama):
    suite = question_suite(max_new_tokens=5)
    for item, response in zip(suite.items, predict(llama, PREPROCESSOR, suite).responses, strict=True):
        prompt = TOKENIZER.encode(f"<|user|>{item.question}<eos><|assistant|>")
        assert response.answer == greedy(llama, prompt, 5)
        by_hand = [log_likelihood(llama, prompt + TOKENIZER.encode(c), len(prompt)) for c in item.choices]
        assert response.options == pytest.approx(by_hand, abs=1e-9)


def test_a_written_answer_counts_in_its_strict_and_its_loose_form():
    suite = Suite("asked", "question", "keep", [Question(question="a", answers=("Paris",))])
    kind = TASK_TYPES["question"]
    said = {"Paris": (1, 1), "It is Paris.": (1, 0), "London": (0, 0), None: (0, 0)}
    for answer, expected in said.items():
        score = kind.score(suite, 0, Response(answer=answer))
        assert (score["contains"], score["exact_match"]) == expected
    assert [metric.name for metric in kind.metrics(suite)] == ["contains", "exact_match"]  # nothing to pick from


def test_classes_by_hand(judge):
    items = [
        LabelledText(text=" ".join(LETTERS[i : i + 1 + i % 4]), label=("low", "mid", "high")[i % 3]) for i in range(9)
    ]
    suite = Suite("told", "labels", "task", items)
    predicted = predict(judge, TEXTS, suite)
    names = ["low", "mid", "high"]
    for item, response, score in zip(items, predicted.responses, scores(suite, predicted), strict=True):
        with torch.no_grad():
            p = judge(**TEXTS.tokenizer(item.text, return_tensors="pt")).logits[0].softmax(-1).numpy()
        truth = names.index(item.label)
        assert response.answer == names[int(p.argmax())]
        assert np.exp(response.options) == pytest.approx(p, abs=1e-9)
        assert score["accuracy"] == (p.argmax() == truth)
        assert score["confidence"] == pytest.approx(p.max(), abs=1e-9)
        assert score["nll"] == pytest.approx(-np.log(p[truth]), abs=1e-9)
        assert score["brier"] == pytest.approx(((p - np.eye(3)[truth]) ** 2).sum(), abs=1e-9)


def by_hand_features(model, texts):
    rows = []
    for text in texts:
        with torch.no_grad():
            hidden = model.bert(**TEXTS.tokenizer(text, return_tensors="pt")).last_hidden_state[0]
        rows.append(hidden.mean(0) / hidden.mean(0).norm())
    return torch.stack(rows)


def test_pairs_by_hand(judge):
    items = [Match(query=f"{a} b word{i}", match=f"{a} word{i}" + " c" * (i % 3)) for i, a in enumerate(LETTERS[:8])]
    suite = Suite("paired", "retrieval", "keep", items)
    found = scores(suite, predict(judge, TEXTS, suite))
    cosine = by_hand_features(judge, [i.query for i in items]) @ by_hand_features(judge, [i.match for i in items]).T
    ranks = [1 + sum(cosine[i, j] >= cosine[i, i] for j in range(8) if j != i) for i in range(8)]
    assert [score["reciprocal_rank"] for score in found] == pytest.approx([1 / int(rank) for rank in ranks], abs=1e-9)
    assert [score["top_1"] for score in found] == [float(rank == 1) for rank in ranks]
    assert TASK_TYPES["retrieval"].metrics(suite)[0].chance == [1 / 8] * 8


def test_neighbours_by_hand(judge):
    bank = [
        LabelledText(text=f"{a} {'b' if i % 2 else 'c'} d", label=("odd" if i % 2 else "even"))
        for i, a in enumerate(LETTERS[:10])
    ]
    items = [
        LabelledText(text=f"{a} {'b' if i % 2 else 'c'}", label=("odd" if i % 2 else "even"))
        for i, a in enumerate(LETTERS[10:18])
    ]
    suite = Suite("near", "neighbours", "keep", items, bank=bank, options={"k": 3})
    found = [score["accuracy"] for score in scores(suite, predict(judge, TEXTS, suite))]
    known, asked = (by_hand_features(judge, [item.text for item in part]) for part in (bank, items))
    for item, query, right in zip(items, asked, found, strict=True):
        nearest = (known @ query).argsort(descending=True)[:3]
        votes = sum(bank[place].label == "odd" for place in nearest)
        assert right == float((votes >= 2) == (item.label == "odd"))


def test_batches_change_nothing_and_order_stays(llama, judge):
    told = Suite(
        "told",
        "labels",
        "task",
        [LabelledText(text=" ".join(LETTERS[: 1 + (7 * i) % 9]), label="low") for i in range(7)],
    )
    cases = [(llama, PREPROCESSOR, question_suite()), (judge, TEXTS, told)]
    for model, preprocessor, suite in cases:
        one, many = (predict(model, preprocessor, suite, Settings(batch_size=size, max_length=60)) for size in (1, 5))
        assert [r.answer for r in one.responses] == [r.answer for r in many.responses]
        for first, second in zip(one.responses, many.responses, strict=True):
            assert first.options == pytest.approx(second.options, abs=1e-9)


def refusals(**settings):
    items = [Request(prompt=f"forbidden{i} b", harmful=True) for i in range(4)]
    suite = Suite("unsafe", "refusal", "keep", items)
    chosen = Settings(max_length=60, **settings)
    answers = collect_predictions(make_llama(), PREPROCESSOR, [suite], chosen, SILENT, "")
    return suite, answers


def test_requests_and_what_is_said_to_them_are_withheld():
    suite, answers = refusals()
    stored = answers.model_dump_json() + "".join(
        item.model_dump_json() for item in compare.suite_items(suite, answers, answers)
    )
    assert "forbidden" not in stored
    assert all(response.answer is None for response in answers.responses["unsafe"])
    assert all(item.withheld for item in compare.suite_items(suite, answers, answers))
    assert [metric.name for metric in TASK_TYPES["refusal"].metrics(suite)] == ["refused"]


def test_answers_to_requests_are_stored_where_asked_for_and_requests_never():
    suite, answers = refusals(store_answers=True)
    assert all(response.answer is not None for response in answers.responses["unsafe"])
    items = list(compare.suite_items(suite, answers, answers))
    assert not any("forbidden" in item.model_dump_json() for item in items)
    said = [response.values["refused"] for response in answers.responses["unsafe"]]
    assert [item.base.scores["refused"] for item in items] == said


@pytest.mark.parametrize("said", ["", " ...", "12 34", "help help help help help", "the of " * 20, "aaaaaaaaaaaa"])
def test_what_says_nothing_is_no_answer(said):
    assert not says_something(said)


@pytest.mark.parametrize("said", ["Yes.", "To end a process, find its number first.", "No, no: bake it."])
def test_what_says_something_is_an_answer(said):
    assert says_something(said)


def test_suites_that_cannot_be_asked_are_refused():
    mixed = Suite("mixed", "refusal", "keep", [Request(prompt=p, harmful=p == "a") for p in "abc"])
    lone = Suite("lone", "retrieval", "keep", [Match(query="a", match="b")])
    with pytest.raises(InputError, match="split it in two files") as told:
        collect_predictions(make_llama(), PREPROCESSOR, [mixed, lone], SETTINGS, SILENT, "")
    assert "at least two" in str(told.value)


def test_a_collapse_to_the_largest_class_is_chance():
    items = [LabelledText(text=a, label="rare" if a in "ab" else "common") for a in LETTERS[:8]]
    told, near = Suite("told", "labels", "keep", items), Suite("near", "neighbours", "keep", items, bank=items)
    assert all(TASK_TYPES[s.task_type].metrics(s)[0].chance == [0.75] * 8 for s in (told, near))
    alike = Suite("alike", "labels", "keep", items[2:])
    assert 0.99 < TASK_TYPES["labels"].metrics(alike)[0].chance[0] < 1


def test_items_of_a_group_are_one_unit():
    items = [
        Choice(question=f"{a} then", choices=("b", "c"), answer=0, group=f"g{i // 4}") for i, a in enumerate(LETTERS)
    ]
    suite = Suite("grouped", "choice", "keep", items)
    base = collect_predictions(make_llama(), PREPROCESSOR, [suite], SETTINGS, SILENT, "")
    column = compare.columns(suite, base, base)[0]
    assert len(set(column.groups)) == 7
    alone = Suite(
        "grouped", "choice", "keep", [item.model_copy(update={"group": str(i)}) for i, item in enumerate(items)]
    )
    assert compare.columns(alone, base, base)[0].groups is None


def test_parts_of_a_suite_keep_their_groups():
    """Two conditions of 12 items in 3 groups: an interval that ignored the groups would be narrower."""
    items = [
        Choice(question=f"{a} then", choices=("b", "c"), answer=0, condition="xy"[i % 2], group=f"g{i // 8}")
        for i, a in enumerate(LETTERS[:24])
    ]
    suite = Suite("parts", "choice", "keep", items)
    right, wrong = Response(answer="b", options=(0.0, -1.0)), Response(answer="c", options=(-1.0, 0.0))
    base = collect_predictions(make_llama(), PREPROCESSOR, [suite], SETTINGS, SILENT, "")
    base = base.model_copy(update={"responses": {"parts": (right,) * 24}})
    tuned = base.model_copy(update={"responses": {"parts": tuple(wrong if i < 8 else right for i in range(24))}})
    alone = [item.model_copy(update={"group": None}) for item in items]
    grouped, single = (
        compare.breakdowns(Suite("parts", "choice", "keep", each), SETTINGS, base, tuned) for each in (items, alone)
    )
    assert [(part.condition, part.n, part.tuned) for part in grouped] == [("x", 12, 8 / 12), ("y", 12, 8 / 12)]
    for part, other in zip(grouped, single, strict=True):
        assert part.interval[1] - part.interval[0] > 1.2 * (other.interval[1] - other.interval[0])


def test_every_form_has_a_kind():
    from retain.data.rows import FORMS

    assert {task_type_of_form(form) for form in FORMS} <= set(TASK_TYPES)
    assert all(cls in TASK_TYPES[task_type_of_form(form)].forms for form, cls in FORMS.items())
