"""The benchmarks work: their correctness gates pass and stop what is wrong, and their tables are written. No times."""

from __future__ import annotations

import importlib
import json
import math
import sys
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).resolve().parents[3] / "benchmarks"
OURS = ("common", "cases", "bases", "aims", "layer", "model", "serving", "files", "initialisation", "job", "run_all")
SCRIPTS = ("layer", "model", "serving", "files", "initialisation")


@pytest.fixture(scope="module")
def script():
    """Import a benchmark by its file's name, as when it is run; afterwards these common names are free again."""
    before = {name: sys.modules.pop(name) for name in OURS if name in sys.modules}
    threads = torch.get_num_threads()
    sys.path.insert(0, str(FOLDER))
    try:
        yield importlib.import_module
    finally:
        sys.path.remove(str(FOLDER))
        torch.set_num_threads(threads)
        for name in OURS:
            sys.modules.pop(name, None)
        sys.modules.update(before)


@pytest.fixture(scope="module")
def results(script, tmp_path_factory):
    """All benchmarks once, at sizes at which only numbers that do not depend on time mean anything."""
    folder = tmp_path_factory.mktemp("results")
    for name in SCRIPTS:
        _, *arguments = script("run_all").TINY[name]
        script(name).main([*arguments, "--threads", str(torch.get_num_threads()), "--results", str(folder)])
    meanwhile = {"loads": [0.5, 3.5], "steal": 0.12, "cores": 2, "seconds": 60}
    (folder / "run.json").write_text(json.dumps(meanwhile), encoding="utf-8")
    return folder


def _read(results, name):
    return json.loads((results / f"{name}.json").read_text(encoding="utf-8"))


def _row(results, record, **where):
    rows = _read(results, record)["rows"]
    return next(row for row in rows if all(row[key] == value for key, value in where.items()))


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_gate_passes_and_the_machine_is_noted(results, name):
    record = _read(results, name)
    assert record["passed"]
    assert sum("skipped" not in check for check in record["gate"]) >= 3
    assert record["machine"]["versions"]["torch"] == torch.__version__
    assert record["machine"]["threads"] == torch.get_num_threads()


def test_a_layer_saves_its_input_for_vefa_and_nothing_when_it_is_frozen(results):
    assert _row(results, "layer", base="float32", case="frozen")["saved_bytes"] == 0
    vefa = _row(results, "layer", base="float32", case="VeFA")
    assert vefa["saved_bytes"] == 16 * 64 * 4
    assert vefa["saved_bytes_without_input"] == 0
    assert vefa["trainable"] == 64


def test_operations_of_lora_are_those_counted_by_hand(results):
    tokens, width, rank = 16, 64, 8
    frozen = 2 * 2 * tokens * width * width  # y = x W', dx = g W
    lora = frozen + 2 * tokens * width * rank * 6  # two thin products forward, four backward
    assert _row(results, "layer", base="float32", case="frozen")["flops"] == frozen
    assert _row(results, "layer", base="float32", case="LoRA (PEFT)")["flops"] == lora


def test_vefa_writes_four_bytes_a_number_and_its_header(results):
    row = _row(results, "files", method="VeFA")
    hidden, feed_forward = 64, 172
    assert row["numbers"] == 6 * hidden + feed_forward  # q, k, v, o, gate, up; down
    assert row["file_bytes"] == 4 * row["numbers"] + row["header_bytes"]


def test_the_page_has_every_aim_the_tables_and_what_speaks_against_the_times(script, results, tmp_path):
    page = tmp_path / "RESULTS.md"
    script("run_all").main(["--tables", "--results", str(results), "--page", str(page)])
    text = page.read_text(encoding="utf-8")
    assert all(aim.text in text for aim in script("aims").AIMS)
    unmeasured = [line for line in text.splitlines() if "not measured" in line]
    left = ("start", "whole job")  # a tiny CorDA may take no memory to compare with; the job has a test of its own
    assert all(any(word in line for word in left) for line in unmeasured), unmeasured
    assert "| reached |" in text
    assert "the load reached 3.5, above 3.0" in text
    assert "12% of the processors' time" in text
    assert all(f"\n{name}: " in text for name in SCRIPTS)


def test_an_aim_is_reached_up_to_its_limit_and_not_beyond(script):
    def verdict(ratio):
        row = {"base": "float32", "case": "VeFA", "ratio": ratio, "ratio_least": ratio}
        return script("aims").judged({"layer": {"rows": [row]}})[0]["verdict"]

    assert [verdict(1.0), verdict(1.001)] == ["reached", "not reached"]


@pytest.mark.parametrize("lacking", ["ratio", "beyond_ratio", "memory_ratio"])
def test_a_ratio_to_nothing_is_not_measured(script, lacking):
    row = {"case": script("initialisation").SC_LORA, "ratio": 0.2, "beyond_ratio": 0.1, "memory_ratio": 0.1}
    del row[lacking]
    found = script("aims").judged({"initialisation": {"rows": [row]}})
    starts = [aim for aim in found if "start" in aim["aim"]]
    assert sorted(aim["verdict"] for aim in starts) == ["not measured", "reached", "reached"]


def test_a_case_that_failed_is_not_measured(script):
    records = {name: {"rows": [dict(aim.where)]} for aim in script("aims").AIMS for name in [aim.record]}
    assert {aim["verdict"] for aim in script("aims").judged(records)} <= {"not measured"}


def test_a_wrong_result_ends_the_run_before_anything_is_timed(script, tmp_path, monkeypatch):
    layer, cases = script("layer"), script("cases")

    def on_outputs(model, names, _rank):
        return cases.get_peft_model(model, cases.IA3Config(target_modules=names, feedforward_modules=[]))

    monkeypatch.setitem(cases.CASES, cases.IA3, on_outputs)
    with pytest.raises(SystemExit, match="gate is not passed"):
        layer.main(["--tokens", "4", "--width", "8", "--rank", "2", "--results", str(tmp_path)])
    assert not _read(tmp_path, "layer")["passed"]
    assert _read(tmp_path, "layer")["rows"] == []


def test_a_gate_tells_a_scale_that_is_wrong_by_a_millionth(script):
    layer, cases = script("layer"), script("cases")
    base, (x, g) = layer.base(8, 8, torch.float64), layer.tensors(4, 8, 8, torch.float64)

    def run(model):
        found = layer.outcome(model, x, g)
        wrong = any("vefa" in key for key in found)
        return {key: value * (1 + 1e-6 * wrong) for key, value in found.items()}

    checks = cases.equal_mathematics(base, 2, run)
    assert [check["passed"] for check in checks] == [False, True, True]
    assert checks[0]["difference"] == pytest.approx(1e-6, rel=1e-3)
    assert not cases.passed(checks)


def test_nothing_compared_is_no_equality(script):
    cases = script("cases")
    assert math.isinf(cases.difference({}, {}))
    assert math.isinf(cases.difference({"a": torch.ones(2)}, {"b": torch.ones(2)}))
    assert math.isinf(cases.difference({"a": torch.zeros(2)}, {"a": torch.zeros(2)}))


def test_one_block_stands_for_all_of_them(script):
    initialisation = script("initialisation")
    asked = initialisation.options().parse_args(["--block", "--tokens", "32", "--rank", "4"])
    rows = initialisation.block(asked, hidden=64, blocks=3, vocabulary=50)
    assert [row["case"] for row in rows] == [initialisation.FORWARD, initialisation.SC_LORA]
    assert all(row["all"] == 3 * row["seconds"] and row["tokens"] == 64 for row in rows)
