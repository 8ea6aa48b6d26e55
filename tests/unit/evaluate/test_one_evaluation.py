"""A figure is computed once: tables, drift, verdict and a replay from the record say the same, at any seed."""

from __future__ import annotations

import re

import pytest

from report_samples import sample_run
from retain.data.examples import Example
from retain.data.item_types import Choice
from retain.data.preprocess import TextPreprocessor
from retain.evaluate.pair import Pair
from retain.evaluate.runner import measure_pair
from retain.evaluate.suites.suite import Settings, Suite, Suites
from retain.events import SILENT
from retain.records import numbers
from retain.report.page.markdown import run_markdown
from retain.verdict.judge import disagreements, replay
from tiny import make_llama, make_tokenizer

WORDS = [*"abcdefghijklmnopqrstuvwxyz", *(f"word{k}" for k in range(30))]
CHOICES = [
    Choice(question=f"{a} {b}", choices=("c", "word7", "z"), answer=(i + j) % 3, group=f"{a}" if i % 2 else None)
    for i, a in enumerate(WORDS[:20])
    for j, b in enumerate(WORDS[:20])
]
SAID = [Example(prompt=f"{a} word1", completion=f" {b} z") for a, b in zip(WORDS, WORDS[::-1], strict=True)]
SUITES = Suites(
    [Suite("said", "completion", "task", SAID), Suite("known", "choice", "keep", CHOICES),
     Suite("kept", "completion", "keep", SAID)],
    {"text": " ".join(WORDS[k * k % 56] for k in range(400))},
)  # fmt: skip


@pytest.fixture(scope="module", params=[0, 1])
def measured(request):
    settings = Settings(
        seed=request.param, generate=30, max_new_tokens=3, batch_size=80, window=16, aa_items=0, drift=False
    )
    worse = make_llama(1)
    worse.lm_head.weight.data *= 30  # a loss that shows: a base of random weights has none that could be ruled out
    return measure_pair(Pair(worse, make_llama(0)), TextPreprocessor(make_tokenizer(), 60), SUITES, settings, SILENT)


def test_rows_are_views_of_the_evidence(measured):
    known = {(one.suite, one.metric): one for one in (*measured.evidence.task, *measured.evidence.keep)}
    scores = [score for score in (*measured.task, *measured.keep) if score.metric.level == "item"]
    assert len(scores) == len(known) == 9
    for score in scores:
        evidence = known[score.name, score.metric]
        assert (score.base, score.tuned, score.interval) == (evidence.base, evidence.tuned, evidence.interval)
        assert getattr(score, "p_value", evidence.p_value) == evidence.p_value


def test_the_drift_of_the_text_is_that_of_its_verdict(measured):
    (text,) = measured.evidence.held_out
    drift = measured.drift
    assert (drift.ce_drift_nats_per_token, drift.ce_drift_interval) == (text.change, text.interval)


def test_verdicts_state_the_interval_and_p_of_the_table(measured):
    rows = {score.name: score for score in reversed(measured.keep)}
    checked = 0
    for one in measured.judgement.suites:
        said = re.search(r"(?:change|improvement) \S+.*?95% interval (\S+) to (\S+?)[.;,]?(?: |$)", one.reason)
        if one.suite in rows and said and one.decided_by == rows[one.suite].metric:
            score, unit = rows[one.suite], one.decided_by.unit
            assert one.p_value == score.p_value
            low, high = sorted(abs(float(end.replace("−", "-"))) for end in said.groups())
            shown = sorted(abs(unit.factor * end) for end in score.interval)
            assert (low, high) == pytest.approx(shown, abs=0.051 if unit.factor > 1 else 0.01)
            checked += 1
    assert checked >= 1


def test_the_record_alone_gives_the_same_judgement(measured, tmp_path):
    result = sample_run(**measured.fields())
    assert result.resampling_seed in {0, 1}
    assert replay(result, measured.items) == measured.judgement
    assert disagreements(result, measured.items) == []


def test_a_page_shows_one_interval_for_one_change(measured):
    """`measure(seed=1)` printed −15.0 in the table and −14.7 in the verdict of one page."""
    page = run_markdown(sample_run(**measured.fields()), measured.items)
    (known,) = [score for score in measured.keep if score.name == "known"]
    low = numbers.signed(known.interval[0], known.metric.unit)
    assert page.count(f"[{low}, ") >= 2
    rows = "\n".join(line for line in page.splitlines() if "known" in line and "accuracy" in line)
    assert set(re.findall(r"\[([+−][\d.]+), [+−][\d.]+\]", rows)) == {low}
