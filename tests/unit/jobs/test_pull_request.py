"""The verdict on a pull request, told to a server that answers as GitHub's interface does, over real HTTP."""

from __future__ import annotations

import json

import pytest

from fake_github import TOKEN, environment_of, fake_github
from full_samples import full_run
from retain.cli.pull_request import main
from retain.jobs import pull_request
from retain.records.result import write_result
from retain.report.page.pull_request import LONGEST, marker, refusal_comment, verdict_comment


@pytest.fixture
def github():
    with fake_github() as server:
        yield server


@pytest.fixture
def environment(github, tmp_path):
    return environment_of(github, tmp_path)


@pytest.fixture
def tell(tmp_path, environment, capsys):
    """Tell the verdict of a run; give what was printed."""

    def tell(*flags, **changed):
        write_result(full_run(), tmp_path / "result.json")
        given = {key: value for key, value in {**environment, **changed}.items() if value is not None}
        assert main([str(tmp_path), *flags], given) == 0
        return capsys.readouterr().out

    return tell


def test_the_first_run_comments_and_later_ones_bring_that_comment_up_to_date(tell, github, tmp_path):
    github.comments += [{"id": k + 1, "body": f"comment {k}: {marker('retain')}"} for k in range(120)]
    assert "pull request 7 has a comment" in tell()
    assert len(github.comments) == 121
    first = github.comments[-1]["body"]
    assert first.startswith(marker("retain"))
    assert "| Suite | Verdict |" in first
    assert "https://github.example/owner/name/actions/runs/5" in first
    assert first in (tmp_path / "summary.md").read_text(encoding="utf-8")
    github.comments[-1]["body"] = f"{marker('retain')}\nan earlier verdict"
    assert "was brought up to date" in tell()
    assert len(github.comments) == 121
    assert github.comments[-1]["body"] == first
    assert {"PATCH", "GET", "POST"} == {method for method, _ in github.requests}


def test_each_check_has_a_comment_of_its_own(tell, github):
    tell("--name", "nightly")
    tell("--name", "retain")
    tell("--name", "nightly")
    assert [one["body"].partition("\n")[0] for one in github.comments] == [marker("nightly"), marker("retain")]


@pytest.mark.parametrize(
    ("status", "cure"), [(403, "pull-requests: write"), (404, "GITHUB_REPOSITORY"), (422, "as it is")]
)
def test_without_permission_a_sentence_says_so_and_nothing_fails(tell, github, status, cure):
    github.failures = [status]
    told = tell()
    assert f"no comment: GitHub answered {status} (Resource not accessible by integration)" in told
    assert cure in told
    assert "The verdict does not depend on it." in told
    assert github.comments == []


def test_a_comment_of_somebody_else_with_the_marker_is_left_alone(tell, github):
    github.comments.append({"id": 1, "body": f"{marker('retain')}\ntheirs"})
    github.locked = {1}
    assert "has a comment" in tell()
    assert github.comments[0]["body"].endswith("theirs")


def test_a_busy_server_is_asked_again(tell, github, monkeypatch):
    monkeypatch.setattr(pull_request.time, "sleep", lambda _: None)
    github.failures = [503, 429]
    assert "has a comment" in tell()
    github.failures = [502] * 9
    assert "GitHub answered 502" in tell()


def test_no_server_no_token_and_no_pull_request_are_sentences(tell, github, tmp_path, monkeypatch):
    monkeypatch.setattr(pull_request.time, "sleep", lambda _: None)
    assert "gave no answer" in tell(GITHUB_API_URL="http://127.0.0.1:9")
    assert "GITHUB_TOKEN is not set" in tell(GITHUB_TOKEN=None)
    assert "401" in tell(GITHUB_TOKEN="another")
    for event in ("{}", '{"issue": {"number": 7}}', '{"pull_request": {"number": "7"}}', "[]", "{"):
        (tmp_path / "event.json").write_text(event, encoding="utf-8")
        assert "no comment: " in tell()
    assert github.comments == []
    assert tell("--comment", "false") == ""


@pytest.mark.parametrize(
    "event",
    [{"issue": {"number": 7, "pull_request": {}}, "comment": {}}, {"workflow_run": {"pull_requests": [{"number": 7}]}}],
)
def test_the_pull_request_is_found_in_other_events(tell, github, tmp_path, event):
    event = {**event, "issue": {**event["issue"], "pull_request": {"url": "u"}}} if "issue" in event else event
    (tmp_path / "event.json").write_text(json.dumps(event), encoding="utf-8")
    assert "has a comment" in tell()


def test_the_token_is_sent_to_the_server_and_written_nowhere(tell, github, tmp_path):
    github.failures = [403]
    told = tell() + tell()
    assert github.tokens == {f"Bearer {TOKEN}"}
    assert TOKEN not in told + "".join(path.read_text(encoding="utf-8") for path in tmp_path.iterdir())
    assert not any(TOKEN in one["body"] for one in github.comments)


def test_where_there_is_no_verdict_the_comment_says_why(tell, github, tmp_path):
    (tmp_path / "problems.txt").write_text("retain judge: one problem:\n  - s: 3 items had other prompts.\n")
    tell("--code", "2", "--problems", str(tmp_path / "problems.txt"))
    assert "no verdict" in github.comments[0]["body"]
    assert "3 items had other prompts" in github.comments[0]["body"]
    (tmp_path / "elsewhere").mkdir()
    assert main([str(tmp_path / "elsewhere")], {}) == 0


def test_a_comment_calls_nobody_by_name_and_is_not_too_long():
    text = refusal_comment("@octocat <script> " + "long " * 50_000, "a --> b", "https://x")
    assert "@octocat" not in text
    assert "<script>" not in text
    assert text.startswith("<!-- retain verdict: a - b -->")
    assert LONGEST < len(text) < 65_000 or len(text) <= LONGEST
    assert text.endswith("[The run](https://x) has the report.\n")
    assert "Cut here" in verdict_comment(full_run(model="m" * 100_000), "retain")
