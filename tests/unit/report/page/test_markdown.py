"""Markdown, terminal, page, plots and files: what they hold, and what arbitrary text cannot do to them."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from collections import Counter
from functools import cache
from html.parser import HTMLParser

import pytest
from markdown_it import MarkdownIt
from rich.console import Console

from full_samples import full_run
from report_samples import bare, eighteen, items, judged, keep_score, named, sample_run
from retain.cli.views.run_view import comparison_table, run_table
from retain.compare.item_examples import changed_items, readable, side_scores, task_items
from retain.records.drift_record import Drift
from retain.records.items import Item, Side, write_items
from retain.records.metric import Metric
from retain.records.metrics_table import ACCURACY
from retain.records.result import MethodRecord, Result
from retain.records.scores import TaskScore
from retain.report.comparison import compare_runs
from retain.report.page.markdown import comparison_markdown, escape, run_markdown
from retain.report.page.run_page import run_page
from retain.report.page.svg import svg_text
from retain.report.plots.comparison_plot import comparison_figure
from retain.report.plots.run_figure import run_figure
from retain.report.plots.style import save_png
from retain.report.write import write_comparison, write_run_report

pytestmark = pytest.mark.usefixtures("drawn")

HOSTILE = "a|b\n</td><script>alert(1)</script> <img src='http://x/y.png'> [x](http://x) `c` \x1b[31m \u202e $z$ &amp;"


def hostile_run() -> tuple[Result, list[Item]]:
    """A run whose every name and text is against us."""
    score = keep_score(-0.052, name=HOSTILE)
    task = sample_run().task[0].model_copy(update={"name": HOSTILE})
    method = MethodRecord(name=HOSTILE, config={HOSTILE: HOSTILE})
    result = sample_run(keep=(score,), task=(task,), model=HOSTILE)
    result = result.model_copy(update={"method": method, "model": HOSTILE})
    side = {
        "right": Side(answer=HOSTILE, scores={"accuracy": 1.0}),
        "wrong": Side(answer=None, scores={"accuracy": 0.0}),
    }
    item = Item(
        part="keep", suite=HOSTILE, index=0, question=HOSTILE, expected=HOSTILE, base=side["right"], tuned=side["wrong"]
    )
    plain = Item(part="task", suite=HOSTILE, index=0, question="", base=Side(), tuned=Side(answer=""))
    return result, [item, plain]


RESULTS = {
    "judged": judged,
    "bare": bare,
    "hostile": lambda: hostile_run()[0],
    "full": full_run,
    "no drift": lambda: sample_run(drift=Drift()),
}


def shown(view, width=100):
    console = Console(width=width, record=True, file=open("/dev/null", "w", encoding="utf-8"), force_terminal=False)  # noqa: SIM115, PTH123
    console.print(view)
    return console.export_text()


@cache
def page_of(name):
    """A run's page with its drawings, made once."""
    return run_page(RESULTS[name](), hostile_run()[1] if name == "hostile" else items())


class Page(HTMLParser):
    """Every tag with its attributes, and the text outside style and drawings."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text, self._open = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text.append(data)


# Terminal -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RESULTS)
def test_a_run_fits_into_100_columns_and_carries_no_control_codes(name):
    text = shown(run_table(RESULTS[name]()), width=140)
    assert max(map(len, text.splitlines())) <= 100
    assert "\x1b" not in text


def test_a_run_says_what_was_lost():
    text = shown(run_table(judged()))
    for part in (
        "−5.2 [−8.5, −1.9]",
        "▼ worse",
        "= no change shown",
        "too few items",
        "base at chance",
        "0.15 M of 134.5 M",
    ):
        assert part in text


def test_a_comparison_fits_into_100_columns():
    long = "a method with a very long name indeed, too long for a column"
    suites = [keep_score(change, name=f"suite with a long name {change}") for change in (0.01, -0.05, 0.02, -0.1)]
    results = [r.model_copy(update={"keep": tuple(suites), "method": MethodRecord(name=long)}) for r in eighteen()]
    for chosen in (eighteen(), results, [bare()], [bare(), sample_run()], [hostile_run()[0]]):
        text = shown(comparison_table(chosen), width=140)
        assert max(map(len, text.splitlines())) <= 100, text


def test_a_comparison_shows_each_setting_once_with_the_suites_that_lost_most():
    text = shown(comparison_table(eighteen()))
    assert text.count("3 seeds") == 6
    assert "base, unchanged" in text
    suites = tuple(keep_score(change, name=f"s{number}") for number, change in enumerate((0.01, -0.05, 0.02, -0.1)))
    text = shown(comparison_table([sample_run(keep=suites)]))
    assert text.index("s3") < text.index("s1") < text.index("In the report only: s0 (accuracy), s2 (accuracy).")


# Markdown -------------------------------------------------------------------------------------------------------------


def test_text_stays_text_in_markdown():
    html = MarkdownIt("commonmark").enable("table").render(f"- {escape(HOSTILE)}\n")
    assert "<script" not in html
    assert "<img" not in html
    assert "<a " not in html
    assert "<code" not in html
    assert "a|b ↵ &lt;/td&gt;" in html


def test_an_interval_stays_readable_in_the_source_but_is_never_a_link():
    assert escape("+3.2 [−0.1, +6.4]") == "+3.2 [−0.1, +6.4]"
    html = MarkdownIt("commonmark").render(escape("[1.0, 2.0](http://x) [95%]: http://x"))
    assert "<a " not in html


@pytest.mark.parametrize("name", RESULTS)
def test_every_markdown_table_has_as_many_cells_as_heads(name):
    _, its_items = hostile_run()
    text = run_markdown(RESULTS[name](), its_items if name == "hostile" else items())
    html = MarkdownIt("commonmark").enable("table").render(text)
    assert "<script" not in html
    for table in re.findall(r"<table>.*?</table>", html, flags=re.DOTALL):
        heads = table.count("<th>")
        assert heads > 1
        assert all(row.count("<td>") == heads for row in table.split("<tr>")[2:])


def test_the_report_shows_items_both_ways():
    text = run_markdown(judged(), items())
    assert "### capitals (accuracy): 3 lost" in text
    assert "### capitals (accuracy): 2 gained" in text
    assert (
        "What is the capital of Peru?\n   - right answer: Lima\n   - base: Lima (right)\n   - tuned: Tokyo (wrong)"
        in text
    )
    assert "The task: the first items, not chosen" in text
    assert "a1b2" in text
    assert "retain compare demo.yaml" in text


def test_the_report_of_items_without_answers():
    silent = [item.model_copy(update={"base": Side(scores=item.base.scores), "tuned": Side(scores=item.tuned.scores)})
              for item in items()]  # fmt: skip
    assert "no answer is read for this metric (cross-entropy 3.100)" in run_markdown(judged(), silent)


def test_a_comparison_in_markdown_links_to_its_runs():
    runs = named(eighteen())
    links = [f"runs/{run.name}/report.html" for run in runs]
    text = comparison_markdown(compare_runs(runs, links))
    assert "[lora-0.0005-0](runs/lora-0.0005-0/report.html)" in text
    assert "Every run" in text


# Items ----------------------------------------------------------------------------------------------------------------


def test_items_lost_are_those_that_the_base_had_right():
    changed = changed_items(items(), judged().keep[0])
    assert [item.question for item in changed.lost] == [
        f"What is the capital of {c}?" for c in ("Peru", "Norway", "Mali")
    ]
    assert len(changed.gained) == 2
    assert not changed_items(items(), judged().keep[4]).lost


def test_graded_items_are_ordered_by_their_loss():
    score = keep_score(0, metric=Metric(name="nll", higher_is_better=False), lost=None, gained=None, p_value=None)
    made = [
        Item(part="keep", suite="capitals", index=index, question=str(change), base=Side(scores={"nll": 1.0}),
             tuned=Side(scores={"nll": 1.0 + change}))
        for index, change in enumerate((0.1, -0.5, 0.7, 0.0, -0.2))
    ]  # fmt: skip
    changed = changed_items(made, score)
    assert changed.graded
    assert [item.question for item in changed.lost] == ["0.7", "0.1"]
    assert [item.question for item in changed.gained] == ["-0.5", "-0.2"]


def test_text_is_made_fit_to_show():
    assert readable("a\x1b[31m\u202eb\r\nc", 100) == "a�[31m�b\nc"
    assert readable("x" * 50, 10) == "x" * 9 + "…"
    assert readable(None, 10) is None
    assert side_scores(Side(scores={"accuracy": 1.0}), ACCURACY) == "right"
    assert side_scores(Side(scores={"exact_match": 0.0, "chrf": 41.26}), None) == "exact match wrong, chrF 41.3"
    assert [item.index for item in task_items(items(), 3)] == [0, 1, 2]


# Page -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RESULTS)
def test_the_page_asks_for_nothing_and_runs_nothing(name):
    page = Page(page_of(name))
    tags = [tag for tag, _ in page.tags]
    assert not {"script", "link", "img", "iframe", "object", "embed", "base"} & set(tags)
    for tag, attributes in page.tags:
        for attribute, value in attributes.items():
            assert not attribute.startswith("on"), (tag, attribute)
            if attribute in {"src", "href", "xlink:href", "action", "data", "srcset"}:
                assert value.startswith("#"), (tag, attribute, value)
            assert "url(http" not in (value or "")


def test_the_page_without_hostile_text_has_no_address_at_all():
    assert "http:" not in page_of("judged")
    assert "https:" not in page_of("judged")


def test_the_page_shows_text_as_it_stands():
    page = Page(page_of("hostile"))
    assert any("<script>alert(1)</script>" in text for text in page.text)
    assert "\x1b" not in "".join(page.text)


def test_tables_have_captions_and_scopes():
    page = Page(page_of("judged"))
    assert sum(tag == "table" for tag, _ in page.tags) == sum(tag == "caption" for tag, _ in page.tags) > 3
    assert all(attributes.get("scope") in {"col", "row"} for tag, attributes in page.tags if tag == "th")


def test_the_page_caps_its_items_and_says_how_many_more_there_are():
    one = items()[1]
    many = [one.model_copy(update={"index": index}) for index in range(70)]
    page = run_page(judged(), many)
    assert "capitals (accuracy): 70 lost" in page
    assert "The first 50 are shown; 20 more lie in items.jsonl." in page
    assert len(page) < 100_000


# Plots ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RESULTS)
def test_every_run_can_be_drawn(name, tmp_path):
    save_png(run_figure(RESULTS[name]()), tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes()[:4] == b"\x89PNG"
    assert [path.name for path in tmp_path.iterdir()] == ["plot.png"]


def test_a_drawing_is_text_and_the_same_each_time():
    svg = svg_text(run_figure(judged()))
    assert svg == svg_text(run_figure(judged()))
    assert svg.startswith("<svg")
    assert "xmlns" not in svg
    assert "currentColor" in svg
    assert "no change shown" in svg
    assert not re.search(r"<svg[^>]*\s(width|height)=", svg)


def test_a_comparison_draws_a_panel_a_suite_and_one_for_drift():
    figure = comparison_figure(named(eighteen()))
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["Kept: capitals", "Drift on held-out text"]
    assert "over seeds" in svg_text(figure)
    one_seed = [result for result in eighteen() if result.seed == 0]
    assert "over items" in svg_text(comparison_figure(named(one_seed)))


def test_labels_do_not_lie_on_one_another():
    figure = comparison_figure(named(eighteen()))
    figure.draw_without_rendering()
    for axes in figure.axes:
        boxes = [text.get_window_extent() for text in axes.texts]
        assert len(boxes) == 7
        for number, box in enumerate(boxes):
            assert not any(box.overlaps(other) for other in boxes[:number])


@pytest.mark.parametrize("results", [[bare()], [bare(), sample_run()], [sample_run(keep=())], [sample_run(task=())],
                                     [sample_run(keep=(), drift=Drift())]])  # fmt: skip
def test_every_comparison_can_be_drawn(results, tmp_path):
    save_png(comparison_figure(named(results)), tmp_path / "pareto.png")
    assert svg_text(comparison_figure(named(results)))


# Files ----------------------------------------------------------------------------------------------------------------


def test_a_run_is_written(tmp_path):
    paths = write_run_report(tmp_path, judged(), iter(items()))
    names = ["report.html", "report.md", "model_card.md", "plot.png"]
    assert [path.name for path in paths] == names
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)


def test_a_comparison_is_written_with_links_and_lost_items(tmp_path):
    results = {}
    for run in named(eighteen()):
        folder = tmp_path / "runs" / f"{run.name} #1"
        write_items(items(), folder / "items.jsonl")
        (folder / "report.html").write_text("", encoding="utf-8")
        results[folder] = run.result
    paths = write_comparison(tmp_path, results)
    assert [path.name for path in paths] == ["report.html", "report.md", "pareto.png", "summary.json", "summary.csv"]
    page = Page(paths[0].read_text(encoding="utf-8"))
    links = [attributes["href"] for tag, attributes in page.tags if tag == "a"]
    assert "runs/lora-0.0005-0%20%231/report.html" in links
    panels, settings = 2, 6
    runs = [link for link in links if link.startswith("runs/")]
    assert set(Counter(runs).values()) == {panels + 1}
    assert len(runs) == 18 * (panels + 1)
    assert len(links) - len(runs) == panels * settings
    text = "".join(page.text)
    assert "capitals: 3 items lost by some run" in text
    assert "LoRA 5e-4, 3 of 3" in text
    record = json.loads(paths[3].read_text(encoding="utf-8"))
    assert record["schema"] == "retain.summary/1"
    assert len(record["settings"]) == 6
    assert (
        record["settings"][0]["keep"][0]["change"]["interval_over_seeds"][0]
        < record["settings"][0]["keep"][0]["change"]["mean"]
    )
    with paths[4].open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 18
    first = next(iter(results.values()))
    assert float(rows[0]["keep.capitals.accuracy.tuned"]) == first.keep[0].tuned


def test_a_comparison_without_anything_is_written(tmp_path):
    paths = write_comparison(tmp_path, {tmp_path / "a": bare(), tmp_path / "b": sample_run()})
    assert all(path.exists() for path in paths)
    one = sample_run(
        task=(
            TaskScore(
                name="t",
                metric=Metric(name="perplexity", higher_is_better=False),
                n=2,
                base=3,
                tuned=2,
                interval=(-2, 0),
            ),
        )
    )
    write_comparison(tmp_path, {tmp_path / "a": one})


def test_reporting_needs_no_torch():
    code = (
        "import sys, pkgutil, importlib, retain.report\n"
        "for module in pkgutil.iter_modules(retain.report.__path__):\n"
        "    importlib.import_module('retain.report.' + module.name)\n"
        "found = {'torch', 'transformers', 'peft', 'matplotlib.pyplot'} & set(sys.modules)\n"
        "sys.exit(str(found) if found else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
