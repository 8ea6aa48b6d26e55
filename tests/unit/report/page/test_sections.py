"""What the drawings and detail tables hold, and that withheld texts stay withheld."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from matplotlib.collections import QuadMesh

from full_samples import BLOCKS, CORRUPTIONS, KINDS, WITHHELD, breakdowns, full_run, layers, withheld_items
from report_samples import bare, items, sample_run
from retain.compare.aggregate import NamedResult
from retain.compare.lost_across import lost_across
from retain.records.drift_record import Drift, FeatureScaleLayer, LayerDrift
from retain.records.metrics_table import CROSS_ENTROPY, REFUSED
from retain.report.layer_names import Place, places
from retain.report.page.item_lists import lost_list, run_lists
from retain.report.page.markdown import run_markdown
from retain.report.page.run_page import run_page
from retain.report.page.sections import measured_sections, origin_sections
from retain.report.page.svg import Link, svg_text
from retain.report.plots.breakdown import breakdown_panels
from retain.report.plots.drift_map import drift_panels
from retain.report.plots.reliability import reliability_panels
from retain.report.plots.style import panel_figure
from retain.report.plots.training_curve import curve_panels
from retain.report.tables.drift_tables import moved_tables
from retain.report.write import SECTION_PLOTS, write_run_report

pytestmark = pytest.mark.usefixtures("drawn")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["model.layers.3.self_attn.q_proj", "model.layers.3.mlp.up_proj", "lm_head"],
         [("3", "q_proj"), ("3", "up_proj"), ("other", "lm_head")]),
        (["vit.encoder.layer.0.attention.output.dense", "vit.encoder.layer.0.output.dense"],
         [("0", "attention.output.dense"), ("0", "output.dense")]),
        (["encoder.layers.0.fc1", "decoder.layers.0.fc1"], [("encoder.0", "fc1"), ("decoder.0", "fc1")]),
        (["layer1.0.conv1", "layer2.0.conv1"], [("layer1.0", "conv1"), ("layer2.0", "conv1")]),
        (["blocks.7"], [("7", "blocks")]),
    ],
)  # fmt: skip
def test_a_layer_is_found_by_its_block_and_kind(names, expected):
    found = places(names)
    assert [(place.block, place.kind) for place in found][1:] == expected[1:]
    assert len(set(found)) == len(names)
    assert isinstance(found[0], Place)


def test_no_two_layers_share_a_cell():
    names = [layer.name for layer in layers()]
    assert len(set(places(names))) == len(names)


def drawn_cells(panel):
    axes = panel_figure(panel).axes[0]
    mesh = next(child for child in axes.get_children() if isinstance(child, QuadMesh))
    return axes, np.ma.masked_invalid(mesh.get_array())


def test_the_map_shows_each_value_at_its_block_and_kind():
    record = sample_run(drift=Drift(layers=layers()))
    axes, cells = drawn_cells(drift_panels(record)[0])
    assert axes.get_title(loc="left") == "Relative size"
    assert cells.shape == (BLOCKS + 1, len(KINDS) + 1)
    values = {layer.name: layer.relative_frobenius for layer in layers()}
    assert cells[7, 2] == values["model.layers.7.self_attn.v_proj"]
    assert cells.count() == len(layers())


@pytest.mark.parametrize(
    ("names", "rows"),
    [
        ([f"model.layers.{block}.fc" for block in (10, 9, 2, 11)], ["2", "9", "10", "11"]),
        ([f"{stack}.block.{block}.fc" for block in (1, 0) for stack in ("encoder", "decoder")],
         ["encoder.0", "decoder.0", "encoder.1", "decoder.1"]),
        (["lm_head", "model.layers.1.fc", "model.layers.0.fc"], None),
    ],
)  # fmt: skip
def test_blocks_stand_in_their_order_whatever_the_order_of_the_layers(names, rows):
    found = tuple(LayerDrift(name=name, relative_frobenius=0.1, sigma_max=1.0, stable_rank=2.0) for name in names)
    axes, _ = drawn_cells(drift_panels(sample_run(drift=Drift(layers=found)))[0])
    told = [label.get_text() for label in axes.get_yticklabels()]
    assert told == rows if rows else told[1:] == ["0", "1"]


def test_a_map_is_drawn_only_for_measures_that_are_there():
    assert len(drift_panels(full_run())) == 6
    plain = tuple(layer.model_copy(update={"intruders": None, "column_leak": None}) for layer in layers())
    titles = [
        panel_figure(panel).axes[0].get_title(loc="left")
        for panel in drift_panels(sample_run(drift=Drift(layers=plain)))
    ]
    assert titles == ["Relative size", "F_Δ, inputs to keep", "F_Δ, the task"]
    assert drift_panels(sample_run()) == []


def test_corruptions_are_a_map_with_the_change_against_the_base():
    axes, cells = drawn_cells(breakdown_panels(full_run())[0])
    part = breakdowns()[7]
    kind, severity = part.condition.split("/")
    cell = cells[CORRUPTIONS.index(kind), int(severity) - 1]
    assert cell == pytest.approx(100 * (part.tuned - part.base))
    assert [label.get_text() for label in axes.get_yticklabels()] == [kind.replace("_", " ") for kind in CORRUPTIONS]


def test_other_conditions_are_bars_the_worst_first():
    figure = panel_figure(breakdown_panels(full_run())[1])
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels[0] == "history (n = 80)"
    assert labels[-1] == "sport and leisure (n = 80)"


def test_where_less_is_better_the_largest_rise_is_the_worst_condition():
    parts = [part.model_copy(update={"metric": CROSS_ENTROPY}) for part in breakdowns() if part.suite == "trivia"]
    figure = panel_figure(breakdown_panels(full_run(breakdowns=tuple(parts)))[0])
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels[0] == "sport and leisure (n = 80)"
    assert labels[-1] == "history (n = 80)"


def test_a_reliability_diagram_has_both_sides_with_their_error():
    panels = reliability_panels(full_run())
    assert len(panels) == 2
    legend = panel_figure(panels[0]).axes[0].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == [
        "base: ECE 5.0%", "tuned: ECE 12.0%",
    ]  # fmt: skip


def test_the_curve_is_the_recorded_loss():
    record = full_run()
    axes = panel_figure(curve_panels(record)[0]).axes[0]
    assert list(axes.lines[0].get_ydata()) == [point.loss for point in record.curve]
    assert curve_panels(sample_run()) == []


def test_the_curve_of_what_was_watched_is_drawn_where_it_was():
    record = full_run()
    axes = panel_figure(curve_panels(record)[1]).axes[0]
    watched = {point.step: point.kl_nats_per_token for point in record.curve if point.step % 10 == 0}
    assert dict(zip(axes.lines[0].get_xdata(), axes.lines[0].get_ydata(), strict=True)) == watched
    none = {"kl_nats_per_token": None, "feature_kl_nats": None, "ewc_nats_per_token": None}
    unwatched = tuple(point.model_copy(update=none) for point in record.curve)
    assert len(curve_panels(full_run(curve=unwatched))) == 1


@pytest.mark.parametrize(
    ("training", "told"),
    [
        ({}, "KL from the base on text to keep"),
        ({"kl_on": "batch"}, "KL from the base on the data that are learned"),
        ({"kl_on": "batch", "teacher": "runs/large"}, "KL from the teacher runs/large on the data that are learned"),
        ({"teacher": "runs/large"}, "KL from the teacher runs/large on text to keep"),
    ],
)
def test_the_curve_says_what_was_compared_with_and_on_what(training, told):
    record = full_run()
    record = record.model_copy(update={"training": {**record.training, **training}})
    assert curve_panels(record)[1].caption.startswith(told)


@pytest.mark.parametrize(
    ("drift", "told"),
    [
        (Drift(update_relative_frobenius=0.1), ["Update size, relative to the weights"]),
        (Drift(kl_nats_per_token=0.1, kl_interval=(0.0, 0.2)), ["KL from the base, nats per token"]),
        (Drift(), None),
    ],
)
def test_what_was_not_measured_has_no_row(drift, told):
    assert [[row[0] for row in table.rows] for table in moved_tables(drift)] == ([told] if told else [])


def test_the_largest_amounts_come_first_and_the_rest_is_counted():
    amounts = tuple(FeatureScaleLayer(name=f"l{i}", amount=i / 10, share=0.1, features=((i, 0.5),)) for i in range(15))
    (table,) = moved_tables(Drift(feature_scales=amounts))
    assert [row[0] for row in table.rows[:2]] == ["l14", "l13"]
    assert "The 12 largest of 15 layers." in table.note
    assert table.rows[0][3] == "14 (0.5)"


def test_a_full_record_has_every_section_and_an_old_one_none_that_is_empty():
    assert [section.title for section in measured_sections(full_run())] == [
        "Budget", "Scores", "By condition", "Confidence", "How far it moved", "Training",
    ]  # fmt: skip
    assert [section.title for section in origin_sections(full_run())] == ["How both were asked", "How it was made"]
    assert [section.title for section in measured_sections(bare())] == ["Training"]
    assert [section.title for section in origin_sections(bare())] == ["How it was made"]


def test_sources_licences_and_the_error_of_the_detector_are_shown():
    text = run_markdown(full_run(), items())
    assert "| capitals | Capitals of countries | keep | choice | 2 | Wikidata, 2025-01 | CC0-1.0 |" in text
    assert "requests: wrong on 3 of 200 answers judged by hand (1.5%)" in text


def test_plots_are_written_only_where_there_is_something_and_old_ones_go(tmp_path):
    assert {path.name for path in write_run_report(tmp_path, full_run(), [])} >= set(SECTION_PLOTS)
    write_run_report(tmp_path, sample_run(), [])
    assert not {path.name for path in tmp_path.iterdir()} & set(SECTION_PLOTS)


@cache
def full_page():
    """The page of a record with everything in it, made once."""
    return run_page(full_run(), [*items(), *withheld_items()])


# Withheld texts -------------------------------------------------------------------------------------------------------


def test_withheld_texts_appear_nowhere(tmp_path):
    every = [*items(), *withheld_items()]
    record = full_run()
    assert WITHHELD not in run_markdown(record, every)
    assert WITHHELD not in full_page()
    lists = {found.title: found for found in run_lists(record, every)}
    lost = lists["requests (requests refused): 1 lost"]
    assert lost.items == ()
    assert lost.note == "1 withheld: their texts are neither stored nor shown."


def test_withheld_texts_appear_in_no_comparison():
    record = full_run()
    comparison = [NamedResult("one", record)]
    from retain.compare.aggregate import group_runs

    lost = lost_across(group_runs(comparison), {"one": withheld_items()}, ("requests", REFUSED))
    shown = lost_list("requests", lost)
    assert len(lost) == 1
    assert shown.items == ()
    assert "1 withheld" in shown.note


# Drawings as links ----------------------------------------------------------------------------------------------------


def test_a_named_point_becomes_a_link_with_a_title():
    from retain.report.plots.style import Panel

    panel = Panel("", 3, 3, lambda axes: axes.plot([1], [1], marker="o", gid="run-1"))
    svg = svg_text(panel_figure(panel), "x", {"run-1": Link("a%20b.html", 'one & "two" <b>')})
    assert '<a href="a%20b.html" aria-label="one &amp; &quot;two&quot; &lt;b&gt;">' in svg
    assert '<title>one &amp; "two" &lt;b&gt;</title>' in svg
    assert svg.count("<circle") == 1
    assert "<a " not in svg_text(panel_figure(panel), "x")


def test_drawings_of_one_page_share_no_name():
    import re

    page = full_page()
    names = re.findall(r'\sid="([^"]+)"', page)
    assert len(names) == len(set(names))
