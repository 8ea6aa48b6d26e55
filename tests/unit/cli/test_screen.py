"""What a person sees at the end of a verb."""

import logging
import os
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from retain.cli import screen
from retain.cli.main import main
from retain.cli.verbs import VERBS
from retain.cli.views import export_view
from retain.jobs.quiet import quiet_libraries
from retain.records.export_record import EXPORT_RECORD


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
        quiet_libraries()
    assert logging.getLogger("peft").level == logging.ERROR
    assert os.environ["TOKENIZERS_PARALLELISM"] == "false"


@pytest.mark.parametrize("name", ["torchao", "bitsandbytes", "torch"])
def test_a_library_that_warns_as_it_is_imported_is_quiet_before_any_verb(name, tmp_path):
    for module in ("torch", "transformers", "datasets"):
        (tmp_path / f"{module}.py").write_text("", encoding="utf-8")
    warning = f"import logging\nlogging.getLogger('{name}.inside').warning('a page of noise')\n"
    (tmp_path / "noisy.py").write_text("import torch\n" + warning, encoding="utf-8")
    (tmp_path / "transformers.py").write_text(
        "class logging:\n set_verbosity_error = disable_progress_bar = staticmethod(lambda: print('quiet'))\n",
        encoding="utf-8",
    )
    (tmp_path / "datasets.py").write_text("def disable_progress_bars(): print('no bars')\n", encoding="utf-8")
    work = "from retain.jobs.quiet import quiet_libraries\nquiet_libraries()\nimport noisy, transformers, datasets\n"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    ended = subprocess.run([sys.executable, "-c", work], capture_output=True, text=True, env=environment, check=True)
    assert (ended.stdout, ended.stderr) == ("quiet\nquiet\nno bars\n", "")


def test_every_verb_begins_quietly(monkeypatch):
    said = []
    monkeypatch.setattr("retain.jobs.quiet.quiet_libraries", lambda: said.append("quiet"))
    for name, verb in VERBS.items():
        monkeypatch.setattr(verb, "run", lambda _, name=name: said.append(name) or 0)
    for command in (["suites"], ["check"], ["report", "folder"], ["measure", "--tuned", "x"]):
        assert main(command) == 0
    assert said == ["quiet", "suites", "quiet", "check", "quiet", "report", "quiet", "measure"]


def test_the_files_of_an_export_have_whole_names_before_them(console, tmp_path, monkeypatch):
    monkeypatch.setattr(export_view, "loss_lines", lambda record: ())
    files = ("adapter_model.safetensors", "adapter_config.json", "chat_template.jinja", "model.gguf")
    record = SimpleNamespace(rank=4, method="lora", to="lora", dtype="float32", notes=(), files=files)
    export_view.show_export(console, SimpleNamespace(record=record, folder=tmp_path))
    labels = {Path(line.split()[1]).name: line.split()[0] for line in console.export_text().splitlines()[1:]}
    expected = {files[0]: "weights", files[1]: "json", files[2]: "jinja", files[3]: "gguf", EXPORT_RECORD: "json"}
    assert labels == expected
