"""`retain report`: from records alone, whichever tool wrote them; every problem at once, and nothing written before."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from report_samples import items, sample_run
from retain.errors import InputError
from retain.jobs.report import report
from retain.records.items import write_items
from retain.records.result import write_result
from retain.report.write import write_run_report


@pytest.fixture
def run_folder(tmp_path):
    folder = tmp_path / "runs" / "one"
    write_result(sample_run(), folder / "result.json")
    write_items(items(), folder / "items.jsonl")
    return folder


def test_a_run_is_reported_again_just_as_it_was(run_folder, drawn, tmp_path):
    first = {path.name: path.read_bytes() for path in write_run_report(tmp_path / "first", sample_run(), items())}
    again = {path.name: path.read_bytes() for path in report([run_folder])}
    assert again == first
    assert (run_folder / "report.html").exists()
    elsewhere = report([run_folder / "result.json"], tmp_path / "elsewhere")
    assert {path.parent for path in elsewhere} == {tmp_path / "elsewhere"}


def test_a_record_file_without_items_of_another_tool_is_enough(tmp_path):
    record = json.loads(sample_run().model_dump_json(by_alias=True))
    needed = {"schema", "model", "method", "seed", "parameters", "provenance", "keep"}
    (tmp_path / "theirs.json").write_text(json.dumps({key: record[key] for key in needed}), encoding="utf-8")
    paths = report([tmp_path / "theirs.json"], tmp_path / "out")
    assert "capitals" in paths[0].read_text(encoding="utf-8")


def test_several_runs_are_compared_and_linked(run_folder, tmp_path):
    other = tmp_path / "runs" / "two"
    write_result(sample_run(seed=1), other / "result.json")
    report([run_folder])
    paths = report([run_folder, other], tmp_path / "compared")
    page = paths[0].read_text(encoding="utf-8")
    assert 'href="../runs/one/report.html"' in page
    assert "2 runs, 1 setting" in page
    whole = report([tmp_path])
    assert whole[0] == tmp_path / "report.html"
    assert 'href="runs/one/report.html"' in whole[0].read_text(encoding="utf-8")


def test_every_problem_is_told_at_once_and_nothing_is_written(run_folder, tmp_path):
    bad = tmp_path / "bad.json"
    bad.write_text('{"schema": "retain.result/2", "model": 3}', encoding="utf-8")
    old = tmp_path / "old.json"
    old.write_text('{"schema": "other/9"}', encoding="utf-8")
    with (run_folder / "items.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"part": "nowhere"}\n')
    with pytest.raises(InputError) as caught:
        report([run_folder, bad, old, tmp_path / "nothing", run_folder])
    told = "\n".join(caught.value.problems)
    for part in (
        "a run was given twice", "no --output", "bad.json: model: Input should be a valid string (found 3).",
        "bad.json: provenance: Field required", "schema 'other/9'", "nothing: there is no such run folder",
        f"items.jsonl, line {len(items()) + 1}: part:",
    ):  # fmt: skip
        assert part in told, told
    assert not list(tmp_path.rglob("report.*"))


def test_a_folder_without_a_record_is_named(tmp_path):
    with pytest.raises(InputError, match=r"holds no result\.json"):
        report([tmp_path])
    with pytest.raises(InputError, match="no run was given"):
        report([])
    write_result(sample_run(), tmp_path / "mine.json")
    with pytest.raises(InputError, match="a single record file needs --output"):
        report([tmp_path / "mine.json"])


def test_reporting_loads_no_model_library(run_folder, tmp_path):
    code = (
        "import sys\n"
        "from retain.cli.report import make_parser, run\n"
        f"run(make_parser().parse_args([{str(run_folder)!r}, '--output', {str(tmp_path / 'out')!r}]))\n"
        "sys.exit(', '.join({'torch', 'transformers', 'peft'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"html     {tmp_path / 'out' / 'report.html'}" in done.stdout
