"""An initialisation is added by one file and one row, and nothing else in src: done here, from outside."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from torch import nn

from calibration import batches, embedded, sentences
from retain import InputError, SCLoRAConfig, load_adapter, sc_lora
from retain.cli.main import main
from retain.methods import lookup, table
from retain.recipe import Recipe
from retain.records.result import read_result
from tiny import write_jsonl

HERE = Path(__file__).parent
ROW = table.Initialisation(
    name="quiet-outputs",
    title="Quiet outputs",
    summary="LoRA from the output directions that the text to keep uses least",
    learning_rate=3e-4,
    code="quiet_outputs:initialise",
    reads=("keep",),
    fields=("sample_norm",),
    streamed=True,
    spans_outputs=True,
)
KEEP = batches(sentences(60, seed=12))


@pytest.fixture(autouse=True)
def row(tmp_path, monkeypatch):
    shutil.copy(HERE / "outside" / "quiet_outputs.py", tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(table, "INITIALISATIONS", (*table.INITIALISATIONS, ROW))


def net():
    return embedded(lambda: nn.Sequential(nn.Linear(6, 8, bias=False), nn.Tanh(), nn.Linear(8, 4)))


def logits(model):
    with torch.no_grad():
        return model.eval()(**KEEP[0])


def initialised(keep=KEEP, **fields):
    config = SCLoRAConfig(r=2, initialisation="quiet-outputs", target_modules=["body.0", "body.2"], **fields)
    return sc_lora(net(), config, keep=keep)


@pytest.mark.filterwarnings("ignore::retain.methods.initialisations.adapter.CalibrationWarning")
def test_it_is_computed_trained_saved_as_a_lora_and_trained_on(tmp_path):
    model = initialised()
    assert torch.equal(logits(model), logits(net()))
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.5)
    for _ in range(3):
        model.train()(**KEEP[0]).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    expected = logits(model)
    assert not torch.equal(expected, logits(net()))
    model.save_pretrained(tmp_path / "adapter")
    assert json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())["peft_type"] == "LORA"
    note = json.loads((tmp_path / "adapter" / "retain_initialisation.json").read_text())
    assert note["config"]["initialisation"] == "quiet-outputs"
    assert list(note["data"]) == ["keep"]
    assert not {"beta", "seed"} & note["config"].keys()
    torch.testing.assert_close(logits(PeftModel.from_pretrained(net(), tmp_path / "adapter")), expected)
    again = load_adapter(net(), tmp_path / "adapter", trainable=True)
    torch.testing.assert_close(logits(again), expected)
    assert any(parameter.requires_grad for parameter in again.parameters())


@pytest.mark.filterwarnings("ignore::retain.methods.initialisations.adapter.CalibrationWarning")
def test_streamed_or_collected_it_takes_the_same_directions():
    streamed = initialised().get_base_model().body[0].lora_B["default"].initial
    collected = initialised(keep=iter(KEEP)).get_base_model().body[0].lora_B["default"].initial
    overlap = torch.linalg.svdvals(streamed.T @ collected)
    torch.testing.assert_close(overlap, torch.ones_like(overlap), rtol=0, atol=1e-4)


def test_it_refuses_what_it_cannot_do():
    with pytest.raises(InputError, match="'quiet-outputs' needs keep:"):
        initialised(keep=None)
    assert lookup.validate("quiet-outputs", {"r": 4}) == []
    assert "'beta' is unknown" in lookup.validate("quiet-outputs", {"beta": 0.5})[0]
    assert "did you mean quiet-outputs?" in lookup.validate("quiet-output", {})[0]


def test_recipes_and_help_know_it():
    values = {"model": "m", "train": "t", "test": "t", "output": "o"}
    assert Recipe(**values, method="quiet-outputs").rate == 3e-4
    assert lookup.calibration("quiet-outputs") == ("keep",)
    assert "quiet-outputs" in table.names_listed()
    assert "3e-4 quiet-outputs" in table.learning_rates_listed()
    assert "quiet-outputs" in lookup.known_methods()


def test_tune_calibrates_and_trains_it(tiny_folder, tiny_data, tmp_path):
    kept = write_jsonl(tmp_path / "kept.jsonl", [{"text": f"word{i % 9} word{i % 7} x y"} for i in range(40)])
    command = ["tune", "--model", str(tiny_folder), "--method", "quiet-outputs", "--output", str(tmp_path / "run")]
    command += ["--train", str(tiny_data / "train.jsonl"), "--test", str(tiny_data / "test.jsonl")]
    command += ["--calibrate-keep", str(kept), "--calibrate-tokens", "200", "--rank", "4", "--max-steps", "3"]
    assert main([*command, "--generate", "0"]) == 0
    result = read_result(tmp_path / "run" / "result.json")
    assert (result.method.name, result.learning_rate) == ("quiet-outputs", 3e-4)
    assert (result.method.config["r"], result.method.config["saved_r"]) == (4, 8)
    assert result.method.config["keep_tokens"] == 160
