"""What is far too small, or comes of far too little, is said for what it is."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import retain
from retain.cli.main import main
from retain.evaluate.scores.classification import paired_summary_interval, table_macro_f1, table_matthews
from retain.records.metrics_table import ACCURACY, CHRF, CROSS_ENTROPY, RECIPROCAL_RANK, ROUGE_L
from retain.records.result import read_result
from retain.report.claims import claims
from retain.report.verdict_words import headline
from retain.verdict.column import Column
from retain.verdict.evidence import evaluate
from retain.verdict.verdict import Margins, judge_tasks
from tiny import WORDS, make_llama, make_tokenizer

LETTERS = WORDS[:26]


def changed_by(nats, count=60, **margins):
    base = np.full(count, 3.0)
    spread = np.linspace(-1, 1, count) * abs(nats) / 10
    column = Column("task", CROSS_ENTROPY, base, base + nats + spread)
    return judge_tasks([evaluate(column, np.random.default_rng(0))], margins=Margins(**margins))[0].learned


def test_four_ten_thousandths_of_a_nat_are_not_learning():
    assert changed_by(-0.0004) == "no noticeable change"
    assert changed_by(0.0004) == "no noticeable change"
    assert (changed_by(-0.2), changed_by(0.2)) == ("yes", "worse")


def test_whoever_cares_for_less_says_so():
    assert changed_by(-0.0004, gain_nats=0.0) == "yes"
    assert changed_by(-0.2, gain_nats=0.5) == "no noticeable change"


@pytest.mark.parametrize(("metric", "change", "learned"), [(CHRF, 0.5, "no noticeable change"), (CHRF, 5.0, "yes")])
def test_half_a_point_of_a_hundred_is_not_learning(metric, change, learned):
    base = np.full(60, 40.0)
    column = Column("task", metric, base, base + change + np.linspace(-0.1, 0.1, 60))
    assert judge_tasks([evaluate(column, np.random.default_rng(0))])[0].learned == learned


def test_an_untrained_model_has_learned_nothing():
    model = make_llama()
    test = [{"prompt": f"{a} then", "completion": f" {b} z"} for a, b in zip(LETTERS, reversed(LETTERS), strict=True)]
    settings = {"show_progress": False, "drift": False, "generate": 0, "max_length": 60}
    result = retain.measure(model, copy.deepcopy(model), tokenizer=make_tokenizer(), test=test, **settings)
    assert result.judgement.learned == "no noticeable change"
    assert headline(result).startswith("It changed nothing noticeable at the task")
    assert claims(result)[0].reading == "no noticeable change"
    assert any("the tuned model is the base" in note for note in result.provenance.notes)


@pytest.fixture
def tuned(tiny_folder, tiny_data, tmp_path):
    """Run a verb on the tiny model; flags are added."""

    def run(verb, *more, rows=40):
        lines = (tiny_data / "train.jsonl").read_text().splitlines(keepends=True)[:rows]
        (tmp_path / "rows.jsonl").write_text("".join(lines), encoding="utf-8")
        data = ["--model", str(tiny_folder), "--train", str(tmp_path / "rows.jsonl")]
        data += ["--test", str(tiny_data / "test.jsonl"), "--output", str(tmp_path / "run"), "--method", "lora"]
        return main([verb, *data, "--max-steps", "2", "--generate", "0", "--drift", "false", *more])

    return run


def test_one_training_row_is_told(tuned, tmp_path, capsys):
    assert tuned("check", rows=1) == 0
    assert "train: only 1 row: what can be learned is this row" in capsys.readouterr().out
    assert tuned("tune", "--learning-rate", "1e-7", rows=1) == 0
    result = read_result(tmp_path / "run" / "result.json")
    assert any("only 1 row" in note for note in result.provenance.notes)
    assert result.judgement.learned == "no noticeable change"


def test_fewer_rows_than_a_batch_are_told(tuned, capsys):
    assert tuned("check", "--batch-size", "64", rows=20) == 0
    assert "20 rows are fewer than one batch of 64" in capsys.readouterr().out


def test_a_training_without_a_step_is_refused(tuned, capsys):
    assert tuned("check", "--batch-size", "64", "--training.dataloader_drop_last", "true") == 2
    assert "40 training rows make no full batch of 64" in capsys.readouterr().err


@pytest.mark.parametrize("metric", [ACCURACY, CHRF, ROUGE_L, RECIPROCAL_RANK])
def test_two_items_that_did_not_change_have_a_wide_interval(metric):
    found = evaluate(Column("two", metric, np.zeros(2), np.zeros(2)), np.random.default_rng(0))
    assert found.interval[0] < -0.8 * metric.span
    assert found.interval[1] > 0.8 * metric.span


@pytest.mark.parametrize("count", [2, 3, 5])
def test_a_few_texts_do_not_show_a_change_of_cross_entropy(count):
    base = np.linspace(2, 3, count)
    tuned = base - np.linspace(0.1, 0.5, count)
    low, high = evaluate(Column("few", CROSS_ENTROPY, base, tuned), np.random.default_rng(0)).interval
    assert low < -0.49
    assert (high > 0) == (count < 5)  # Student's interval, as of any five numbers


@pytest.mark.parametrize(("metric", "span"), [(table_macro_f1, 1.0), (table_matthews, 2.0)])
def test_few_classified_items_have_a_wide_interval_of_a_whole_set(metric, span):
    truth = np.array(["a", "b", "a", "b"])
    low, high = paired_summary_interval(metric, truth, truth, truth, np.random.default_rng(0), span=span)
    assert low <= -0.6 * span
    assert high >= 0.6 * span
