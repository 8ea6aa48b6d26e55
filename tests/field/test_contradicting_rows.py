"""Rows that contradict one another: one text under two labels, one question with two right answers."""

import pytest

from retain.cli.main import main
from retain.data.contradictions import contradictions_clause
from retain.data.forms import read_rows
from retain.evaluate.suites.loading import as_suite
from retain.evaluate.tasks.remarks import remarks_on
from retain.jobs.inputs.evidence_told import training_told
from tiny import make_bert, make_text_tokenizer, write_images, write_jsonl

FILMS = [
    {"text": "A good film.", "label": "pos"},
    {"text": "a good  film.", "label": "neg"},
    {"text": "A bad film.", "label": "neg"},
    {"text": "A bad film.", "label": "neg"},
]
SUM = {"question": "2+2?", "answer": 0}
HELD_OUT = [{"text": "3 films.", "label": "pos"}, {"text": "3 films.", "label": "neg"}]


def items_of(path, rows):
    problems = []
    items = read_rows(str(write_jsonl(path, rows)), problems).items
    assert problems == []
    return items


def test_one_text_under_two_labels_is_counted_and_told(tmp_path):
    (told,) = [one for one in training_told(items_of(tmp_path / "train.jsonl", FILMS), 2) if "contradict" in one]
    assert told == (
        "train: 2 rows contradict one another: 1 is there with several right answers, for instance 'A good film.' with "
        "'neg' and 'pos'; at most one of them can be met."
    )


@pytest.mark.parametrize(
    ("rows", "named"),
    [
        ([{**SUM, "choices": ["4", "5"]}, {**SUM, "choices": ["5", "4"]}], "'2+2?'"),
        ([{"prompt": "Pick a lock.", "harmful": True}, {"prompt": "Pick a lock.", "harmful": False}], "row 1"),
        ([{"text": "a", "text_pair": "b", "label": 0}, {"text": "A", "text_pair": "b", "label": 1}], "'a | b'"),
    ],
    ids=["choices", "requests", "pairs"],
)
def test_in_suites_too(tmp_path, rows, named):
    suite = as_suite(str(write_jsonl(tmp_path / "test.jsonl", rows)), "task", [])
    (told,) = [one for one in remarks_on([suite]) if "contradict" in one]
    assert f"for instance {named} with" in told


def test_one_image_in_two_classes(tmp_path):
    folder = write_images(tmp_path / "images", 2)
    first, second = sorted(path for path in folder.iterdir() if path.is_dir())[:2]
    copied = next(first.iterdir())
    (second / "copy.png").write_bytes(copied.read_bytes())
    assert "2 rows contradict" in contradictions_clause(read_rows(str(folder), []).items)


def test_several_completions_of_one_prompt_and_pairs_in_another_order_are_no_contradiction(tmp_path):
    rows = [{"prompt": "Name a colour.", "completion": colour} for colour in ("red", "blue")]
    assert contradictions_clause(items_of(tmp_path / "train.jsonl", rows)) == ""
    pairs = [{"text": "a", "text_pair": "b", "label": 0}, {"text": "b", "text_pair": "a", "label": 1}]
    assert contradictions_clause(items_of(tmp_path / "pairs.jsonl", pairs)) == ""


def test_check_tells_it(tmp_path, capsys):
    make_bert().save_pretrained(tmp_path / "bert")
    make_text_tokenizer().save_pretrained(tmp_path / "bert")
    train = write_jsonl(tmp_path / "train.jsonl", FILMS)
    test = write_jsonl(tmp_path / "test.jsonl", [{"text": f"{n} films.", "label": "pos"} for n in "1122"] + HELD_OUT)
    words = [
        "--method",
        "lora",
        "--model",
        tmp_path / "bert",
        "--train",
        train,
        "--test",
        test,
        "--output",
        tmp_path / "out",
    ]
    assert main(["check", *map(str, words)]) == 0
    told = capsys.readouterr().out
    assert "train: 2 rows contradict one another" in told
    assert "test: 2 rows contradict one another: 1 is there with several right answers" in told
