"""The budget and the update scaling as people read them: sentences, tables, drawings, and several runs side by side."""

from __future__ import annotations

import csv
import io
import json

import pytest
from rich.console import Console

from full_samples import full_run, limit, scale
from report_samples import bare, named, sample_run
from retain.cli.views.run_view import comparison_table, run_table, scaling_view
from retain.records.budget_record import Scaling
from retain.report.comparison import compare_runs
from retain.report.page.comparison_page import comparison_page
from retain.report.page.markdown import comparison_markdown, run_markdown
from retain.report.page.model_card import model_card
from retain.report.page.run_page import run_page
from retain.report.page.scaling_page import write_scaling
from retain.report.page.summary_files import summary_csv, summary_json
from retain.report.plots.scaling_plot import scaling_panels
from retain.report.plots.style import panel_figure
from retain.report.tables.budget import amount, budget_sentence, budget_tables, kept_sentence, scaling_tables
from retain.report.tables.comparison_budgets import budgets_table
from retain.report.verdict_words import headline

BUDGET = (limit(), limit("kl", 0.062))
MISSED = (limit(bound=3.1, items_needed=1230), limit("kl", 0.05))
EVIL = "<script>alert(1)</script> | *a* `b`"


def terminal(view):
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(view)
    return console.export_text()


# Sentences ------------------------------------------------------------------------------------------------------------


def test_a_kept_budget_names_each_limit_and_the_part_delivered():
    told = kept_sentence(BUDGET, scale(0.4))
    assert told == "Budget kept (95% confidence): capitals ≤ 2.0 points, kl ≤ 0.100 nats, with 40% of the update."


def test_at_one_all_that_was_trained_is_delivered():
    assert kept_sentence(BUDGET, Scaling(alpha=1)).endswith("with all that was trained.")


def test_a_budget_that_is_not_kept_says_by_how_much_and_of_no_other_limit():
    told = kept_sentence(MISSED, Scaling(alpha=0, alphas=(0.2, 1)))
    assert told == (
        "Budget not kept, no adapter was delivered: at α = 0.2, the safest tried, the loss may be 3.1 points on "
        "capitals (limit 2.0; 1,230 control units in all would settle it if rates stayed)."
    )
    hopeless = (limit(bound=3.1, observed=2.0), limit("kl", 0.2))
    told = kept_sentence(hopeless, Scaling(alpha=0))
    assert "at any setting, the loss may be 3.1 points on capitals (limit 2.0; what was observed is no less" in told
    assert told.endswith("; 0.200 nats on kl (limit 0.100).")


def test_without_a_budget_nothing_is_said():
    assert budget_sentence(sample_run()) == ""
    assert budget_sentence(sample_run(scaling=scale())) == ""
    assert budget_tables(bare()) == []
    assert scaling_tables((), Scaling(alpha=1)) == []
    assert scaling_panels(None) == scaling_panels(Scaling(alpha=0)) == []


def test_the_headline_has_it_with_a_verdict_and_without():
    for record in (full_run(), full_run(judgement=None)):
        assert headline(record).endswith(kept_sentence(record.budget, record.scaling))
        assert "Budget kept" in model_card(record)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("capitals", 2, "2.0 points"), ("capitals", -0.35, "−0.3 points"), ("kl", 0.1, "0.100 nats"),
        ("kl", 1e-6, "1e−06 nats"), ("kl", 0.0054, "0.0054 nats"), ("kl", 0, "0.000 nats"),
    ],
)  # fmt: skip
def test_an_amount_has_digits_that_count(name, value, told):
    assert amount(value, limit(name)) == told


# Tables ---------------------------------------------------------------------------------------------------------------


def test_the_limits_stand_with_their_certificates():
    table = budget_tables(full_run())[0]
    rows = [dict(zip(table.head, row, strict=True)) for row in table.rows]
    assert rows[0] == {
        "Limit on": "capitals", "Limit": "2.0 points", "Lost at most": "1.7 points", "Observed": "0.6 points",
        "Control units": "412", "Kept": "✓ kept", "Units needed": "—", "Test": "exact test of lost against gained",
    }  # fmt: skip
    assert rows[1]["Test"].endswith("; 2 cut off above")
    missed = scaling_tables((limit(bound=3.1, items_needed=1230),), None)[0].rows[0]
    assert missed[5:7] == ("▼ not shown", "1,230")


def test_the_curve_has_a_row_for_each_setting_and_thing():
    table = budget_tables(full_run())[1]
    record = scale()
    assert len(table.rows) == len(record.curve)
    assert table.rows[0][1:3] == ("headlines (task)", "cross-entropy (nats per token, lower is better)")
    last = table.rows[-1]
    assert (last[0], last[-1]) == ("0.6", "▼ not shown")
    assert table.rows[1][6] == "+0.6 [0.0, +1.2]"
    assert table.rows[1][7] == "0.9"


def test_the_terminal_fits_in_100_columns_and_has_the_verdict():
    text = terminal(scaling_view(BUDGET, scale()))
    assert "✓ kept" in text
    assert max(map(len, text.splitlines())) <= 100
    assert "Limit on" in terminal(run_table(full_run()))


# Drawings -------------------------------------------------------------------------------------------------------------


def horizontals(axes, style="--"):
    return [line.get_ydata()[0] for line in axes.lines if line.get_linestyle() == style]


def test_the_limit_is_drawn_at_the_limit_in_the_unit_of_the_axis():
    task, capitals, kl = (panel_figure(panel).axes[0] for panel in scaling_panels(scale(), BUDGET))
    assert horizontals(task) == []
    assert horizontals(capitals) == [2.0]
    assert horizontals(kl) == [0.1]


def test_gain_goes_up_for_the_task_and_loss_for_the_rest():
    points = scale().curve
    task, capitals, _ = (panel_figure(panel).axes[0] for panel in scaling_panels(scale(), BUDGET))
    curves = [next(line for line in axes.lines if line.get_marker() == "o") for axes in (task, capitals)]
    assert list(curves[0].get_ydata()) == pytest.approx([0, *(p.base - p.tuned for p in points if p.part == "task")])
    kept = [100 * (p.base - p.tuned) for p in points if p.part == "keep"]
    assert list(curves[1].get_ydata()) == pytest.approx([0, *kept])
    assert list(curves[1].get_xdata()) == [0, 0.2, 0.4, 0.6]


def test_bounds_and_the_delivered_setting_are_drawn():
    _, capitals, _ = (panel_figure(panel).axes[0] for panel in scaling_panels(scale(), BUDGET))
    bounds = [(line.get_xdata()[0], line.get_ydata()[0]) for line in capitals.lines if line.get_marker() == "_"]
    assert bounds == [(p.alpha, pytest.approx(100 * p.bound)) for p in scale().curve if p.part == "keep"]
    assert any(list(line.get_xdata()) == [0.4, 0.4] and list(line.get_ydata()) == [0, 1] for line in capitals.lines)


# Files and pages ------------------------------------------------------------------------------------------------------


def test_a_dial_is_written_as_text_and_picture(tmp_path):
    text, plot = write_scaling(tmp_path, scale(), BUDGET)
    assert plot.read_bytes().startswith(b"\x89PNG")
    told = text.read_text(encoding="utf-8")
    assert told.startswith("# Scaling the update\n\nBudget kept")
    assert "](scaling.png)" in told
    assert "**Along the scaling path**" in told
    (only,) = write_scaling(tmp_path / "empty", Scaling(alpha=1), ())
    assert only.read_text(encoding="utf-8") == "# Scaling the update\n"


def evil_run():
    """A name that is Markdown and HTML, wherever a name can stand."""
    curve = tuple(point.model_copy(update={"name": EVIL}) for point in scale().curve)
    return full_run(budget=(limit(EVIL),), scaling=scale().model_copy(update={"curve": curve, "note": EVIL}))


def test_names_are_shown_as_they_stand(tmp_path):
    record = evil_run()
    text, _ = write_scaling(tmp_path, record.scaling, record.budget)
    runs = named([record, sample_run()])
    comparison = compare_runs(runs)
    pages = [run_page(record, []), comparison_page(comparison, [])]
    texts = [text.read_text(encoding="utf-8"), run_markdown(record, []), comparison_markdown(comparison)]
    for shown in (*pages, *texts):
        assert "<script>alert" not in shown
        assert "&lt;script&gt;alert" in shown
    for shown in texts:
        assert "&lt;script&gt;alert(1)&lt;/script&gt; \\| \\*a\\* \\`b\\`" in shown


# Several runs ---------------------------------------------------------------------------------------------------------


def several():
    """One that delivered a part, one that delivered nothing, one with another limit and all of it, one without any."""
    return named(
        [
            sample_run("lora", 0, budget=BUDGET, scaling=scale(0.4)),
            sample_run("lora", 1, budget=MISSED, scaling=Scaling(alpha=0, alphas=(0.2, 1))),
            sample_run("vefa", 0, budget=(limit("trivia", 0.2),), scaling=Scaling(alpha=1)),
            sample_run("vefa", 1),
        ]
    )


def test_each_run_with_a_budget_has_a_row():
    table = compare_runs(several()).budgets
    assert table.head == ("Run", "Delivered", "capitals", "kl", "trivia")
    assert [row[1:] for row in table.rows] == [
        ("✓ α = 0.4", "✓ 1.7 of 2.0 points", "✓ 0.062 of 0.100 nats", "—"),
        ("▼ nothing", "▼ 3.1 of 2.0 points", "✓ 0.050 of 0.100 nats", "—"),
        ("✓ all", "—", "—", "✓ 0.2 of 2.0 points"),
    ]
    assert "95% confidence" in table.note
    assert "weaker than stated" in table.note


def test_one_budget_has_no_word_on_choosing_and_none_no_table():
    assert "weaker" not in budgets_table([("a", several()[0].result)]).note
    assert compare_runs(several()[3:]).budgets is None
    assert "Forgetting budgets" not in comparison_markdown(compare_runs(several()[3:]))


def test_page_markdown_and_terminal_show_it():
    comparison = compare_runs(several())
    assert "**Forgetting budgets" in comparison_markdown(comparison)
    assert "Forgetting budgets" in comparison_page(comparison, [])
    text = terminal(comparison_table([run.result for run in several()]))
    assert "✓ 1.7 of 2.0 points" in text
    assert "✓ α = 0.4" in text
    assert max(map(len, text.splitlines())) <= 100


def test_the_summary_has_them_as_values():
    runs = several()
    groups = compare_runs(runs).groups
    budgets = json.loads(summary_json(runs, groups, []))["budgets"]
    assert [(found["run"], found["alpha"]) for found in budgets] == [(r.name, r.result.scaling.alpha) for r in runs[:3]]
    assert budgets[1]["limits"][0]["bound"] == 3.1
    assert budgets[1]["limits"][0]["kept"] is False
    rows = list(csv.DictReader(io.StringIO(summary_csv(groups))))
    assert [row["scaling.alpha"] for row in rows] == ["0.4", "0.0", "1.0", ""]
    assert rows[0]["budget.capitals.bound"] == "1.7"
