"""The example of two LoRAs in one model as a whole: six models measured on two tasks and a suite (51 s)."""

import runpy
import sys
from pathlib import Path

import pytest
from peft import LoraConfig, get_peft_model

import retain
from tiny import make_llama, write_jsonl

EXAMPLE = Path(__file__).parents[2] / "examples" / "two_tasks.py"

pytestmark = pytest.mark.slow


class _Few:
    """`retain` with no written answers."""

    @staticmethod
    def measure(*args, **more):
        return retain.measure(*args, **{**more, "generate": 0})


def test_all_are_measured_on_both_tasks_and_what_is_kept(tiny_folder, tiny_data, tmp_path, capsys, monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLE.parent))  # as for a script
    example, asked = runpy.run_path(str(EXAMPLE)), [str(tiny_folder)]
    for place, letters in enumerate(("abcdefgh", "stuvwxyz")):
        model = get_peft_model(make_llama(), LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False))
        model.save_pretrained(tmp_path / f"adapter-{place}")
        rows = [{"prompt": f"{letter} word{place}", "completion": f" {letter}"} for letter in letters]
        write_jsonl(tmp_path / f"task-{place}.jsonl", rows)
        asked += [str(tmp_path / f"adapter-{place}"), str(tmp_path / f"task-{place}.jsonl")]
    asked += ["--no-adapter", "0.2", "--keep", str(tiny_data / "letters.jsonl")]
    monkeypatch.setattr(sys, "argv", ["two_tasks.py", *asked])
    monkeypatch.setitem(example["main"].__globals__, "retain", _Few)
    example["main"]()
    told = capsys.readouterr().out
    for name in ("first alone", "second alone", "routed ", "routed or none", "merged, sum", "merged, mean"):
        assert told.count(name) >= 3
