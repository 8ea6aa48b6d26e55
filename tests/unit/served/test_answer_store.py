import json

import pytest

from retain.records.lock import output_folder
from retain.served.store import AnswerStore


def test_what_was_answered_is_not_asked_again_after_an_interruption(tmp_path):
    folder = tmp_path / "out" / "served-answers" / "tuned"
    with output_folder(tmp_path / "out"):
        first = AnswerStore(folder, {"model": "a"})
        assert first.answer({"ids": [1]}, lambda: [0.5]) == [0.5]
        first.close()
        again = AnswerStore(folder, {"model": "a"})
        assert again.found == 1
        assert again.answer({"ids": [1]}, lambda: pytest.fail("asked twice")) == [0.5]
        assert again.answer({"ids": [1], "again": 1}, lambda: [0.7]) == [0.7]


def test_answers_of_another_model_are_removed_and_damage_is_passed_over(tmp_path):
    folder = tmp_path / "out" / "served-answers" / "tuned"
    with output_folder(tmp_path / "out"):
        first = AnswerStore(folder, {"model": "a"})
        first.answer({"ids": [1]}, lambda: 1)
        first.close()
        other = AnswerStore(folder, {"model": "b"})
        assert other.found == 0
        assert not list(folder.glob("part-*"))
        assert other.answer({"ids": [1]}, lambda: 2) == 2
        other.forget()
        other.close()
        assert not folder.parent.exists()


def test_parts_are_whole_and_hold_hashes_in_place_of_what_was_asked(tmp_path):
    store = AnswerStore(tmp_path / "x", {})
    store.answer({"prompt": "a secret of the user"}, lambda: {"text": "b"})
    store.close()
    (part,) = (tmp_path / "x").glob("part-*.json")
    assert "secret" not in part.read_text()
    assert len(json.loads(part.read_text())["answers"]) == 1
