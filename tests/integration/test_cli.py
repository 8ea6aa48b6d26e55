"""The command line as a user meets it: processes, exit codes, files, messages. On a tiny model, on the CPU."""

import json
import shutil
import subprocess
import sys
from unittest import mock

import pytest
import torch
from peft import AutoPeftModelForCausalLM
from safetensors.torch import load_file, save_file

from retain.cli.main import main
from retain.kernels import low_rank
from retain.records.items import read_items
from retain.records.result import read_result
from tiny import make_llama, write_jsonl

PARTS = ("adapter/adapter_model.safetensors", "result.json", "items.jsonl", "report.md", "report.html", "plot.png")


@pytest.fixture(scope="module")
def command(tiny_folder, tiny_data):
    """A command line without a recipe that trains a few steps."""

    def make(output, *more):
        return [
            "--model", str(tiny_folder),
            "--train", str(tiny_data / "train.jsonl"), "--test", str(tiny_data / "test.jsonl"),
            "--keep", str(tiny_data / "letters.jsonl"), "--held-out-text", str(tiny_data / "text.txt"),
            "--output", str(output),
            "--max-steps", "4", "--generate", "4", "--max-new-tokens", "4", *more,
        ]  # fmt: skip

    return make


@pytest.fixture
def flags(command, tmp_path):
    """The command line with a name for its output."""

    def make(*more, output="run"):
        return command(tmp_path / output, *more)

    return make


@pytest.fixture(scope="module")
def finished(command, tmp_path_factory):
    """A complete run with nothing but defaults; a test that changes it takes a copy."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    assert main(["tune", *command(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def lora(command, tmp_path_factory):
    """A complete run of LoRA; likewise."""
    folder = tmp_path_factory.mktemp("lora") / "run"
    assert main(["tune", *command(folder, "--method", "lora", "--learning-rate", "0.02")]) == 0
    return folder


def test_help_answers_without_torch():
    code = """
import sys
from retain.cli.main import main
try:
    main(["--help"])
finally:
    assert "torch" not in sys.modules and "peft" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "tune" in done.stdout


@pytest.mark.parametrize("verb", ["tune", "compare", "measure", "check"])
def test_each_verb_explains_its_fields(verb, capsys):
    with pytest.raises(SystemExit) as end:
        main([verb, "--help"])
    assert end.value.code == 0
    assert "--keep" in capsys.readouterr().out


def test_flags_alone_tune_and_report(flags, drawn, tmp_path, capsys):
    assert main(["tune", *flags("--method", "vefa", "--learning-rate", "0.05")]) == 0
    folder = tmp_path / "run"
    assert [part for part in PARTS if not (folder / part).is_file()] == []
    assert (folder / "plot.png").stat().st_size > 10_000
    assert [path.name for path in folder.glob(".*")] == [".retain.jsonl"], "nothing temporary is left behind"
    assert not (folder / "checkpoints").exists()
    result = read_result(folder / "result.json")
    assert result.method.name == "vefa"
    assert result.learning_rate == 0.05
    assert result.cost.steps == 4
    assert [suite.name for suite in result.keep] == ["letters"]
    assert result.drift.kl_nats_per_token > 0
    assert result.parameters.trainable < result.parameters.total
    assert result.parameters.adapter_bytes == (folder / PARTS[0]).stat().st_size
    assert set(result.provenance.data_hashes) == {"train", "test", "keep:letters", "held_out_text"}
    assert {item.part for item in read_items(folder / "items.jsonl")} == {"task", "keep", "held-out"}
    out = capsys.readouterr().out
    assert "letters" in out
    assert "report.html" in out


def test_an_accelerated_lora_is_pefts_to_rounding(flags, tmp_path):
    found = {}
    for name, switch in (("own", []), ("fast", ["--accelerate"])):
        common = ["--method", "lora", "--learning-rate", "0.02", "--training.logging_steps", "1", "--dtype", "float32"]
        with mock.patch.object(low_rank, "_forward", wraps=low_rank._forward) as fused:
            assert main(["tune", *flags(*common, *switch, output=name)]) == 0
        assert bool(fused.call_count) == (name == "fast")
        found[name] = read_result(tmp_path / name / "result.json")
    assert found["fast"].training["accelerate"] is True
    assert "accelerate" not in found["own"].training
    for one, other in zip(found["fast"].curve, found["own"].curve, strict=True):
        assert one.loss == pytest.approx(other.loss, rel=1e-5)
    own, fast = (load_file(tmp_path / name / PARTS[0]) for name in found)
    assert own.keys() == fast.keys()
    assert all(torch.allclose(own[key], fast[key], atol=1e-3) for key in own)


def test_the_adapter_loads_with_peft(flags, tmp_path):
    """In a fresh process too: tests/contract/test_contract_saving.py."""
    assert main(["tune", *flags("--method", "lorfa", "--rank", "2")]) == 0
    model = AutoPeftModelForCausalLM.from_pretrained(tmp_path / "run" / "adapter")
    assert model.peft_config["default"].r == 2
    assert any("lorfa_B" in name and bool(p.abs().sum() > 0) for name, p in model.named_parameters())


@pytest.mark.parametrize(
    ("method", "more"),
    [
        ("lora", ("--rank", "2", "--method.lora_dropout", "0.1")),
        (
            "ia3",
            ("--method.feedforward_modules", '["down_proj"]', "--method.target_modules", '["k_proj", "down_proj"]'),
        ),
        ("full", ("--learning-rate", "1e-3")),
    ],
)
def test_peft_methods_and_full_tuning_run_in_the_same_way(method, more, flags, tmp_path):
    assert main(["tune", *flags("--method", method, *more)]) == 0
    result = read_result(tmp_path / "run" / "result.json")
    assert result.method.name == method
    assert result.drift.update_relative_frobenius > 0
    assert result.drift.kl_nats_per_token > 0
    if method == "full":
        assert (tmp_path / "run" / "model" / "model.safetensors").is_file()
        assert result.parameters.trainable == result.parameters.total


def test_a_comparison_is_one_table_and_one_plot_and_is_not_done_twice(flags, tmp_path, capsys):
    command = ["compare", *flags("--methods", "lora,vefa", "--seeds", "2", "--learning-rates", "1e-2", "--rank", "2")]
    assert main(command) == 0
    folder = tmp_path / "run"
    assert sorted(path.name for path in (folder / "runs").iterdir()) == [
        "lora-lr0.01-seed0", "lora-lr0.01-seed1", "vefa-lr0.01-seed0", "vefa-lr0.01-seed1",
    ]  # fmt: skip
    assert all((folder / name).is_file() for name in ("report.md", "report.html", "pareto.png", "summary.json"))
    assert len(list(folder.glob("base-*.json"))) == 1
    stamps = {path: path.stat().st_mtime_ns for path in folder.glob("runs/*/result.json")}
    assert len(stamps) == 4
    capsys.readouterr()
    assert main(command) == 0
    assert {path: path.stat().st_mtime_ns for path in folder.glob("runs/*/result.json")} == stamps
    assert capsys.readouterr().out.count("complete already") == 4


def test_an_interrupted_run_goes_on(flags, tmp_path, monkeypatch):
    from retain.jobs import tune as job

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(job, "measure_pair", interrupted)
        assert main(["tune", *flags()]) == 130
    folder = tmp_path / "run"
    assert (folder / "adapter").is_dir()
    assert not (folder / "result.json").exists()
    stamp = (folder / PARTS[0]).stat().st_mtime_ns
    assert main(["tune", *flags()]) == 0
    assert (folder / PARTS[0]).stat().st_mtime_ns == stamp, "what was trained is not trained again"
    assert read_result(folder / "result.json").cost.steps == 4


def test_new_suites_are_measured_without_training_again(flags, finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    stamp = (tmp_path / "run" / PARTS[0]).stat().st_mtime_ns
    assert main(["tune", *flags("--keep-score", "token")]) == 0
    assert (tmp_path / "run" / PARTS[0]).stat().st_mtime_ns == stamp


def test_another_run_does_not_overwrite_this_one(flags, finished, tmp_path, capsys):
    shutil.copytree(finished, tmp_path / "run")
    before = (tmp_path / "run" / "result.json").read_bytes()
    assert main(["tune", *flags("--seed", "1")]) == 2
    assert "another run" in capsys.readouterr().err
    assert (tmp_path / "run" / "result.json").read_bytes() == before


def test_what_was_trained_elsewhere_is_measured_alike(lora, tiny_folder, tiny_data, tmp_path):
    trained = read_result(lora / "result.json")
    command = [
        "measure", "--model", str(tiny_folder), "--tuned", str(lora / "adapter"),
        "--test", str(tiny_data / "test.jsonl"), "--keep", str(tiny_data / "letters.jsonl"),
        "--held-out-text", str(tiny_data / "text.txt"), "--output", str(tmp_path / "measured"),
        "--generate", "4", "--max-new-tokens", "4",
    ]  # fmt: skip
    assert main(command) == 0
    measured = read_result(tmp_path / "measured" / "result.json")
    assert (measured.task, measured.keep, measured.drift) == (trained.task, trained.keep, trained.drift)
    assert measured.method.name == "lora"
    assert measured.parameters.trainable == trained.parameters.trainable
    assert measured.provenance.model_hash == trained.provenance.model_hash


BAD = '{"prompt": "a", "completion": "b"}\nnot json\n{"prompt": "only"}\n'


@pytest.mark.parametrize("verb", ["check", "tune", "compare"])
def test_all_problems_are_told_at_once_and_nothing_is_written(verb, flags, tiny_data, tmp_path, capsys):
    (tmp_path / "bad.jsonl").write_text(BAD, encoding="utf-8")
    write_jsonl(tmp_path / "range.jsonl", [{"question": "q", "choices": ["a", "b"], "answer": 5}])
    command = flags("--train", str(tmp_path / "bad.jsonl"), "--keep", str(tmp_path / "range.jsonl"))
    methods = ["--methods", "lorra,vefa"] if verb == "compare" else ["--method", "lorra"]
    assert main([verb, *command, *methods, "--held-out-text", "missing.txt", "--training.bogus", "1"]) == 2
    told = capsys.readouterr().err
    for part in ("line 2", "line 3", "answer is 5", "missing.txt", "lorra", "lora", "bogus"):
        assert part in told
    assert "Traceback" not in told
    assert not (tmp_path / "run").exists()


def test_overlapping_data_are_refused(flags, tiny_data, capsys):
    assert main(["check", *flags("--test", str(tiny_data / "train.jsonl"))]) == 2
    assert "share 40 of 40 items" in capsys.readouterr().err


def test_targets_are_checked_on_the_empty_model(flags, capsys):
    assert main(["check", *flags("--method", "vefa", "--method.target_modules", '["nonsense"]')]) == 2
    assert "nonsense" in capsys.readouterr().err
    assert main(["check", *flags("--method", "lorfa", "--rank", "64")]) == 2
    assert "64" in capsys.readouterr().err


def test_what_is_cut_off_is_said(flags, tmp_path, capsys):
    assert main(["check", *flags("--max-length", "5")]) == 0
    assert "train: 40 of 40 are longer than 5 tokens" in capsys.readouterr().out
    assert main(["tune", *flags("--max-length", "5")]) == 0
    notes = " ".join(read_result(tmp_path / "run" / "result.json").provenance.notes)
    assert "40 of 40 training examples" in notes
    assert "20 items of test" in notes


def test_examples_longer_than_those_that_the_model_was_trained_on_are_told(flags, tmp_path, capsys):
    long = write_jsonl(tmp_path / "long.jsonl", [{"prompt": "a " * 300, "completion": " b"}])
    assert main(["check", *flags("--train", str(long))]) == 0
    assert "302 tokens, and this model was trained on at most 256" in capsys.readouterr().out
    assert main(["check", *flags("--train", str(long), "--max-length", "256")]) == 0
    assert "trained on at most" not in capsys.readouterr().out


def test_tune_checks_the_method_that_is_asked_for_not_the_comparison(tmp_path, tiny_folder, tiny_data, capsys):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"model: {tiny_folder}\ntrain: {tiny_data}/train.jsonl\ntest: {tiny_data}/test.jsonl\n"
        f"output: {tmp_path}/run\nmethods: [lora]\nrank: 2\n",
        encoding="utf-8",
    )
    assert main(["tune", str(recipe), "--method", "nonsense"]) == 2
    assert "nonsense" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    assert main(["check", str(recipe), "--method", "nonsense"]) == 2


def test_an_occupied_folder_is_told_before_anything_is_trained(flags, tmp_path, capsys):
    assert main(["compare", *flags("--methods", "lora", "--rank", "2", "--learning-rates", "1e-2")]) == 0
    wider = flags("--methods", "vefa,lora", "--rank", "2", "--learning-rates", "1e-2")
    assert main(["compare", *wider, "--epochs", "2"]) == 2
    assert "another run" in capsys.readouterr().err
    assert not (tmp_path / "run" / "runs" / "vefa-lr0.01-seed0").exists()


def test_another_base_in_the_same_folder_is_another_run(flags, tiny_folder, tmp_path, capsys):
    base = tmp_path / "base"
    shutil.copytree(tiny_folder, base)
    assert main(["tune", *flags("--model", str(base))]) == 0
    make_llama(seed=5).save_pretrained(base)
    assert main(["tune", *flags("--model", str(base))]) == 2
    assert "model files" in capsys.readouterr().err


def test_an_adapter_of_another_model_is_refused(lora, tiny_folder, tiny_data, tmp_path, capsys):
    written = lora / "adapter"
    adapter = tmp_path / "copy" / "adapter_model.safetensors"
    shutil.copytree(written, adapter.parent)
    weights = load_file(adapter)
    save_file({key.replace("model.layers", "language.layers"): value for key, value in weights.items()}, adapter)
    command = ["measure", "--model", str(tiny_folder), "--tuned", str(adapter.parent), "--output", str(tmp_path / "m")]
    assert main([*command, "--keep", str(tiny_data / "letters.jsonl")]) == 2
    assert "changed since retain wrote this adapter" in capsys.readouterr().err
    (adapter.parent / "retain_adapter.json").unlink()
    assert main([*command, "--keep", str(tiny_data / "letters.jsonl")]) == 2
    assert "made for another model" in capsys.readouterr().err
    missing = [part if part != str(adapter.parent) else str(tmp_path / "none") for part in command]
    assert main([*missing, "--keep", str(tiny_data / "letters.jsonl")]) == 2
    assert "no folder" in capsys.readouterr().err


def test_progress_is_told_in_lines_where_there_is_no_terminal(flags, capsys, monkeypatch):
    monkeypatch.setattr("retain.jobs.progress.SECONDS_BETWEEN_LINES", 0.0)
    monkeypatch.setattr("retain.jobs.progress.MOST_SECONDS_BETWEEN_LINES", 0.0)
    assert main(["tune", *flags()]) == 0
    out = capsys.readouterr().out
    assert "the base answers: 0/" in out
    assert "vefa learns: 0/4" in out


def test_a_good_recipe_is_said_to_be_good(flags, tmp_path, capsys):
    assert main(["check", *flags()]) == 0
    out = capsys.readouterr().out
    assert "no problems" in out
    assert "cut" not in out
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("model", ["./no/such/folder", "nobody/no-such-model"])
def test_a_model_that_is_not_there_is_one_clear_message(model, flags, capsys):
    assert main(["tune", *flags("--model", model)]) == 2
    told = capsys.readouterr().err
    assert "one problem" in told
    assert model in told


def test_a_loss_that_explodes_is_exit_code_1(flags, tmp_path, capsys):
    assert main(["tune", *flags("--method", "full", "--learning-rate", "1e30", "--training.logging_steps", "1")]) == 1
    told = capsys.readouterr().err
    assert "smaller learning rate" in told
    assert "Traceback" not in told
    assert not (tmp_path / "run" / "result.json").exists()


def test_wrong_flags_are_exit_code_2(capsys):
    with pytest.raises(SystemExit) as end:
        main(["tune", "--no-such-flag", "1"])
    assert end.value.code == 2
    assert main(["tune", "--model", "m"]) == 2
    assert "--output" in capsys.readouterr().err


def test_a_record_keeps_to_its_schema(finished):
    record = json.loads((finished / "result.json").read_text(encoding="utf-8"))
    assert record["schema"] == "retain.result/2"
    for field in ("model", "method", "seed", "parameters", "task", "keep", "drift", "cost", "provenance"):
        assert field in record
