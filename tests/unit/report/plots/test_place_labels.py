"""Labels stay in the frame, off one another and off the points."""

from itertools import combinations

from matplotlib.backends.backend_agg import FigureCanvasAgg

from retain.report.plots.place_labels import Label, place_labels
from retain.report.plots.style import new_figure


def placed(points):
    figure = new_figure(4, 3)
    axes = figure.subplots()
    axes.plot(*zip(*points, strict=True), "o")
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    place_labels(figure, axes, [Label(f"{k}e-4", *point, "#000000") for k, point in enumerate(points)], points, size=8)
    renderer = FigureCanvasAgg(figure).get_renderer()
    return [text.get_window_extent(renderer) for text in axes.texts], axes.get_window_extent(renderer)


def overlap(one, other):
    return one.x0 < other.x1 and other.x0 < one.x1 and one.y0 < other.y1 and other.y0 < one.y1


def test_labels_of_neighbouring_points_do_not_overlap():
    boxes, _ = placed([(0.5, 0.5), (0.51, 0.5), (0.5, 0.52), (0.1, 0.9)])
    assert len(boxes) == 4
    assert not any(overlap(one, other) for one, other in combinations(boxes, 2))


def test_labels_stay_in_the_frame():
    boxes, frame = placed([(0.0, 0.0), (1.0, 1.0), (0.0, 1.0), (1.0, 0.0)])
    assert all(frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1 for box in boxes)
