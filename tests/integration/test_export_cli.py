"""`retain export` as people use it: from the folder of an adapter or run to folders that load without retain."""

import json
import subprocess
import sys

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

import retain
from children import light
from retain.cli.main import main
from retain.records.export_record import read_export
from tiny import make_tokenizer

IDS = [[3, 9, 27, 11, 40, 8]]
WITHOUT_RETAIN = """
import json, sys
sys.modules["retain"] = None  # an import of it would fail
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer
base, ids, *folders = sys.argv[1:]
found = {}
for folder in folders:
    name = folder.rpartition("/")[2]
    if name in {"lora", "ia3"}:
        model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), folder)
    else:
        model = AutoModelForCausalLM.from_pretrained(folder)
    assert AutoTokenizer.from_pretrained(folder).chat_template
    with torch.no_grad():
        found[name] = model.eval()(input_ids=torch.tensor(json.loads(ids))).logits.tolist()
print(json.dumps(found))
"""


def adapter(base, folder, config, *, size=0.1):
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), config)
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += size * torch.randn(parameter.shape, generator=generator)
    model.save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    with torch.no_grad():
        return model.eval()(input_ids=torch.tensor(IDS)).logits


@pytest.fixture(scope="module")
def place(tmp_path_factory, tiny_folder):
    """A LoRA with its own scale, and a VeFA that can be folded; the logits of both."""
    folder = tmp_path_factory.mktemp("export-cli")
    logits = {
        "lora": adapter(tiny_folder, folder / "a-lora", LoraConfig(r=3, use_rslora=True, target_modules="all-linear")),
        "vefa": adapter(tiny_folder, folder / "a-vefa", retain.VeFAConfig(target_modules=["down_proj"]), size=0.3),
    }
    return folder, logits


def exported(place, source, form, *flags, output=None):
    return main(["export", str(place / source), "--to", form, *flags, "--output", str(output or place / form)])


def test_each_form_loads_without_retain_and_is_the_same_function(place, tiny_folder, tiny_data, capsys):
    folder, expected = place
    text = ["--held-out-text", str(tiny_data / "text.txt"), "--held-out-tokens", "400", "--max-loss", "1e-6"]
    forms = {"lora": "lora", "merged": "lora", "folded": "vefa", "ia3": "vefa"}
    for form, source in forms.items():
        assert exported(folder, f"a-{source}", form, *text) == 0
        record = read_export(folder / form)
        assert record.to == form
        assert record.loss.count > 300
        assert record.loss.kl < 1e-6 < record.loss.effect or source == "vefa"
        for path in (folder / form).rglob("*"):
            content = path.read_bytes()
            assert str(folder).encode() not in content, path
            assert str(tiny_folder).encode() not in content, path
    assert "lora as lora of rank 3, float32" in capsys.readouterr().out
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            WITHOUT_RETAIN,
            str(tiny_folder),
            json.dumps(IDS),
            *(str(folder / form) for form in forms),
        ],
        capture_output=True,
        text=True,
        check=True,
        env=light(),
    )
    found = json.loads(done.stdout.splitlines()[-1])
    for form, source in forms.items():
        torch.testing.assert_close(torch.tensor(found[form]), expected[source], rtol=0, atol=2e-5)


def test_more_loss_than_is_allowed_delivers_nothing(place, tiny_data, capsys):
    text = ["--held-out-text", str(tiny_data / "text.txt"), "--held-out-tokens", "400"]
    target = place[0] / "small"
    assert exported(place[0], "a-lora", "lora", "--rank", "1", *text, "--max-loss", "1e-7", output=target) == 3
    assert "nothing was delivered" in capsys.readouterr().err
    assert not target.exists()
    assert exported(place[0], "a-lora", "lora", "--rank", "auto", *text, "--max-loss", "1e-7", output=target) == 0
    assert read_export(target).rank == 3


def test_everything_that_is_wrong_is_said_before_a_model_is_loaded(place, monkeypatch, capsys):
    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", lambda *_, **__: pytest.fail("loaded"))
    inside = place[0] / "a-lora" / "out"
    flags = ["--held-out-text", "nowhere.txt", "--model", "./gone"]
    assert exported(place[0], "a-lora", "ia3", *flags, output=inside) == 2
    told = capsys.readouterr().err
    for part in ("nowhere.txt", "--to ia3: this adapter's method is lora", "lies in what is exported"):
        assert part in told
    assert exported(place[0], "a-lora", "lora", "--rank", "0") == 2
    assert exported(place[0], "a-lora", "merged", "--rank", "2") == 2
    assert exported(place[0], "a-lora", "lora", "--rank", "auto") == 2
    assert exported(place[0], "nothing-here", "lora") == 2
    assert exported(place[0], "a-lora", "lora", "--model", "./gone") == 2
    assert "Traceback" not in capsys.readouterr().err


def test_only_what_retain_wrote_is_replaced(place, capsys):
    target = place[0] / "mine"
    target.mkdir()
    (target / "thesis.txt").write_text("years of work")
    assert exported(place[0], "a-lora", "lora", output=target) == 2
    assert (target / "thesis.txt").read_text() == "years of work"
    again = place[0] / "again"
    assert exported(place[0], "a-lora", "lora", output=again) == 0
    assert exported(place[0], "a-lora", "merged", output=again) == 0
    assert (again / "config.json").is_file()
    assert not (again / "adapter_config.json").exists()
    capsys.readouterr()
