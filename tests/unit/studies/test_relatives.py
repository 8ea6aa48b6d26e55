"""The page of the comparison of relatives, from records of a few runs; its plan is that of the shipped recipe."""

import sys
from pathlib import Path

import pytest

STUDY = Path(__file__).parents[3] / "studies" / "relatives"
sys.path.insert(0, str(STUDY))

import relatives_page  # noqa: E402 -- found only now
from collect import coded, column, dumped  # noqa: E402 -- likewise
from evidence import WINDOWS, read_tasks  # noqa: E402 -- likewise
from plan import Cell  # noqa: E402 -- likewise
from relatives_plan import read_plan  # noqa: E402 -- likewise

from report_samples import keep_score, sample_run, task_score  # noqa: E402 -- likewise
from retain.records.result import write_result  # noqa: E402 -- likewise

CE = "cross_entropy_nats_per_token"
TEN = {"conditions": None, "groups": None, "tokens": None}
PARTS = {
    "task:test": {**TEN, "conditions": coded(["test"] * 6 + ["validation"] * 2 + ["shifted"] * 2)},
    "keep:facts": TEN,
    "keep:kinds": TEN,
    WINDOWS: {"conditions": coded(["news", "learned"]), "groups": None, "tokens": [10.0, 10.0]},
}  # fmt: skip


def record(folder, method, rate, seed, learned):
    cell = Cell("headlines", method, rate, seed)
    keep = tuple(keep_score(0.0, name=name, n=10, chance=0.25) for name in ("facts", "kinds"))
    write_result(
        sample_run("lora", seed=seed, learning_rate=rate, task=(task_score(learned, name="test"),), keep=keep),
        folder / f"{cell.name}.json",
    )
    right = {"base": "1" * 8 + "00", "tuned": "1" * 7 + "000"}
    columns = {
        "task:test": {CE: {"base": column([5.0] * 10), "tuned": column([5.0 - learned] * 10)}},
        "keep:facts": {"accuracy": right},
        "keep:kinds": {"accuracy": right},
        WINDOWS: {"kl_nats_per_token": {"base": "--", "tuned": column([0.1, 0.2])}},
    }
    facts = {"task": "headlines", "method": method, "rate": rate, "seed": seed, "columns": columns}
    (folder / f"{cell.name}.items.json").write_text(dumped(facts))
    (folder / "parts.json").write_text(dumped(PARTS))


def test_the_plan_is_the_recipes_with_three_rates_over_a_decade_and_a_half():
    plan = read_plan()
    assert set(plan.methods) == {"lora", "sc-lora", "vefa", "sparse", "rotation"}
    for name in plan.methods:
        low, _, high = plan.rates("headlines", name)
        assert 25 <= high / low <= 35
    assert plan.planned("headlines") == 25


def test_the_page_tells_what_was_run_and_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(relatives_page, "RECORDS", tmp_path)
    folder = tmp_path / "headlines"
    folder.mkdir()
    plan = read_plan()
    for method in ("lora", "rotation"):
        for rate, learned in zip(plan.rates("headlines", method), (1.0, 2.0, 1.5), strict=True):
            record(folder, method, rate, 0, learned)
    for seed in (1, 2):
        record(folder, "rotation", 6e-4, seed, 2.0)
    record(folder, "vefa", 2e-3, 0, 0.5)
    text = relatives_page.page(plan, read_tasks(plan, tmp_path)["headlines"])
    assert "9 of 25 runs" in text
    assert "| rotation | 0.0006 | 3 | 2.00 ± 0.00 | 2.00 |" in text
    assert "| VeFA | 1 of 3 tried |" in text
    assert "Not all rates were run yet: SC-LoRA, VeFA, sparse (gradient)." in text
    assert text.count("| yes |") == 2
    (row,) = (line for line in text.split("## What the updates look like")[1].splitlines() if "| rotation |" in line)
    assert row.startswith("| rotation | 0.0006 |")


@pytest.mark.skipif(not (STUDY / "README.md").is_file(), reason="no run is complete yet")
def test_the_committed_page_is_what_the_records_say():
    plan = read_plan()
    text = relatives_page.page(plan, read_tasks(plan, STUDY / "records")["headlines"])
    assert (STUDY / "README.md").read_text(encoding="utf-8") == text, "run python studies/relatives/relatives_page.py"
