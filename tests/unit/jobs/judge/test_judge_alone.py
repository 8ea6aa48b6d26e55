"""`retain judge` runs with the packages of the dependency group `judge` alone, as the GitHub Action installs them."""

import json
import os
import subprocess
import sys

NOT_THERE = ("torch", "transformers", "peft", "accelerate", "datasets", "safetensors", "huggingface_hub", "sklearn")

PROGRAM = f"""
import sys

class NotThere:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {NOT_THERE!r}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, NotThere())
from retain.cli.main import main
sys.exit(main(["judge", *sys.argv[1:]]))
"""


def test_two_logs_are_judged_without_what_trains(tmp_path):
    for name, right in (("base", 60), ("tuned", 30)):
        rows = [json.dumps({"id": str(number), "correct": int(number < right)}) for number in range(60)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(rows), encoding="utf-8")
    command = [sys.executable, "-c", PROGRAM, "base.jsonl", "tuned.jsonl"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
    assert "lost" in ended.stdout, ended.stderr
    assert ended.returncode == 3
