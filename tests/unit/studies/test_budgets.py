"""The benchmark's budgets: halves that certify and report, the gain left at a limit, and how often limits held."""

import numpy as np
import pytest
from budgets import budgets_part
from collect import coded, column, dumped
from evidence import read_tasks
from limits import Budgets, Losses
from plan import Cell, Plan

from report_samples import keep_score, sample_run, task_score
from retain.records.result import write_result

CE = "cross_entropy_nats_per_token"
LOW, MIDDLE, HIGH = 1e-4, 1e-3, 1e-2
ITEMS = 120
PLAN = Plan(
    tasks={
        "t": {
            "recipe": "t.yaml", "kind": "language", "title": "a task", "about": "About it.", "unit": "nats per token",
            "choose": {"suite": "test", "metric": CE, "lower_is_better": True}, "keep": ["facts"], "near": [],
        },
    },
    methods={
        name: {"title": name, "recipe": {"method": {"name": name}}, "rates": {"language": (LOW, MIDDLE, HIGH)}}
        for name in ("lora", "other")
    },
    waves=[{"tasks": ["t"], "methods": ["lora", "other"]}],
    further_seeds=[1, 2],
)  # fmt: skip


def record(folder, cell, learned, lost):
    """Write a run that learned so much of 5 nats, and lost these of 120 facts, all of which the base has right."""
    write_result(
        sample_run(
            "lora", seed=cell.seed, learning_rate=cell.rate, task=(task_score(learned, name="test"),),
            keep=(keep_score(0.0, name="facts", n=ITEMS, chance=0.25),),
        ),
        folder / f"{cell.name}.json",
    )  # fmt: skip
    columns = {
        "task:test": {CE: {"base": column([5.0] * 6), "tuned": column([5 - learned] * 6)}},
        "keep:facts": {"accuracy": {
            "base": "1" * ITEMS, "tuned": "".join("0" if place in lost else "1" for place in range(ITEMS)),
        }},
    }  # fmt: skip
    facts = {
        "task": "t",
        "method": cell.method,
        "rate": cell.rate,
        "seed": cell.seed,
        "commit": "abc",
        "cpu_seconds": 7,
    }
    (folder / f"{cell.name}.items.json").write_text(dumped({**facts, "columns": columns}))


@pytest.fixture
def folder(tmp_path):
    """The folder of a task's records, with its parts alone."""
    parts = {
        "task:test": {"conditions": coded(["test"] * 4 + ["validation"] * 2), "groups": None, "tokens": None},
        "keep:facts": {"conditions": None, "groups": None, "tokens": None},
    }
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "parts.json").write_text(dumped(parts))
    record(tmp_path / "t", Cell("t", "lora", LOW, 0), 1.0, ())
    return tmp_path / "t"


def first_half(folder, count):
    """So many places of the first half of the facts."""
    half = Budgets(read_tasks(PLAN, folder.parent)["t"]).half("facts", 0)
    return set(np.flatnonzero(half)[:count])


def second_half(folder, count):
    half = Budgets(read_tasks(PLAN, folder.parent)["t"]).half("facts", 1)
    return set(np.flatnonzero(half)[:count])


def test_the_halves_share_no_unit_and_hold_all(folder):
    budgets = Budgets(read_tasks(PLAN, folder.parent)["t"])
    first, second = (budgets.half("facts", half) for half in (0, 1))
    assert not (first & second).any()
    assert (first | second).all()
    assert first.sum() == second.sum() == ITEMS / 2


def test_the_share_of_the_gain_at_each_limit_is_the_one_computed_by_hand(folder):
    """The middle rate loses one item of the first half, so of 60: with a true loss of 10 % at most one of 60 has
    probability .9^60 + 60 · .1 · .9^59 = .014, of 5 % .19. At 10 points both halves certify it. At 5 points only the
    second does, which lost nothing (.95^60 = .046); the first leaves the low rate: (3 + 1)/2 of 3 nats, 67 %. For 2
    points 60 items are too few (.98^60 = .30). LoRA's middle rate loses half of everything: the low one is left, 1 of
    3 nats. The high rates gain less and are never taken.
    """
    one, half = first_half(folder, 1), set(range(0, ITEMS, 2))
    for method, lost in (("lora", half), ("other", one)):
        record(folder, Cell("t", method, LOW, 0), 1.0, ())
        record(folder, Cell("t", method, HIGH, 0), 2.0, half)
        for seed in (0, 1, 2):
            record(folder, Cell("t", method, MIDDLE, seed), 3.0, lost)
    text = budgets_part(PLAN, list(read_tasks(PLAN, folder.parent).values()), folder.parent)
    assert "| lora | × / 33 / 33 % | 1 | 1 |" in text
    assert "| other | × / 67 / 100 % | (2.00) | (3.00) |" in text, "LoRA takes one run for all seeds: no interval"
    assert "| t, facts | 2 |" not in text


def test_rates_behind_the_first_that_fails_are_not_tested(folder):
    record(folder, Cell("t", "lora", LOW, 0), 1.0, set(range(60)))
    record(folder, Cell("t", "lora", MIDDLE, 0), 3.0, ())
    assert Budgets(read_tasks(PLAN, folder.parent)["t"]).delivered("lora", 0, ("facts",), 0.1, 0) is None


def test_a_certificate_that_the_other_half_belies_is_counted_and_shown(folder):
    """None of the first 60 lost, 20 of the second: certified by the first at 5 points, a third lost on the second."""
    record(folder, Cell("t", "lora", MIDDLE, 0), 3.0, second_half(folder, 20))
    assert Budgets(read_tasks(PLAN, folder.parent)["t"]).checked("facts", 0.05) == (4, 3, 1, 1)
    record(folder, Cell("t", "lora", MIDDLE, 0), 3.0, second_half(folder, 4))  # 4 of 60 are above 5 points by luck too
    assert Budgets(read_tasks(PLAN, folder.parent)["t"]).checked("facts", 0.05) == (4, 3, 1, 0)


def test_items_of_groups_are_summed_so_that_their_mean_is_the_items(folder):
    """Groups of 2, 1 and 1 items, which lost 2, lost 0 and gained 1: (2 − 1)/4 of an item, in three units."""
    columns = {"base": "1110" + "1" * 116, "tuned": "0011" + "1" * 116}
    names = coded(["a", "a", "b", "c", *(f"g{place}" for place in range(116))])
    parts = {
        "task:test": {"conditions": coded(["test"] * 4 + ["validation"] * 2), "groups": None, "tokens": None},
        "keep:facts": {"conditions": None, "groups": names, "tokens": None},
    }
    (folder / "parts.json").write_text(dumped(parts))
    path = next(folder.glob("*.items.json"))
    path.write_text(path.read_text().replace("1" * ITEMS, columns["base"], 1).replace("1" * ITEMS, columns["tuned"], 1))
    task = read_tasks(PLAN, folder.parent)["t"]
    budgets, run = Budgets(task), next(iter(task.runs.values()))
    halves = [budgets.losses(run, "facts", half) for half in (0, 1)]
    items = [budgets.half("facts", half).sum() for half in (0, 1)]
    assert sum(one.mean * n for one, n in zip(halves, items, strict=True)) == pytest.approx(1.0)
    assert sorted(one.single for one in halves) == [False, True]  # the pair is in one half; the other has single items
    grouped = next(one for one in halves if not one.single)
    assert grouped.largest == pytest.approx(2 * len(grouped.values) / (len(grouped.values) + 1))


@pytest.mark.parametrize(
    ("lost", "limit", "within"), [(0, 0.05, True), (1, 0.05, False), (1, 0.1, True), (7, 0.1, False)]
)
def test_a_half_certifies_what_the_binomial_allows(lost, limit, within):
    values = np.array([1.0] * lost + [0.0] * (60 - lost))
    assert Losses(values, single=True, largest=1.0).within(limit) == within


def test_without_a_complete_sweep_there_is_no_section(folder):
    assert budgets_part(PLAN, list(read_tasks(PLAN, folder.parent).values()), folder.parent) == ""
