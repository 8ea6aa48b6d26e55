"""The entry point: verbs, help, exit codes."""

import subprocess
import sys

import pytest

from retain.cli import main as entry
from retain.cli.main import main
from retain.cli.verbs import VERBS
from retain.errors import InputError, RetainError, TrainingError


@pytest.fixture
def failing(monkeypatch):
    """Makes `retain gate` fail in some way."""

    def make(error):
        def run(given):
            raise error

        monkeypatch.setattr(VERBS["gate"], "run", run)

    return make


def test_without_a_verb_the_verbs_are_shown(capsys):
    assert main([]) == 2
    first = capsys.readouterr().out
    assert main(["--help"]) == 0
    assert capsys.readouterr().out == first
    assert all(f"  {verb} " in first for verb in VERBS)


def test_verbs_stand_in_the_order_of_work():
    order = ["suites", "check", "advise", "calibrate", "tune", "compare", "scale", "measure", "gate"]
    assert [verb for verb in VERBS if verb in order] == order


@pytest.mark.parametrize(("verb", "hint"), [("tun", "did you mean tune?"), ("dial", "verbs are suites, check")])
def test_an_unknown_verb_is_told(verb, hint, capsys):
    assert main([verb]) == 2
    assert hint in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (InputError("one thing."), 2, "one problem:\n  - one thing."),
        (InputError(["a.", "b."]), 2, "2 problems:\n  - a.\n  - b."),
        (TrainingError("diverged"), 1, "failed: diverged"),
        (RetainError("broken"), 1, "failed: broken"),
        (OSError("disk full"), 1, "failed: disk full"),
        (MemoryError("none left"), 1, "failed: none left"),
        (KeyboardInterrupt(), 130, "interrupted; the same command begins anew"),
    ],
)
def test_what_goes_wrong_is_told_without_a_traceback(failing, error, code, told, capsys):
    failing(error)
    assert main(["gate", "runs/a"]) == code
    assert told in capsys.readouterr().err


def test_other_errors_are_faults_of_ours_and_end_with_a_sentence_and_a_log(failing, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    failing(ZeroDivisionError("by nought"))
    assert main(["gate", "runs/a"]) == 1
    told, (log,) = capsys.readouterr().err, tmp_path.glob("retain-error-*.log")
    assert "ZeroDivisionError: by nought" in told
    assert str(log) in told
    assert "Traceback" not in told
    assert "Traceback" in log.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("verb", "saved", "told"),
    [
        ("tune", (), "interrupted; the same command goes on from here"),
        ("tune", ("a checkpoint was written at step 4 of 9",), "step 4 of 9; the same command goes on from there"),
        ("measure", (), "interrupted; the same command begins anew"),
    ],
)
def test_an_interruption_says_what_the_same_command_does_next(monkeypatch, capsys, verb, saved, told):
    monkeypatch.setattr("retain.cli.main._run", lambda _: (_ for _ in ()).throw(KeyboardInterrupt(*saved)))
    assert main([verb, "recipe.yaml"]) == 130
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_has_help(verb, capsys):
    for words in ([verb, "--help"], [verb, "--help", "all"]):
        with pytest.raises(SystemExit) as end:
            main(words)
        assert end.value.code == 0
        assert capsys.readouterr().out.startswith(f"usage: retain {verb} ")


def test_an_unknown_topic_is_told(capsys):
    assert main(["tune", "--help", "nonsense"]) == 2
    assert "there is no such topic; give one of model, training, " in capsys.readouterr().err


def test_help_imports_no_torch():
    code = """
import sys
from retain.cli.main import main
for words in (["--help"], ["tune", "--help"], ["compare", "--help", "all"]):
    try:
        main(words)
    except SystemExit:
        pass
assert not {"torch", "transformers", "peft", "datasets", "matplotlib"} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_run_without_a_code_ends_with_0(monkeypatch):
    monkeypatch.setattr(VERBS["suites"], "run", lambda given: None)
    assert main(["suites"]) == 0
    assert entry.main(["suites"]) == 0
