"""Runs report to real trackers: TensorBoard's event files and a local MLflow folder, read back by their own readers."""

from __future__ import annotations

import logging
import os
import signal
from pathlib import Path
from typing import ClassVar

import pytest
from transformers import TrainerCallback
from transformers.integrations import integration_utils

import retain
from retain.data.examples import Example
from retain.data.tokens import encode_example
from retain.events import SILENT
from retain.hf.adapters.attach import attach
from retain.recipe import Recipe
from retain.records.manifest import begin
from retain.records.tracker_notes import noted_runs
from retain.train import loop
from retain.train.arguments import setting_problems, training_arguments, try_settings
from retain.train.loop import TrainingSet, train
from retain.train.trackers import reporting
from retain.train.trackers.naming import name_of_run
from retain.train.trackers.reporting import tracking
from retain.train.trackers.table import TRACKERS
from retain.train.trackers.tracker import Closing
from tiny import make_llama, make_tokenizer

EventAccumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator").EventAccumulator
mlflow = pytest.importorskip("mlflow")

TOKENIZER = make_tokenizer()
ROWS = [encode_example(TOKENIZER, Example(prompt=f"word{i} a", completion=" b c"), 32) for i in range(24)]
LESSONS = TrainingSet.of_text(ROWS, pad_id=0)
NAME = "lora-lr0.01-seed0"
CLOSING = {"eval_lost/capitals/accuracy": 0.25, "eval_drift/kl_nats_per_token": 0.5}


def recipe(*names, **change):
    training = {"report_to": list(names), "logging_steps": 2, **change.pop("training", {})}
    values = {"model": "m", "train": "t", "test": "e", "output": "o", "max_steps": 6, "batch_size": 4, **change}
    return Recipe(**{"learning_rate": 1e-2, "method": "lora", "training": training, **values})


@pytest.fixture
def heard(caplog, monkeypatch):
    """The warnings of the reporting, whatever another library did to its log."""
    monkeypatch.setattr(reporting.log, "disabled", False)
    caplog.set_level(logging.WARNING)
    return caplog


def regularisers():
    batches = retain.text_batches(TOKENIZER, ["a b c d word1 word2"] * 4)
    return [retain.UpdateLimit(0.05), retain.KLMonitor(batches, every=3)]


def learn(chosen, folder, callbacks=()):
    folder.mkdir(parents=True, exist_ok=True)
    begin(folder)  # as an output folder has it
    model = attach(make_llama(), "lora", {"target_modules": ["q_proj"]})
    return train(model, LESSONS, chosen, folder, SILENT, callbacks)


def end(chosen, folder, **figures):
    """Report the end as the job does, with a report of one file."""
    (folder / "report.md").write_text("# what was lost", encoding="utf-8")
    arguments = training_arguments(chosen, folder)
    with tracking(arguments, chosen, folder, closing=True) as reporter:
        closing = Closing({**CLOSING, **figures}, {"verdict": "kept"}, (folder / "report.md",), step=6)
        reporter.report(arguments, closing)


def scalars(folder):
    """The steps and values of each tag, over all event files of a folder."""
    read = EventAccumulator(str(folder))
    read.Reload()
    found = {tag: [(event.step, event.value) for event in read.Scalars(tag)] for tag in read.Tags()["scalars"]}
    return found, read


@pytest.fixture
def kept_in(tmp_path, monkeypatch):
    """A local folder for MLflow, and a client that reads it."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    mlflow.set_tracking_uri(None)
    yield mlflow.MlflowClient((tmp_path / "mlruns").as_uri())
    mlflow.set_tracking_uri(None)


def settings_of_trackers():
    return {name: value for name, value in os.environ.items() if name.startswith(("MLFLOW_", "TENSORBOARD_"))}


def runs_of(client, project):
    experiment = client.get_experiment_by_name(project)
    return [] if experiment is None else client.search_runs([experiment.experiment_id])


def history(client, run, name):
    return [(point.step, point.value) for point in client.get_metric_history(run.info.run_id, name)]


def test_two_runs_of_a_comparison_report_apart_and_their_ends_join_them(tmp_path, kept_in):
    before = settings_of_trackers()
    for seed in (0, 1):
        chosen = recipe("tensorboard", "mlflow", seed=seed)
        folder = tmp_path / "cmp" / "runs" / f"lora-lr0.01-seed{seed}"
        _, curve = learn(chosen, folder, regularisers())
        end(chosen, folder)
        tags, read = scalars(folder / "trackers" / "tensorboard")
        assert [step for step, _ in tags["train/loss"]] == [2, 4, 6]
        assert [step for step, _ in tags["train/retain_kl"]] == [4, 6]
        assert tags["train/retain_kl"][0][1] == pytest.approx(curve[1].kl_nats_per_token)
        assert tags["train/retain_update_size"][-1] == (6, pytest.approx(0.05, rel=0.02))  # after the last log
        assert tags["eval/lost/capitals/accuracy"] == [(6, 0.25)]
        assert {"eval/verdict/text_summary", "eval/report/text_summary"} <= set(read.Tags()["tensors"])
    first, second = sorted(runs_of(kept_in, "cmp"), key=lambda run: run.info.run_name)
    assert (first.info.run_name, second.info.run_name) == (NAME, "lora-lr0.01-seed1")
    for run in (first, second):
        assert run.info.status == "FINISHED"
        assert [step for step, _ in history(kept_in, run, "loss")] == [2, 4, 6]
        assert [step for step, _ in history(kept_in, run, "retain_kl")] == [4, 6]
        assert history(kept_in, run, "eval_lost/capitals/accuracy") == [(6, 0.25)]
        assert run.data.tags["eval_verdict"] == "kept"
        assert [file.path for file in kept_in.list_artifacts(run.info.run_id, "report")] == ["report/report.md"]
    assert settings_of_trackers() == before
    assert mlflow.active_run() is None


class StopAt(TrainerCallback):
    def on_step_end(self, args, state, control, **_):
        if state.global_step == 4:
            raise KeyboardInterrupt


def test_a_training_that_goes_on_reports_to_the_same_run_with_the_right_steps(tmp_path, kept_in, monkeypatch):
    monkeypatch.setattr("retain.train.callbacks.SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    chosen, folder = recipe("tensorboard", "mlflow"), tmp_path / "first"
    with monkeypatch.context() as patched:
        patched.setattr(loop, "StopWhenNotFinite", StopAt)
        with pytest.raises(KeyboardInterrupt):
            learn(chosen, folder)
    (cut,) = runs_of(kept_in, "retain")
    assert (cut.info.run_name, cut.info.status) == ("first", "FAILED")
    assert noted_runs(folder) == {"mlflow": {"id": cut.info.run_id, "project": "retain"}}
    learn(chosen, folder)
    end(chosen, folder)
    (whole,) = runs_of(kept_in, "retain")
    assert (whole.info.run_id, whole.info.status) == (cut.info.run_id, "FINISHED")
    assert [step for step, _ in history(kept_in, whole, "loss")] == [2, 4, 6]
    files = list((folder / "trackers" / "tensorboard").glob("events*"))
    assert len(files) == 3
    assert [step for step, _ in scalars(folder / "trackers" / "tensorboard")[0]["train/loss"]] == [2, 4, 6]


def test_a_run_that_is_no_longer_there_is_begun_again(tmp_path, kept_in, heard):
    chosen, folder = recipe("mlflow", max_steps=2), tmp_path / "first"
    learn(chosen, folder)
    (run,) = runs_of(kept_in, "retain")
    kept_in.delete_run(run.info.run_id)
    end(chosen, folder)
    assert run.info.run_id in heard.text
    (other,) = runs_of(kept_in, "retain")
    assert other.data.metrics["eval_lost/capitals/accuracy"] == 0.25
    assert noted_runs(folder)["mlflow"]["id"] == other.info.run_id


class Broken(TrainerCallback):
    """A tracker whose server is down, and which takes the signals."""

    events: ClassVar[list[str]] = []

    def on_train_begin(self, *_, **__):
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def on_log(self, *_, **__):
        Broken.events.append("on_log")
        raise ConnectionError("no route to https://me:secret@tracker.example/api")


class Another(TrainerCallback):
    """A tracker that retain has no row for."""

    seen: ClassVar[list[dict]] = []

    def on_log(self, args, state, control, logs=None, **_):
        Another.seen.append({"step": state.global_step, **logs})


def test_a_tracker_that_fails_loses_nothing_but_its_own_figures(tmp_path, monkeypatch, heard):
    monkeypatch.setitem(integration_utils.INTEGRATION_TO_CALLBACK, "broken", Broken)
    monkeypatch.setitem(integration_utils.INTEGRATION_TO_CALLBACK, "another", Another)
    before = signal.getsignal(signal.SIGINT)
    chosen = recipe("broken", "another")
    cost, curve = learn(chosen, tmp_path / "first", regularisers())
    end(chosen, tmp_path / "first")
    assert (cost.steps, len(curve)) == (6, 3)
    assert Broken.events == ["on_log"] * 2  # once in training, once at the end
    assert "tracker.example" in heard.text
    assert "secret" not in heard.text
    assert signal.getsignal(signal.SIGINT) is before
    assert [entry["step"] for entry in Another.seen if "retain_kl" in entry] == [4, 6]
    assert CLOSING.items() <= Another.seen[-1].items()


def test_a_folder_of_the_users_own_is_kept_and_a_comparison_gives_each_run_one_in_it(tmp_path, monkeypatch):
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "mine"))
    learn(recipe("tensorboard", max_steps=2), tmp_path / "alone")
    learn(recipe("tensorboard", max_steps=2), tmp_path / "cmp" / "runs" / NAME)
    assert list((tmp_path / "mine").glob("events*"))
    assert list((tmp_path / "mine" / NAME).glob("events*"))
    assert not (tmp_path / "alone" / "trackers").exists()


@pytest.mark.parametrize(
    ("place", "training", "named"),
    [
        ("runs/first", {}, ("first", "retain", False)),
        (f"cmp/runs/{NAME}", {}, (NAME, "cmp", True)),
        ("cmp/runs/lora-0f1e2d-lr0.01-seed0", {}, ("lora-0f1e2d-lr0.01-seed0", "cmp", True)),
        ("cmp/runs/lora-lr0.01-seed1", {}, ("lora-lr0.01-seed1", "retain", False)),
        (f"cmp/runs/{NAME}", {"run_name": "mine", "project": "ours"}, (f"mine-{NAME}", "ours", True)),
        ("runs/first", {"run_name": "mine"}, ("mine", "retain", False)),
    ],
)
def test_a_run_is_named_after_its_folder_and_a_comparison_after_its_output(tmp_path, place, training, named):
    run = name_of_run(recipe(training=training), tmp_path / place)
    assert (run.run, run.project, run.is_compared) == named
    made = training_arguments(recipe(training=training), tmp_path / place)
    assert (made.run_name, made.project) == named[:2]


def test_every_tracker_of_transformers_is_known_by_its_packages():
    assert TRACKERS.keys() == integration_utils.INTEGRATION_TO_CALLBACK.keys()
    needing = [name for name, row in TRACKERS.items() if not row.packages]
    assert needing == ["kubeflow"]  # it needs a job of Kubeflow around it instead


@pytest.mark.parametrize(
    ("address", "told"),
    [("sqlite:///mine.db", "sqlalchemy"), ("postgresql+psycopg2://h/d", "sqlalchemy"), ("file:mine", "FILE_STORE")],
)
def test_a_place_that_mlflow_cannot_write_to_is_told_before(tmp_path, monkeypatch, address, told):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE", raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.setattr("retain.train.trackers.mlflow.find_spec", lambda _: None)
    (problem,) = setting_problems({"report_to": "mlflow"})
    assert told in problem
    assert list(Path().iterdir()) == []


def test_a_package_of_several_is_named(monkeypatch):
    monkeypatch.setattr("retain.train.trackers.problems.find_spec", lambda name: None)
    told = " ".join(setting_problems({"report_to": ["dagshub", "tensorboard", "azure_ml"]}))
    assert "dagshub and mlflow" in told
    assert "tensorboard or tensorboardX" in told
    assert "azureml.core" in told


def test_a_variable_that_is_set_to_nothing_is_not_set(tmp_path, monkeypatch):
    run = name_of_run(recipe(), tmp_path / "first")
    for name, given in {"tensorboard": "TENSORBOARD_LOGGING_DIR", "mlflow": "MLFLOW_EXPERIMENT_NAME"}.items():
        monkeypatch.setenv(given, "")
        assert TRACKERS[name].variables(run, tmp_path, {})[given]
        monkeypatch.setenv(given, "mine")
        assert given not in TRACKERS[name].variables(run, tmp_path, {})


@pytest.mark.parametrize("given", ["tensorboard,mlflow", "tensorboard, mlflow,tensorboard", ["tensorboard", "mlflow"]])
def test_several_are_named_with_commas_or_in_a_list(tmp_path, kept_in, given):
    assert setting_problems({"report_to": given}) == []
    assert training_arguments(recipe(training={"report_to": given}), tmp_path).report_to == ["tensorboard", "mlflow"]
    (problem,) = setting_problems({"report_to": "tensorboard,wand"})
    assert "did you mean wandb?" in problem


def test_a_secret_is_no_setting():
    (problem,) = setting_problems({"hub_token": "hf_of_mine"})
    assert "HF_TOKEN" in problem
    assert "hf_of_mine" not in problem


def test_trying_the_settings_begins_no_run(tmp_path, kept_in):
    try_settings(recipe("tensorboard", "mlflow"))
    assert runs_of(kept_in, "retain") == []
    assert not (tmp_path / "runs").exists()
