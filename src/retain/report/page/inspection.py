"""The report of `retain inspect`: `inspect.md` and `inspect.png`."""

from __future__ import annotations

from pathlib import Path
from statistics import median

from retain.compare.inspection_rows import StartView, StatisticsView, View
from retain.records import numbers
from retain.records.files import write_text
from retain.records.lock import output_folder
from retain.report.page.markdown import escape, markdown_table
from retain.report.plots.inspection_plots import inspection_figure, spectrum_kind
from retain.report.plots.style import save_png
from retain.report.tables.inspection_tables import layer_kind_table, row_table, share, source_table, two_digits

NOTHING_FOUND = (
    "The checks found nothing that speaks against these statistics: there are tokens enough, no sequence outweighs all "
    "others, and none is in both sets."
)
PAGE, PLOT = "inspect.md", "inspect.png"


def write_inspection(directory: Path, view: View) -> list[Path]:
    """Write `inspect.md` and `inspect.png`, each whole or not at all; their paths.

    Raises:
        InputError: files of these names are there, which retain did not write.
    """
    page, plot = directory / PAGE, directory / PLOT
    with output_folder(directory, (PAGE, PLOT)):
        save_png(inspection_figure(view), plot)
        write_text(page, inspection_markdown(view, plot.name))
    return [page, plot]


def title(view: View) -> str:
    """The title: the calibration data or the adapter."""
    if isinstance(view, StartView):
        return f"How the adapter in {view.source} began"
    models = dict.fromkeys(record.model for record in view.sets.values())
    return f"Statistics of {' and '.join(models)} in {view.source}"


def headline(view: View) -> list[str]:
    """The sentences that come first."""
    if isinstance(view, StartView):
        beta = view.settings.get("beta")
        learned, kept = (median(getattr(row, f"share_{name}") for row in view.rows) for name in ("learn", "keep"))
        told = (
            f"Training starts in {view.rank} directions of each of {len(view.rows)} layers (β = {beta}). In the median "
            f"layer they hold {share(learned)} of the mean squared output on text to learn, and {share(kept)} on text "
            "to keep."
        )
        return [told]
    found = [
        f"{name}: {numbers.count(record.tokens)} tokens in {numbers.count(record.sequences)} sequences."
        for name, record in view.sets.items()
    ]
    compared = [(row.overlap, row.random) for row in view.rows if row.overlap is not None and row.random is not None]
    if compared:
        overlap, random = (median(values) for values in zip(*compared, strict=True))
        found.append(
            f"In the median input, the {view.rank} strongest directions of learn and keep overlap by "
            f"{two_digits(overlap)} (the same ones: 1; random ones: {two_digits(random)})."
        )
    return found


def inspection_markdown(view: View, plot: str | None = PLOT) -> str:
    """The page: findings, the plot with a caption for each panel, each kind of layer, every row, the sources."""
    parts = [
        f"# {escape(title(view))}",
        "\n".join(f"- {escape(sentence)}" for sentence in headline(view)),
        "\n\n".join(f"*{escape(finding)}*" for finding in view.findings) or NOTHING_FOUND,
        f"![{'Shares, sizes and overlap' if isinstance(view, StartView) else 'Spectra, ranks'} over layers]({plot})"
        if plot
        else "",
        "## How to read the plot",
        *(f"**{escape(name)}.** {escape(text)}" for name, text in captions(view)),
        "## Figures",
        markdown_table(layer_kind_table(view)),
        markdown_table(row_table(view)),
        "## Where it comes from",
        markdown_table(source_table(view)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


_DIRECTION = (
    "A layer's {what} for one token is a list of numbers, a point in a space with as many directions as there are "
    "numbers. "
)
_LINES = "Each line is one kind of layer, each point one layer (the median where a block has several). "


def captions(view: View) -> list[tuple[str, str]]:
    """A name and what to see there, for each panel."""
    return _start_captions(view) if isinstance(view, StartView) else _statistics_captions(view)


def _statistics_captions(view: StatisticsView) -> list[tuple[str, str]]:
    scaled = any(record.sample_norm == "max" for record in view.sets.values())
    found = [
        (
            f"Share of each direction (top left), for the input of {spectrum_kind(view)}",
            _DIRECTION.format(what="input") + "The strongest direction is the one along which inputs are largest on "
            "average, seen from zero; the second is the strongest at right angles to it, and so on. The line says what "
            "share of the mean square each of them carries, in the first, a middle and the last layer: the steeper it "
            "falls, the fewer directions the text needs. (In terms of matrices: eigenvalues of E[x xᵀ] over their "
            "sum.)",
        ),
        (
            "How many directions are in use (top right)",
            _LINES + "The effective rank is the number of equally strong directions that would be spread as widely: 1 "
            "where all inputs lie along one line, the number of inputs where no direction is stronger than another. "
            "Near 1, a few tokens with huge values often outweigh all others. (In terms of eigenvalues: (Σλ)²/Σλ².)",
        ),
    ]
    if any(row.overlap is not None for row in view.rows):
        text = (
            f"{_LINES}How much of the {view.rank} strongest directions on text to learn lies within those on text to "
            "keep. At 1 both texts use the same directions, and what is learned cannot be kept away from what must "
            "stay; at the dotted line they have no more in common than random directions. The more numbers an input "
            "has, the lower that line."
        )
        found.append(("Do both texts use the same directions? (bottom left)", text))
    else:
        text = f"{_LINES}The share of the mean square along one line. Near 1, little else is seen of the text there."
        found.append(("What lies in the strongest direction (bottom left)", text))
    if scaled:
        text = (
            "Each sequence was divided by the largest output of the layer on it (sample norm “max”), so sizes are not "
            "those that the model sees."
        )
        found.append(("Scaled samples", text))
    return found


def _start_captions(view: StartView) -> list[tuple[str, str]]:
    rank = view.rank
    overlap = (
        f"{_LINES}How much of the {rank} strongest directions of the output on text to learn lies within those on text "
        "to keep (estimated). At 1 they are the same, and what is learned cannot be kept away from what must stay."
    )
    dotted = (
        "The dotted lines are what as many random directions would hold: lower for layers with more outputs. "
        if any(row.outputs is not None for row in view.rows)
        else ""
    )
    return [
        (
            f"Text to learn, text to keep: share in the chosen {rank} directions (top)",
            _DIRECTION.format(what="output") + f"Training starts in {rank} directions of it. The panels say what share "
            "of the mean squared output lies in these, on text to learn (left) and on text to keep (right), on the "
            "same scale. Wanted is much on the left and little on the right. "
            + dotted
            + "A share below them on both sides means that both texts are strong in the same directions, which were "
            "therefore avoided.",
        ),
        (
            "How large the outputs are (bottom left)",
            _LINES + "The mean squared length of the output a token. Where the two lines of a kind lie apart, one "
            "text drives these layers harder, and counts for more in the choice of directions.",
        ),
        ("Do both texts use the same directions? (bottom right)", overlap),
    ]
