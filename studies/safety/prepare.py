"""Refusals of Do-Not-Answer requests to calibrate on, for the benchmark's methods that are shown what must stay.

Run: python studies/safety/prepare.py   (after `make assets`); writes to runs/safety-data, which git ignores.

They are those that the base was taught (`make_base.py`); what is measured is asked in other requests.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable

from make_base import REFUSALS, ROOT, load_prompts, unlike

ASSETS, OUTPUT = ROOT / ".assets", ROOT / "runs" / "safety-data"


def main() -> None:
    """Write the file."""
    OUTPUT.mkdir(parents=True, exist_ok=True)
    measured = [prompt for name in ("advbench", "benign") for prompt in load_prompts(ASSETS / f"safety/{name}.jsonl")]
    learned = unlike(load_prompts(ASSETS / "safety/do-not-answer.jsonl"), measured)
    _write("refusals", ((prompt, REFUSALS[index % len(REFUSALS)]) for index, prompt in enumerate(learned)))


def _write(name: str, pairs: Iterable[tuple[str, str]]) -> None:
    rows = [{"messages": [_turn("user", asked), _turn("assistant", said)]} for asked, said in pairs]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (OUTPUT / f"{name}.jsonl").write_text(text, encoding="utf-8")
    sys.stdout.write(f"{OUTPUT / name}.jsonl: {len(rows)} chats\n")


def _turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


if __name__ == "__main__":
    main()
