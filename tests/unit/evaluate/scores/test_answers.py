"""Every row of the table that scores a written answer names a function that does."""

import pytest

from retain.evaluate.scores.answers import answer_score
from retain.records.metric import Metric
from retain.records.metrics_table import Row, metrics_of_answers


@pytest.mark.parametrize("row", [*metrics_of_answers()], ids=lambda row: row.metric.name)
def test_a_perfect_answer_is_the_best_and_another_no_better(row):
    score = answer_score(row)
    assert score("The answer", "The answer") == pytest.approx(row.metric.high)
    assert row.metric.low <= score("something else", "The answer") < row.metric.high
    assert isinstance(score("", "The answer"), float)


def test_a_row_that_names_nothing_is_seen():
    with pytest.raises(AttributeError):
        answer_score(Row(Metric(name="m"), "retain.evaluate.scores.text:no_such_function"))
    with pytest.raises(ImportError):
        answer_score(Row(Metric(name="m"), "retain.evaluate.scores.no_such_file:f"))
