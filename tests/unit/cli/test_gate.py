"""The exit code of a gate over several runs."""

from types import SimpleNamespace

import pytest

from retain.cli import gate
from retain.cli.flags import read_arguments
from retain.jobs import replay_verdict


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [
        (["kept"], 0),
        (["kept", "too few items to say"], 4),
        (["too few items to say", "lost", "kept"], 3),
        (["changed format"], 3),
    ],
)
def test_a_loss_weighs_more_than_what_cannot_be_said(verdicts, code, monkeypatch, capsys):
    given = {f"run{number}": verdict for number, verdict in enumerate(verdicts)}
    suite = SimpleNamespace(suite="capitals", verdict="kept", reason="nothing lost")

    def replayed_record(folder):
        return None, SimpleNamespace(overall=given[folder], reason="because", suites=[suite], gone=(), forgot=None)

    monkeypatch.setattr(replay_verdict, "replayed_record", replayed_record)
    assert gate.run(read_arguments(gate.make_parser(), list(given))) == code
    told = capsys.readouterr().out
    assert all(f"{folder}: {verdict}. because" in told for folder, verdict in given.items())
    assert "capitals: kept: nothing lost" in told
