"""Folders that lm-evaluation-harness itself wrote (tests/golden/make_logs.py), judged without it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import retain
from retain.errors import InputError
from retain.jobs.judge import read_lm_eval

LOGS = Path(__file__).parents[3] / "golden" / "logs" / "lm-eval"
DATE = "2026-02-03T04-05-06.789012"


def true_file(pattern):
    (file,) = (LOGS / "base" / "tiny-llama").glob(pattern)
    return file


@pytest.fixture(scope="module")
def moulds():
    """The first true sample of each way of each task, and the true results."""
    found = {}
    for task in ("letters", "spell", "flow"):
        for line in true_file(f"samples_{task}_*.jsonl").read_text(encoding="utf-8").splitlines():
            sample = json.loads(line)
            found.setdefault((task, sample["filter"]), sample)
    return found, json.loads(true_file("results_*.json").read_text(encoding="utf-8"))


@pytest.fixture
def write(moulds, tmp_path):
    """Write a folder as the harness does, with scores of one's own."""
    samples, results = moulds

    def write(side, right, task="letters", date=DATE, change=None, config=(), name=None, **top):
        folder = tmp_path / side / "model"
        folder.mkdir(parents=True, exist_ok=True)
        lines = []
        for way in [way for name, way in samples if name == task]:
            for k, value in enumerate(right):
                sample = json.loads(json.dumps(samples[task, way]).replace("word0", f"word{k}"))
                (metric, *others) = sample["metrics"]
                sample |= {"doc_id": k, metric: value, **dict.fromkeys(others, 0.0)}
                sample["target"] = str(k % 4) if task == "letters" else f"{k}"
                lines.append(json.dumps(change(sample) if change else sample))
        (folder / f"samples_{name or task}_{date}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        if top.pop("results", True):
            said = {**results, **top, "config": {**results["config"], **dict(config)}}
            (folder / f"results_{date}.json").write_text(json.dumps(said), encoding="utf-8")
        return tmp_path / side

    return write


RIGHT, WRONG = [1.0] * 90 + [0.0] * 10, [1.0] * 60 + [0.0] * 40


def refused(*logs, **options):
    with pytest.raises(InputError) as error:
        retain.judge(*logs, **options)
    return "\n".join(error.value.problems)


def test_what_the_harness_wrote_is_read_as_it_had_it_in_memory():
    log = read_lm_eval.read(LOGS / "base")
    assert log.program == "lm-evaluation-harness 0.4.13"
    letters, spell, flow = (log.suites[name] for name in ("letters", "spell", "flow"))
    first = letters.answers[0]
    assert (first.question, first.expected) == ("a word0 then", "a")
    assert first.answer in {"a", "d", "g", "j"}
    assert letters.metrics == ("acc", "acc_norm")
    assert 0.25 <= letters.chance < 0.5
    assert spell.metrics == ("exact_match,strict-match", "exact_match,flexible-extract")
    assert spell.answers[0].expected == "a"
    assert flow.answers[0].scores == {}  # a perplexity is of a set of items
    assert log.suites["letters"].asked_with["few-shot examples"] == "0"
    said = json.loads(true_file("results_*.json").read_text(encoding="utf-8"))["results"]
    for task, metric in (("letters", "acc"), ("spell", "exact_match,strict-match")):
        scores = [answer.scores[metric] for answer in log.suites[task].answers]
        assert sum(scores) / len(scores) == said[task][metric if "," in metric else f"{metric},none"]


def test_two_true_runs_are_judged_and_a_perplexity_is_told():
    base, tuned = LOGS / "base", LOGS / "tuned"
    assert "flow: no metric gives one number an item" in refused(base, tuned)
    found = retain.judge(base, tuned, suites="letters,spell", metric="letters:acc_norm")
    assert {score.name: score.metric.name for score in found.keep} == {
        "letters": "acc_norm",
        "spell": "exact_match,strict-match",
    }
    assert found.judgement.overall == "too few items to say"
    assert found.conditions["base"].engine == "lm-evaluation-harness 0.4.13"
    assert retain.judge(base / "tiny-llama", tuned, suites="letters").keep[0].n == 8


def test_a_loss_is_judged_and_the_log_s_own_direction_counts(write):
    found = retain.judge(write("base", RIGHT), write("tuned", WRONG))
    assert (found.judgement.overall, found.keep[0].lost, found.keep[0].chance) == ("lost", 0.3, 0.25)
    better = {"letters": {"acc": False, "acc_norm": True}}
    found = retain.judge(write("base", RIGHT, higher_is_better=better), write("tuned", WRONG, higher_is_better=better))
    assert not found.keep[0].metric.higher_is_better
    assert found.keep[0].tuned < found.keep[0].base


def test_a_metric_read_in_two_ways_needs_its_way(write):
    base, tuned = write("base", RIGHT, "spell"), write("tuned", RIGHT, "spell")
    assert "is read in several ways (exact_match,strict-match, exact_match,flexible-extract)" in refused(
        base, tuned, metric="exact_match"
    )
    for metric in ("exact_match,flexible-extract", "spell:exact_match,flexible-extract"):
        assert retain.judge(base, tuned, metric=metric).keep[0].metric.name == "exact_match,flexible-extract"
    letters = write("base", RIGHT), write("tuned", RIGHT)
    found = retain.judge(*letters, suites="letters,spell", metric="acc,none").keep
    assert {score.name: score.metric.name for score in found} == {
        "letters": "acc", "spell": "exact_match,strict-match",
    }  # fmt: skip


def prompt_with(text):
    def change(sample):
        for request in sample["arguments"].values():
            request["arg_0"] = text + request["arg_0"]
        return sample

    return change


def test_other_prompts_are_refused_with_what_may_be_the_reason(write):
    base = write("base", RIGHT)
    told = refused(base, write("shots", RIGHT, change=prompt_with("an example. "), **{"n-shot": {"letters": 5}}))
    assert "100 of 100 items had other prompts (item 0, 1, 2, 3, 4 and 95 more)" in told
    assert "few-shot examples: base 0, tuned 5" in told
    told = refused(base, write("chat", RIGHT, change=prompt_with("<|user|>"), chat_template_sha="abc"))
    assert "chat template: base none, tuned abc" in told


def test_another_template_that_gives_the_same_prompts_is_a_note(write):
    found = retain.judge(write("base", RIGHT), write("tuned", RIGHT, chat_template_sha="abc"))
    assert any("The prompts are the same all the same." in note for note in found.provenance.notes)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            lambda s: {**s, "arguments": {**s["arguments"], "gen_args_1": {"arg_0": "a", "arg_1": " q"}}},
            "other prompts",
        ),
        (lambda s: {**s, "target": str((s["doc_id"] + 1) % 4)}, "another right answer on the two sides"),
        (lambda s: {**s, "acc": float("nan")}, "acc is not a finite number on 100 of the tuned log's 100 items"),
        (
            lambda s: {**s, "acc": "right"},
            "acc is nowhere in the tuned log; both have acc_norm (--metric letters:acc_norm)",
        ),
        (
            lambda s: {k: v for k, v in s.items() if k != "acc" or s["doc_id"] != 7},
            "1 of the tuned log's 100 items have no acc (item 7)",
        ),
        (lambda s: {**s, "acc": 1.5}, "goes to 1 on the base's side and to 1.5 on the tuned model's"),
        (lambda s: {**s, "acc": -1.0}, "beyond its range"),
        (lambda s: {**s, "doc_id": min(s["doc_id"], 97)}, "item 97 stands there twice"),
        (lambda s: {"id": 1}, "line 1: is no sample"),
        (lambda s: {**s, "arguments": {}}, "line 1: arguments: expected the requests"),
    ],
)
def test_what_was_not_asked_or_scored_alike_is_refused(write, change, told):
    assert told in refused(write("base", RIGHT), write("tuned", RIGHT, change=change))


def test_another_version_of_a_task_and_other_tasks_are_refused(write):
    base = write("base", RIGHT)
    assert "task version: base 1.0, tuned 2.0" in refused(base, write("tuned", RIGHT, versions={"letters": 2.0}))
    write("more", RIGHT)
    more = write("more", RIGHT, "spell")
    assert "spell: only the tuned log has it; judge the others by --suites letters" in refused(base, more)


def test_of_several_runs_the_newest_of_each_task_is_read(write):
    write("base", WRONG, date="2026-01-01T00-00-00.000001")
    base = write("base", RIGHT, date="2026-03-01T00-00-00.000001")
    write("base", WRONG, date="2026-02-01T00-00-00")
    write("base", RIGHT, "spell", date="2026-01-05T00-00-00")
    write("tuned", RIGHT, "spell")
    found = retain.judge(base, write("tuned", RIGHT))
    assert found.keep[0].lost == 0
    assert any("holds 3 runs of letters; the newest was read (2026-03-01T" in note for note in found.provenance.notes)


def test_what_need_not_be_equal_is_a_note(write):
    tuned = write("tuned", RIGHT, config={"model_dtype": "torch.bfloat16", "model_args": "pretrained=m,peft=out/mine"})
    found = retain.judge(write("base", RIGHT), tuned)
    assert any("dtype: base torch.float32, tuned torch.bfloat16" in note for note in found.provenance.notes)
    assert found.method.name == "mine"


def test_folders_that_are_no_one_log_are_told(write, tmp_path):
    base = write("base", RIGHT)
    shutil.copytree(base / "model", base / "other")
    assert "holds the samples of several models (model, other)" in refused(base, write("tuned", RIGHT))
    for samples in (tmp_path / "tuned").rglob("samples_*"):
        samples.unlink()
    assert "Run it again with --log_samples." in refused(base / "model", tmp_path / "tuned")


def test_samples_alone_are_judged_and_the_record_says_what_is_not_known(write):
    base, tuned = write("base", RIGHT, results=False), write("tuned", WRONG, results=False)
    found = retain.judge(base, tuned)
    assert found.judgement.overall == "lost"
    assert any("no results_*.json beside the samples of letters" in note for note in found.provenance.notes)
    (one,), (two,) = base.rglob("samples_*"), tuned.rglob("samples_*")
    assert retain.judge(one, two).judgement.overall == "lost"
    assert "are scored by different programs" in refused(one, _rows(tuned / "rows.jsonl"))


def _rows(path):
    path.write_text('{"id": 1, "correct": true}\n', encoding="utf-8")
    return path


def test_samples_of_earlier_versions_are_read(write):
    def earlier(sample):
        arguments = [list(request.values()) for request in sample["arguments"].values()]
        return {
            key: value for key, value in {**sample, "arguments": arguments}.items() if key not in {"filter", "metrics"}
        }

    base, tuned = write("base", RIGHT, change=earlier), write("tuned", WRONG, change=earlier)
    assert retain.judge(base, tuned).judgement.overall == "lost"


GROUPS = {"mmlu": ["mmlu_stem", "mmlu_law"], "mmlu_stem": ["mmlu_algebra", "mmlu_physics"]}


def test_the_subjects_of_a_group_are_judged_as_one_suite(write):
    subjects = ("mmlu_algebra", "mmlu_physics", "mmlu_law")
    for side, right in (("base", [1.0] * 18 + [0.0] * 2), ("tuned", [1.0] * 13 + [0.0] * 7)):
        for subject in subjects:
            folder = write(side, right, name=subject, group_subtasks=GROUPS)
        write(side, RIGHT, "spell", group_subtasks=GROUPS)
    base, tuned = folder.with_name("base"), folder
    assert retain.judge(base, tuned, suites=subjects).judgement.overall == "too few items to say"
    found = retain.judge(base, tuned, pool="mmlu", suites="mmlu")
    assert (found.judgement.overall, found.keep[0].name, found.keep[0].n) == ("lost", "mmlu", 60)
    assert [part.condition for part in found.breakdowns] == list(subjects)
    assert {score.name for score in retain.judge(base, tuned, pool=["two=mmlu_law,mmlu_physics"]).keep} == {
        "two", "mmlu_algebra", "spell",
    }  # fmt: skip
    assert "has no group nope (its groups are mmlu, mmlu_stem)" in refused(base, tuned, pool="nope")
    assert "has no mmlu_art" in refused(base, tuned, pool="x=mmlu_art,mmlu_law")
    assert "base has a suite spell itself" in refused(base, tuned, pool="spell=mmlu_law,mmlu_physics")
    assert "mmlu_law is in two pools" in refused(base, tuned, pool=["x=mmlu_law,mmlu_physics", "y=mmlu_law"])
    assert "mmlu_law of " in refused(base, tuned, pool=["x=mmlu_law,mmlu_physics", "mmlu"])
    assert "task: mmlu_law is part of mmlu" in refused(base, tuned, pool="mmlu", task="mmlu_law")


@pytest.mark.parametrize(
    "change",
    [
        {"doc_id": [1]},
        {"filter": {"a": 1}},
        {"filtered_resps": [[None, "False"]] * 4},
        {"filtered_resps": [[-1.0, [None]]] * 4},
        {"filtered_resps": 5},
    ],
)
def test_samples_of_odd_shapes_are_read_or_refused_in_a_sentence(write, change):
    base, odd = write("base", RIGHT), write("tuned", RIGHT, change=lambda sample: {**sample, **change})
    if {"doc_id", "filter"} & change.keys():
        assert "is no sample of lm-evaluation-harness: doc_id and filter" in refused(base, odd)
    else:
        assert retain.judge(base, odd).keep[0].lost == 0


def test_results_of_odd_shapes_do_not_stop_it(write):
    odd = {key: [1] for key in ("configs", "higher_is_better", "group_subtasks", "n-shot", "versions")}
    assert retain.judge(write("base", RIGHT, **odd), write("tuned", RIGHT, **odd)).keep[0].lost == 0


def test_files_of_windows_are_read_and_empty_ones_told(write):
    base, tuned = write("base", RIGHT), write("tuned", RIGHT)
    for file in (tuned / "model").iterdir():
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n"))
    assert retain.judge(base, tuned).keep[0].lost == 0
    write("tuned", RIGHT, "spell")
    for file in (tuned / "model").glob("samples_*"):
        file.write_bytes(b"")
    assert refused(base, tuned).count("holds no samples") == 2
