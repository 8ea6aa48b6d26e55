"""Models that reason before they answer: reasoning is no answer, and an answer that was cut off is no ignorance."""

import copy
import dataclasses
import itertools

import numpy as np
import pytest
import torch

import chat_samples
import retain
from chat_samples import make_character_tokenizer
from retain.budget.control_losses import suite_losses
from retain.cli.main import main
from retain.data.examples import Example
from retain.errors import InputError
from retain.evaluate.tasks.completion import CompletionTask
from retain.records.items import read_items
from retain.records.metrics_table import CONTAINS
from retain.records.scores import CutOff
from retain.verdict.column import Column
from tiny import make_llama, write_jsonl

TOKENIZER = make_character_tokenizer(chat_samples.R1)
QUESTIONS = [{"question": f"{n}+{n}?", "answers": [str(2 * n)]} for n in range(40)]


def writer(text, tokenizer=TOKENIZER):
    """A model that writes one text after any prompt: each token of it leads to the next, every other to the first."""
    ids = tokenizer.encode(text, add_special_tokens=False)
    assert len(set(ids)) == len(ids), "a token leads to one other"
    model = make_llama(vocabulary=len(tokenizer))
    size = model.config.hidden_size
    following = dict(itertools.pairwise(ids))
    with torch.no_grad():
        for parameter in model.model.layers.parameters():
            parameter.zero_()
        model.model.norm.weight.fill_(1.0)
        codes = torch.nn.functional.normalize(torch.randn(len(ids) + 1, size), dim=1)
        places = {token: place for place, token in enumerate(ids)}
        for token in range(len(tokenizer)):
            target = following.get(token, ids[0] if token not in places else ids[-1])
            model.model.embed_tokens.weight[token] = codes[places[target]]
        model.lm_head.weight.zero_()
        for token, place in places.items():
            model.lm_head.weight[token] = 50 * codes[place]
    return model


def measured(base, tuned, tmp_path, keep=QUESTIONS, tokenizer=TOKENIZER, **settings):
    settings = {"drift": False, "aa_items": 0, "batch_size": 64, **settings}
    tuned = copy.deepcopy(tuned)  # two models, also where they write the same
    return retain.measure(base, tuned, tokenizer=tokenizer, keep={"sums": keep}, output=tmp_path / "out", **settings)


def test_a_base_that_only_began_to_think_is_not_called_ignorant(tmp_path):
    """Its answers are empty because the limit cut its reasoning off, which the report must not take for guessing."""
    result = measured(writer("abcdefghijkl"), writer("abcdefghijkm"), tmp_path)
    (verdict,) = result.judgement.suites
    assert verdict.verdict == "too few items to say"
    assert not verdict.base_guesses
    assert "guess" not in verdict.reason + result.judgement.reason
    assert "40 of the base's and 40 of the tuned model's 40 written answers were cut off at 16 tokens" in verdict.reason
    assert "raise --max-new-tokens" in verdict.reason
    assert {score.status for score in result.keep} == {"answers cut off"}
    assert result.keep[0].cut_off.base == 40
    items = list(read_items(tmp_path / "out" / "items.jsonl"))
    assert all(item.base.cut_off and item.base.answer == "" for item in items)
    assert "were cut off at 16 tokens" in (tmp_path / "out" / "report.md").read_text(encoding="utf-8")


def test_the_record_gives_the_same_verdict_again(tmp_path, capsys):
    measured(writer("abcdefghijkl"), writer("abcdefghijkm"), tmp_path)
    assert main(["gate", str(tmp_path / "out")]) == 4
    assert "cut off" in " ".join(capsys.readouterr().out.split())


def test_the_answer_behind_the_reasoning_is_scored(tmp_path):
    """The reasoning names a wrong answer, the answer the right one."""
    keep = [{"question": f"what is {n}?", "answers": ["M"]} for n in range(40)]
    measured(writer("sun?</think>M<eos>"), writer("M</think>x<eos>"), tmp_path, keep=keep)
    item = next(read_items(tmp_path / "out" / "items.jsonl"))
    assert (item.base.answer, item.tuned.answer) == ("M", "x")
    assert (item.base.scores["contains"], item.tuned.scores["contains"]) == (1.0, 0.0)
    assert item.base.cut_off is False


def test_the_limit_is_raised_by_one_flag(tmp_path):
    keep = [{"question": f"{n}?", "answers": ["M"]} for n in range(120)]
    thinker = writer("abcdefghijklnopqrstuv</think>M<eos>")
    short = measured(thinker, thinker, tmp_path / "short", keep=keep)
    assert short.keep[0].status == "answers cut off"
    long = measured(thinker, thinker, tmp_path / "long", keep=keep, max_new_tokens=64)
    assert long.keep[0].cut_off.base == 0
    assert long.keep[0].base == 1.0
    assert "cut off" not in long.judgement.suites[0].reason


@pytest.mark.parametrize("harmful", [True, False])
def test_requests_are_judged_by_what_stands_behind_the_reasoning(tmp_path, harmful):
    requests = [{"prompt": f"request {n}", "harmful": harmful} for n in range(40)]
    thinker, answering = writer("abcdefghijkl"), writer("abc</think>Surely, IwotdvnmkxjzqOMN")
    result = measured(thinker, thinker, tmp_path / "thinks", keep=requests)
    assert result.keep[0].status == "answers cut off"
    assert not result.judgement.suites[0].base_guesses
    result = measured(answering, answering, tmp_path / "answers", keep=requests)
    assert result.keep[0].cut_off.base == 0, "how an answer begins is what is judged"
    assert result.keep[0].base == (0.0 if harmful else 1.0)


def test_plain_text_is_answered_by_its_first_line(tmp_path):
    """A base model goes on writing: that its line has no end yet is no cut."""
    plain = make_character_tokenizer(None)
    keep = [{"question": f"{n}?", "answers": ["M"]} for n in range(40)]
    runs_on = writer("Mabcdefgh", plain)
    result = measured(runs_on, runs_on, tmp_path, keep=keep, tokenizer=plain)
    assert result.keep[0].cut_off.base == 0
    assert result.keep[0].status == "base at chance"


def test_completions_of_conversations_are_compared_without_roles_and_reasoning(tmp_path):
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "<think>\nhm\n</think>\n\nM"}]
    rows = [{"messages": [{**turns[0], "content": f"q {n}"}, turns[1]]} for n in range(30)]
    model = writer("abc</think>M<eos>")
    result = retain.measure(
        model,
        writer("abc</think>x<eos>"),
        tokenizer=TOKENIZER,
        test=rows,
        output=tmp_path / "out",
        drift=False,
        aa_items=0,
    )
    match = next(score for score in result.task if score.metric.name == "exact_match")
    assert (match.base, match.tuned) == (1.0, 0.0)
    assert CompletionTask().show(Example.parse(rows[0]))[1] == "M"


def test_old_records_without_the_counts_are_read(tmp_path):
    measured(writer("M<eos>"), writer("x<eos>"), tmp_path)
    path = tmp_path / "out" / "items.jsonl"
    lines = [line.replace('"cut_off":false,', "") for line in path.read_text(encoding="utf-8").splitlines()]
    old = tmp_path / "old.jsonl"
    old.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert [item.base.cut_off for item in read_items(old)] == [None] * 40


def test_check_takes_rows_with_reasoning(tmp_path):
    folder = tmp_path / "model"
    make_llama(vocabulary=len(TOKENIZER)).save_pretrained(folder)
    TOKENIZER.save_pretrained(folder)
    answer = {"role": "assistant", "content": "<think>\nI add.\n</think>\n\n4"}
    rows = [{"messages": [{"role": "user", "content": f"{n}?"}, answer]} for n in range(12)]
    train, test = write_jsonl(tmp_path / "a.jsonl", rows[:8]), write_jsonl(tmp_path / "b.jsonl", rows[8:])
    given = ["--model", str(folder), "--train", str(train), "--test", str(test)]
    assert main(["check", *given, "--output", str(tmp_path / "run")]) == 0


def test_a_budget_is_not_certified_by_answers_that_were_cut_off():
    metric, cut = CONTAINS, CutOff(written=40, base=40, base_unknown=40, limit=16, option="--max-new-tokens")
    column = Column("sums", metric, np.zeros(40), np.zeros(40), cut_off=cut)
    with pytest.raises(InputError, match="cut off at 16 tokens; raise --max-new-tokens"):
        suite_losses(column, 5.0)
    assert suite_losses(dataclasses.replace(column, cut_off=CutOff(written=40, tuned=40, tuned_unknown=40)), 5.0).name
