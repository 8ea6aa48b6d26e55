"""Text that the base writes: as much as is wanted, the same again, and from where it was interrupted."""

import json

import pytest
import torch

from retain.events import SILENT, Events
from retain.jobs import self_generated as module
from retain.jobs.self_generated import generate_texts, self_generated
from tiny import make_llama, make_tokenizer

TOKENIZER = make_tokenizer()


@pytest.fixture
def write(tmp_path):
    """Write some tokens with the tiny model into a file."""

    def run(tokens, file="self.jsonl", model=None, events=SILENT, **changes):
        options = {"seed": 3, "batch_size": 3, "max_length": 24, **changes}
        return generate_texts(model or make_llama(), TOKENIZER, tokens, file=tmp_path / file, events=events, **options)

    return run


def test_as_many_tokens_as_are_wanted(write):
    seen = []
    rows = write(150, events=Events(seen.append))
    assert sum(map(len, rows)) == 150
    assert max(map(len, rows)) <= 24
    assert (seen[0].done, seen[0].total) == (0, 150)
    assert seen[-1].done == 150


def test_the_seed_decides_the_text_and_what_is_written_is_read_again(write):
    rows = write(100)
    assert write(100, file="other.jsonl") == rows
    assert write(100, file="another.jsonl", seed=4) != rows

    class Unused:
        """A model that may not run."""

    assert write(100, model=Unused()) == rows


def test_an_interrupted_generation_goes_on_after_its_last_batch(write, tmp_path, monkeypatch):
    whole = write(300, file="whole.jsonl")
    real, calls = module._write, []

    def breaking(*given):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*given)

    monkeypatch.setattr(module, "_write", breaking)
    with pytest.raises(KeyboardInterrupt):
        write(300)
    rows = [json.loads(line) for line in (tmp_path / "self.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {row["batch"] for row in rows} == {0, 1}
    monkeypatch.undo()
    assert write(300) == whole


def test_every_second_sequence_answers_a_prompt():
    prompts = [[1], [2], [3]]
    (free,) = module._starts(TOKENIZER, [], 0, 1)
    assert module._starts(TOKENIZER, prompts, 0, 4) == [free, [1], free, [2]]
    assert module._starts(TOKENIZER, prompts, 1, 4) == [free, [3], free, [1]]
    assert module._starts(TOKENIZER, prompts, 1, 1) == [[1]]


def test_a_prompt_leaves_half_of_the_length_to_its_answer(write, monkeypatch):
    seen = []
    monkeypatch.setattr(module, "_write", lambda _model, _tok, starts, _seed, new: seen.append((starts, new)) or starts)
    write(10, max_length=12)
    (starts, new), *_ = seen
    assert max(map(len, starts)) <= 6
    assert max(map(len, starts)) + new == 12


def test_a_model_that_writes_nothing_long_enough_ends_all_the_same(write, monkeypatch):
    monkeypatch.setattr(module, "_write", lambda *_: [[5]])
    assert write(100) == []


def test_random_numbers_of_others_are_left_alone(write):
    model = make_llama()
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    write(60, model=model)
    assert torch.equal(torch.rand(1), expected)


def test_in_python_it_comes_in_batches():
    found = self_generated(make_llama(), TOKENIZER, 60, batch_size=2, max_length=16)
    assert sum(int(batch["attention_mask"].sum()) for batch in found) == 60
    assert {len(batch["input_ids"]) for batch in found} <= {1, 2}


@pytest.mark.parametrize(("ids", "kept"), [([5, 6, 1, 0], [5, 6, 1]), ([5, 6], [5, 6]), ([], [])])
def test_what_follows_the_end_is_padding(ids, kept):
    assert module._until_end(ids, {1}) == kept
