"""A record judged again without models: the same verdict, and no verdict where it was tampered with."""

import hashlib
import json

import pytest

from retain.cli.gate import EXIT_CODES
from retain.cli.main import main
from retain.errors import InputError
from retain.evaluate.scores.rows import keep_row
from retain.jobs.replay_verdict import replay_run
from retain.records.items import Item, Side, write_items
from retain.records.metrics_table import ACCURACY
from retain.records.result import Conditions, MethodRecord, Parameters, Provenance, Result, write_result
from retain.verdict.column import column_of_items
from retain.verdict.judge import RunEvidence, judge_run
from retain.verdict.verdict import Margins

CASES = {  # items, of which the base is right on all and the tuned model on so many
    "kept": (120, 120),
    "lost": (120, 10),
    "too few items to say": (30, 30),
}
CONDITIONS = Conditions(
    engine="", dtype="float32", attention="", device="cpu", preprocessor_hash="", input_hash="asked the same"
)


def write_run(folder, n, right):
    """A record of one suite as a measurement leaves it, without report."""
    items = [
        Item(
            part="keep",
            suite="capitals",
            index=index,
            question=f"q{index}",
            base=Side(scores={"accuracy": 1.0}),
            tuned=Side(scores={"accuracy": float(index < right)}),
        )
        for index in range(n)
    ]
    evidence, keep = keep_row(column_of_items("capitals", ACCURACY, items, 0.25), seed=0)
    result = Result(
        model="m",
        method=MethodRecord(name="lora"),
        seed=0,
        parameters=Parameters(trainable=1, total=2, adapter_bytes=4),
        judgement=judge_run(RunEvidence(keep=(evidence,)), Margins(0.05, 0.05)),
        margins=(0.05, 0.05),
        keep=(keep,),
        conditions={"base": CONDITIONS, "tuned": CONDITIONS},
        provenance=Provenance(
            command="",
            created="",
            versions={},
            data_hashes={},
            model_hash="",
            items_hash=write_items(items, folder / "items.jsonl"),
        ),
    )
    write_result(result, folder / "result.json")
    return result


def change(folder, edit, *, rehash=False):
    """Edit `result.json` by hand, and (rehash) state the hash of the items as they are now."""
    path = folder / "result.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    edit(record)
    if rehash:
        items = (folder / "items.jsonl").read_bytes()
        record["provenance"]["items_hash"] = hashlib.sha256(items).hexdigest()
    path.write_text(json.dumps(record), encoding="utf-8")


@pytest.mark.parametrize("verdict", CASES)
def test_a_record_is_judged_again_as_it_was(tmp_path, verdict, capsys):
    result = write_run(tmp_path, *CASES[verdict])
    assert replay_run(tmp_path) == result.judgement
    assert result.judgement.overall == verdict
    assert main(["gate", str(tmp_path)]) == EXIT_CODES[verdict]
    assert f"{tmp_path}: {verdict}" in capsys.readouterr().out


def test_the_gate_reports_a_loss_before_what_it_cannot_say(tmp_path):
    for name, case in CASES.items():
        write_run(tmp_path / name[:4], *case)
    lost, kept, few = (str(tmp_path / name) for name in ("lost", "kept", "too "))
    assert main(["gate", kept, kept]) == 0
    assert main(["gate", kept, few]) == 4
    assert main(["gate", few, lost, kept]) == 3


def flip(folder):
    path = folder / "items.jsonl"
    path.write_text(path.read_text(encoding="utf-8").replace('{"accuracy":0.0}', '{"accuracy":1.0}'), encoding="utf-8")


def test_changed_items_are_seen(tmp_path):
    write_run(tmp_path, *CASES["lost"])
    flip(tmp_path)
    with pytest.raises(InputError, match="not what the record was written with"):
        replay_run(tmp_path)
    change(tmp_path, lambda record: None, rehash=True)
    with pytest.raises(InputError, match="accuracy of capitals, tuned, is not that of its items"):
        replay_run(tmp_path)


def say_kept(record):
    record["judgement"]["overall"] = "kept"


def better(record):
    record["keep"][0]["tuned"] = 1.0


def hide_suite(record):
    record["keep"] = []
    record["judgement"]["suites"] = []


def soften(record):
    record["margins"] = [1.0, 1.0]


def other_questions(record):
    record["conditions"]["tuned"]["input_hash"] = "asked otherwise"


def other_figure(record):
    record["judgement"]["suites"][0]["p_adjusted"] = 0.01


def other_count(record):
    record["judgement"]["suites"][0]["units"] += 1


def other_metric(record):
    record["judgement"]["suites"][0]["decided_by"] = "exact_match"


def unhashed(record):
    record["provenance"]["items_hash"] = ""


def unconditioned(record):
    record["conditions"] = None


def one_sided(record):
    del record["conditions"]["tuned"]


CHANGES = [
    say_kept,
    better,
    hide_suite,
    soften,
    other_questions,
    other_figure,
    other_count,
    other_metric,
]
CHANGES += [unhashed, unconditioned, one_sided]


@pytest.mark.parametrize("edit", CHANGES)
def test_a_changed_result_is_refused(tmp_path, edit, capsys):
    write_run(tmp_path, *CASES["lost"])
    change(tmp_path, edit)
    with pytest.raises(InputError):
        replay_run(tmp_path)
    assert main(["gate", str(tmp_path)]) == 2
    assert "retain gate: one problem" in capsys.readouterr().err


def reworded(record):
    record["judgement"]["reason"] = "as an older version said it."
    record["judgement"]["suites"][0]["reason"] = "in other words."


def rounded(record):
    record["judgement"]["suites"][0]["p_value"] *= 1 + 1e-9
    record["judgement"]["suites"][0]["p_adjusted"] *= 1 - 1e-9


@pytest.mark.parametrize("edit", [reworded, rounded])
def test_words_and_rounding_are_not_the_verdict(tmp_path, edit):
    write_run(tmp_path, *CASES["lost"])
    change(tmp_path, edit)
    assert main(["gate", str(tmp_path)]) == EXIT_CODES["lost"]


@pytest.mark.parametrize(("edit", "told"), [(unhashed, "no items_hash"), (unconditioned, "no conditions")])
def test_a_record_that_shows_too_little_is_told_what_it_lacks(tmp_path, edit, told):
    write_run(tmp_path, *CASES["kept"])
    change(tmp_path, edit)
    with pytest.raises(InputError, match=told):
        replay_run(tmp_path)


def test_a_record_that_is_damaged_or_not_there_is_told(tmp_path):
    with pytest.raises(InputError, match="result.json"):
        replay_run(tmp_path)
    write_run(tmp_path, *CASES["kept"])
    with (tmp_path / "items.jsonl").open("a", encoding="utf-8") as file:
        file.write("{broken\n")
    change(tmp_path, lambda record: None, rehash=True)
    with pytest.raises(InputError, match="line 121: is no JSON"):
        replay_run(tmp_path)
    (tmp_path / "items.jsonl").unlink()
    with pytest.raises(InputError, match="missing"):
        replay_run(tmp_path)
