"""Runs that were killed or interrupted: the same command goes on, and ends in the same bits."""

import os
import signal
import subprocess
import sys
import time

import pytest

from interruptions import differences, in_child, outcome
from retain.records.checkpoint_seal import flaw

SMALL = ["--drift", "false", "--test-items", "4", "--keep-items", "8", "--generate", "0", "--held-out-tokens", "64"]
STEPS = ["--max-steps", "5", "--batch-size", "4", "--training.logging_steps", "2"]


@pytest.fixture(scope="module", autouse=True)
def loaded():
    """What a verb imports, imported once for all children."""
    import retain.cli.screen
    import retain.jobs.calibrate
    import retain.jobs.tune  # noqa: F401


@pytest.fixture(scope="module")
def words(tiny_folder, tiny_data):
    def made(method, output, *more):
        data = {"model": tiny_folder, "train": tiny_data / "train.jsonl", "test": tiny_data / "test.jsonl"}
        data |= {"keep": tiny_data / "letters.jsonl", "held-out-text": tiny_data / "text.txt", "output": output}
        given = [word for name, value in data.items() for word in (f"--{name}", str(value))]
        return ["tune", *given, "--method", method, *SMALL, *STEPS, *more]

    return made


@pytest.fixture(scope="module")
def whole(words, tmp_path_factory):
    """What a folder holds after a run that nothing disturbed, and the number of its file operations, by its words."""
    known = {}

    def made(method, *more):
        if (method, *more) not in known:
            folder = tmp_path_factory.mktemp("whole")
            done = in_child(runs(words(method, folder / "run", *more)), folder / "run", folder / "log")
            assert done.code == 0, done.text
            known[(method, *more)] = outcome(folder / "run"), done.operations
        return known[(method, *more)]

    return made


def runs(words, before=lambda: None):
    def work():
        import retain.train.callbacks
        from retain.cli.main import main

        retain.train.callbacks.SECONDS_BETWEEN_CHECKPOINTS = 0.0
        before()
        return main(words)

    return work


@pytest.mark.parametrize(("method", "places"), [("lora", (0.1, 0.45, 0.75)), ("sc-lora", (0.3, 0.6))])
def test_a_run_that_was_killed_ends_as_one_that_was_not(method, places, words, whole, tmp_path):
    more = ("--calibrate-tokens", "256", "--rank", "2") if method != "lora" else ()
    expected, operations = whole(method, *more)
    output = tmp_path / "killed"
    for share in places:
        place = max(1, int(share * operations))
        killed = in_child(runs(words(method, output, *more)), output, tmp_path / "log", kill_at=place)
        assert killed.code in {-signal.SIGKILL, 0}, killed.text
    last = in_child(runs(words(method, output, *more)), output, tmp_path / "log")
    assert last.code == 0, last.text
    assert not differences(expected, outcome(output))


def test_a_kill_while_the_first_file_is_written_does_not_block_the_folder(words, tmp_path):
    output = tmp_path / "run"
    output.mkdir()
    (output / ".run.json.4711.partial").write_text("{", encoding="utf-8")
    done = in_child(runs(words("lora", output)), output, tmp_path / "log")
    assert done.code == 0, done.text
    assert not list(output.glob("*.partial"))
    assert not list(output.glob(".*.partial"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_training_leaves_a_checkpoint_at_once(number, words, whole, tmp_path):
    """No checkpoint is due yet: the signal asks for it."""
    output = tmp_path / "run"

    def signalled():
        from retain.train import callbacks

        callbacks.SECONDS_BETWEEN_CHECKPOINTS = 3600.0
        clock = callbacks.StepClock.on_step_end

        def step(self, args, state, control, *rest, **more):
            if state.global_step == 3:
                os.kill(os.getpid(), number)
            return clock(self, args, state, control, *rest, **more)

        callbacks.StepClock.on_step_end = step

    stopped = in_child(runs(words("lora", output), signalled), output, tmp_path / "log")
    assert stopped.code == 130, stopped.text
    assert not stopped.has_traceback
    assert "a checkpoint was written at step 3 of 5; the same command goes on from there" in stopped.text
    assert flaw(output / "checkpoints" / "checkpoint-3") is None
    assert not (output / ".retain.lock").exists()
    assert in_child(runs(words("lora", output)), output, tmp_path / "log").code == 0
    assert not differences(whole("lora")[0], outcome(output))


def test_ctrl_c_in_the_last_step_loses_nothing(words, whole, tmp_path):
    output = tmp_path / "run"

    def signalled():
        from retain.train.callbacks import StepClock

        clock = StepClock.on_step_end

        def step(self, args, state, control, *rest, **more):
            if state.global_step == state.max_steps:
                os.kill(os.getpid(), signal.SIGINT)
            return clock(self, args, state, control, *rest, **more)

        StepClock.on_step_end = step

    stopped = in_child(runs(words("lora", output), signalled), output, tmp_path / "log")
    assert stopped.code == 130, stopped.text
    assert (output / "training.json").is_file(), "what was trained is saved first"
    done = in_child(runs(words("lora", output)), output, tmp_path / "log")
    assert done.code == 0, done.text
    assert not differences(whole("lora")[0], outcome(output))


def test_ctrl_c_while_modules_are_imported_ends_without_a_traceback(tmp_path):
    """Whenever it comes after the entry point began; before that Python itself is being started."""
    script = "import sys; from retain.cli.main import main; print('begun', flush=True); sys.exit(main(['tune']))"
    for pause in (0.0, 0.1, 0.4):
        with subprocess.Popen(
            [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
        ) as process:
            assert process.stdout.readline() == "begun\n"
            time.sleep(pause)
            process.send_signal(signal.SIGINT)
            _, told = process.communicate(timeout=120)
        assert "Traceback" not in told
        assert process.returncode in {130, 2, -2}, f"neither interrupted nor done already: {told}"


def test_ctrl_c_of_which_a_library_makes_another_error_ends_as_any_other(tmp_path):
    """Pydantic makes a SchemaError of one that comes while it builds a class."""
    script = """
import os, signal, sys
from retain.cli import main as entry

def builds_a_class(words):
    from pydantic import BaseModel

    class Interrupting:
        @classmethod
        def __get_pydantic_core_schema__(cls, source, handler):
            try:
                os.kill(os.getpid(), signal.SIGINT)
            except KeyboardInterrupt as interruption:
                raise RuntimeError("a schema could not be built") from interruption

    class Model(BaseModel):
        field: Interrupting

    return 0

entry._do = lambda verb, words: builds_a_class(words)
print("begun", flush=True)
sys.exit(entry.main(["tune"]))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 130, done.stderr
    assert done.stderr == "\nretain tune: interrupted; the same command goes on from here.\n"
    assert not list(tmp_path.iterdir()), "no log of an error that is none"


def stopping_after(step):
    """What a signal in that step does, at once."""

    def before():
        from retain.train.callbacks import StopOnSignal

        own = StopOnSignal.on_step_end

        def on_step_end(self, args, state, control, **more):
            self._stopping = self._stopping or state.global_step == step
            return own(self, args, state, control, **more)

        StopOnSignal.on_step_end = on_step_end

    return before


def test_the_loss_curve_goes_on_over_a_checkpoint(words, tmp_path):
    """The point after a checkpoint is the mean since the point before, not since the checkpoint."""
    from retain.records.result import read_result

    regularised = ("--kl-monitor", "true", "--kl-weight", "0.1", "--update-limit", "0.05", "--calibrate-tokens", "256")
    regularised += ("--ewc", "5")
    cut = words("lora", tmp_path / "cut", *regularised)
    assert in_child(runs(cut, stopping_after(3)), tmp_path / "cut", tmp_path / "log").code == 130
    curves = []
    for name in ("cut", "whole"):
        done = in_child(runs(words("lora", tmp_path / name, *regularised)), tmp_path / name, tmp_path / "log")
        assert done.code == 0, done.text
        curves.append(read_result(tmp_path / name / "result.json").curve)
    assert curves[0] == curves[1]
    assert len(curves[0]) == 2
