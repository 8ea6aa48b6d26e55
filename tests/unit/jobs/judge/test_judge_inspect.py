"""Logs that inspect_ai itself wrote (tests/golden/make_logs.py), judged without it."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import pytest

import retain
from retain.errors import InputError
from retain.jobs.judge import read_inspect
from retain.jobs.judge.zip_members import ZSTANDARD, ZipMembers

LOGS = Path(__file__).parents[3] / "golden" / "logs" / "inspect"


def read(form, side):
    return read_inspect.read(LOGS / form / side)


@pytest.fixture
def header():
    """The true header of a log, and the first of its samples."""
    (file,) = (LOGS / "json" / "base").glob("*.json")
    log = json.loads(file.read_text(encoding="utf-8"))
    return {key: value for key, value in log.items() if key != "samples"}, log["samples"][0]


@pytest.fixture
def write(header, tmp_path):
    """Write a log with some items of the true form, as `.eval` with deflate, or as `.json`."""
    top, mould = header

    def write(name, values, scorer="match", changes=(), **fields):
        spec = {**top["eval"], **fields.pop("eval", {})}
        samples = [
            {
                **mould, "id": f"r{k}", "target": f"Sea {k}", "input": f"river {k}",
                "messages": [{**mould["messages"][0]}, {**mould["messages"][1], "content": f"river {k}"}],
                "scores": {scorer: {**mould["scores"]["match"], "value": value}},
            }
            for k, value in enumerate(values)
        ]  # fmt: skip
        for index, change in changes:
            samples[index] = {**samples[index], **change}
        log = {**top, **fields, "eval": spec}
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        if path.suffix == ".json":
            path.write_text(json.dumps({**log, "samples": samples}), encoding="utf-8")
            return path
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("header.json", json.dumps(log))
            for sample in samples:
                archive.writestr(f"samples/{sample['id']}_epoch_{sample['epoch']}.json", json.dumps(sample))
        return path

    return write


def refused(*logs, **options):
    with pytest.raises(InputError) as error:
        retain.judge(*logs, **options)
    return "\n".join(error.value.problems)


def test_both_forms_of_one_log_say_the_same():
    archive, text = read("eval", "base"), read("json", "base")
    assert archive.program == text.program == "inspect_ai 0.3.285"
    assert archive.model == text.model == "mockllm/base"
    assert archive.suites["rivers"].answers == text.suites["rivers"].answers
    rivers = archive.suites["rivers"]
    assert rivers.metrics == ("match", "includes")
    assert [answer.scores["match"] for answer in rivers.answers] == [0, 1, 1, 1]
    assert rivers.answers[1].question == "system: The sea alone.\n\nuser: Which sea does river number 1 reach?"
    assert (rivers.answers[1].expected, rivers.answers[1].answer) == ("Sea 1", "Sea 1")


def test_archives_are_those_of_the_program_itself():
    """With Zstandard, which zipfile of this Python does not read."""
    (path,) = (LOGS / "eval" / "base").glob("*rivers*")
    with zipfile.ZipFile(path) as archive:
        assert {entry.compress_type for entry in archive.infolist()} == {ZSTANDARD}
    members = ZipMembers(path)
    assert json.loads(members.read("header.json"))["status"] == "success"
    with pytest.raises(InputError, match="holds no nothing"):
        members.read("nothing")


def test_epochs_of_an_item_are_one_unit_and_choices_say_what_guessing_gets():
    letters = read("eval", "tuned").suites["letters"]
    assert {(answer.id, answer.epoch) for answer in letters.answers} == {(str(k), e) for e in (1, 2) for k in range(4)}
    assert letters.chance == 0.25
    found = retain.judge(LOGS / "eval" / "base", LOGS / "eval" / "tuned")
    assert {score.name: (score.n, score.units) for score in found.keep} == {"rivers": (4, 4), "letters": (8, 4)}
    assert found.judgement.overall == "too few items to say"


def test_a_loss_is_judged(write):
    base, tuned = write("base.eval", "C" * 90 + "I" * 10), write("tuned.json", "C" * 60 + "I" * 40)
    found = retain.judge(base, tuned)
    assert (found.judgement.overall, found.keep[0].lost) == ("lost", 0.3)
    assert found.keep[0].metric.right_or_wrong


def test_partly_right_is_a_degree_on_both_sides(write):
    base, tuned = write("base.eval", "C" * 40 + "N" * 20), write("tuned.eval", "CP" * 20 + "I" * 20)
    (score,) = retain.judge(base, tuned).keep
    assert (score.metric.right_or_wrong, score.metric.span) == (False, 1)
    assert (score.base, score.tuned) == (pytest.approx(2 / 3), pytest.approx(0.5))


def test_words_count_as_the_program_counts_them(write):
    words, tuned = (
        write("base.eval", ["Yes", "no", "True", "false", "C"] * 12),
        write("tuned.eval", [1, 0, 0, 0, 1] * 12),
    )
    (score,) = retain.judge(words, tuned).keep
    assert (score.metric.right_or_wrong, score.base, score.lost) == (True, 0.6, 0.2)
    (score,) = retain.judge(write("text.eval", ["0.5", "1"] * 30), write("other.eval", [0.5, "C"] * 30)).keep
    assert (score.metric.right_or_wrong, score.metric.span, score.base) == (False, 1, 0.75)
    odd = write("odd.eval", ["C"] * 49 + ["perhaps"])
    assert "1 of the base log's 50 items have no match (item r49)" in refused(odd, write("good.eval", "C" * 50))


def test_an_archive_is_opened_once_for_all_of_its_samples(write, monkeypatch):
    opened = []
    path, true = write("base.eval", "C" * 50), zipfile.ZipFile
    monkeypatch.setattr(zipfile, "ZipFile", lambda *given: opened.append(given) or true(*given))
    assert len(read_inspect.read(path).suites["rivers"].answers) == 50
    assert len(opened) == 2  # the header, then the samples


def test_samples_without_a_score_are_told(write):
    base = write("base.eval", "C" * 50)
    failed = write("failed.eval", "C" * 50, changes=[(3, {"scores": {}}), (4, {"scores": None})])
    assert "2 of the tuned log's 50 items have no match (item r3, r4)" in refused(base, failed)
    unscored = write("unscored.eval", [1.0] * 49 + [float("nan")])
    assert "not a finite number on 1 of the base log's 50 items (item r49)" in refused(unscored, base)
    several = write("several.eval", [{"a": 1, "b": 0.5}] * 50)
    assert retain.judge(several, write("other.eval", [{"a": 0, "b": 1}] * 50), metric="match/b").keep[0].base == 0.5


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"plan": {"steps": [], "config": {"temperature": 1.0}}}, 'settings of generation: base {"temperature": 0.0}'),
        ({"eval": {"task_version": 3}}, "task version: base 0, tuned 3"),
        ({"eval": {"config": {"epochs": 5}}}, "epochs: base 1, tuned 5"),
        ({"status": "error"}, "is not complete (status error)"),
        ({"eval": {"task": "lakes"}}, "rivers: only the base log has it"),
    ],
)
def test_what_was_not_asked_alike_is_refused(write, changes, told):
    assert told in refused(write("base.eval", "C" * 50), write("tuned.eval", "C" * 50, **changes))


def test_how_the_model_was_reached_does_not_matter(write):
    plan = {"steps": [], "config": {"temperature": 0.0, "max_connections": 3, "timeout": 9}}
    assert retain.judge(write("base.eval", "C" * 50), write("tuned.eval", "C" * 50, plan=plan)).keep[0].lost == 0


def test_another_system_message_is_another_prompt(write, header):
    messages = [{**header[1]["messages"][0], "content": "Be brief."}, header[1]["messages"][1]]
    other = write("tuned.eval", "C" * 50, changes=[(k, {"messages": messages}) for k in (1, 2)])
    assert "2 of 50 items had other prompts (item r1, r2)" in refused(write("base.eval", "C" * 50), other)
    kept = write("same.eval", "C" * 50, changes=[
        (1, {"messages": [{**header[1]["messages"][0], "id": "another"}, {"role": "user", "content": "attachment://x"}],
             "attachments": {"x": "river 1"}})
    ])  # fmt: skip
    assert retain.judge(write("base.eval", "C" * 50), kept).keep[0].lost == 0


def test_of_several_logs_of_a_task_the_newest_complete_one_is_read(write, tmp_path):
    write("runs/a.eval", "I" * 50, eval={"created": "2026-01-01T00:00:00+00:00"})
    write("runs/b.eval", "C" * 50, eval={"created": "2026-02-01T00:00:00+00:00"})
    write("runs/c.eval", "I" * 10, eval={"created": "2026-03-01T00:00:00+00:00"}, status="cancelled")
    found = retain.judge(tmp_path / "runs", write("tuned.eval", "C" * 50))
    assert (found.keep[0].base, found.keep[0].n) == (1, 50)
    assert any("holds 3 logs of rivers; the newest complete one was read (b.eval)" in n for n in found.provenance.notes)
    write("runs/d.eval", "C" * 5, eval={"model": "another", "task": "lakes"})
    assert "holds the logs of several models (another, mockllm/base)" in refused(
        tmp_path / "runs", tmp_path / "tuned.eval"
    )


def test_damaged_archives_are_told(tmp_path, write):
    (path,) = (LOGS / "eval" / "base").glob("*rivers*")
    content = path.read_bytes()
    tuned = write("tuned.eval", "C" * 50)
    for name, damaged in {
        "cut": content[: len(content) // 2],
        "changed": content[:900] + bytes(600) + content[1500:],
        "text": b"PK\x03\x04 no archive",
        "empty": b"",
    }.items():
        (tmp_path / f"{name}.eval").write_bytes(damaged)
        assert f"{name}.eval" in refused(tmp_path / f"{name}.eval", tuned)
    shutil.copy(path, tmp_path / "renamed.zip")
    assert "renamed.zip" in refused(tmp_path / "renamed.zip", tuned)
