"""What `retain tune` delivers is ready for the hub: its card holds the verdict, and a run can be exported as it is."""

import yaml

from retain.cli.main import main
from retain.records.export_record import read_export
from retain.records.manifest import changed, is_own


def test_the_card_beside_the_weights_tells_the_verdict_and_no_path(tiny_folder, tiny_data, tmp_path):
    run = tmp_path / "secret" / "run"
    data = ["--train", str(tiny_data / "train.jsonl"), "--test", str(tiny_data / "test.jsonl")]
    flags = ["--held-out-text", str(tiny_data / "text.txt"), "--keep", f"letters:={tiny_data / 'letters.jsonl'}"]
    short = ["--max-steps", "2", "--generate", "0", "--held-out-tokens", "200", "--drift", "false"]
    assert (
        main(["tune", "--model", str(tiny_folder), "--method", "lorfa", *data, *flags, *short, "--output", str(run)])
        == 0
    )
    card = (run / "adapter" / "README.md").read_text(encoding="utf-8")
    _before, front, text = card.split("---\n", 2)
    assert yaml.safe_load(front)["library_name"] == "peft"
    assert "## What this fine-tune learned and lost" in text
    assert "import retain  # makes lorfa known to PEFT" in text
    for path in (tmp_path, tiny_folder, tiny_data):
        assert str(path) not in card
    assert is_own(run / "adapter")
    assert not changed(run / "adapter")
    assert main(["export", str(run), "--to", "lora"]) == 0
    record = read_export(run / "export-lora")
    assert record.verdict
    assert record.loss.kl < 1e-6
    assert record.held_out_text
    for path in (run / "export-lora").rglob("*"):
        content = path.read_bytes()
        assert not any(str(place).encode() in content for place in (tmp_path, tiny_folder, tiny_data)), path
