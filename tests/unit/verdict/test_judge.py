"""The verdict from a record alone: what a base, a chance-level model and another format are called."""

import numpy as np
import pytest
import torch

from evidence_samples import UNSCALED
from retain.data.item_types import Choice, Question
from retain.data.preprocess import TextPreprocessor
from retain.evaluate.columns import paired
from retain.evaluate.pair import Pair
from retain.evaluate.predictions import Predictions
from retain.evaluate.runner import measure_pair
from retain.evaluate.scores.rows import keep_row
from retain.evaluate.suites.suite import Settings, Suite, Suites
from retain.evaluate.tasks.task_type import Response
from retain.events import SILENT
from retain.records.items import Item, Side
from retain.records.result import Conditions, MethodRecord, Parameters, Provenance, Result
from retain.records.verdicts import AACheck
from retain.verdict.column import column_of_items
from retain.verdict.judge import RunEvidence, disagreements, evidence_of_record, judge_run, replay
from retain.verdict.verdict import Margins
from tiny import make_llama, make_tokenizer

SETTINGS = Settings(generate=0, batch_size=60, window=8, drift=False, aa_items=2)
ASKED = Conditions(engine="", dtype="", attention="", device="", preprocessor_hash="", input_hash="")
MARGINS = Margins(0.05, 0.05)


def record(measured):
    parts = Parameters(trainable=0, total=0, adapter_bytes=0)
    made = Provenance(command="", created="", versions={}, data_hashes={}, model_hash="")
    return Result(
        model="m", method=MethodRecord(name="full"), seed=None, parameters=parts, provenance=made, **measured.fields()
    )


def peaked_llama():
    """A Llama that is sure of what it says, so that it has something to lose on text that it wrote itself."""
    model = make_llama()
    with torch.no_grad():
        model.lm_head.weight.normal_(std=1.0, generator=torch.Generator().manual_seed(3))
    return model


def written_by(model, count, words=range(6, 62)):
    """Token ids that the model finds most likely, six from each of `count` beginnings of two words; no special ones."""
    rows = torch.tensor([[words[i % 56], words[(3 * i + 1) % 56]] for i in range(count)])
    with torch.no_grad():
        for _ in range(6):
            likely = model(input_ids=rows).logits[:, -1, words.start : words.stop].argmax(-1) + words.start
            rows = torch.cat([rows, likely[:, None]], dim=1)
    return rows.tolist()


@pytest.fixture(scope="module")
def what_a_model_knows():
    """Items on which the model is right, since the right option is what it says itself; and its own text."""
    model, tokenizer = peaked_llama(), make_tokenizer()
    items = []
    for index, row in enumerate(written_by(model, 120)):
        right = tokenizer.decode(row[2:3])
        wrong = [word for word in (f"word{(index * 7 + k) % 30}" for k in range(4)) if word != right][:3]
        place = index % 4  # a right option that always stood at one place could be had without reading
        choices = (*wrong[:place], right, *wrong[place:])
        items.append(Choice(question=tokenizer.decode(row[:2]), choices=choices, answer=place))
    # One window of eight tokens is one row, as the model wrote it.
    held_out_text = " ".join(tokenizer.decode(row) for row in written_by(model, 60))
    suites = Suites([Suite("known", "choice", "keep", items)], {"text": held_out_text})
    return model, TextPreprocessor(tokenizer, 60), suites


@pytest.fixture(scope="module")
def destroyed(what_a_model_knows):
    model, preprocessor, suites = what_a_model_knows
    return measure_pair(Pair(make_llama(seed=9), model), preprocessor, suites, SETTINGS, SILENT)


@pytest.fixture(scope="module")
def unchanged(what_a_model_knows):
    model, preprocessor, suites = what_a_model_knows
    return measure_pair(Pair(peaked_llama(), model), preprocessor, suites, SETTINGS, SILENT)


def test_a_base_against_itself_has_lost_nothing(unchanged):
    verdicts = {one.suite: one.verdict for one in unchanged.judgement.suites}
    assert verdicts == {"known": "kept", "held-out text": "kept"}
    assert unchanged.judgement.overall == "kept"
    assert unchanged.judgement.aa_check.passed
    assert unchanged.judgement.aa_check.score_difference_max < 1e-5  # the batches are of other items than before


def test_a_destroyed_model_is_called_lost_wherever_that_can_be_seen(destroyed):
    judged = destroyed.judgement
    assert all(one.has_power for one in judged.suites)
    assert [one.verdict for one in judged.suites] == ["lost", "lost"]
    assert judged.overall == "lost"
    assert "known" in judged.reason


def test_a_replay_says_the_same(destroyed, unchanged):
    for measured in (destroyed, unchanged):
        result = record(measured)
        assert replay(result, measured.items) == measured.judgement
        assert disagreements(result, measured.items) == []


def test_figures_that_are_not_those_of_the_items_are_seen(destroyed):
    result = record(destroyed)
    better = result.keep[0].model_copy(update={"tuned": 1.0})
    told = disagreements(result.model_copy(update={"keep": (better,)}), destroyed.items)
    assert len(told) == 1
    assert "accuracy of known, tuned" in told[0]
    hidden = disagreements(result.model_copy(update={"keep": ()}), destroyed.items)
    assert hidden == ["its items of known have no score in the record."]


def _rotated(options, place):
    """Options whose first stands at another place in each item, so that no place is right more often."""
    place %= len(options)
    return (*options[len(options) - place :], *options[: len(options) - place])


def crafted(base, tuned, **fields):
    """Judge questions with options from what both sides are made to say: [(answer, whether the option is right)]."""
    items = [
        Question(
            question=f"q{i}",
            answers=(f"a{i}",),
            choices=_rotated((f"a{i}", f"x{i}", f"y{i}", f"z{i}"), i),
            answer=i % 4,
            **fields,
        )
        for i in range(len(base))
    ]
    suite = Suite("capitals", "question", "keep", items)
    sides = []
    for said in (base, tuned):
        responses = tuple(
            Response(
                answer=text.format(i),
                options=_rotated((0.0, -1.0, -2.0, -3.0) if right else (-1.0, 0.0, -2.0, -3.0), i),
            )
            for i, (text, right) in enumerate(said)
        )
        sides.append(Predictions(responses={"capitals": responses}, truncated={"capitals": 0}, conditions=ASKED))
    kept = [keep_row(column, SETTINGS.seed)[0] for column in paired(suite, *sides).columns]
    return judge_run(RunEvidence(keep=tuple(kept)), MARGINS)


def test_a_model_that_knows_and_writes_nonsense_changed_its_format():
    judged = crafted([("a{}", True)] * 60, [("well", True)] * 60)
    assert judged.suites[0].verdict == judged.overall == "changed format"
    assert judged.suites[0].decided_by.name == "exact_match"


def test_a_model_that_answers_in_sentences_has_their_content_to_lose():
    """Exact match is 0 before already; what shows the change is that the answer stands nowhere any more."""
    judged = crafted([("It is a{}.", True)] * 60, [("well", True)] * 60)
    assert (judged.overall, judged.suites[0].decided_by.name) == ("changed format", "contains")


def test_a_model_that_lost_what_it_knew_is_lost_however_it_writes():
    judged = crafted([("a{}", True)] * 60, [("well", False)] * 60)
    assert (judged.overall, judged.suites[0].decided_by.name) == ("lost", "accuracy")


def test_a_few_items_are_no_proof_of_anything():
    judged = crafted([("a{}", True)] * 4, [("a{}", True)] * 4)
    assert judged.overall == "too few items to say"


def test_a_base_that_answers_otherwise_than_before_gives_no_verdict(unchanged):
    null = AACheck(items=8, changed=8, score_difference_max=1.0, passed=False, note="It differs.")
    judged = judge_run(unchanged.evidence, MARGINS, null)
    assert judged.overall == "too few items to say"
    assert "It differs." in judged.reason


def test_groups_weigh_as_one():
    """Sixty items of three groups: what happens to one group is no more than one event."""
    base = [("a{}", True)] * 60
    judged = crafted(base, base, group="one")
    assert judged.suites[0].units == 1
    assert judged.overall == "too few items to say"


def test_each_genre_is_judged_by_itself_and_ruin_of_one_is_seen():
    def window(k, domain, rise):
        sides = (Side(scores={"cross_entropy_nats_per_token": x, "tokens": 8.0}) for x in (2.0, 2.0 + rise))
        base, tuned = sides
        return Item(
            part="held-out", suite="held-out text", index=k, condition=domain, question="", base=base, tuned=tuned
        )

    windows = [window(k, ("news", "law")[k % 2], 1.0 + k / 100 if k % 2 else 0.0) for k in range(60)]
    judged = judge_run(evidence_of_record([], [], windows, seed=0), MARGINS)
    assert {one.suite: one.verdict for one in judged.suites} == {
        "held-out text: news": "kept",
        "held-out text: law": "lost",
    }


def test_a_metric_without_a_known_range_is_never_kept():
    same = Side(scores={"ter": 7.0})
    items = [Item(part="keep", suite="s", index=k, question="", base=same, tuned=same) for k in range(60)]
    score = keep_row(column_of_items("s", UNSCALED, items), seed=0)[1]
    (one,) = judge_run(evidence_of_record([], [score], items, seed=0), MARGINS).suites
    assert (one.verdict, one.has_power) == ("too few items to say", False)
    assert "range of ter is not known" in one.reason


def test_an_interval_is_that_of_the_items(destroyed):
    known = [item for item in destroyed.items if item.suite == "known"]
    change = np.mean([item.tuned.scores["accuracy"] - item.base.scores["accuracy"] for item in known])
    low, high = destroyed.keep[0].interval
    assert low < change < high < 0
