"""Trackers, optimizers and kernels whose package is missing are told by check and tune, before a model is loaded."""

from __future__ import annotations

import importlib.util

import pytest

from retain.cli.main import main

NEEDS = [
    (["--training.report_to", "wandb"], "wandb"),
    (["--training.report_to", "tensorboard"], "tensorboard"),
    (["--training.report_to", "mlflow"], "mlflow"),
    (["--training.report_to", '["comet_ml","clearml"]'], "comet_ml"),
    (["--training.optim", "adamw_bnb_8bit"], "bitsandbytes"),
    (["--training.optim", "paged_adamw_8bit"], "bitsandbytes"),
    (["--training.optim", "adamw_apex_fused"], "apex"),
    (["--training.optim", "galore_adamw", "--training.optim_target_modules", '["attn"]'], "galore_torch"),
    (["--training.optim", "lomo"], "lomo_optim"),
    (["--training.optim", "grokadamw"], "grokadamw"),
    (["--training.optim", "schedule_free_adamw"], "schedulefree"),
    (["--training.use_liger_kernel", "true"], "liger_kernel"),
    (["--training.deepspeed", "ds.json"], "deepspeed"),
]


@pytest.fixture
def refused(tiny_folder, tiny_data, tmp_path, capsys):
    """What a verb says of flags that it refuses."""

    def run(verb, flags):
        data = ["--model", str(tiny_folder), "--train", str(tiny_data / "train.jsonl")]
        data += ["--test", str(tiny_data / "test.jsonl"), "--method", "lora", "--output", str(tmp_path / "run")]
        assert main([verb, *data, *flags]) == 2
        printed = capsys.readouterr()
        assert "Traceback" not in printed.err
        assert not (tmp_path / "run").exists()
        return " ".join(printed.err.split())

    return run


@pytest.mark.parametrize("verb", ["check", "tune"])
@pytest.mark.parametrize(("flags", "package"), NEEDS, ids=[f"{flags[1]}" for flags, _ in NEEDS])
def test_a_package_that_is_missing_is_told(refused, verb, flags, package):
    if importlib.util.find_spec(package) is not None:
        pytest.skip(f"{package} is installed here")
    said = refused(verb, flags)
    assert "training" in said
    words = (package, package.replace("_", "-"), package.replace("_torch", ""), package.replace("_optim", ""))
    assert any(word in said.lower() for word in words)


def test_a_tracker_that_does_not_exist_is_told(refused):
    assert "notebook_of_mine" in refused("check", ["--training.report_to", "notebook_of_mine"])
