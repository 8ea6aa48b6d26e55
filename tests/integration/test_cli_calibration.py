"""SC-LoRA and its relatives on the command line: calibrated on files or on what the base writes, once for many runs."""

import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from children import light
from retain.activations import load
from retain.cli.main import main
from retain.hf.adapters.load import load_adapter
from retain.records.result import read_result
from tiny import make_llama, write_jsonl

PLAIN = """
import sys
sys.modules["retain"] = None
import warnings
warnings.simplefilter("error")
warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*")
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM
base = AutoModelForCausalLM.from_pretrained(sys.argv[1]).eval()
ids = torch.arange(3, 20)[None]
before = base(ids).logits
model = PeftModel.from_pretrained(base, sys.argv[2]).eval()
after = model(ids).logits
assert not torch.equal(before, after)
torch.save(after.detach(), sys.argv[3])
"""


@pytest.fixture
def flags(tiny_folder, tiny_data, tmp_path):
    def make(*more, output="run"):
        return [
            "--model", str(tiny_folder),
            "--train", str(tiny_data / "train.jsonl"), "--test", str(tiny_data / "test.jsonl"),
            "--keep", str(tiny_data / "letters.jsonl"), "--held-out-text", str(tiny_data / "text.txt"),
            "--output", str(tmp_path / output), "--calibrate-tokens", "200", "--calibrate-batch-size", "4", *more,
        ]  # fmt: skip

    return make


SHORT = ("--max-steps", "4", "--generate", "0", "--learning-rate", "0.02", "--rank", "4")


@pytest.fixture
def kept(tmp_path):
    rows = [{"text": f"word{i % 9} word{i % 7} word{i % 5} x y"} for i in range(40)]
    return str(write_jsonl(tmp_path / "kept.jsonl", rows))


def test_the_base_writes_what_to_keep_and_stock_peft_loads_the_result(flags, tiny_folder, tmp_path):
    assert main(["tune", *flags("--method", "sc-lora", "--beta", "0.6", *SHORT)]) == 0
    folder = tmp_path / "run"
    result = read_result(folder / "result.json")
    assert result.method.name == "sc-lora"
    config = result.method.config
    assert (config["beta"], config["r"], config["saved_r"], config["keep_tokens"]) == (0.6, 4, 8, 200)
    assert result.training["calibrate_keep"] == "self"
    assert result.cost.calibration_seconds > 0
    written = [json.loads(line) for path in folder.glob("statistics/self-*.jsonl") for line in path.open()]
    assert sum(len(row["ids"]) for row in written) >= 200
    assert not list(folder.rglob("*.partial"))
    out = tmp_path / "logits.pt"
    command = [sys.executable, "-c", PLAIN, str(tiny_folder), str(folder / "adapter"), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=light())
    assert done.returncode == 0, done.stderr
    ours = load_adapter(make_llama(), folder / "adapter").eval()
    with torch.no_grad():
        torch.testing.assert_close(ours(torch.arange(3, 20)[None]).logits, torch.load(out), rtol=0, atol=1e-5)


def test_a_comparison_calibrates_once_for_all_its_runs(flags, kept, tmp_path, capsys):
    methods = "sc-lora,corda-kpm,lora-null,milora,random-start,lora"
    command = ["compare", *flags("--methods", methods, "--calibrate-keep", kept, *SHORT[:4]), "--rank", "4"]
    assert main([*command, "--seeds", "1", "--learning-rates", "0.02"]) == 0
    runs = sorted(path.name.split("-lr")[0] for path in (tmp_path / "run" / "runs").iterdir())
    assert runs == sorted(methods.split(","))
    parts = sorted(path.name.split("-")[0] for path in (tmp_path / "run" / "statistics").iterdir())
    assert parts == ["keep", "learn"]
    assert "sc-lora" in capsys.readouterr().out


def test_a_finished_run_is_not_done_again_and_another_beta_is_another_run(flags, kept, tmp_path, capsys):
    command = ["tune", *flags("--method", "sc-lora", "--calibrate-keep", kept, *SHORT)]
    assert main([*command, "--beta", "0.5"]) == 0
    before = (tmp_path / "run" / "result.json").stat().st_mtime_ns
    assert main([*command, "--beta", "0.5"]) == 0
    assert (tmp_path / "run" / "result.json").stat().st_mtime_ns == before
    assert main([*command, "--beta", "0.9"]) == 2
    assert "another run (it differs in beta)" in capsys.readouterr().err


def test_calibrate_writes_what_tune_then_uses(flags, kept, tmp_path, capsys):
    common = flags("--calibrate-keep", kept, output="statistics")
    assert main(["calibrate", *common, "--memory-limit", "20KB"]) == 0
    assert "retain inspect" in capsys.readouterr().out
    keep = load(tmp_path / "statistics" / "keep")
    assert keep.tokens == 200
    command = ["tune", *flags("--method", "sc-lora", "--statistics", str(tmp_path / "statistics"), *SHORT)]
    assert main(command) == 0
    result = read_result(tmp_path / "run" / "result.json")
    assert result.method.config["keep_data"] == keep.manifest.data_hash[:8]
    assert not any("kept apart" in note for note in result.provenance.notes)
    assert not (tmp_path / "run" / "statistics").exists()


def test_statistics_that_know_nothing_of_what_is_measured_are_told_of(flags, kept, tiny_folder, tiny_data, tmp_path):
    folder = str(tmp_path / "statistics")
    source = ["--model", str(tiny_folder), "--train", str(tiny_data / "train.jsonl"), "--calibrate-keep", kept]
    assert main(["calibrate", *source, "--calibrate-tokens", "200", "--output", folder]) == 0
    assert main(["tune", *flags("--method", "sc-lora", "--statistics", folder, *SHORT)]) == 0
    notes = read_result(tmp_path / "run" / "result.json").provenance.notes
    assert any("were not kept apart from keep:letters" in note for note in notes)


def test_another_suite_makes_the_base_write_anew(flags, tmp_path, capsys):
    command = ["tune", *flags("--method", "sc-lora", *SHORT)]
    assert main(command) == 0
    more = write_jsonl(tmp_path / "more.jsonl", [{"question": "x y then what", "choices": ["a", "b"], "answer": 0}] * 1)
    at = command.index("--keep") + 2
    assert main([*command[:at], str(more), *command[at:]]) == 2
    assert "another run (it differs in apart from keep:more)" in capsys.readouterr().err


def test_the_same_statistics_give_the_same_adapter(flags, kept, tmp_path):
    weights = []
    for name, more in (("a", ()), ("b", ("--calibrate-batch-size", "9"))):
        assert main(["tune", *flags("--method", "sc-lora", "--calibrate-keep", kept, *SHORT, *more, output=name)]) == 0
        weights.append(load_file(tmp_path / name / "adapter" / "adapter_model.safetensors"))
    for key, value in weights[0].items():
        torch.testing.assert_close(value, weights[1][key], rtol=0, atol=2e-4)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (("--beta", "1.5"), "beta"),
        (("--method.beta", "2"), "beta lies in [0, 1]"),
        (("--method.colour", "2"), "field 'colour' is unknown"),
        (("--rank", "40"), "rank 40 is larger than the"),
        (("--statistics", "nowhere"), "no statistics here"),
        (("--calibrate-keep", "nowhere.jsonl"), "nowhere.jsonl"),
        (("--memory-limit", "much"), "give a number of bytes"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_trained(more, expected, flags, tmp_path, capsys):
    assert main(["tune", *flags("--method", "sc-lora", *SHORT, *more)]) == 2
    assert expected in capsys.readouterr().err
    assert not (tmp_path / "run" / "adapter").exists()


def test_text_that_is_measured_may_not_be_calibrated_on(flags, tiny_data, tmp_path, capsys):
    question = json.loads((tiny_data / "letters.jsonl").read_text().splitlines()[0])["question"]
    path = write_jsonl(tmp_path / "leak.jsonl", [{"text": "a b c"}, {"text": f"before {question * 4} after"}])
    assert main(["tune", *flags("--method", "sc-lora", "--calibrate-keep", str(path), *SHORT)]) == 2
    found = capsys.readouterr().err
    assert "1 of 2 texts hold what is measured" in found


def test_statistics_of_another_model_are_refused(flags, kept, tmp_path, capsys):
    assert main(["calibrate", *flags("--calibrate-keep", kept, output="statistics")]) == 0
    make_llama(seed=5).save_pretrained(tmp_path / "other")
    from tiny import make_tokenizer

    make_tokenizer().save_pretrained(tmp_path / "other")
    command = flags("--method", "sc-lora", "--statistics", str(tmp_path / "statistics"), *SHORT)
    command[1] = str(tmp_path / "other")
    assert main(["tune", *command]) == 2
    assert "of another model" in capsys.readouterr().err


def test_an_unknown_method_close_to_ours_is_told(flags, capsys):
    assert main(["check", *flags("--method", "sclora")]) == 2
    assert "(did you mean sc-lora" in capsys.readouterr().err
