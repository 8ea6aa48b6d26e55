"""A sequence of tasks from records: the matrix of right answers, and stages that do not belong together."""

import json

import pytest

from report_samples import keep_score, sample_run
from retain.errors import InputError
from retain.jobs.sequence import read_sequence, write_sequence
from retain.records.items import Item, Side, write_items
from retain.records.result import write_result

BASE = {"one": [1, 0, 0, 0], "two": [0, 1, 0, 0]}
STAGES = [{"one": [1, 1, 1, 0], "two": [0, 1, 0, 0]}, {"one": [1, 0, 0, 1], "two": [1, 1, 1, 1]}]


def stage(folder, right, **changes):
    """A record of the base against the model after a stage."""
    items = [
        Item(
            part="keep",
            suite=suite,
            index=index,
            question=f"{suite} {index}",
            base=Side(scores={"accuracy": BASE[suite][index]}),
            tuned=Side(scores={"accuracy": value}),
        )
        for suite, values in right.items()
        for index, value in enumerate(values)
    ]
    folder.mkdir()
    write_items(items, folder / "items.jsonl")
    keep = tuple(keep_score(0.0, name=suite, n=len(values)) for suite, values in right.items())
    write_result(sample_run(keep=keep, **changes), folder / "result.json")
    return folder


@pytest.fixture
def runs(tmp_path):
    return [stage(tmp_path / f"stage-{number}", right) for number, right in enumerate(STAGES)]


def test_the_matrix_is_the_share_right_after_each_stage(runs):
    found = read_sequence(runs, ["one", "two"])
    assert found.stages == ("base", "stage-0", "stage-1")
    assert found.matrix == ((0.25, 0.25), (0.75, 0.25), (0.5, 1.0))
    assert found.average[0] == pytest.approx(0.75)
    assert found.backward[0] == pytest.approx(-0.25)
    assert found.forgetting[0] == pytest.approx(0.25)
    low, high = found.average[1]
    assert low <= 0.75 <= high


def test_it_is_written_as_json(runs, tmp_path):
    write_sequence(read_sequence(runs, ["one", "two"]), tmp_path / "sequence.json")
    assert json.loads((tmp_path / "sequence.json").read_text(encoding="utf-8"))["tasks"] == ["one", "two"]


def test_every_problem_of_every_stage_is_named(runs, tmp_path):
    with pytest.raises(InputError) as refused:
        read_sequence([runs[0], tmp_path / "none", runs[1]], ["one", "three"])
    problems = " ".join(refused.value.problems)
    assert "3 stages and 2 tasks" in problems
    assert "has no suite 'three'" in problems
    assert str(tmp_path / "none") in problems


def test_stages_of_other_items_or_another_base_are_refused(runs, tmp_path):
    other = stage(tmp_path / "other", {"one": [1, 1, 1], "two": [1, 1, 1, 1]})
    with pytest.raises(InputError, match="measured on different items"):
        read_sequence([runs[0], other], ["one", "two"])
    provenance = sample_run().provenance.model_copy(update={"model_hash": "another"})
    apart = stage(tmp_path / "apart", STAGES[1], provenance=provenance)
    with pytest.raises(InputError, match="do not share one base"):
        read_sequence([runs[0], apart], ["one", "two"])


def test_a_suite_that_is_not_right_or_wrong_is_refused(runs, tmp_path):
    graded = stage(tmp_path / "graded", {"one": [0.5, 1, 0, 0], "two": [1, 1, 1, 1]})
    with pytest.raises(InputError, match="not right or wrong"):
        read_sequence([graded], ["one"])
