"""The base that is taught images: no measured emoji is taught, and what is saved is the taught encoder."""

import json
import sys
from types import SimpleNamespace

import image_base
import pytest
import torch
from transformers import AutoModel

from tiny import COLOURS, make_image_processor, make_vit, write_images, write_jsonl


def table(folder, count):
    """Rows of pictures of both classes, each with a group of its own."""
    write_images(folder / "pictures", count, classes=("red", "blue"))
    files = sorted((folder / "pictures").rglob("*.png"))
    return [
        {"image": str(file.relative_to(folder)), "label": file.parent.name, "group": f"code{n}"}
        for n, file in enumerate(files)
    ]


@pytest.fixture
def assets(tmp_path, monkeypatch):
    """Tables of eight garments and eight emoji, of which a suite measures the first and looks up the second."""
    for kind, name in (("garments", "train"), ("emoji", "google-train")):
        (tmp_path / kind).mkdir()
        write_jsonl(tmp_path / kind / f"{name}.jsonl", table(tmp_path / kind, 4))
    measured = SimpleNamespace(items=[SimpleNamespace(group="code0")], bank=[SimpleNamespace(group="code1")])
    monkeypatch.setattr(image_base, "load_suite", lambda *_: measured)
    monkeypatch.setattr(image_base, "BATCH", {"garments": 2, "emoji": 2})
    monkeypatch.setattr(image_base, "STEPS", 8)
    monkeypatch.setattr(image_base, "SHOWN", 3)
    make_vit().save_pretrained(tmp_path / "vit-small-56")
    make_image_processor().save_pretrained(tmp_path / "vit-small-56")
    return tmp_path


def test_measured_emoji_are_not_taught(assets):
    found = image_base.taught(assets)
    assert {item.group for item in found["emoji"]} == {f"code{n}" for n in range(2, 8)}
    assert len(found["garments"]) == 8


def test_the_taught_encoder_is_saved_without_its_head_and_what_is_shown_is_found(assets, tmp_path, monkeypatch):
    output = tmp_path / "made" / "base"
    monkeypatch.setattr(sys, "argv", ["image_base.py", "--assets", str(assets), "--output", str(output)])
    image_base.main()
    saved, info = AutoModel.from_pretrained(output, output_loading_info=True)
    assert not info["unexpected_keys"]
    before = AutoModel.from_pretrained(assets / "vit-small-56").state_dict()
    moved = [name for name, value in saved.state_dict().items() if not torch.equal(value, before[name])]
    assert any("attention" in name for name in moved)
    shown = [json.loads(line) for line in (output / "shown.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(shown) == 6
    assert all((output / row["image"]).is_file() and row["label"] in COLOURS for row in shown)
    made = json.loads((output / "made.json").read_text(encoding="utf-8"))
    assert made["pictures"] == {"garments": 8, "emoji": 6}
