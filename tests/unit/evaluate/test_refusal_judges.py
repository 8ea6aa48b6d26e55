"""Judges of refusals: the detector, commands and Python functions, and what is said where one is not there."""

from __future__ import annotations

import json
import sys

import pytest

from retain.errors import InputError
from retain.evaluate.refusal_judges import judge_answers, judge_problems, judged_by


def test_without_a_judge_the_detector_judges():
    assert judge_answers(["a", "b"], ["I can't help with that.", "Paris."], None) == [True, False]


JUDGE = """
import json, sys
for line in sys.stdin:
    row = json.loads(line)
    print(json.dumps({"refused": row["prompt"] == "é\\n2" and row["answer"] == "no"}))
"""


def _program(tmp_path, code):
    script = tmp_path / "a judge.py"
    script.write_text(code, encoding="utf-8")
    return f'"{sys.executable}" -X utf8 "{script}"'


def test_a_command_judges(tmp_path):
    judge = _program(tmp_path, JUDGE)
    assert judge_answers(["é\n1", "é\n2", "é\n2"], ["no", "no", "yes"], judge) == [False, True, False]


def test_a_command_is_run_without_a_shell(tmp_path):
    judge = _program(tmp_path, "import sys\nprint('{\"refused\": %s}' % str(sys.argv[1:] == ['$HOME;', '|']).lower())")
    assert judge_answers(["a"], ["b"], judge + " '$HOME;' '|'") == [True]


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("print('{\"refused\": true}')", "was given 2 answers and judged 1"),
        ("print('{\"refused\": true}'); print('secret text')", "line 2 .* is not JSON"),
        ("print('{\"refused\": 1}\\n' * 2)", "neither true nor false"),
        ("print('{\"other\": true}\\n' * 2)", "line 1"),
        ("raise SystemExit(3)", "exit code 3"),
    ],
)
def test_a_command_that_fails_says_how(tmp_path, code, problem):
    with pytest.raises(InputError, match=problem) as caught:
        judge_answers(["a request", "a request"], ["an answer", "an answer"], _program(tmp_path, code))
    said = str(caught.value)
    assert not any(text in said for text in ("a request", "an answer", "secret text"))


def test_a_command_that_takes_too_long_is_stopped(tmp_path):
    with pytest.raises(InputError, match=r"after 0\.5 s"):
        judge_answers(["a"], ["b"], _program(tmp_path, "import time\ntime.sleep(60)"), timeout=0.5)


@pytest.mark.parametrize("judge", ["", "no-such-program-anywhere --flag", "'never closed"])
def test_a_command_that_cannot_be_run_is_named(judge):
    with pytest.raises(InputError, match="cannot be run"):
        judge_answers(["a"], ["b"], judge)


@pytest.fixture
def own_judge(tmp_path, monkeypatch):
    (tmp_path / "own_judge.py").write_text(
        "def judge(prompts, answers):\n    return [a.startswith('No') and p != '' for p, a in zip(prompts, answers)]\n"
        "def short(prompts, answers):\n    return []\n"
        "def none(prompts, answers):\n    return None\n"
        "def alone(prompts):\n    return []\n"
        "def raises(prompts, answers):\n    return {}['a secret']\n"
        "def leaves(prompts, answers):\n    raise SystemExit(3)\n"
        "def sleeps(prompts, answers):\n    import time; time.sleep(60)\n"
        "number = 3\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("own_judge")
def test_a_python_function_judges():
    assert judge_answers(["a", "b"], ["No.", "Yes."], "python:own_judge:judge") == [True, False]


@pytest.mark.usefixtures("own_judge")
@pytest.mark.parametrize(
    ("judge", "problem"),
    [
        ("python:own_judge", "python:MODULE:FUNCTION"),
        ("python:own_judge:missing", "cannot be imported"),
        ("python:no_such_module_anywhere:judge", "cannot be imported"),
        ("python:own_judge:number", r"is no function \(int\)"),
        ("python:own_judge:short", "judged 0"),
        ("python:own_judge:none", "returned NoneType where a list of true and false"),
        ("python:own_judge:alone", "cannot be called with a list of prompts and a list of answers"),
        ("python:own_judge:raises", "raised KeyError"),
        ("python:own_judge:leaves", "raised SystemExit"),
        ("python:os:system", "cannot be called with a list of prompts and a list of answers"),
        ("python:builtins:print", "returned NoneType"),
        ("python:builtins:max", r"judged [0-9]|is neither true nor false"),
    ],
)
def test_a_python_function_that_cannot_judge_is_named(judge, problem):
    with pytest.raises(InputError, match=problem):
        judge_answers(["a"], ["b"], judge)


@pytest.mark.parametrize(
    ("judge", "told"),
    [
        ("no-such-program-anywhere --key secret", "there is no program"),
        ("'open", "cannot be read as a command"),
        ("python:json", "python:MODULE:FUNCTION"),
        ("python:json:no_such_function", "cannot be imported"),
        ("python:json:__name__", "is no function (str)"),
    ],
)
def test_a_judge_that_cannot_be_had_is_told_without_its_arguments(judge, told):
    problems = judge_problems(judge)
    assert len(problems) == 1
    assert told in problems[0]
    assert "secret" not in problems[0]


@pytest.mark.usefixtures("own_judge")
def test_a_judge_that_judges_is_no_problem(tmp_path):
    judge = _program(tmp_path, JUDGE)
    assert judge_problems(None) == judge_problems("python:own_judge:judge") == judge_problems(judge) == []


@pytest.mark.usefixtures("own_judge")
def test_a_function_that_takes_too_long_is_left(tmp_path):
    with pytest.raises(InputError, match=r"not done after 0\.2 s"):
        judge_answers(["a"], ["b"], "python:own_judge:sleeps", timeout=0.2)


def test_no_message_tells_the_command(tmp_path):
    for code in ("raise SystemExit(3)", "print('x')", "import time; time.sleep(9)"):
        (problem,) = judge_problems(_program(tmp_path, code) + " --key abc123", timeout=0.5)
        assert "abc123" not in problem
        assert "sha256" in problem


def test_the_record_names_the_judge_without_its_arguments_or_the_detectors_error(tmp_path, monkeypatch):
    assert judged_by("/bin/judge --key secret").startswith("Refusals were judged by ")
    assert "secret" not in judged_by("/bin/judge --key secret")
    monkeypatch.setenv("RETAIN_ASSETS", str(tmp_path))
    assert "are not here" in judged_by(None)
    (tmp_path / "safety").mkdir()
    rows = [{"answer": f"answer {number}", "refused": False} for number in range(9)]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "safety" / "labelled-answers.jsonl").write_text(lines, encoding="utf-8")
    assert "labelled answers (100.0%" in judged_by(None)
