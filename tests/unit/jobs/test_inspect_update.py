"""Where an adapter's change lies, from the command line."""

import torch
from peft import LoraConfig, get_peft_model

from retain.cli.main import main
from tiny import make_llama


def test_a_lora_along_leading_directions_is_found_in_zone_one(tmp_path, tiny_folder, capsys):
    model = get_peft_model(make_llama(), LoraConfig(r=1, lora_alpha=1, target_modules=["q_proj", "down_proj"]))
    with torch.no_grad():
        for name, layer in model.named_modules():
            if hasattr(layer, "lora_A"):
                U, _, Vt = torch.linalg.svd(layer.base_layer.weight)
                place = 0 if "q_proj" in name else -1
                layer.lora_A["default"].weight.copy_(Vt[place][None])
                layer.lora_B["default"].weight.copy_(U[:, place][:, None])
    model.save_pretrained(tmp_path / "adapter")
    asked = ["inspect", str(tmp_path / "adapter"), "--model", str(tiny_folder), "--output", str(tmp_path / "look")]
    assert main(asked) == 0
    assert "zone I" in capsys.readouterr().out
    page = (tmp_path / "look" / "inspect.md").read_text(encoding="utf-8")
    rows = {line.split("|")[1].strip(): line.split("|")[2].strip() for line in page.splitlines() if "layers." in line}
    leading = {name.replace("\\", ""): cell for name, cell in rows.items()}
    assert leading["model.layers.0.self_attn.q_proj"] == "100%"
    model.save_pretrained(tmp_path / "run" / "adapter")
    asked[1], asked[-1] = str(tmp_path / "run"), str(tmp_path / "again")
    assert main(asked) == 0  # a run's adapter
    again = (tmp_path / "again" / "inspect.md").read_text(encoding="utf-8")
    assert (
        again.splitlines()[2:]
        == page.replace(str(tmp_path / "adapter"), str(tmp_path / "run" / "adapter")).splitlines()[2:]
    )
    assert float(leading["model.layers.1.mlp.down_proj"].rstrip("%").replace("−", "-")) < 1e-6


def test_what_is_no_adapter_is_refused(tmp_path, tiny_folder, capsys):
    assert main(["inspect", str(tmp_path), "--model", str(tiny_folder)]) == 2
    assert "no adapter there" in capsys.readouterr().err
