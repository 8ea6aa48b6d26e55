"""What a person sees at the end of a verb."""

import logging
import os
import warnings

import pytest
from rich.console import Console

from retain.cli import screen


@pytest.fixture
def console(monkeypatch):
    """A console that remembers, and tables that are their names."""
    for name in ("run_table", "comparison_table", "scaling_view", "kept_sentence"):
        monkeypatch.setattr(screen, name, lambda *shown, name=name: name)
    return Console(record=True, width=200)


def test_a_run_is_a_table_and_the_paths_of_its_files(console, tmp_path):
    screen.show_run(console, None, tmp_path, tmp_path / "adapter")
    told = console.export_text()
    assert told.startswith("run_table")
    for name in ("adapter", "report.html", "report.md", "plot.png", "result.json", "items.jsonl", "model_card.md"):
        assert str(tmp_path / name) in told.replace("\n", "")
    screen.show_run(console, None, tmp_path, None)
    assert "weights" not in console.export_text(clear=True).split("run_table")[-1]


@pytest.mark.parametrize("folder", ["plain", "with a blank", "Ümläute #1"])
def test_the_last_line_is_the_page_as_a_link(console, tmp_path, folder):
    place = tmp_path / folder
    screen.show_run(console, None, place, None)
    assert console.export_text().splitlines()[-1] == (place / "report.html").as_uri()
    screen.show_comparison(console, [], [place / "report.html", place / "report.md"])
    assert console.export_text().splitlines()[-1] == (place / "report.html").as_uri()
    assert " " not in (place / "report.html").as_uri()


def test_limits_are_told_where_there_are_some(console, tmp_path):
    screen.show_scaling(console, [1], None, [tmp_path / "scaling.json"])
    assert "kept_sentence" in console.export_text()
    screen.show_scaling(console, [], None, [])
    assert "kept_sentence" not in console.export_text()


def test_a_comparison_is_a_table_and_its_paths(console, tmp_path):
    screen.show_comparison(console, [], [tmp_path / "report.md"])
    assert "md " in console.export_text()


def test_libraries_speak_of_errors_only(monkeypatch):
    monkeypatch.delenv("TOKENIZERS_PARALLELISM")
    with warnings.catch_warnings():
        screen.quiet_libraries()
    assert logging.getLogger("peft").level == logging.ERROR
    assert os.environ["TOKENIZERS_PARALLELISM"] == "false"
