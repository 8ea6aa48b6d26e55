"""What `retain inspect` shows: kinds of layers, the terminal table, the page, the plots."""

from __future__ import annotations

import subprocess
import sys

import pytest
from markdown_it import MarkdownIt
from rich.console import Console

from retain.cli.views.inspection_view import inspection_table
from retain.compare.inspection_rows import (
    InputFacts,
    InputRow,
    SetRecord,
    StartRow,
    StartView,
    StatisticsView,
    depth_of,
    kinds_of,
)
from retain.report.page.inspection import NOTHING_FOUND, inspection_markdown, write_inspection
from retain.report.page.svg import svg_text
from retain.report.plots.inspection_plots import inspection_figure
from retain.report.tables.inspection_tables import layer_kind_table, row_table, share, size, spread, without

pytestmark = pytest.mark.usefixtures("drawn")

HOSTILE = "a|b\n</td><script>alert(1)</script> `c` \x1b[31m \u202e $z$ [x](http://x)"
KINDS = (("q_proj", "k_proj"), ("o_proj",), ("down_proj",))


def input_facts(seed: float) -> InputFacts:
    spectrum = tuple(0.4 * seed * (place + 1) ** -1.5 for place in range(16))
    return InputFacts(
        tokens=500,
        mean_square=0.1 * seed,
        top_share=spectrum[0],
        effective_rank=4 * seed,
        largest_sample=0.05,
        spectrum=spectrum,
    )


def set_record(name: str, **changes) -> SetRecord:
    fields = {"folder": f"runs/{name}", "model": "tiny", "model_hash": "a1", "data_hash": "b2", "tokens": 500}
    fields |= {"sequences": 20, "dtype": "float32", "sample_norm": "none", "versions": {"torch": "2.9"}}
    return SetRecord(**(fields | changes))


def statistics_view(names=("learn", "keep"), blocks=4, kinds=KINDS, **changes) -> StatisticsView:
    rows = [
        InputRow(
            layers=tuple(f"model.layers.{depth}.{layer}" for layer in layers),
            kind=", ".join(layers),
            depth=depth,
            n=64 if layers != ("down_proj",) else 128,
            sets={name: input_facts(1 + depth / 10 + place / 20) for place, name in enumerate(names)},
            rank=8 if len(names) > 1 else None,
            overlap=0.3 + depth / 10 if len(names) > 1 else None,
        )
        for depth in range(blocks)
        for layers in kinds
    ]
    fields = {"source": "runs/statistics", "rank": 8, "sets": {name: set_record(name) for name in names}}
    return StatisticsView(**(fields | {"rows": tuple(rows)} | changes))


def start_view(outputs=64, blocks=3, **changes) -> StartView:
    rows = [
        StartRow(
            layer=f"model.layers.{depth}.{kind}",
            trace_learn=10.0 * (depth + 1),
            trace_keep=9.0,
            eigenvalues=(2.5, -0.25),
            reward=2.25,
            share_learn=0.2,
            share_keep=0.00012,
            overlap=0.5,
            residual=1e-14,
            solver="eigh",
            kind=kind,
            depth=depth,
            outputs=outputs,
        )
        for depth in range(blocks)
        for kind in ("q_proj", "down_proj")
    ]
    fields = {"source": "runs/sc/adapter", "rank": 8, "settings": {"r": 8, "beta": 0.8}, "model_hash": "a1"}
    fields |= {"data": {"learn": {"tokens": 500}, "keep": {"tokens": 400}}, "rows": tuple(rows)}
    return StartView(**(fields | changes))


def hostile_view() -> StatisticsView:
    kinds = ((HOSTILE,),)
    return statistics_view(("learn", HOSTILE), kinds=kinds, source=HOSTILE, findings=(HOSTILE,))


def no_depth() -> StatisticsView:
    view = statistics_view(blocks=1)
    return view.model_copy(update={"rows": tuple(row.model_copy(update={"depth": None}) for row in view.rows)})


VIEWS = {
    "both": statistics_view,
    "one": lambda: statistics_view(("keep",)),
    "another name": lambda: statistics_view(("texts",)),
    "one block": lambda: statistics_view(blocks=1),
    "two blocks": lambda: statistics_view(blocks=2),
    "no depth": no_depth,
    "of two models": lambda: statistics_view().model_copy(
        update={"rows": tuple(r.model_copy(update={"rank": None, "overlap": None}) for r in statistics_view().rows)}
    ),
    "scaled": lambda: statistics_view(sets={"learn": set_record("learn", sample_norm="max")}),
    "hostile": hostile_view,
    "start": start_view,
    "start without weights": lambda: start_view(outputs=None),
    "start of one layer": lambda: start_view(rows=start_view().rows[:1]),
}


def shown(view) -> str:
    console = Console(width=140, record=True, file=open("/dev/null", "w", encoding="utf-8"), force_terminal=False)  # noqa: SIM115, PTH123
    console.print(inspection_table(view))
    return console.export_text()


# Names ----------------------------------------------------------------------------------------------------------------


def test_a_kind_is_the_last_part_of_a_name():
    kinds = kinds_of(["model.layers.0.self_attn.q_proj", "model.layers.1.self_attn.q_proj", "model.layers.0.mlp.up"])
    assert list(kinds.values()) == ["q_proj", "q_proj", "up"]


def test_a_kind_has_as_many_parts_as_tell_it_from_others():
    names = ["transformer.h.0.attn.c_proj", "transformer.h.0.mlp.c_proj", "transformer.h.0.attn.c_attn"]
    assert list(kinds_of(names).values()) == ["attn.c_proj", "mlp.c_proj", "c_attn"]
    assert kinds_of(["body.proj", "proj"]) == {"body.proj": "body.proj", "proj": "proj"}


def test_experts_are_of_one_kind_and_bare_numbers_are_names():
    assert set(kinds_of(["layers.0.experts.0.up", "layers.0.experts.1.up"]).values()) == {"up"}
    assert kinds_of(["0", "2"]) == {"0": "0", "2": "2"}


def test_depth_is_the_first_number():
    assert depth_of("model.layers.11.experts.3.up") == 11
    assert depth_of("score") is None


# Figures --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "—"), (0.0, "0"), (0.01391, "0.0139"), (12.82, "12.8"), (1256.4, "1,256"), (-2e3, "−2,000")],
)
def test_sizes(value, text):
    assert size(value) == text


def test_shares_and_ranges():
    assert share(0.00005321) == "0.00532%"
    assert spread([0.5, None, 3.0, 1.0]) == "1 (0.5–3)"
    assert spread([0.1, 0.3], share) == "20% (10–30%)"
    assert (spread([2.0]), spread([])) == ("2", "—")


def test_the_table_has_a_line_a_kind_and_text():
    table = layer_kind_table(statistics_view())
    assert [row[:3] for row in table.rows[:3]] == [("q_proj, k_proj", "4 of 64", "learn"), ("", "", "keep"),
                                                   ("o_proj", "4 of 64", "learn")]  # fmt: skip
    assert [row[-1] for row in table.rows[:2]] == ["0.45 (0.30–0.60)", "random 0.12"]
    alone = layer_kind_table(statistics_view(("keep",)))
    assert len(alone.rows) == 3
    assert "Overlap" not in alone.head
    assert "Overlap" not in alone.note


def test_a_column_goes_with_what_is_said_of_it():
    table = without(layer_kind_table(statistics_view()), "Mean square", "Mean squared output")
    assert "Mean square" not in table.head
    assert "Mean square:" not in table.note
    assert {len(row) for row in table.rows} == {len(table.head)}


def test_every_row_is_in_the_full_table():
    table = row_table(statistics_view())
    assert len(table.rows) == 12
    assert table.rows[0][:4] == ("model.layers.0.q_proj", "k_proj", "64", "500 / 500")
    assert table.rows[0][-2:] == ("0.30", "0.12")
    started = row_table(start_view())
    assert started.rows[0] == (
        *("model.layers.0.q_proj", "64", "20%", "0.012%", "0.50", "0.12", "10", "9", "2.25"),
        *("2.5, −0.25", "1e−14", "eigh"),
    )
    assert row_table(start_view(outputs=None)).rows[0][1] == "—"


# Terminal -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", VIEWS)
def test_the_terminal_stays_within_100_columns_and_shows_no_control_codes(name):
    text = shown(VIEWS[name]())
    assert max(map(len, text.splitlines())) <= 100, text
    assert not {"\x1b", "\u202e"} & set(text)


def test_the_terminal_says_what_matters():
    text = shown(statistics_view(findings=("keep: too few tokens.",)))
    for part in ("learn: 500 tokens in 20 sequences.", "overlap by 0.45", "random ones: 0.12", "q_proj, k_proj",
                 "note: keep: too few tokens."):  # fmt: skip
        assert part in " ".join(text.split())
    assert "20% of the mean squared output on text to learn, and 0.012% on text" in " ".join(
        shown(start_view()).split()
    )


def test_the_terminal_shows_at_most_12_kinds():
    text = shown(statistics_view(kinds=tuple((f"proj_{number}",) for number in range(15)), blocks=2))
    assert "proj_11 " in text
    assert "proj_12 " not in text
    assert "3 more kinds of layer are in inspect.md." in text
    assert "more kinds" not in shown(statistics_view(kinds=tuple((f"proj_{number}",) for number in range(12))))


# Page -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", VIEWS)
def test_the_page_holds_its_tables_and_no_markup_of_others(name):
    view = VIEWS[name]()
    text = inspection_markdown(view)
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(text)
    assert html.count("<table>") == 3
    assert html.count("<img") == 1
    assert "<script" not in html
    assert "<a " not in html
    assert not {"\x1b", "\u202e"} & set(text)
    assert html.count("<tr>") >= len(view.rows)


def test_the_page_says_what_was_found_or_that_nothing_was():
    assert NOTHING_FOUND in inspection_markdown(statistics_view())
    told = inspection_markdown(statistics_view(findings=("learn: too few tokens.",)))
    assert "*learn: too few tokens.*" in told
    assert NOTHING_FOUND not in told


@pytest.mark.parametrize("name", VIEWS)
def test_each_panel_has_a_caption(name):
    view = VIEWS[name]()
    text = inspection_markdown(view)
    figure = inspection_figure(view)
    titles = [axes.get_title(loc="left") for axes in figure.axes if axes.axison]
    assert len(titles) == (4 if isinstance(view, StartView) else 3)
    places = ("(top)", "(bottom left)", "(bottom right)") if isinstance(view, StartView) else (
        "(top left)", "(top right)", "(bottom left)")  # fmt: skip
    for place in places:
        assert place in text
    assert ("divided by the largest output" in text) == (name == "scaled")


# Plots ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", VIEWS)
def test_every_view_can_be_drawn_with_plain_ticks_and_named_axes(name):
    figure = inspection_figure(VIEWS[name]())
    figure.draw_without_rendering()
    for axes in figure.axes:
        if axes.axison:
            assert axes.get_xlabel()
            assert axes.get_ylabel()
            for tick in (*axes.get_xticklabels(), *axes.get_yticklabels()):
                assert "$" not in tick.get_text()
    assert "mathdefault" not in svg_text(figure)


def test_the_random_level_is_drawn_for_each_size():
    figure = inspection_figure(statistics_view())
    levels = [line.get_ydata()[0] for line in figure.axes[2].lines if line.get_linestyle() == ":" or line.is_dashed()]
    assert levels == [8 / 128, 8 / 64]
    labels = [text.get_text() for text in figure.axes[3].get_legend().get_texts()]
    assert labels == [
        *("text to learn", "text to keep", "q_proj, k_proj", "o_proj", "down_proj"),
        "8 random directions of 64 or 128",
    ]


def test_the_key_covers_no_data():
    figure = inspection_figure(statistics_view())
    figure.draw_without_rendering()
    assert figure.axes[3].get_legend() is not None
    assert not figure.axes[3].lines
    assert figure.axes[1].get_legend() is None
    started = inspection_figure(start_view())
    started.draw_without_rendering()
    key = started.legends[0].get_window_extent()
    assert not any(key.overlaps(axes.get_window_extent()) for axes in started.axes)


def test_a_block_of_many_layers_is_drawn_as_its_median():
    rows = statistics_view(kinds=(("up",),), blocks=2).rows
    shifted = [row.model_copy(update={"overlap": value}) for row in rows for value in (0.1, 0.2, 0.9)]
    figure = inspection_figure(statistics_view(kinds=(("up",),)).model_copy(update={"rows": tuple(shifted)}))
    medians = [list(line.get_ydata()) for line in figure.axes[2].lines if line.get_marker() == "o"]
    assert medians == [[0.2, 0.2]]


def test_inputs_that_are_all_zero_can_be_drawn(tmp_path):
    none = InputFacts(tokens=5, mean_square=0, top_share=0, effective_rank=0, largest_sample=0, spectrum=())
    view = statistics_view()
    zero = tuple(row.model_copy(update={"sets": {"learn": none, "keep": none}, "rank": None, "overlap": None})
                 for row in view.rows)  # fmt: skip
    write_inspection(tmp_path, view.model_copy(update={"rows": zero}))


# Files ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["both", "start"])
def test_two_files_are_written_and_nothing_else(name, tmp_path):
    paths = write_inspection(tmp_path / "deep" / "er", VIEWS[name]())
    assert sorted(path.name for path in (tmp_path / "deep" / "er").glob("[!.]*")) == ["inspect.md", "inspect.png"]
    assert paths[1].read_bytes()[:4] == b"\x89PNG"
    assert "](inspect.png)" in paths[0].read_text("utf-8")


def test_it_is_drawn_without_torch():
    code = "import sys, retain.report.page.inspection; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
