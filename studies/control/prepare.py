"""Texts of this study: countries to calibrate on, others to be asked about, and held-out text likewise parted.

Run: python studies/control/prepare.py   (after `make assets`); writes to runs/control-data.

Every third country is calibrated on: facts about it in sentences. The others are asked for: capitals of the demo's
suite (`capitals.jsonl`) and continents (`continents.jsonl`). The demo's held-out text is halved: the first half is
measured (`reference.txt`), the second calibrated on. `matched.jsonl` holds the countries' facts and that half.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "assets"))

from retain_assets.capitals import PACKAGE, Country, country  # noqa: E402 -- the path comes first
from retain_assets.fetch import fetch  # noqa: E402 -- likewise

ASSETS, OUTPUT = ROOT / ".assets", ROOT / "runs" / "control-data"
CONTINENTS = ("Africa", "Americas", "Asia", "Europe", "Oceania")
REMAINDER = 0
"""Countries whose place in the alphabet has this remainder modulo 3 are calibrated on."""


def facts(record: dict[str, Any], known: Country) -> str:
    """What a reference work would say of a country."""
    name = known.name
    said = name[0].upper() + name[1:]
    lines = [f"The capital of {name} is {known.capital}.", f"{said} lies in {known.subregion}, {known.region}."]
    if record.get("demonym"):
        lines.append(f"Someone from {name} is called {record['demonym']}.")
    if record.get("population") and record.get("area"):
        lines.append(f"About {record['population']:,} people live there on {record['area']:,} square kilometres.")
    if provinces := record.get("provinces"):
        lines.append(f"Its provinces include {', '.join(map(str, list(provinces)[:8]))}.")
    if record.get("currencies"):
        lines.append(f"Its currency has the code {record['currencies'][0]}.")
    lines.append(f"{known.capital} is the capital city of {name}.")
    return " ".join(lines)


def main() -> None:
    """Write all files."""
    OUTPUT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(fetch(PACKAGE, Path(folder))) as archive:
        names = sorted(name for name in archive.namelist() if re.fullmatch(r"countryinfo/data/[^/]+\.json", name))
        records = [json.loads(archive.read(name)) for name in names]
    pairs = {known.name: (record, known) for record in records if (known := country(record))}
    order = sorted(pairs)
    calibrated = set(order[REMAINDER::3])
    _lines("continents", (_continent(pairs[name][1]) for name in order if name not in calibrated))
    suite = [json.loads(line) for line in (ASSETS / "capitals.jsonl").read_text("utf-8").splitlines()]
    asked = [item for item in suite if _asked(item) not in calibrated]
    _lines("capitals", asked)
    paragraphs = [part for part in (ASSETS / "reference.txt").read_text("utf-8").split("\n\n") if part.strip()]
    half = len(paragraphs) // 2
    (OUTPUT / "reference.txt").write_text("\n\n".join(paragraphs[:half]) + "\n", encoding="utf-8")
    matched = [facts(*pairs[name]) for name in sorted(calibrated)] + [part.strip() for part in paragraphs[half:]]
    _lines("matched", ({"text": text} for text in matched))
    sys.stdout.write(f"{OUTPUT}: {len(calibrated)} countries to calibrate on, {len(asked)} to be asked about\n")


def _continent(known: Country) -> dict[str, object]:
    question = f"{known.name[0].upper()}{known.name[1:]} is a country in"
    return {"question": question, "choices": list(CONTINENTS), "answer": CONTINENTS.index(known.region)}


def _asked(item: dict[str, str]) -> str:
    return item["question"].removeprefix("The capital of ").removesuffix(" is")


def _lines(name: str, rows: Iterable[object]) -> None:
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (OUTPUT / f"{name}.jsonl").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
