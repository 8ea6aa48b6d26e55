"""Unlearning measured as people do it: `gone` in Python and on the command line, in judge, gate and every report."""

import json

import pytest
import torch
from peft import LoraConfig, get_peft_model

import retain
from retain.cli.main import main
from retain.errors import InputError
from retain.records.items import read_items
from retain.records.result import read_result
from tiny import make_llama, make_tokenizer, write_jsonl

TOKENIZER = make_tokenizer()
QUESTIONS = [f"{a} word{i} {b}" for i, a in enumerate("abcdefghijklmnopqrstuvwxyz") for b in "pqr"]
QUIET = {"tokenizer": TOKENIZER, "show_progress": False, "drift": False, "max_new_tokens": 12}


def tuned_lora(std):
    """A LoRA on the tiny Llama that turns every answer, or none where std is 0; every other token ends an answer."""
    base = make_llama()
    base.generation_config.eos_token_id = [*range(1, 70, 2)]
    model = get_peft_model(base, LoraConfig(target_modules="all-linear", r=2))
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=std, generator=generator)
    return model


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    """Questions with what the base writes as the accepted answer, so that it knows all of them."""
    folder = tmp_path_factory.mktemp("asked")
    rows = [{"question": question, "answers": ["z"]} for question in QUESTIONS]
    retain.measure(tuned_lora(0.0), keep={"asked": rows}, output=folder, **QUIET)
    written = {item.question: item.base.answer for item in read_items(folder / "items.jsonl")}
    return [{"question": question, "answers": [answer]} for question, answer in written.items() if answer]


def test_a_model_that_lost_its_answers_is_gone_and_one_that_did_not_is_still_there(known, tmp_path, capsys):
    model = tuned_lora(6.0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    text = tmp_path / "text.txt"
    text.write_text(" ".join(f"{a} word1 word2" for a in "abcdefghijklmnopqrstuvwxyz" * 4), encoding="utf-8")
    result = retain.measure(
        model, gone={"facts": known}, held_out_text=text, relearn=3, output=tmp_path / "gone", **QUIET
    )
    score, verdict = result.gone[0], result.judgement.gone[0]
    assert (score.known, score.n) == (len(known), len(known))
    assert (verdict.verdict, result.judgement.forgot) == ("gone", "gone")
    assert score.left + score.declined + score.silent + score.otherwise == score.known
    assert score.old_answer_tuned < score.old_answer_base
    assert (score.relearned.steps, score.relearned.known) == (3, score.known)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(parameter.grad is not None for parameter in model.parameters())
    assert read_result(tmp_path / "gone" / "result.json") == result
    item = next(item for item in read_items(tmp_path / "gone" / "items.jsonl") if item.part == "gone")
    assert item.relearned is not None
    assert item.tuned.scores["declined"] == 0.0
    for name in ("report.html", "report.md", "model_card.md"):
        told = (tmp_path / "gone" / name).read_text(encoding="utf-8")
        assert "facts" in told
        assert "erased" not in told
    assert (
        main(["gate", str(tmp_path / "gone"), "--junit", str(tmp_path / "junit.xml")]) == 4
    )  # gone, but held-out text is not shown to be kept
    assert "facts: gone" in capsys.readouterr().out
    assert "facts is gone" in (tmp_path / "junit.xml").read_text(encoding="utf-8")

    result = retain.measure(tuned_lora(0.0), gone={"facts": known}, output=tmp_path / "there", **QUIET)
    assert result.judgement.gone[0].verdict == "still there"
    assert result.gone[0].share == 1.0
    assert main(["gate", str(tmp_path / "there")]) == 3
    both = [str(tmp_path / "there"), str(tmp_path / "gone")]
    assert main(["report", *both, "--output", str(tmp_path / "compared")]) == 0
    told = (tmp_path / "compared" / "report.md").read_text(encoding="utf-8")
    assert "facts, which should be gone, is gone in 1 of 2 runs." in told
    assert "What should be gone, by setting" in told


def test_the_verdict_of_logs_is_that_of_the_measurement(known, tmp_path, capsys):
    retain.measure(tuned_lora(6.0), gone={"facts": known}, output=tmp_path / "run", **QUIET)
    run = str(tmp_path / "run")
    assert main(["judge", f"{run}:base", run, "--gone", "facts", "--output", str(tmp_path / "judged")]) == 0
    judged, measured = (read_result(tmp_path / name / "result.json") for name in ("judged", "run"))
    for field in ("verdict", "known", "bound", "p_value", "margin"):
        assert getattr(judged.judgement.gone[0], field) == getattr(measured.judgement.gone[0], field)
    assert judged.gone[0].left == measured.gone[0].left
    assert main(["judge", f"{run}:base", run, "--gone", "fact"]) == 2
    assert "neither log has fact" in capsys.readouterr().err


def test_records_that_were_changed_are_refused(known, tmp_path, capsys):
    retain.measure(tuned_lora(6.0), gone={"facts": known}, output=tmp_path / "run", **QUIET)
    path = tmp_path / "run" / "result.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    record["judgement"]["gone"][0]["verdict"] = "still there"
    path.write_text(json.dumps(record), encoding="utf-8")
    (tmp_path / "run" / ".retain.jsonl").unlink(missing_ok=True)
    assert main(["gate", str(tmp_path / "run")]) == 2
    assert "facts" in capsys.readouterr().err


def test_what_cannot_show_it_is_told_before_anything_is_loaded(known, tmp_path):
    with pytest.raises(InputError, match="task type completion"):
        retain.measure(tuned_lora(0.0), gone={"tasks": [{"prompt": "a", "completion": "b"}] * 3}, **QUIET)
    with pytest.raises(InputError, match="give gone and held_out_text"):
        retain.measure(tuned_lora(0.0), gone={"facts": known}, relearn=4, **QUIET)
    write_jsonl(tmp_path / "facts.jsonl", known)
    with pytest.raises(InputError, match="another suite of what should be gone"):
        retain.measure(tuned_lora(0.0), gone=[tmp_path / "facts.jsonl", tmp_path / "facts.jsonl"], **QUIET)


def test_check_tells_the_power_and_refuses_questions_that_are_trained_on(known, tiny_folder, tmp_path, capsys):
    write_jsonl(tmp_path / "facts.jsonl", known[:40])
    write_jsonl(tmp_path / "train.jsonl", [{"prompt": f"word2 {row['question']}", "completion": " z"} for row in known])
    asked = ["check", "--model", str(tiny_folder), "--train", str(tmp_path / "train.jsonl"), "--method", "lora"]
    asked += ["--gone", str(tmp_path / "facts.jsonl"), "--output", str(tmp_path / "out")]
    assert main(asked) == 0
    told = capsys.readouterr().out
    assert "at most 5% is left is shown from 59" in told
    assert "too few, whatever the model" in told
    assert main([*asked, "--gone-margin", "10"]) == 0
    assert "shown from 29 that the base has right and the tuned model has not." in capsys.readouterr().out
    write_jsonl(tmp_path / "train.jsonl", [{"prompt": row["question"], "completion": " z"} for row in known])
    assert main(asked) == 2
    assert "gone suite 'facts' share" in capsys.readouterr().err
