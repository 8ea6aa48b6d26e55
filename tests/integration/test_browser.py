"""The pages in a real browser: nothing is asked for, nothing complains, nothing sticks out, and they open at once.

A small script is put into copies of the pages only; it writes what it found into the title. The pages have none.
"""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from full_samples import full_run, judgement, withheld_items
from report_samples import items, judged, sample_run
from retain.records.items import write_items
from retain.report.write import write_comparison, write_run_report

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium, chromium-browser or google-chrome on PATH")


@pytest.fixture(scope="module", autouse=True)
def drawings():
    """As users see them, also in what the tests of this file share."""


RUNS, SETTINGS = 50, (("lora", 0), ("lora", 1), ("lorfa", 0), ("vefa", 0), ("vefa", 1))
MOST_BYTES, MOST_NODES, MOST_SECONDS = 3_000_000, 30_000, 3.0
"""Of the page of 50 runs. Bytes and nodes are what a second is made of and do not depend on how busy a machine is."""

PROBE = """<script>addEventListener("load", () => setTimeout(() => {
  const timing = performance.getEntriesByType("navigation")[0];
  const links = [...document.querySelectorAll("svg a")];
  if (links.length) links[0].focus();
  top.document.title = JSON.stringify({
    load: timing.loadEventEnd, nodes: document.querySelectorAll("*").length, width: innerWidth,
    wide: document.documentElement.scrollWidth, points: links.length,
    titled: links.filter((link) => link.querySelector("title")?.textContent).length,
    focused: document.activeElement === links[0], paper: getComputedStyle(document.body).backgroundColor,
    tried: performance.getEntriesByType("resource").map((entry) => entry.name),
  });
}, 0));</script>"""


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """A folder under an address of this machine, and everything that is asked for meanwhile."""
    asked: list[str] = []

    class Recording(SimpleHTTPRequestHandler):
        def log_request(self, code="-", size="-"):
            if self.path != "/favicon.ico":  # a browser asks every site for it by itself, sooner or later
                asked.append(self.path)

        def log_message(self, *_):
            """Into the list above, not onto the screen."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Recording, directory=folder))
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def browse(address: str, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Open a page without a screen and give back its document, and what the browser logged."""
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
    flags += [f"--user-data-dir={folder / 'profile'}", "--enable-logging=stderr", "--dump-dom"]
    return subprocess.run(
        [BROWSER, *flags, *options, address],
        capture_output=True, text=True, check=True, timeout=120, env={**os.environ, "HOME": str(folder)},
    )  # fmt: skip


def probe(page: Path, folder: Path, *options: str, width: int | None = None) -> dict:
    """What the script finds in a copy of the page that lets it run, and would let the page ask for anything.

    No name leads anywhere, so that nothing leaves this machine. With a width, the page stands in a frame of that many
    pixels. `asked` is what reached the page's own server, `tried` whatever the page wanted from anywhere.
    """
    text = page.read_text(encoding="utf-8")
    opened = re.sub(r"<meta http-equiv=.Content-Security-Policy.[^>]*>", PROBE, text, count=1)
    assert opened != text
    framed = f'<iframe width="{width}" height="800" frameborder="0" srcdoc="{html.escape(opened)}"></iframe>'
    folder.mkdir(exist_ok=True)
    (folder / "site").mkdir()
    (folder / "site" / "page.html").write_text(f"<title></title>{framed}" if width else opened, encoding="utf-8")
    with served(folder / "site") as (address, asked):
        nowhere = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
        done = browse(f"{address}/page.html", folder, nowhere, *options)
    title = re.search(r"<title>(.*?)</title>", done.stdout, flags=re.DOTALL)
    return json.loads(html.unescape(title[1])) | {"asked": asked}


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """A full run, one without a verdict, and a comparison of fifty runs with links to their own pages."""
    folder = tmp_path_factory.mktemp("pages")
    write_run_report(folder / "full", full_run(), [*items(), *withheld_items()])
    write_run_report(folder / "plain", judged(), items())
    results = {}
    for number in range(RUNS):
        method, rate = SETTINGS[number % len(SETTINGS)]
        run = folder / "many" / "runs" / f"{method}-{rate}-{number}"
        write_items(items(), run / "items.jsonl")
        (run / "report.html").write_text("a run", encoding="utf-8")
        verdict = judgement("lost" if number % 3 else "kept")
        results[run] = sample_run(method, rate, number, judgement=verdict)
    write_comparison(folder / "many", results)
    return {name: folder / name / "report.html" for name in ("full", "plain", "many")}


@pytest.mark.parametrize("name", ["full", "plain", "many"])
def test_the_page_as_it_is_makes_the_browser_complain_of_nothing(pages, tmp_path, name):
    done = browse(pages[name].as_uri(), tmp_path)
    assert "</html>" in done.stdout
    assert "CONSOLE" not in done.stderr, done.stderr


@pytest.mark.parametrize("name", ["full", "plain", "many"])
def test_no_request_leaves_the_page_and_nothing_sticks_out_on_a_phone(pages, tmp_path, name):
    found = probe(pages[name], tmp_path, width=360)
    assert found["asked"] == ["/page.html"]
    assert found["tried"] == []
    assert found["width"] == 360
    assert found["wide"] <= 360


def test_the_probe_would_see_a_request(pages, tmp_path):
    page = tmp_path / "asking.html"
    images = "".join(
        f'<img src="{source}">' for source in ("here.png", "http://a.invalid/b.png", "https://c.invalid/d.png")
    )
    page.write_text(pages["plain"].read_text("utf-8").replace("<main>", f"<main>{images}"), "utf-8")
    found = probe(page, tmp_path)
    assert sorted(found["asked"]) == ["/here.png", "/page.html"]
    assert sorted(name.rsplit("/", 1)[1] for name in found["tried"]) == ["b.png", "d.png", "here.png"]


def test_the_page_is_dark_where_dark_is_preferred(pages, tmp_path):
    colours = [
        probe(pages["plain"], tmp_path / str(choice), f"--blink-settings=preferredColorScheme={choice}")["paper"]
        for choice in (0, 1)
    ]
    assert colours == ["rgb(22, 23, 27)", "rgb(255, 255, 255)"]


def test_fifty_runs_open_at_once_with_every_point_a_link(pages, tmp_path, capsys):
    found = probe(pages["many"], tmp_path)
    size = pages["many"].stat().st_size
    with capsys.disabled():
        print(f"\n50 runs: loaded in {found['load']:.0f} ms, {size / 1e3:.0f} kB, {found['nodes']} nodes")  # noqa: T201 -- the true figure is worth seeing
    panels = 2
    assert found["points"] == found["titled"] == panels * (RUNS + len(SETTINGS))
    assert found["focused"], "a point cannot be reached with the keyboard"
    assert size < MOST_BYTES
    assert found["nodes"] < MOST_NODES
    assert found["load"] < 1000 * MOST_SECONDS
