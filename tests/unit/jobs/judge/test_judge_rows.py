"""Rows that people have, judged: `retain.judge` and `retain judge` on JSONL and CSV, without a model."""

from __future__ import annotations

import json
import random

import pytest

import retain
from retain.cli.main import main
from retain.errors import InputError
from retain.jobs.judge import formats
from retain.jobs.judge.logs import Answer, Log, LoggedSuite
from retain.jobs.replay_verdict import replay_run
from retain.records.items import read_items
from retain.records.metrics_table import ACCURACY
from tiny import write_jsonl


def answered(right=0.8, n=200, seed=0, **more):
    """Rows of one side; the same seed and share give the same answers."""
    drawn = random.Random(seed)  # noqa: S311  (equal draws for equal seeds)
    return [{"id": k, "prompt": f"question {k}", "correct": drawn.random() < right, **more} for k in range(n)]


def fewer(rows, share, seed=1):
    """The rows after a tuning that lost a share of what was right."""
    drawn = random.Random(seed)  # noqa: S311  (equal draws for equal seeds)
    return [{**row, "correct": row["correct"] and drawn.random() >= share} for row in rows]


@pytest.fixture
def judged(tmp_path, monkeypatch):
    """Judge two lists of rows."""
    monkeypatch.chdir(tmp_path)

    def judge(base, tuned, **options):
        write_jsonl(tmp_path / "base.jsonl", base)
        write_jsonl(tmp_path / "tuned.jsonl", tuned)
        return retain.judge("base.jsonl", "tuned.jsonl", **options)

    return judge


def refused(judged, base, tuned, **options):
    with pytest.raises(InputError) as error:
        judged(base, tuned, **options)
    return "\n".join(error.value.problems)


def test_a_loss_is_lost_and_nothing_is_kept(judged):
    base = answered()
    assert judged(base, fewer(base, 0.3)).judgement.overall == "lost"
    kept = judged(base, fewer(base, 0.01), chance=0.25)
    assert (kept.judgement.overall, kept.keep[0].n, kept.keep[0].chance) == ("kept", 200, 0.25)
    assert kept.method.name == "tuned"
    assert kept.model == "base"


def test_the_record_is_that_of_any_measurement_and_its_verdict_can_be_made_again(judged, tmp_path):
    base = answered(suite="rivers") + answered(seed=3, suite="mine")
    result = judged(base, fewer(base, 0.3), task="mine", output="out", junit="verdict.xml")
    assert replay_run(tmp_path / "out") == result.judgement
    assert main(["gate", "out", "--junit", "verdict.xml"]) == 3
    assert [score.name for score in result.task] == ["mine"]
    assert [score.name for score in result.keep] == ["rivers"]
    items = list(read_items(tmp_path / "out" / "items.jsonl"))
    assert {(item.part, item.suite) for item in items} == {("keep", "rivers"), ("task", "mine")}
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "rivers" in page
    assert "Trained parameters" not in page
    again = retain.judge("out:base", "out")  # a run of retain's own is a log, too
    assert [(one.base, one.tuned) for one in again.keep][:1] == [(one.base, one.tuned) for one in result.keep]


def test_of_two_runs_the_first_is_named_by_its_model_and_its_method(judged):
    base = answered()
    for place, rate in (("first", 0.1), ("second", 0.2)):
        judged(base, fewer(base, rate), output=place)
    names = {
        run: (found.method.name, found.model)
        for run in ("first", "first:base")
        if (found := retain.judge(run, "second"))
    }
    assert names == {"first": ("tuned (tuned)", "base (tuned)"), "first:base": ("tuned", "base")}


def test_the_command_line_prints_and_ends_with_the_gates_exit_code(judged, capsys):
    base = answered()
    judged(base, fewer(base, 0.3))
    assert main(["judge", "base.jsonl", "tuned.jsonl"]) == 3
    told = capsys.readouterr().out
    assert "lost on items (1 of 1)" in told
    assert "--chance SUITE:SHARE" in told
    assert main(["judge", "base.jsonl", "base.jsonl"]) == 2
    assert "one log" in capsys.readouterr().err
    assert main(["judge", "base.jsonl"]) == 2
    assert main(["judge", "a", "b", "c"]) == 2


def test_other_prompts_are_refused_with_their_number(judged):
    base = answered()
    other = [{**row, "prompt": row["prompt"] + ("?" if row["id"] < 7 else "")} for row in base]
    assert "7 of 200 items had other prompts (item 0, 1, 2, 3, 4 and 2 more)" in refused(judged, base, other)
    hashed = [{"id": row["id"], "correct": True, "hash": f"h{row['id']}"} for row in base]
    unlike = [{**row, "hash": "h"} if row["id"] == 9 else row for row in hashed]
    assert "1 of 200 items had other prompts (item 9)" in refused(judged, hashed, unlike)


def test_what_one_side_alone_has_is_refused_unless_the_verdict_may_say_so(judged):
    base = answered()
    assert "12 of the base log's 200 items are not in the other" in refused(judged, base, base[:-12])
    partly = judged(base, base[:-12], intersection=True)
    assert partly.keep[0].n == 188
    assert "left out (12 answers, --intersection)" in partly.judgement.reason
    assert "Judged on the 188 items of both sides" in partly.judgement.suites[0].reason
    assert "no item is on both sides" in refused(judged, base[:50], base[50:], intersection=True)
    assert "more: only the tuned log has it" in refused(judged, base, base + answered(suite="more"))
    assert judged(base, base + answered(suite="more"), suites="items").keep[0].name == "items"


def test_answers_that_stand_there_twice_are_refused(judged):
    base = answered()
    assert "answers 2 items more than once (item 4, 5)" in refused(judged, base, base + base[4:6])
    assert "more than once" in refused(judged, [*base, {**base[3], "id": "3"}], base)


def test_shuffled_ids_are_paired_by_prompt_and_so_are_rows_without_any(judged):
    base = answered()
    shuffled = [{**row, "id": (row["id"] * 7) % 200} for row in base]
    found = judged(base, shuffled)
    assert (found.keep[0].lost, found.keep[0].gained) == (0, 0)
    assert any("paired by prompt" in note for note in found.provenance.notes)
    bare = [{key: row[key] for key in ("prompt", "correct")} for row in base]
    assert judged(bare, bare[::-1]).keep[0].lost == 0
    assert "neither id nor prompt" in refused(judged, [{"correct": True}], bare)


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ({"correct": 1.5}, "true or false in 199 rows, numbers in 1 row (first tuned.jsonl, line 4)"),
        ({"correct": None}, "nothing in 1 row (first tuned.jsonl, line 4)"),
        ({"correct": "yes"}, "text in 1 row"),
        ({"id": 1.5}, "id: expected a whole number or text, found 1.5"),
        ({"id": True}, "id: expected a whole number or text, found true"),
    ],
)
def test_mixed_types_are_told_by_their_line(judged, rows, told):
    base = answered()
    assert told in refused(judged, base, [{**row, **rows} if k == 3 else row for k, row in enumerate(base)])


def test_ways_of_scoring_are_not_mixed(judged):
    base = answered()
    mixed = [*base[:-1], {"id": 199, "score": 1.0}]
    assert "correct in 199 rows; score in 1 row (first tuned.jsonl, line 200)" in refused(judged, base, mixed)
    scored = [{"id": row["id"], "score": float(row["correct"])} for row in base]
    assert "accuracy is nowhere in the tuned log; no metric is on both sides" in refused(judged, base, scored)


def test_scores_that_are_no_numbers_or_beyond_their_range_are_refused(judged, tmp_path):
    good = [{"id": k, "score": 1 + k % 5} for k in range(100)]
    assert judged(good, good, range="score:1:5").judgement.overall == "kept"
    far = [{**row, "score": 7 if row["id"] == 3 else row["score"]} for row in good]
    assert "score of the tuned log goes beyond its range of 1 to 5 on 1 item (as 7)" in refused(
        judged, good, far, range="score:1:5"
    )
    found = judged(good, far)
    assert any("--range METRIC:LOW:HIGH" in note for note in found.provenance.notes)
    (tmp_path / "nan.jsonl").write_text('{"id": 1, "score": NaN}\n', encoding="utf-8")
    with pytest.raises(InputError, match="NaN is no number"):
        retain.judge("base.jsonl", "nan.jsonl")
    shares = [{"id": k, "scores": {"f1": 0.5 + 0.5 * (k % 2)}} for k in range(60)]
    per_cent = [{"id": k, "scores": {"f1": 50 + 50 * (k % 2)}} for k in range(60)]
    assert "one seems to be in ones and the other in per cent" in refused(judged, shares, per_cent)
    marks = [{"id": k, "score": (1 + k % 9) / 10} for k in range(60)]
    hundreds = [{**row, "score": 100 * row["score"]} for row in marks]
    assert "or say the range (--range score:LOW:HIGH)" in refused(judged, marks, hundreds)
    assert judged(hundreds, marks, range="score:0:100").judgement.overall == "lost"
    less = judged(
        [{"id": k, "scores": {"harm": k % 2, "acc": 1}} for k in range(60)],
        [{"id": k, "scores": {"harm": 1, "acc": 1}} for k in range(60)],
        metric="harm",
        lower_is_better="harm",
    )
    assert less.judgement.overall == "lost"


def test_predictions_are_compared_with_their_labels(judged):
    base = [{"id": k, "prediction": f" {k % 9} ", "label": [f"{k % 9}", "x"]} for k in range(90)]
    tuned = [{**row, "prediction": None if row["id"] < 40 else "x"} for row in base]
    found = judged(base, tuned)
    assert (found.keep[0].base, found.keep[0].tuned) == (1, pytest.approx(50 / 90))
    typed = [{**row, "prediction": row["id"] % 9} for row in base]
    assert "prediction 0 and label" in refused(judged, base, typed)
    other = [{**row, "label": "0"} for row in base]
    assert "items have another right answer on the two sides" in refused(judged, base, other)


def test_answers_that_cannot_be_compared_and_values_that_cannot_be_averaged_are_told(judged):
    nested = [{"id": k, "prediction": {"a": 1}, "label": {"a": 1}} for k in range(30)]
    assert "expected text, numbers, or true or false, found dict" in refused(judged, nested, nested)
    large = [{"id": k, "score": -1e308} for k in range(30)]
    assert "too large to be averaged" in refused(judged, large, [{**row, "score": 1e308} for row in large])
    with pytest.raises(InputError, match="not blank"):
        retain.judge("", "tuned.jsonl")


def test_a_base_that_guesses_has_nothing_to_lose(judged):
    base = [{"id": k, "correct": k % 4 == 0, "choices": ["a", "b", "c", "d"]} for k in range(200)]
    found = judged(base, [{**row, "correct": False} for row in base])
    assert (found.judgement.suites[0].base_guesses, found.keep[0].chance) == (True, 0.25)


def test_epochs_and_groups_are_one_unit(judged):
    once = answered(n=100)
    base = [{**row, "epoch": epoch} for row in once for epoch in (1, 2, 3)]
    found = judged(base, fewer(base, 0.3))
    assert (found.keep[0].n, found.keep[0].units) == (300, 100)
    grouped = [{**row, "group": row["id"] // 5, "condition": f"part {row['id'] % 2}"} for row in answered()]
    found = judged(grouped, fewer(grouped, 0.3))
    assert (found.keep[0].units, [part.n for part in found.breakdowns]) == (40, [100, 100])
    assert "items are not in the other" in refused(judged, base, [row for row in base if row["epoch"] < 3])


def test_a_table_of_text_is_read_as_numbers(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for side, wrong in (("base", 5), ("tuned", 2)):
        lines = [f"{k},question {k},{'true' if k % wrong else 'false'}" for k in range(200)]
        (tmp_path / f"{side}.csv").write_text("\n".join(["id,prompt,correct", *lines]), encoding="utf-8")
    assert retain.judge("base.csv", "tuned.csv").judgement.overall == "lost"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"suites": "nope"}, "neither log has nope; there are items"),
        ({"task": "nope"}, "neither log has nope"),
        ({"metric": "items:f1"}, "the metric f1 is not there; it has accuracy"),
        ({"metric": "f1"}, "metric: no suite has the metric f1; there are accuracy"),
        ({"metric": ["f1", "accuracy"]}, "two values for all suites, f1 and accuracy"),
        ({"chance": ["items:0.1", "items:0.2"]}, "two values for items, 0.1 and 0.2"),
        ({"lower_is_better": "accuracy"}, "of accuracy in items more is better"),
        ({"pool": "=items"}, "with a name before the sign"),
        ({"range": "nope:1:5"}, "no suite has the metric nope"),
        ({"range": "score:5:1"}, "is empty"),
        ({"chance": "items:1"}, "expected shares"),
        ({"margin": 0}, "expected a number above 0"),
        ({"margins": 3}, "did you mean margin"),
        ({"junit": ""}, "blank"),
        ({"junit": "base.jsonl"}, "holds something else than a verdict"),
        ({"junit": "base.jsonl/verdict.xml"}, "base.jsonl is a file, not a folder"),
    ],
)
def test_options_that_fit_nothing_are_told(judged, options, told):
    base = answered(n=40)
    assert told in refused(judged, base, fewer(base, 0.5), **options)


@pytest.mark.parametrize("word", ["ja", "richtig", "0,7"])
def test_text_that_is_no_number_is_told_with_its_row_and_the_cure(judged, word):
    base = answered(n=40)
    tuned = [{**row, "correct": word if k == 3 else "1"} for k, row in enumerate(base)]
    told = refused(judged, base, tuned)
    assert f"correct: expected numbers, or true and false, found {word} (" in told
    assert "line 4); write 1 for right and 0 for wrong" in told


def test_a_report_of_another_program_and_a_log_are_not_overwritten(judged, tmp_path):
    (tmp_path / "tests.xml").write_text('<?xml version="1.0"?>\n<testsuites name="pytest"/>', encoding="utf-8")
    base = answered(n=30)
    assert "tests.xml holds something else" in refused(judged, base, base, junit="tests.xml")
    judged(base, fewer(base, 0.1), output="judged", junit="verdict.xml")
    judged(base, fewer(base, 0.2), output="judged", junit="verdict.xml")  # its own it may
    with pytest.raises(InputError, match="is one of the two logs"):
        retain.judge("judged:base", "judged", output="judged")
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "results_2026.json").write_text("{}", encoding="utf-8")
    assert "holds logs" in refused(judged, base, base, output="logs")


@pytest.mark.parametrize("form", [str, float, lambda k: k])
def test_ids_are_paired_whatever_type_a_program_made_of_them(judged, form):
    base = [{"id": row["id"], "correct": row["correct"]} for row in answered(n=40)]
    found = judged(base, [{**row, "id": form(row["id"])} for row in base])
    assert (found.keep[0].n, found.keep[0].lost) == (40, 0)


def test_epochs_and_choices_of_a_table_count(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for side, wrong in (("base", 5), ("tuned", 2)):
        lines = [f"{k},{epoch},4,{k % wrong != 0}" for k in range(60) for epoch in (1, 2)]
        (tmp_path / f"{side}.csv").write_text("\n".join(["id,epoch,choices,correct", *lines]), encoding="utf-8")
    (score,) = retain.judge("base.csv", "tuned.csv").keep
    assert (score.n, score.units, score.chance) == (120, 60, 0.25)
    (tmp_path / "odd.csv").write_text("id,epoch,correct\n1,second,true", encoding="utf-8")
    with pytest.raises(InputError, match="epoch: expected a whole number, found second"):
        retain.judge("base.csv", "odd.csv")


def test_a_log_of_no_known_format_is_told_with_those_that_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_jsonl(tmp_path / "base.jsonl", answered(n=30))
    (tmp_path / "empty").mkdir()
    (tmp_path / "nothing.jsonl").touch()
    for place, told in (
        ("bsae.jsonl", "did you mean base.jsonl"),
        ("empty", "lm-evaluation-harness"),
        ("nothing.jsonl", ""),
    ):
        with pytest.raises(InputError) as error:
            retain.judge("base.jsonl", place)
        assert told in str(error.value)
        assert "tuned: " in str(error.value)


def test_a_further_format_is_a_reader_and_a_row(tmp_path, monkeypatch):
    """One that writes 1 and 0 for each item in a line of its own."""

    def read(path, wanted=()):
        values = path.read_text(encoding="utf-8").split()
        answers = tuple(Answer(id=str(k), scores={"accuracy": float(value)}) for k, value in enumerate(values))
        suite = LoggedSuite(name="bits", answers=answers, declared={"accuracy": ACCURACY})
        return Log(place=str(path), program="bits", model=path.stem, suites={"bits": suite}, names=("bits",))

    row = formats.Format("lines of bits", lambda path: path.suffix == ".bits", read)
    monkeypatch.setattr(formats, "FORMATS", (row, *formats.FORMATS))
    (tmp_path / "base.bits").write_text("1\n" * 60, encoding="utf-8")
    (tmp_path / "tuned.bits").write_text("1\n0\n" * 30, encoding="utf-8")
    assert retain.judge(tmp_path / "base.bits", tmp_path / "tuned.bits").judgement.overall == "lost"


def test_a_recipe_file_says_the_same(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    base = answered()
    write_jsonl(tmp_path / "base.jsonl", base)
    write_jsonl(tmp_path / "tuned.jsonl", fewer(base, 0.3))
    recipe = {"base": "base.jsonl", "tuned": "tuned.jsonl", "margin": 10, "chance": {"items": 0.5}}
    (tmp_path / "judge.yaml").write_text(json.dumps(recipe), encoding="utf-8")
    assert main(["judge", "judge.yaml", "--junit", "verdict.xml"]) == 3
    assert "<testsuites" in (tmp_path / "verdict.xml").read_text(encoding="utf-8")
