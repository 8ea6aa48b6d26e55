"""A drawing as an `<svg>` element to stand in a page: text stays text, colours follow the page, points are links."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from xml.etree import ElementTree as ET

from matplotlib import rc_context
from matplotlib.figure import Figure

from retain.report.plots.style import BETTER, INK, WORSE, house_style

POINTS_PER_INCH = 72
LARGEST_ON_PAGE = 1.25
"""How far a drawing may grow with the page: further, its letters would dwarf the text."""

_SVG = "http://www.w3.org/2000/svg"
_XLINK = "http://www.w3.org/1999/xlink"
PAGE_COLOURS = {INK: "currentColor", "#ffffff": "var(--paper)", BETTER: "var(--better)", WORSE: "var(--worse)"}
_REACH = 9
"""Radius in points of the invisible disc around a link, so that a finger finds it."""


@dataclass(frozen=True)
class Link:
    """The target of a point's link, and its text on hover and for a screen reader."""

    href: str
    title: str


def svg_text(figure: Figure, name: str = "plot", links: Mapping[str, Link] | None = None) -> str:
    """The figure as an `<svg>` element.

    Args:
        figure: what to write.
        name: unique within a page, because a page's ids must be.
        links: for the `gid` of an artist, what it leads to; artists without a point on the drawing are passed over.
    """
    buffer = BytesIO()
    with house_style(), rc_context({"svg.hashsalt": f"retain {name}"}):
        empty = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=empty)
    ET.register_namespace("", _SVG)
    ET.register_namespace("xlink", _XLINK)
    root = ET.fromstring(buffer.getvalue())  # noqa: S314 -- matplotlib's own output of a moment ago
    _add_links(root, links or {})
    _trim(root)
    widest = figure.get_figwidth() * POINTS_PER_INCH * LARGEST_ON_PAGE
    root.attrib.pop("width"), root.attrib.pop("height")
    root.set("style", f"max-width: {widest:.0f}pt")
    svg = re.sub(r"""\sxmlns(:\w+)?=(["']).*?\2""", "", ET.tostring(root, encoding="unicode"))
    for colour, of_page in PAGE_COLOURS.items():
        svg = svg.replace(colour, of_page)
    return svg.strip()


def _add_links(root: ET.Element, links: Mapping[str, Link]) -> None:
    for element in list(root.iter(f"{{{_SVG}}}g")):
        link = links.get(element.get("id", ""))
        if link is None:
            continue
        element.tag = f"{{{_SVG}}}a"
        element.set("href", link.href)
        element.set("aria-label", link.title)
        title = ET.Element(f"{{{_SVG}}}title")
        title.text = link.title
        element.insert(0, title)
        for use in list(element.iter(f"{{{_SVG}}}use")):
            place = {"cx": use.get("x", "0"), "cy": use.get("y", "0"), "r": str(_REACH), "fill": "transparent"}
            element.append(ET.Element(f"{{{_SVG}}}circle", place))


def _trim(root: ET.Element) -> None:
    """Drop metadata, empty groups' names and every id that nothing refers to."""
    text = ET.tostring(root, encoding="unicode")
    used = set(re.findall(r"""#([\w-]+)["')]""", text))
    for element in root.iter():
        if element.get("id") is not None and element.get("id") not in used:
            del element.attrib["id"]
        for child in list(element):
            if child.tag.endswith("}metadata"):
                element.remove(child)
