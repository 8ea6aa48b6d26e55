"""A head fitted on the base's own features: a linear probe, as scikit-learn would fit it."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from retain.data.item_types import LabelledText
from retain.data.preprocess import TextPreprocessor
from retain.events import SILENT
from retain.train import linear_probe as probe
from retain.train.linear_probe import evenly_chosen, fit_head, logistic_head
from tiny import make_bert, make_llama, make_text_tokenizer, make_tokenizer

POOLS = {"calm": "abcdef", "loud": "mnopqr", "odd": "uvwxyz"}


def texts(count, classes=tuple(POOLS), seed=0):
    """Texts of four letters, each class of its own; sorted by class, as images in a folder."""
    generator = np.random.default_rng(seed)
    return [
        LabelledText(text=" ".join(generator.choice(list(POOLS[name]), 4)), label=name)
        for name in classes
        for _ in range(count // len(classes))
    ]


def classifier(kind, classes):
    """A tiny text classifier with a head drawn at random, and its reader."""
    import transformers

    body = make_bert(num_labels=classes) if kind == "bert" else make_llama()
    body.config.num_labels = classes
    name = "Bert" if kind == "bert" else "Llama"
    torch.manual_seed(3)
    model = getattr(transformers, f"{name}ForSequenceClassification")(body.config).eval()
    inner = body if kind == "bert" else body.model
    getattr(model, model.base_model_prefix).load_state_dict(inner.state_dict())
    return model, TextPreprocessor(make_text_tokenizer() if kind == "bert" else make_tokenizer(), 40)


def accuracy(model, preprocessor, items, labels):
    with torch.no_grad():
        found = model(**preprocessor.batch(items)).logits.argmax(-1).tolist()
    return np.mean([labels[k] == item.label for k, item in zip(found, items, strict=True)])


@pytest.mark.parametrize("kind", ["bert", "llama"])
@pytest.mark.parametrize("labels", [["calm", "loud"], ["calm", "loud", "odd"]])
def test_a_fitted_head_finds_what_a_random_one_does_not(kind, labels):
    """Also where the output layer has no bias, as a Llama's."""
    model, preprocessor = classifier(kind, len(labels))
    train, test = texts(300, labels), texts(60, labels, seed=1)
    before = accuracy(model, preprocessor, test, labels)
    body = {key: value.clone() for key, value in model.base_model.state_dict().items()}
    fit_head(model, preprocessor, train, labels, 16, SILENT)
    assert accuracy(model, preprocessor, test, labels) > max(0.8, before + 0.15)
    assert all(torch.equal(value, body[key]) for key, value in model.base_model.state_dict().items())


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("bias", [True, False])
def test_the_probabilities_are_those_of_scikit_learn(classes, bias):
    generator = np.random.default_rng(0)
    truth = np.arange(60) % classes
    features = generator.normal(3, 1, (60, 5)) + 1.5 * np.eye(5)[truth]
    features[:, 4] *= 1000
    pipeline = make_pipeline(
        StandardScaler(with_mean=bias), LogisticRegression(C=0.1, max_iter=1000, fit_intercept=bias)
    ).fit(features, truth)
    weight, offset = logistic_head(features, truth, classes, bias=bias)
    assert (weight.shape, offset.shape) == ((classes, 5), (classes,))
    logits = features @ weight.T + offset
    found = np.exp(logits - logits.max(1, keepdims=True))
    assert found / found.sum(1, keepdims=True) == pytest.approx(pipeline.predict_proba(features), abs=1e-6)
    assert bias or not offset.any()


def test_the_head_does_not_depend_on_batches():
    heads = []
    for size in (1, 16):
        model, preprocessor = classifier("bert", 2)
        fit_head(model, preprocessor, texts(40, ("calm", "loud")), ["calm", "loud"], size, SILENT)
        heads.append(model.classifier.weight.clone())
    torch.testing.assert_close(heads[0], heads[1], atol=1e-3, rtol=1e-2)


@pytest.mark.parametrize("count", [10, 2000, 2001, 3999, 5999, 12345])
def test_items_sorted_by_class_are_taken_evenly(count):
    items = [LabelledText(text="a", label=f"{place * 7 // count}") for place in range(count)]
    chosen = evenly_chosen(items)
    shares = [sum(item.label == str(k) for item in chosen) / len(chosen) for k in range(7)]
    assert min(count, 2000) <= len(chosen) <= 2007
    assert shares == pytest.approx([sum(i.label == str(k) for i in items) / count for k in range(7)], abs=0.01)


def test_a_rare_class_is_not_passed_over(monkeypatch):
    """scikit-learn knows only the classes it saw: without this, the head would have rows for the others alone."""
    monkeypatch.setattr(probe, "ITEMS", 20)
    monkeypatch.setattr(probe.evenly_chosen, "__defaults__", (20,))
    items = [*texts(60, ("calm", "loud")), LabelledText(text="c d", label="odd")]
    model, preprocessor = classifier("bert", 3)
    fit_head(model, preprocessor, items, ["calm", "loud", "odd"], 16, SILENT)
    assert model.classifier.weight.isfinite().all()
    assert len({tuple(row) for row in model.classifier.weight.tolist()}) == 3
