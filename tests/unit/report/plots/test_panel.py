"""What all panels share: the base's place, colours, and that every setting is a point."""

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from report_samples import eighteen, named, sample_run, task_score
from retain.compare.aggregate import group_runs
from retain.compare.pick import task_keys
from retain.report.plots.comparison_plot import comparison_measures, method_styles
from retain.report.plots.panel import base_marker, draw_panel, shared_look


def look_of(results):
    groups = group_runs(named(results))
    return groups, shared_look(groups, task_keys(results)[0], method_styles(groups))


def test_the_base_stands_at_zero_unless_that_is_far_from_all_settings():
    _, near = look_of([sample_run(task=(task_score(0.1),)), sample_run(rate=1, task=(task_score(1.0),))])
    assert (near.base_x, base_marker(near)) == (0.0, "h")
    _, far = look_of([sample_run(task=(task_score(2.0),)), sample_run(rate=1, task=(task_score(2.1),))])
    assert 0 < far.base_x < 2.0
    assert base_marker(far) == "<"


def test_each_setting_has_a_point_and_its_learning_rate():
    groups, look = look_of(eighteen())
    measures = comparison_measures(groups)
    figure = Figure()
    FigureCanvasAgg(figure)
    labels, occupied = draw_panel(figure.subplots(), measures[0], groups, look)
    assert len(groups) == 6
    assert sorted(label.text for label in labels) == sorted(["base, at 0" if look.base_x else "base", *(
        label.text for label in labels if "e-" in label.text)])  # fmt: skip
    assert sum("e-" in label.text for label in labels) == 6
    assert len(occupied) > 18
