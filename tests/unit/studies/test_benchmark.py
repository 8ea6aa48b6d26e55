"""The benchmark's bookkeeping: what is run next, what of a run is kept, which rate is chosen, what the page says."""

import json
from dataclasses import replace
from itertools import product

import goal
import numpy as np
import page as page_of_records
import pytest
import whole
from advice import kinds_part, recommended
from choose import best_rate
from collect import coded, collect, column, columns_of, dumped, slim, values
from evidence import TEXT, WINDOWS, Draws, change, gain, kept, read_tasks, text_kl
from front import caption
from goal import goal_part
from page import ADVICE, CAPTION, FRONT, GUIDE, HERE, page, ratios_of
from plan import Cell, Plan, overrides, read_plan
from whole import compared
from written import with_part

from report_samples import keep_score, sample_run, task_score
from retain.compare.trade_off import hypervolume, retention_at_matched_task
from retain.methods import table
from retain.records.items import Item, Side, write_items
from retain.records.recommended import shipped
from retain.records.result import write_result

CE = "cross_entropy_nats_per_token"
RATES = (1e-4, 1e-3, 1e-2)
PLAN = Plan(
    tasks={
        "t": {
            "recipe": "t.yaml", "kind": "language", "title": "a task", "about": "About it.", "unit": "nats per token",
            "choose": {"suite": "test", "metric": CE, "lower_is_better": True}, "keep": ["facts"], "near": ["a"],
        },
    },
    methods={
        "lora": {"title": "LoRA", "recipe": {"method": {"name": "lora"}}, "rates": {"language": RATES}},
        "other": {
            "title": "Other", "steps": 0.5, "recipe": {"method": {"name": "vefa"}}, "rates": {"language": RATES},
            "of": {"language": {"rank": 4}},
        },
    },
    waves=[{"tasks": ["t"], "methods": ["lora", "other"]}],
    further_seeds=[1, 2],
)  # fmt: skip
PARTS = {
    "task:test": {"conditions": coded(["test"] * 4 + ["validation"] * 2 + ["new"] * 2), "groups": None, "tokens": None},
    "keep:facts": {"conditions": None, "groups": coded([f"g{index // 2}" for index in range(20)]), "tokens": None},
    WINDOWS: {"conditions": coded(["a", "a", "b", "b"]), "groups": None, "tokens": [10.0, 30.0, 20.0, 20.0]},
}


def record(folder, cell, *, learned, right, kl, validation=None):
    """Write a run that learned so much of 5 nats, answers so many of 20 facts (the base 16), and drifts so far."""
    write_result(
        sample_run(
            "lora", seed=cell.seed, learning_rate=cell.rate,
            task=(task_score(learned, name="test"),), keep=(keep_score(0.0, name="facts", n=20, chance=0.25),),
        ),
        folder / f"{cell.name}.json",
    )  # fmt: skip
    after = [5 - learned] * 4 + [5 - (learned if validation is None else validation)] * 2 + [5 - learned / 2] * 2
    columns = {
        "task:test": {CE: {"base": column([5.0] * 8), "tuned": column(after)}},
        "keep:facts": {"accuracy": {"base": "1" * 16 + "0" * 4, "tuned": "1" * right + "0" * (20 - right)}},
    }
    columns[WINDOWS] = {"kl_nats_per_token": {"base": "----", "tuned": column([kl, 3 * kl, kl, 3 * kl])}}
    facts = {
        "task": cell.task,
        "method": cell.method,
        "rate": cell.rate,
        "seed": cell.seed,
        "commit": "abc",
        "wall_seconds": 90.0,
        "cpu_seconds": 70.0,
    }
    (folder / f"{cell.name}.items.json").write_text(dumped({**facts, "columns": columns}))
    (folder / "parts.json").write_text(dumped(PARTS))


def page_of(records, plan=PLAN):
    """The page of some records."""
    tasks = read_tasks(plan, records)
    found = {name: ratios_of(plan, task) for name, task in tasks.items()}
    return page(plan, tasks, records, found, recommended(plan, tasks, found, records))


def compared_in(records, suite):
    """Both methods' ratios to LoRA's."""
    task = read_tasks(PLAN, records)["t"]
    return compared(task, ["lora", "other"], suite, Draws(task, 60, 0))


@pytest.fixture
def records(tmp_path, monkeypatch):
    """LoRA, and a method that gains as much at a tenth of the KL and loses no fact: three rates, two further seeds."""
    monkeypatch.setattr(page_of_records, "DRAWS", 60)
    folder = tmp_path / "t"
    folder.mkdir()
    for rate, learned in zip(RATES, (1.0, 3.0, 2.0), strict=True):
        record(folder, Cell("t", "lora", rate, 0), learned=learned, right=14, kl=0.2 * learned)
        record(folder, Cell("t", "other", rate, 0), learned=learned, right=16, kl=0.02 * learned)
    for seed, method in product((1, 2), ("lora", "other")):
        right, share = (14, 0.2) if method == "lora" else (16, 0.02)
        record(folder, Cell("t", method, 1e-3, seed), learned=3.0, right=right, kl=share * 3)
    return tmp_path


def test_sweeps_come_first_and_seeds_once_a_rate_is_chosen():
    names = [cell.name for cell in PLAN.cells(lambda _, method: 1e-3 if method == "lora" else None)]
    assert names[:3] == ["lora-lr0.001-seed0", "lora-lr0.0001-seed0", "lora-lr0.01-seed0"]
    assert names[6:] == ["lora-lr0.001-seed1", "lora-lr0.001-seed2"]
    assert PLAN.planned("t") == 10


def test_a_method_may_take_fewer_steps_and_other_fields_on_a_kind_of_model():
    given = overrides(PLAN, Cell("t", "other", 1e-3, 2), steps=33)
    assert given == {"method": {"name": "vefa"}, "rank": 4, "max_steps": 16, "learning_rate": 1e-3, "seed": 2}
    assert "max_steps" not in overrides(PLAN, Cell("t", "lora", 1e-3, 2), steps=33)


def test_the_rate_is_chosen_on_validation_items_alone(records):
    assert best_rate(PLAN, records, "t", "lora") == 1e-3
    record(records / "t", Cell("t", "lora", 1e-2, 0), learned=0.1, right=14, kl=0.1, validation=4.0)
    assert best_rate(PLAN, records, "t", "lora") == 1e-2  # though it learned least of the test items


def test_of_equally_good_rates_the_lowest_is_chosen_and_none_while_a_run_is_missing(records):
    record(records / "t", Cell("t", "lora", 1e-4, 0), learned=3.0, right=14, kl=0.1)
    assert best_rate(PLAN, records, "t", "lora") == 1e-4
    (records / "t" / "lora-lr0.01-seed0.items.json").unlink()
    assert best_rate(PLAN, records, "t", "lora") is None


def test_of_a_method_that_weakens_lora_the_middle_strength_is_taken(records):
    methods = {**PLAN.methods, "other": {**PLAN.methods["other"], "after": "scaled"}}
    record(records / "t", Cell("t", "other", 1e-2, 0), learned=4.0, right=14, kl=0.1)
    plan = replace(PLAN, methods=methods)
    assert best_rate(plan, records, "t", "other") == 1e-3
    assert plan.needs(Cell("t", "other", 0.5, 2), 1e-4) == Cell("t", "lora", 1e-4, 2)


def test_where_lora_keeps_nothing_there_is_no_ratio(records):
    for cell in read_tasks(PLAN, records)["t"].runs:
        if cell.method == "lora":
            record(records / "t", cell, learned=3.0, right=0, kl=0.6)
    assert "| Other | LoRA: 0 |" in page_of(records)


@pytest.mark.parametrize("scores", [[1.0, 0.0, None, 1.0], [0.12345678, None, 3.0], []])
def test_a_column_is_read_as_it_was_written_to_four_digits(scores):
    assert values(json.loads(json.dumps(column(scores)))) == pytest.approx(
        [None if score is None else pytest.approx(score, rel=1e-3) for score in scores]
    )


def test_what_is_collected_holds_no_texts_and_runs_on_other_items_are_refused(tmp_path):
    run = tmp_path / "run"
    side = Side(answer="a secret text", scores={"accuracy": 1.0, "log-likelihood of 'x'": -3.0})
    one = {"part": "keep", "suite": "capitals", "question": "a question", "base": side, "tuned": side}
    items = [Item(index=index, group=group, **one) for index, group in enumerate(("a", "b", "b"))]
    write_items(items, run / "items.jsonl")
    write_result(sample_run(), run / "result.json")
    collect(run, tmp_path / "records", {"commit": "abc"})
    written = (tmp_path / "records" / "run.items.json").read_text()
    assert "secret" not in written
    assert "question" not in written
    assert json.loads(written)["columns"] == {"keep:capitals": {"accuracy": {"base": "111", "tuned": "111"}}}
    write_items(items[:2], run / "items.jsonl")
    with pytest.raises(ValueError, match="other items"):
        collect(run, tmp_path / "records", {"commit": "abc"})


def test_parts_say_which_items_belong_together():
    side = Side(scores={"accuracy": 0.0})
    one = {"part": "keep", "suite": "s", "question": "q", "base": side, "tuned": side}
    items = [Item(index=index, condition=name, **one) for index, name in enumerate(("near", "far", "near"))]
    _, parts = columns_of(items, {"accuracy"})
    assert parts["keep:s"]["conditions"] == {"names": ["near", "far"], "of": [0, 1, 0]}
    assert parts["keep:s"]["groups"] is None


def test_figures_are_of_test_items_and_drift_is_weighted_by_tokens(records):
    task = read_tasks(PLAN, records)["t"]
    run, draws = task.runs[Cell("t", "lora", 1e-3, 0)], Draws(task, 5, 0)
    assert gain(task, run, draws)[0] == pytest.approx(3.0)
    assert gain(task, run, draws, "new")[0] == pytest.approx(1.5)
    assert change(task, run, draws, "facts")[0] == pytest.approx(-0.1)
    assert kept(task, run, draws, "facts")[0] == pytest.approx((0.7 - 0.25) / (0.8 - 0.25))
    assert text_kl(task, run, draws, ["a"])[0] == pytest.approx(0.6 * (10 + 3 * 30) / 40)
    assert kept(task, run, draws, TEXT)[0] == pytest.approx(-0.6 * (10 + 3 * 30 + 20 + 3 * 20) / 80)


def test_items_without_a_group_beside_groups_are_drawn_one_by_one(records):
    """They were all taken for one group, so the gain did not vary over draws at all."""
    groups = coded([None] * 4 + ["g", "g"] + [None] * 2)
    (records / "t" / "parts.json").write_text(dumped({**PARTS, "task:test": {**PARTS["task:test"], "groups": groups}}))
    counts = Draws(read_tasks(PLAN, records)["t"], 50, 0).counts("task:test")
    assert (counts[:, 4] == counts[:, 5]).all()
    assert (counts[:, 0] != counts[:, 1]).any()
    assert (counts[1:, :4] != 1).any()


def test_items_of_a_group_are_drawn_together(records):
    draws = Draws(read_tasks(PLAN, records)["t"], 50, 0)
    counts = draws.counts("keep:facts")
    assert (counts[:, 0::2] == counts[:, 1::2]).all()
    assert (counts.sum(axis=1) == 20).all()


def test_ratios_to_lora_are_right_where_they_are_known(records):
    text = compared_in(records, TEXT)["other"]
    assert text["matched"].value == pytest.approx(0.1)
    assert text["matched"].interval == pytest.approx((0.1, 0.1))  # all items and seeds agree
    facts = compared_in(records, "facts")["other"]
    assert facts["hypervolume"].value == pytest.approx(0.55 / 0.45)
    assert facts["hypervolume"].interval[0] <= 0.55 / 0.45 <= facts["hypervolume"].interval[1]


def test_the_goal_is_held_against_the_intervals(records, monkeypatch):
    monkeypatch.setattr(goal, "OURS", ("other",))
    task = read_tasks(PLAN, records)["t"]
    found = {suite: compared_in(records, suite) for suite in task.kept}
    text = goal_part(PLAN, [task], {"t": found})
    head = "| KL on other text at equal gain, at most 1/20 | t, text | 0.10 [0.10, 0.10]"
    row = next(line for line in text.splitlines() if line.startswith(head))
    assert row.endswith("| not by the figure; some of its rates have one seed | – |")
    assert "retrieval lost" not in text  # no suite of that name
    aim = goal.Goal("", "matched", (), 0.5)
    for ratio, told in [
        (whole.Ratio(0.4, (0.3, 0.45), 0.0), "yes"),
        (whole.Ratio(0.4, (0.3, 0.6), 0.0), "by the figure; its interval excludes 1"),
        (whole.Ratio(0.4, (0.3, 1.1), 0.1), "by the figure; its interval includes 1"),
        (whole.Ratio(0.4, None, None), "by the figure; no interval"),
        (whole.Ratio(0.6, None, None), "not by the figure; no interval"),
        (whole.Ratio(0.6, (0.55, 0.9), 0.0), "no"),
        (whole.Ratio(0.6, (0.3, 0.9), 0.0), "not by the figure; its interval reaches it"),
    ]:
        assert aim.reached(replace(ratio, firm=True)) == told
    area = goal.Goal("", "hypervolume", (), 1.25, at_most=False)
    assert area.reached(whole.Ratio(1.5, (1.3, 2.0), 0.0, firm=True)) == "yes"
    assert area.reached(whole.Ratio(1.5, (1.3, 2.0), 0.0, firm=True, worst=1.3)) == "yes"
    assert area.reached(whole.Ratio(1.5, (1.3, 2.0), 0.0, firm=True, worst=1.2)) == "yes, at these rates"
    assert area.reached(whole.Ratio(1.1, (1.0, 1.2), 0.0, firm=True, worst=1.0)) == "no"
    assert area.reached(whole.Ratio(1.5, (1.3, 2.0), 0.0)) == "by the figure; some of its rates have one seed"


def test_what_is_lost_at_equal_gain_is_compared_where_lora_loses(records):
    groups = {**PARTS, "keep:facts": {"conditions": None, "groups": None, "tokens": None}}
    (records / "t" / "parts.json").write_text(dumped(groups))
    for rate in RATES:
        for seed in (0, 1, 2) if rate == 1e-3 else (0,):
            record(records / "t", Cell("t", "lora", rate, seed), learned=3.0, right=0, kl=0.6)
            record(records / "t", Cell("t", "other", rate, seed), learned=3.0, right=8, kl=0.6)
    lost = compared_in(records, "facts")["other"]["lost"]
    assert lost.value == pytest.approx(8 / 16)  # of 16 facts LoRA loses all, the other 8
    assert lost.interval[0] < 0.5 < lost.interval[1]


def test_areas_and_what_is_kept_at_equal_gain_are_those_of_the_package_in_every_draw():
    generator = np.random.default_rng(0)
    one, other = (whole.Curve(RATES, 1, 1, *generator.normal(size=(2, 3, 40))) for _ in range(2))
    ours, theirs = whole.matched(one, other)
    for draw, area in enumerate(whole.areas(one, (-0.5, -0.3))):
        points, others = (list(zip(x.gain[:, draw], x.kept[:, draw], strict=True)) for x in (one, other))
        assert area == pytest.approx(hypervolume(points, (-0.5, -0.3)))
        level = min(max(points)[0], max(others)[0])
        for found, curve in ((ours[draw], points), (theirs[draw], others)):
            told = retention_at_matched_task(curve, level)
            assert np.isnan(found) if told is None else found == pytest.approx(told)


def test_nothing_is_shown_by_rates_with_one_seed_and_holm_is_over_all_figures_of_a_task():
    def one(p, firm=True):
        return {"a": {"hypervolume": whole.Ratio(2.0, (1.5, 3.0), p, firm=firm)}}

    found = whole.with_holm({"s": one(0.02), "t": one(0.01), "u": one(0.04)})
    adjusted = {suite: own["a"]["hypervolume"] for suite, own in found.items()}
    assert [round(adjusted[suite].adjusted, 3) for suite in "tsu"] == [0.03, 0.04, 0.04]
    assert all(ratio.shown for ratio in adjusted.values())
    assert not whole.with_holm({"s": one(0.001, firm=False)})["s"]["a"]["hypervolume"].shown


def test_below_the_largest_gain_and_on_straight_lines_the_figures_are_those_by_hand():
    def curve(*points):
        gain, kept = np.array(points).T[:, :, None]
        return whole.Curve(RATES, 1, 1, gain, kept)

    ours, theirs = curve((1, 1), (2, 0.8), (4, 0.4)), curve((1, 1), (2, 0.6), (4, 0.2))
    assert whole.at_level(ours, theirs, 0.5, part=True) == pytest.approx(0.8 / 0.6)
    assert whole.at_level(ours, theirs, 0.75, part=True) == pytest.approx(0.6 / 0.4)
    assert np.isnan(whole.at_level(ours, theirs, 0.2, part=True))  # neither curve goes so low
    below = curve((1, 1), (2, -0.2), (4, -0.2))
    assert np.isnan(whole.at_level(ours, below, 0.75, part=True))  # less than guessing is nothing
    areas = (1 + 0.9 + 1.2, 1 + 0.8 + 0.8)
    assert whole.by_lines(ours, theirs, (0.0, 0.0)) == pytest.approx(areas[0] / areas[1], rel=0.001)
    least, most = 1 + 0.8 + 2 * 0.4, 2 * 1 + 2 * 0.6  # our points; LoRA keeps 1 up to a gain of 2, .6 up to one of 4
    assert whole.at_worst(ours, theirs, (0.0, 0.0)) == pytest.approx(least / most)
    turned = curve((1, 1), (4, 0.6), (3, 0.2))  # the highest rate gains less: nothing lies beyond a gain of 4
    assert whole.at_worst(ours, turned, (0.0, 0.0)) == pytest.approx(least / 4)
    assert whole.at_worst(ours, theirs, (2.0, 0.0)) == pytest.approx(2 * 0.4 / (2 * 0.6))
    between = whole.Curve((RATES[0] * 2,), 1, 1, np.array([[1.5]]), np.array([[0.7]]))  # .7 from a gain of 1.5 to 2
    most = 1.5 * 1 + 0.5 * 0.7 + 2 * 0.6
    assert whole.at_worst(ours, theirs, (0.0, 0.0), between) == pytest.approx(least / most)


def test_a_rate_between_those_of_a_sweep_is_planned_with_its_seeds_and_lies_at_no_end():
    for rates in ([5e-4], [3e-4, 5e-4]):
        methods = {**PLAN.methods, "one": {"title": "One", "recipe": {}, "rates": {"language": rates}}}
        plan = replace(PLAN, methods=methods, waves=[{"tasks": ["t"], "methods": ["one"]}])
        cells = [(cell.rate, cell.seed) for cell in plan.cells(lambda *_: 5e-4)]
        assert cells == [(5e-4, 0), *((rate, 0) for rate in rates[:-1]), *((5e-4, seed) for seed in PLAN.further_seeds)]
        assert plan.planned("t") == len(cells)
        assert {plan.end_of_sweep("t", "one", rate) for rate in rates} == {""}
    low, middle, high = plan.rates("t", "lora")
    assert [plan.end_of_sweep("t", "lora", rate) for rate in (low, middle, high)] == ["↓", "", "↑"]


def test_runs_that_measured_different_data_are_not_compared(records):
    path = next((records / "t").glob("lora-lr*seed1.json"))
    record = json.loads(path.read_text())
    record["provenance"]["data_hashes"]["keep:facts"] = "another"
    path.write_text(json.dumps(record))
    with pytest.raises(ValueError, match=r"measured different data \(keep:facts\)"):
        read_tasks(PLAN, records)


def test_a_suite_says_how_many_items_and_groups_it_has(records):
    assert "20 items in 10 groups" in page_of(records)


def test_a_record_names_the_run_and_no_folder_of_the_machine():
    whole_record = sample_run("lora")
    for given, left in (
        ("one.py tickets lora 0.001 0 --runs /tmp/runs", "one.py tickets lora 0.001 0"),
        ("-c compare /home/me/recipes/relatives.yaml", "-c compare relatives.yaml"),
    ):
        provenance = whole_record.provenance.model_copy(update={"command": given})
        assert slim(whole_record.model_copy(update={"provenance": provenance})).provenance.command == left
    for path in (HERE.parent).glob("*/records/*/*-seed*.json"):
        if not path.name.endswith(".items.json"):
            assert "/" not in json.loads(path.read_text(encoding="utf-8"))["provenance"]["command"], path


def test_every_method_gets_a_seed_before_any_gets_the_next():
    cells = [cell for cell in PLAN.cells(lambda *_: 1e-3) if cell.seed]
    assert [(cell.method, cell.seed) for cell in cells] == [("lora", 1), ("other", 1), ("lora", 2), ("other", 2)]


def test_a_wave_may_ask_for_seeds_at_the_rates_that_were_not_chosen():
    wave = {"tasks": ["t"], "methods": ["lora"], "every_rate": True}
    plan = replace(PLAN, waves=[wave], every_rate_seeds=[1])
    cells = [(cell.rate, cell.seed) for cell in plan.cells(lambda *_: 1e-3)]
    assert cells == [(1e-3, 0), (1e-4, 0), (1e-2, 0), (1e-3, 1), (1e-4, 1), (1e-2, 1), (1e-3, 2)]
    assert plan.planned("t") == len(cells)


def test_further_waves_are_planned_and_come_beside_the_main_ones():
    waves = [{"tasks": ["t"], "methods": ["lora"]}, {"tasks": ["t"], "methods": ["other"], "further": True}]
    plan = replace(PLAN, waves=waves)
    assert (plan.planned("t"), plan.main.planned("t")) == (10, 5)
    assert {cell.method for cell in plan.main.cells(lambda *_: 1e-3)} == {"lora"}
    assert {cell.method for cell in plan.cells(lambda *_: 1e-3)} == {"lora", "other"}


def test_the_page_counts_main_and_further_runs(records):
    waves = [{"tasks": ["t"], "methods": ["lora"]}, {"tasks": ["t"], "methods": ["other"], "further": True}]
    plan = replace(PLAN, waves=waves)
    told = page_of_records.progress(plan, read_tasks(plan, records), records)
    assert "| 5 of 5 | 5 of 5 |" in told


def test_the_luck_of_training_is_students_t_and_lends_its_width_to_a_rate_with_one_seed():
    """Four seeds of 1, 2, 3, 4: t with 3 degrees of freedom, so the mean's half-width is 3.182 · 1.291/√4 = 2.054."""
    runs = np.repeat(np.array([1.0, 2.0, 3.0, 4.0])[:, None, None], 20_000, axis=2)
    spread = whole.Spread.of(runs, np.random.default_rng(0))
    for seeds, half_width in ((4, 2.054), (1, 4.108)):
        off = spread.drawn(seeds)[0]
        assert off[0] == 0.0
        assert np.percentile(off, [2.5, 97.5]) == pytest.approx([-half_width, half_width], rel=0.05)


def test_another_seed_is_other_luck_of_training_on_the_same_items(records):
    for seed, kl in ((1, 0.03), (2, 0.09)):
        record(records / "t", Cell("t", "other", 1e-3, seed), learned=3.0, right=16, kl=kl)
    task = read_tasks(PLAN, records)["t"]
    draws = Draws(task, 60, 0)
    first, same, other = (
        compared(task, ["lora", "other"], TEXT, draws, seed)["other"]["matched"] for seed in (0, 0, 1)
    )
    assert first.value == same.value == other.value
    assert np.array_equal(first.drawn, same.drawn)
    assert not np.allclose(first.drawn, other.drawn)


def test_draws_without_a_ratio_count_against_it():
    above, below = np.full(201, 3.0), np.full(201, 2.0)
    assert whole.ratio_of(above, below, few=False).interval == (1.5, 1.5)
    below[1:4] = 0.0  # 1.5 % of the draws: an end of the interval does not rest on them
    assert whole.ratio_of(above, below, few=False).interval == (1.5, 1.5)
    below[1:11] = 0.0
    assert whole.ratio_of(above, below, few=False).interval is None
    above[1:11] = np.nan
    assert whole.ratio_of(above, np.full(201, 2.0), few=False).interval is None


def test_a_mean_of_ratios_has_the_interval_of_its_draws():
    """Two figures whose luck is the same: the mean of their logarithms keeps it; opposite luck evens out."""
    drawn = np.exp(np.linspace(-1, 1, 2001))
    same, other = (whole.Ratio(1.0, (0.5, 2.0), 1.0, drawn=own) for own in (drawn, 1 / drawn))
    assert whole.mean_interval([same, same]) == pytest.approx((np.exp(-0.95), np.exp(0.95)), rel=2e-3)
    assert whole.mean_interval([same, other]) == pytest.approx((1.0, 1.0))
    assert whole.mean_interval([same, whole.Ratio(1.0, None, None)]) is None
    worse = np.where(np.arange(2001) < 100, np.nan, drawn)  # too many draws without a ratio
    assert whole.mean_interval([whole.Ratio(1.0, None, None, drawn=worse)]) is None


def test_without_three_seeds_there_is_no_interval_and_no_claim(records):
    for path in (records / "t").glob("other-lr0.001-seed2*"):
        path.unlink()
    found = compared_in(records, TEXT)["other"]["matched"]
    assert found.value == pytest.approx(0.1)
    assert found.interval is None
    assert found.p is None


def test_the_page_says_how_many_runs_there_are_of_how_many(records):
    text = page_of(records)
    assert "| a task | 10 of 10 | 0 of 0 | abc | 2026-11-20 | 70 |" in text
    assert "| Other | 0.001 | 3 | 3.00 ± 0.00 | 1.50 | +0.0 ± 0.0 |" in text
    (records / "t" / "other-lr0.01-seed0.items.json").unlink()
    assert "| Other | 2 of 3 tried |" in page_of(records)


def test_the_advice_is_the_first_by_hypervolume_with_the_fields_of_its_recipe(records):
    tasks = read_tasks(PLAN, records)
    found = {"t": ratios_of(PLAN, tasks["t"])}
    language, encoder, vision = recommended(PLAN, tasks, found, records).kinds
    assert (encoder.tasks, vision.tasks) == ((), ())
    assert (language.tasks, language.seeds, language.methods) == (("t",), 3, ("LoRA", "Other"))
    assert (language.best.fields, language.best.steps) == ({"method": {"name": "vefa"}, "rank": 4}, 0.5)
    (most,), (balanced,) = language.best.most, language.best.balanced
    assert (most.learning_rate, most.seeds, most.gain) == (1e-3, 3, 3.0)
    assert balanced.learning_rate in PLAN.rates("t", "other")
    assert [figure.kept for figure in language.best.figures] == ["facts", TEXT]
    assert language.best.figures[0].ratio == pytest.approx(0.55 / 0.45, abs=1e-3)
    assert language.best.interval[0] <= language.best.mean <= language.best.interval[1]


def test_no_advice_rests_on_too_few_seeds_on_data_like_those_measured_or_on_less_than_lora_keeps(records):
    def known(plan):
        tasks = read_tasks(plan, records)
        return recommended(plan, tasks, {"t": ratios_of(plan, tasks["t"])}, records).of("language")

    seen = {**PLAN.methods["other"], "recipe": {"method": {"name": "vefa"}, "calibrate_keep": "facts"}}
    assert known(replace(PLAN, methods={**PLAN.methods, "other": seen})).tasks == ()
    for cell in read_tasks(PLAN, records)["t"].runs:
        if cell.method == "other":
            record(records / "t", cell, learned=1.0, right=10, kl=0.5)
    assert known(PLAN).tasks == ("t",)
    assert known(PLAN).best is None
    (records / "t" / "other-lr0.001-seed2.items.json").unlink()
    assert known(PLAN).tasks == ()


def test_a_page_without_records_has_no_empty_section(tmp_path):
    text = page_of(tmp_path)
    headings = [line for line in text.splitlines() if line.startswith("## ")]
    told = ["In short, by kind of model", "Runs so far", "What a reader may object", "Earlier runs", "Methods"]
    assert headings == [f"## {name}" for name in told]
    assert "|---|\n\n" not in text


def test_with_one_run_there_is_a_table_and_no_comparison(records):
    for path in (records / "t").glob("*.json"):
        if path.name != "parts.json" and not path.name.startswith("lora-lr0.001-seed0"):
            path.unlink()
    text = page_of(records)
    assert "| LoRA | 1 of 3 tried |" in text
    assert "Nothing is compared yet" in text
    assert "## Budgets" not in text
    assert "## The goal" not in text


def test_a_part_of_a_page_is_replaced_between_its_marks_and_nowhere_else():
    page_ = "a\n<!-- from the benchmark's records: x -->\nold\n<!-- end of x -->\nb"
    assert with_part(page_, "x", "new") == with_part(with_part(page_, "x", "1"), "x", "new")
    assert with_part(page_, "x", "new").startswith("a\n<!--")
    assert "\nnew\n" in with_part(page_, "x", "new")
    with pytest.raises(ValueError, match="no part"):
        with_part("a page", "x", "new")


def test_many_methods_are_drawn_in_pictures_by_group_and_none_is_left_out():
    plan = read_plan()
    grouped = [name for entry in plan.pictures.values() for name in entry["methods"]]
    assert sorted(["lora", "sc-lora", *grouped]) == sorted(plan.methods)
    pictures = plan.pictures_of("tickets", list(plan.methods))
    assert {one.file for one in pictures} == {f"tickets-{group}.png" for group in plan.pictures}
    assert all(one.methods[:2] == ("lora", "sc-lora") for one in pictures)
    (one,) = plan.pictures_of("tickets", ["lora", "vefa"])
    assert (one.file, one.methods) == ("tickets.png", ("lora", "vefa"))


def test_the_committed_page_and_the_advice_are_what_the_records_say():
    """The page, the advice that is shipped, and the parts of guide and README made from it: python …/page.py."""
    plan, records = read_plan(), HERE / "records"
    tasks = read_tasks(plan, records)
    found = {name: ratios_of(plan, task) for name, task in tasks.items()}
    known = recommended(plan, tasks, found, records)
    again = "run python studies/benchmark/page.py"
    assert (HERE / "README.md").read_text(encoding="utf-8") == page(plan, tasks, records, found, known), again
    assert shipped() == known, again
    for path, name, part in ((GUIDE, ADVICE, kinds_part(known)), (FRONT, CAPTION, caption(plan, tasks, found))):
        text = path.read_text(encoding="utf-8")
        assert with_part(text, name, part) == text, again


def test_default_learning_rates_of_a_kind_of_model_are_those_that_the_benchmark_chose_between_two_worse_ones():
    plan, records = read_plan(), HERE / "records"
    tasks = {"encoder": "sentiment"}
    measured = [(row, kind, rate) for row in table.rows() for kind, rate in row.measured_rates.items()]
    assert measured
    for row, kind, rate in measured:
        assert plan.rates(tasks[kind], row.name)[1] == rate == best_rate(plan, records, tasks[kind], row.name), row.name
        assert len(list((records / tasks[kind]).glob(f"{row.name}-lr{rate:g}-seed*.items.json"))) >= 4, row.name
