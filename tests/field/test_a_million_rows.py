"""`retain check` stays within seconds for a million rows: what it does a row is counted here on fewer."""

import pytest

from chat_samples import make_character_tokenizer
from retain.cli.main import main
from retain.data import sample
from retain.data.contamination import find_contained, find_overlaps
from retain.data.examples import Example
from retain.data.item import PlainText
from retain.data.sample import looked_at
from retain.jobs.inputs.models import ModelSpec
from tiny import make_llama, write_jsonl

ROWS = 6000


@pytest.fixture
def many(tmp_path):
    rows = [{"prompt": f"word{n % 30} number {n}", "completion": " word1"} for n in range(ROWS)]
    rows[4321]["prompt"] += " z" * 600
    return write_jsonl(tmp_path / "many.jsonl", rows)


def test_two_thousand_of_many_rows_are_tokenised_and_check_says_so(many, tiny_folder, tmp_path, capsys, monkeypatch):
    from transformers import PreTrainedTokenizerFast

    texts = []
    encode = PreTrainedTokenizerFast._encode_plus

    def counted(self, text, *more, **fields):
        texts.append(text)
        return encode(self, text, *more, **fields)

    monkeypatch.setattr(PreTrainedTokenizerFast, "_encode_plus", counted)
    test = write_jsonl(tmp_path / "test.jsonl", [{"prompt": f"z{n} z", "completion": " z"} for n in range(3)])
    files = ["--train", str(many), "--test", str(test), "--method", "lora", "--output", str(tmp_path / "o")]
    files += ["--max-length", "128"]
    assert main(["check", "--model", str(tiny_folder), *files]) == 0
    told = capsys.readouterr().out
    assert f"on {ROWS} training examples" in told
    assert "of 6,000 rows were looked at" in told
    assert "1 of" in told  # the long one is among them
    seen = {text for text in texts if isinstance(text, str) and " number " in text and not text.endswith("word1")}
    assert len(seen) <= sample.LOOKED_AT


CALL = {"type": "function", "function": {"name": "add", "arguments": {}}}
ODD = [
    {"messages": [{"role": "assistant", "content": "x"}, {"role": "assistant", "content": "x"}]},
    {"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": None, "tool_calls": [CALL]}]},
    {"messages": [{"role": "user", "content": " "}, {"role": "assistant", "content": "x"}]},
    {"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "<think>y</think>x"}]},
    {"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "x", "name": "z"}]},
    {"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "x"}], "enable_thinking": False},
    {"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "x"}], "date_string": "1 May"},
]


@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
def test_a_conversation_of_a_shape_of_its_own_is_looked_at(odd):
    """A template may refuse it, and would do so in training only."""
    plain = {"messages": [{"role": "user", "content": "xx"}, {"role": "assistant", "content": "xx"}]}
    chats = [Example.parse(odd if n == 1237 else plain) for n in range(3000)]
    assert 1237 in looked_at(chats, 10)
    assert len(looked_at(chats, 10)) <= 12


def test_a_refusal_in_one_row_of_many_is_told_by_check(tmp_path, capsys):
    tokenizer = make_character_tokenizer(
        "{% for m in messages %}{% if m.tool_calls %}{{ raise_exception('no tools here') }}{% endif %}"
        "<{{ m.role }}>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
    )
    make_llama(vocabulary=len(tokenizer)).save_pretrained(tmp_path / "m")
    tokenizer.save_pretrained(tmp_path / "m")
    answer = {"role": "assistant", "content": "x"}
    rows = [{"messages": [{"role": "user", "content": f"say {n}"}, answer]} for n in range(2500)]
    rows[1237]["messages"][1] = {"role": "assistant", "content": None, "tool_calls": [CALL]}
    test = write_jsonl(tmp_path / "test.jsonl", [{"prompt": f"z{n} z", "completion": " z"} for n in range(3)])
    words = ["--train", str(write_jsonl(tmp_path / "train.jsonl", rows)), "--test", str(test), "--output", "o"]
    assert main(["check", "--model", str(tmp_path / "m"), "--method", "lora", *words]) == 2
    told = capsys.readouterr().err
    assert "train, item 1238" in told
    assert "no tools here" in told


def test_the_model_is_built_once_in_a_check(tmp_path, tiny_folder, monkeypatch):
    built, own = [], ModelSpec.empty
    monkeypatch.setattr(ModelSpec, "empty", lambda spec: (built.append(1), own(spec))[1])
    rows = [{"prompt": f"z{n} z", "completion": " z"} for n in range(6)]
    train, test = (write_jsonl(tmp_path / name, part) for name, part in (("a.jsonl", rows[:3]), ("b.jsonl", rows[3:])))
    words = ["--train", train, "--test", test, "--methods", "lora,vefa,ia3", "--output", tmp_path / "o"]
    assert main(["check", "--model", str(tiny_folder), *map(str, words)]) == 0
    assert len(built) == 1


def test_all_of_few_and_the_longest_of_many_and_every_order_of_speakers_are_looked_at():
    texts = [PlainText(text="a" * (1 + (n == 77))) for n in range(100)]
    assert looked_at(texts) == list(range(100))
    assert 77 in looked_at(texts, 10)
    assert len(looked_at(texts, 10)) <= 10
    user, assistant = ({"role": role, "content": "x"} for role in ("user", "assistant"))
    chats = [Example.parse({"messages": [user, assistant]}) for _ in range(100)]
    chats[55] = Example.parse({"messages": [assistant, assistant]})
    assert 55 in looked_at(chats, 10)


def test_overlaps_are_exact_however_many_rows_there_are(many, tmp_path, tiny_folder, capsys):
    test = write_jsonl(
        tmp_path / "test.jsonl", [{"prompt": f"WORD{n % 30}  number {n}", "completion": "z"} for n in (7, 99)]
    )
    code = main(["check", "--model", str(tiny_folder), "--train", str(many), "--test", str(test), "--output", "o"])
    assert code == 2
    assert "train and test share 2 of 2 items" in capsys.readouterr().err


def test_what_is_sought_is_found_wherever_it_stands():
    train = [Example(prompt=f"a b {n}", completion="c") for n in range(50)]
    assert find_overlaps(train, [Example(prompt="A  b 49", completion="d")], {}, "") != []
    assert find_overlaps(train, [Example(prompt="a b 50", completion="d")], {}, "") == []
    texts = [PlainText(text=f"It says: {n} is the number of the house.") for n in range(50)]
    measured = [Example(prompt="7 IS the number of the house", completion="x")]
    assert set(find_contained(texts, measured, {}, "")) == {7, 17, 27, 37, 47}


def test_nothing_is_found_across_two_calibration_texts():
    texts = [PlainText(text="The end of the"), PlainText(text="first text is here")]
    assert find_contained(texts, [Example(prompt="of the first text", completion="x")], {}, "") == {}
