"""A result is written in full and read again; what is no result is refused."""

import pytest

from full_samples import full_run
from report_samples import task_score
from retain.errors import InputError
from retain.records.drift_record import Drift
from retain.records.result import SCHEMA, read_result, write_result


def test_every_field_comes_back(tmp_path):
    write_result(full_run(), tmp_path / "result.json")
    assert read_result(tmp_path / "result.json") == full_run()
    assert read_result(str(tmp_path / "result.json")) == read_result(str(tmp_path)) == full_run()
    assert f'"schema": "{SCHEMA}"' in (tmp_path / "result.json").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "problem"),
    [("", "no readable"), ("[1]", "no readable"), ("{}", "schema None"), ('{"schema": "x/1"}', "schema 'x/1'"),
     (f'{{"schema": "{SCHEMA}", "model": NaN}}', "no readable"),
     (f'{{"schema": "{SCHEMA}", "model": []}}', "damaged")],
)  # fmt: skip
def test_what_is_no_result_is_refused(tmp_path, text, problem):
    (tmp_path / "result.json").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=problem):
        read_result(tmp_path / "result.json")
    with pytest.raises(InputError, match="no readable"):
        read_result(tmp_path / "missing.json")


def test_a_gain_is_an_improvement_in_either_direction():
    assert task_score(2.3).gain == pytest.approx(2.3)
    assert task_score(0, metric="chrf", base=20.0, tuned=23.0, interval=(1, 5)).gain == 3


def test_two_parts_of_the_drift_are_one():
    text, weights = Drift(tokens=9, note="One window."), Drift(sigma_max=2.0, f_delta=None, note="Sampled.")
    joined = text.joined(weights)
    assert (joined.tokens, joined.sigma_max, joined.note) == (9, 2.0, "One window. Sampled.")
    assert text.joined(Drift(sigma_max=1.0)).note == "One window."
