"""Data of this study: headlines as chats, and refusals of Do-Not-Answer requests to calibrate on.

Run: python studies/safety/prepare.py   (after `make assets`); writes to runs/safety-data, which git ignores.

The headlines are the demo's, put as a user's message and an assistant's reply, as chat models are tuned. The refusals
are those that the base was taught (`make_base.py`), for runs that are shown what must stay; what is measured is asked
in other requests.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable

from make_base import REFUSALS, ROOT, load_prompts, unlike

ASSETS, OUTPUT = ROOT / ".assets", ROOT / "runs" / "safety-data"


def main() -> None:
    """Write all three files."""
    OUTPUT.mkdir(parents=True, exist_ok=True)
    for part in ("train", "test"):
        lines = (ASSETS / "headlines" / f"{part}.jsonl").read_text("utf-8").splitlines()
        _write(f"headlines-{part}", ((row["prompt"], row["completion"].strip()) for row in map(json.loads, lines)))
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
