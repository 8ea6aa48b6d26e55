"""`retain check --serve SERVER ADAPTER`, as people ask it: of good folders, and of broken ones."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from retain.cli.main import main
from served_samples import CASES, write, write_gguf


def test_a_plain_adapter_and_the_command_that_serves_it(tmp_path, capsys):
    adapter = write(CASES["plain"], tmp_path)
    assert main(["check", "--serve", "vllm", str(adapter)]) == 0
    told = capsys.readouterr().out
    assert "served" in told
    assert f"vllm serve {tmp_path / 'base'} --enable-lora --lora-modules tuned={adapter}" in told


def test_the_flag_for_a_rank_stands_in_the_command(tmp_path, capsys):
    adapter = write(CASES["sc-lora of rank 64"], tmp_path)
    assert main(["check", "--serve", "vllm", str(adapter)]) == 0
    assert "--enable-lora --max-lora-rank 64 --lora-modules" in capsys.readouterr().out


def test_what_is_changed_in_silence_ends_with_code_2_and_names_the_export(tmp_path, capsys):
    adapter = write(CASES["rslora"], tmp_path)
    assert main(["check", "--serve=llama.cpp,vllm", str(adapter)]) == 2
    told = capsys.readouterr().out
    assert "use_rslora is true" in told
    assert f"retain export {adapter} --to lora" in told


def test_a_folder_alone_is_asked_about_every_server(tmp_path, capsys):
    assert main(["check", str(write(CASES["vefa"], tmp_path))]) == 2
    told = capsys.readouterr().out
    assert told.count("refused  ") == 6
    assert "start" not in told


def test_a_run_means_what_it_delivered(tmp_path, capsys):
    write(CASES["plain"], tmp_path)
    (tmp_path / "tuned").rename(tmp_path / "adapter")
    assert main(["check", "--serve", "vllm", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert "an adapter (LORA)" in told
    assert f"={tmp_path / 'adapter'}" in told  # a server is given the folder, and not the run


def test_the_base_can_be_named(tmp_path, capsys):
    adapter = write(CASES["a base that is not at hand"], tmp_path)
    main(["check", "--serve", "vllm", str(adapter)])
    told = capsys.readouterr().out
    assert "not at hand: rules on the model were not asked; say --model FOLDER" in told
    assert "served, as far as the adapter alone tells" in told
    base = write(CASES["gpt-2"], tmp_path / "other").parent / "base"
    assert main(["check", "--serve", "vllm", str(adapter), "--model", str(base)]) == 2
    assert "GPT2LMHeadModel" in capsys.readouterr().out


def test_a_gguf_file(tmp_path, capsys):
    file = write_gguf(tmp_path / "my tuned.gguf", {"general.type": "adapter", "adapter.type": "lora"}, {})
    assert main(["check", "--serve", "llama.cpp", str(file)]) == 0
    assert f"llama-server -m BASE.gguf --lora '{file}'" in capsys.readouterr().out


def broken(place):
    """Paths of what cannot be judged, each with words that must be said of it."""
    adapter = write(CASES["plain"], place / "cut")
    weights = adapter / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    yield adapter, "adapter_model.safetensors: it is damaged"
    adapter = write(CASES["plain"], place / "no json")
    (adapter / "adapter_config.json").write_text("{")
    yield adapter, "no JSON that can be used"
    yield adapter / "adapter_config.json", "give its folder"
    model = place / "half a model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    (model / "model.safetensors.index.json").write_text('{"weight_map": {"a": "a.safetensors", "b": "b.safetensors"}}')
    (model / "a.safetensors").write_bytes(b"")
    yield model, "1 of the 2 files of weights that model.safetensors.index.json names are missing (b.safetensors)"
    adapter = write(CASES["plain"], place / "a list")
    (adapter / "adapter_config.json").write_text("[]")
    yield adapter, "expected a JSON object"
    adapter = write(CASES["plain"], place / "of nothing")
    (adapter / "adapter_config.json").write_text(json.dumps({"r": 8}))
    yield adapter, "names no peft_type"
    adapter = write(CASES["plain"], place / "its base")
    (adapter.parent / "base" / "config.json").write_text("{")
    yield adapter, "no JSON that can be used"
    yield write(CASES["plain"], place / "its weights") / "adapter_model.safetensors", "give its folder"
    empty = place / "empty"
    empty.mkdir()
    yield empty, "no adapter and no model lies here"
    ggufs = place / "ggufs"
    ggufs.mkdir()
    yield write_gguf(ggufs / "a.gguf", {}, {}).parent, "give a.gguf in it"
    several = place / "several"
    write(CASES["plain"], several)
    yield several, "give one of those inside it: tuned"
    cut = place / "cut.gguf"
    cut.write_bytes(write_gguf(ggufs / "b.gguf", {"general.type": "adapter"}, {"a": (2, 2)}).read_bytes()[:50])
    yield cut, "damaged or cut off"
    yield place / "nowhere" / "at" / "all", "there is no such folder"
    yield "no-such-adapter-on-this-machine", "there is no folder of this name here"


def test_what_cannot_be_read_is_one_sentence(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for path, words in broken(tmp_path):
        assert main(["check", "--serve", "all", str(path)]) == 2, path
        told = capsys.readouterr()
        assert words in told.err, (path, told.err)
        assert not told.out
        assert len(told.err.splitlines()) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--serve", "vlm"], "vlm"),
        (["--serve", "vllm", "--rank", "8", "--epochs", "2"], "--rank, --epochs"),
    ],
)
def test_other_flags_and_unknown_servers_are_refused(arguments, words, tmp_path, capsys):
    adapter = write(CASES["plain"], tmp_path)
    assert main(["check", *arguments, str(adapter)]) == 2
    assert words in capsys.readouterr().err


def test_odd_values_in_a_configuration_are_no_traceback(tmp_path, capsys):
    odd = {
        "r": "eight",
        "rank_pattern": [1],
        "target_modules": None,
        "lora_alpha": None,
        "base_model_name_or_path": 7,
        "init_lora_weights": {},
        "modules_to_save": "head",
    }
    for number, (name, value) in enumerate(odd.items()):
        adapter = write(CASES["plain"], tmp_path / str(number))
        config = json.loads((adapter / "adapter_config.json").read_text())
        (adapter / "adapter_config.json").write_text(json.dumps({**config, name: value}))
        assert main(["check", "--serve", "all", str(adapter)]) in {0, 2}
        assert not capsys.readouterr().err, name


def test_neither_torch_nor_peft_is_loaded(tmp_path):
    adapter = write(CASES["plain"], tmp_path)
    code = (
        "import sys; from retain.cli.main import main; "
        f"assert main(['check', '--serve', 'vllm', {str(adapter)!r}]) == 0; "
        "print([name for name in ('torch', 'transformers', 'peft') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
