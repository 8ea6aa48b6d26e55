"""Reports without their drawings, which take most of the time of a small run: every file is still written."""

from __future__ import annotations

FIGURES = (
    "write.run_figure",
    "write.sheet_figure",
    "write.comparison_figure",
    "page.run_page.run_figure",
    "page.run_page.panel_figure",
    "page.comparison_page.measure_figure",
    "page.scaling_page.sheet_figure",
    "page.inspection.inspection_figure",
)
PNG = b"\x89PNG\r\n\x1a\n"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="1pt" height="1pt" viewBox="0 0 1 1"></svg>'


def draw_nothing(patch) -> None:
    """Put empty drawings where reports draw, with a `MonkeyPatch`."""
    from matplotlib.figure import Figure

    def save(_figure, file, *, format, **_):  # noqa: A002 -- matplotlib's own name
        file.write({"png": PNG, "svg": SVG}[format])

    for name in FIGURES:
        patch.setattr(f"retain.report.{name}", lambda *_, **__: Figure(figsize=(1, 1)))
    patch.setattr(Figure, "savefig", save)
