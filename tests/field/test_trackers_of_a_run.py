"""A team watches a run in TensorBoard and MLflow: what `retain tune` reports, from the first step to the report."""

from __future__ import annotations

import pytest

from retain.cli.main import main
from retain.records.result import read_result

EventAccumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator").EventAccumulator
mlflow = pytest.importorskip("mlflow")

HIDDEN = "hunter2-of-the-tracking-server"


@pytest.fixture
def flags(tiny_folder, tiny_data, tmp_path, monkeypatch):
    for name, value in {
        "MLFLOW_ALLOW_FILE_STORE": "true",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_TRACKING_URI": (tmp_path / "mlruns").as_uri(),
        "MLFLOW_TRACKING_PASSWORD": HIDDEN,
    }.items():
        monkeypatch.setenv(name, value)
    mlflow.set_tracking_uri(None)
    return [
        "--model", str(tiny_folder), "--train", str(tiny_data / "train.jsonl"), "--test", str(tiny_data / "test.jsonl"),
        "--keep", str(tiny_data / "letters.jsonl"), "--held-out-text", str(tiny_data / "text.txt"), "--method", "lora",
        "--max-steps", "4", "--generate", "0", "--drift", "false", "--max-length", "64", "--kl-monitor", "true",
        "--training.report_to", '["tensorboard","mlflow"]', "--training.logging_steps", "2",
        "--output", str(tmp_path / "runs" / "first"),
    ]  # fmt: skip


def written_in(folder):
    read = EventAccumulator(str(folder / "trackers" / "tensorboard"))
    read.Reload()
    return read


def events(folder):
    read = written_in(folder)
    return {tag: [(event.step, event.value) for event in read.Scalars(tag)] for tag in read.Tags()["scalars"]}


def test_a_run_is_watched_to_its_end_and_measured_again_in_the_same_place(flags, tmp_path, capsys):
    folder = tmp_path / "runs" / "first"
    assert main(["tune", *flags, "--held-out-tokens", "512"]) == 0
    result, tags = read_result(folder / "result.json"), events(folder)
    assert [step for step, _ in tags["train/loss"]] == [2, 4]
    assert [value for _, value in tags["train/retain_kl"]] == pytest.approx(
        [point.kl_nats_per_token for point in result.curve if point.kl_nats_per_token is not None], abs=1e-7
    )
    assert tags["eval/drift/kl_nats_per_token"] == [(4, pytest.approx(result.drift.kl_nats_per_token))]
    score = next(one for one in result.keep if one.metric.right_or_wrong)
    lost = {f"eval_lost/{score.name}/{score.metric.name}": score.base - score.tuned}
    client = mlflow.MlflowClient()
    (run,) = client.search_runs([client.get_experiment_by_name("retain").experiment_id])
    assert lost.items() <= run.data.metrics.items()
    assert run.data.tags["eval_verdict"] == result.judgement.overall
    sent = {file.path for file in client.list_artifacts(run.info.run_id, "report")}
    assert {"report/report.html", "report/model_card.md"} <= sent

    before = set((folder / "trackers").rglob("events*"))
    other = ["--held-out-tokens", "256", "--training.run_name", "renamed", "--send-report", "false"]
    assert main(["tune", *flags, *other]) == 0  # another name is no other run
    assert before < set((folder / "trackers").rglob("events*"))
    texts = {name: len(written_in(folder).Tensors(f"eval/{name}/text_summary")) for name in ("verdict", "report")}
    assert texts == {"verdict": 2, "report": 1}
    again = client.get_metric_history(run.info.run_id, "eval_drift/kl_nats_per_token")
    assert [point.value for point in again] == [
        pytest.approx(one.drift.kl_nats_per_token) for one in (result, read_result(folder / "result.json"))
    ]
    assert len(client.search_runs([run.info.experiment_id])) == 1
    assert len(client.get_metric_history(run.info.run_id, "loss")) == 2
    told = capsys.readouterr()
    written = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    assert not any(HIDDEN.encode() in content for content in (*written, (told.out + told.err).encode()))
