"""A search in the base's own index: what is asked is the tuned model's, what is searched the base's."""

import pytest
import torch
from by_hand import LETTERS, SETTINGS, TEXTS, by_hand_features

from retain.data.item_types import LabelledText, Match
from retain.errors import InputError
from retain.evaluate.pair import Pair
from retain.evaluate.runner import measure_pair
from retain.evaluate.scores.features import neighbours_right, reciprocal_ranks
from retain.evaluate.suites.suite import Suite, Suites
from retain.evaluate.tasks.remarks import remarks_on
from retain.evaluate.tasks.table import TASK_TYPES
from retain.events import SILENT
from retain.hf.adapters.attach import attach
from retain.hf.models.sides import base_view
from tiny import make_bert

PAIRS = [Match(query=f"{a} b word{i}", match=f"{a} word{i}" + " c" * (i % 3)) for i, a in enumerate(LETTERS)]
LABELLED = [
    LabelledText(text=f"{a} {'b' if i % 2 else 'c'} word{i}", label=str(i * i % 3)) for i, a in enumerate(LETTERS)
]
INDEX = {"index": "base"}


@pytest.fixture(scope="module")
def adapted():
    """An encoder whose adapter moves its features far."""
    model = attach(make_bert(), "vefa", {})
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "vefa_" in name:
                parameter.normal_(generator=torch.Generator().manual_seed(0))
    return model


@pytest.fixture(params=["one model", "two models"])
def pair(request, adapted):
    return Pair(adapted, make_bert() if request.param == "two models" else None)


def features(model, texts, *, of_base=False):
    holder = torch.nn.Module()
    holder.bert = model
    if not of_base:
        return by_hand_features(holder, texts)
    with base_view(model):
        return by_hand_features(holder, texts)


def measured(pair, suite, metric):
    found = measure_pair(pair, TEXTS, Suites([suite]), SETTINGS, SILENT)
    return ([item.base.scores[metric] for item in found.items], [item.tuned.scores[metric] for item in found.items])


def test_retrieval_asks_by_the_tuned_model_and_searches_what_the_base_read(pair, adapted):
    queries, matches = [one.query for one in PAIRS], [one.match for one in PAIRS]
    index = features(adapted, matches, of_base=True)
    before, after = measured(pair, Suite("kept", "retrieval", "keep", PAIRS, options=INDEX), "reciprocal_rank")
    assert before == reciprocal_ranks(features(adapted, queries, of_base=True), index).tolist()
    assert after == reciprocal_ranks(features(adapted, queries), index).tolist()
    anew, own = measured(pair, Suite("own", "retrieval", "keep", PAIRS), "reciprocal_rank")
    assert anew == before
    assert own == reciprocal_ranks(features(adapted, queries), features(adapted, matches)).tolist()
    assert own != after  # else this test would tell the two apart by nothing


def test_neighbours_vote_as_the_base_read_them(pair, adapted):
    bank, items = LABELLED[:16], LABELLED[16:]
    suite = Suite("near", "neighbours", "keep", items, bank=bank, options={"k": 3, **INDEX})
    before, after = measured(pair, suite, "accuracy")
    labels = [torch.tensor([int(one.label) for one in part]) for part in (bank, items)]
    index = features(adapted, [one.text for one in bank], of_base=True)
    for found, of_base in ((before, True), (after, False)):
        queries = features(adapted, [one.text for one in items], of_base=of_base)
        expected = neighbours_right(index, labels[0], queries, labels[1], 3)
        assert found == expected.double().tolist()
    assert before != after


def test_a_text_that_is_its_own_match_shows_a_loss_in_the_bases_index_alone(pair):
    """Any features find it among their own, and none but features that stayed what they were among the base's."""
    same = [Match(query=one.query, match=one.query) for one in PAIRS]
    kept, own = Suite("kept", "retrieval", "keep", same, options=INDEX), Suite("own", "retrieval", "keep", same)
    before, after = measured(pair, kept, "top_1")
    assert before == [1.0] * len(same)
    assert sum(after) < 0.75 * len(same)
    assert measured(pair, own, "top_1")[1] == [1.0] * len(same)
    metric = TASK_TYPES["retrieval"].verdict_metric(kept)
    assert TASK_TYPES["retrieval"].metrics(kept)[metric] == [1 / len(same)] * len(same)
    assert min(TASK_TYPES["retrieval"].metrics(own)[metric]) > 0.99
    keep = measure_pair(pair, TEXTS, Suites([kept]), SETTINGS, SILENT)
    assert [one.verdict for one in keep.judgement.suites] == ["lost"]


@pytest.mark.parametrize("task_type", ["retrieval", "neighbours"])
def test_the_record_says_whose_index_it_was(pair, task_type):
    items = PAIRS if task_type == "retrieval" else LABELLED[16:]
    bank = () if task_type == "retrieval" else LABELLED[:16]
    suite = Suite("kept", task_type, "keep", items, bank=bank, options=INDEX)
    (told,) = [note for note in measure_pair(pair, TEXTS, Suites([suite]), SETTINGS, SILENT).notes if "kept" in note]
    assert told.startswith("kept: what is searched was read by the base, for both sides (index: base)")
    assert not remarks_on([Suite("own", task_type, "keep", items, bank=bank)])


@pytest.mark.parametrize("task_type", ["retrieval", "neighbours"])
def test_features_of_another_width_cannot_search_the_bases_index(task_type):
    items = PAIRS if task_type == "retrieval" else LABELLED[16:]
    bank = () if task_type == "retrieval" else LABELLED[:16]
    suite = Suite("kept", task_type, "keep", items, bank=bank, options=INDEX)
    wide = make_bert(hidden_size=48)
    with pytest.raises(InputError, match="the tuned model's features have 48 values and the base's 32"):
        measured(Pair(wide, make_bert()), suite, "top_1")
