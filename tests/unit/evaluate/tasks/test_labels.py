"""Classes against figures computed one item at a time."""

import numpy as np
import pytest
import torch
from by_hand import LETTERS, TEXTS, predict, scores

from retain.data.item_types import LabelledImage, LabelledText
from retain.data.preprocess import TextPreprocessor
from retain.evaluate.suites.suite import Settings, Suite
from retain.evaluate.tasks.labels import LabelsTask
from retain.evaluate.tasks.table import TASK_TYPES
from retain.evaluate.tasks.task_type import Response
from tiny import make_text_tokenizer


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


def test_batches_change_nothing_and_order_stays(judge):
    items = [LabelledText(text=" ".join(LETTERS[: 1 + (7 * i) % 9]), label="low") for i in range(7)]
    suite = Suite("told", "labels", "task", items)
    one, many = (predict(judge, TEXTS, suite, Settings(batch_size=size, max_length=60)) for size in (1, 5))
    assert [response.answer for response in one.responses] == [response.answer for response in many.responses]
    for first, second in zip(one.responses, many.responses, strict=True):
        assert first.options == pytest.approx(second.options, abs=1e-9)


def test_a_collapse_to_the_largest_class_is_chance():
    items = [LabelledText(text=a, label="rare" if a in "ab" else "common") for a in LETTERS[:8]]
    told, near = Suite("told", "labels", "keep", items), Suite("near", "neighbours", "keep", items, bank=items)
    for suite in (told, near):
        (chance,) = TASK_TYPES[suite.task_type].metrics(suite).values()
        assert np.mean(chance) == pytest.approx(0.75, abs=1e-5)
        assert TASK_TYPES[suite.task_type].chance(suite).strategy == "always 'common'"
    alike = Suite("alike", "labels", "keep", items[2:])
    (chance,) = TASK_TYPES["labels"].metrics(alike).values()
    assert 0.99 < chance[0] < 1


def test_probabilities_are_those_of_items_whose_class_is_known():
    rows = np.log([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6]])
    responses = [
        Response(options=tuple(rows[0]), values={"nll": -rows[0][1]}),
        Response(options=tuple(rows[1])),
        Response(options=tuple(rows[2]), values={"nll": -rows[2][2]}),
    ]
    found = LabelsTask().probabilities(responses)
    assert found.probabilities == pytest.approx(np.exp(rows[[0, 2]]))
    assert found.truth.tolist() == [1, 2]
    assert len(LabelsTask().probabilities(responses[1:2]).truth) == 0


def test_what_is_cut_is_counted(judge):
    suite = Suite("told", "labels", "task", [LabelledText(text="a b c d", label="low")] * 2)
    assert predict(judge, TextPreprocessor(make_text_tokenizer(), 4), suite).truncated == 2


def test_images_are_taken_and_shown_by_name():
    assert LabelsTask().takes_images
    assert LabelsTask().show(LabelledImage(image="x/cat/a.png", label="cat")) == ("cat/a.png", "cat")
    assert {metric.name for metric in LabelsTask().set_metrics} == {"macro_f1", "matthews"}
