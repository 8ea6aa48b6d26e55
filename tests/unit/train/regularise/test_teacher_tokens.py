"""A teacher's most likely tokens: the whole KL where it can be, never more, and rows that are found again."""

from itertools import pairwise

import pytest
import torch
from torch.nn.functional import kl_div, log_softmax

from retain.errors import InputError
from retain.train.regularise.distillation import Distillation
from retain.train.regularise.teacher_tokens import Likely, TeacherTokens, row_key

GENERATOR = torch.Generator().manual_seed(0)
TEACHER, STUDENT = (3 * torch.randn(7, 40, generator=GENERATOR) for _ in range(2))


def whole_kl(temperature):
    """By torch: T²·KL over all tokens, a mean over positions."""
    p, q = (log_softmax(side / temperature, dim=-1) for side in (TEACHER, STUDENT))
    return temperature**2 * float(kl_div(q, p, log_target=True, reduction="batchmean"))


@pytest.mark.parametrize("temperature", [1.0, 2.0, 7.0])
def test_all_but_one_token_give_the_whole_kl_and_fewer_never_more(temperature):
    found = [float(Likely.of(TEACHER, top, temperature).kl(STUDENT, temperature)) for top in (1, 2, 8, 20, 39, 1000)]
    assert found[-1] == pytest.approx(whole_kl(temperature), rel=1e-5)
    assert found[-2] == pytest.approx(found[-1])  # one token is left out, and stands alone
    assert all(few <= more + 1e-6 for few, more in pairwise(found))
    assert found[0] > 0


@pytest.mark.parametrize("top", [3, 39])
def test_the_gradient_is_that_of_the_sum_written_out(top):
    """By hand, in float64: the rest as one minus the others."""
    teacher, student = TEACHER.double(), STUDENT.double().requires_grad_()
    places = teacher.topk(top).indices
    p, q = (side.softmax(-1).gather(-1, places) for side in (teacher, student))
    rest = [1 - side.sum(-1) for side in (p, q)]
    expected = ((p * (p / q).log()).sum(-1) + rest[0] * (rest[0] / rest[1]).log()).mean()
    (wanted,) = torch.autograd.grad(expected, student)
    (found,) = torch.autograd.grad(Likely.of(TEACHER, top).kl(student), student)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)
    assert abs(float(found.sum())) < 1e-6


def test_a_student_that_is_the_teacher_is_at_no_distance_even_where_nothing_else_is_likely():
    for logits in (TEACHER, 1000 * TEACHER, torch.zeros(2, 5), TEACHER.to(torch.bfloat16)):
        kl = Likely.of(logits, 4).kl(logits.clone().requires_grad_())
        assert kl.item() == pytest.approx(0, abs=1e-5)
        kl.backward()


def rows():
    return [
        {"input_ids": [5, 6, 7, 8], "labels": [-100, -100, 7, 8]},
        {"input_ids": [5, 6, 7, 8], "labels": [-100, 6, 7, 8]},  # as before, but more of it is learned
        {"input_ids": [9, 9], "labels": [-100, 9]},
    ]


def batch_of(chosen):
    longest = max(len(row["input_ids"]) for row in chosen)
    pad = lambda values, fill: values + [fill] * (longest - len(values))  # noqa: E731 -- two words
    return {
        "input_ids": torch.tensor([pad(row["input_ids"], 0) for row in chosen]),
        "labels": torch.tensor([pad(row["labels"], -100) for row in chosen]),
        "attention_mask": torch.tensor([pad([1] * len(row["input_ids"]), 0) for row in chosen]),
    }


def test_rows_are_found_by_tokens_and_labels_whatever_stands_beside_them_and_read_again(tmp_path):
    whole = batch_of(rows())
    keys, counts = [row_key(whole, row) for row in range(3)], [2, 3, 1]
    assert len(set(keys)) == 3
    likely = Likely.of(TEACHER[:6], 5)
    TeacherTokens(keys, counts, likely, vocabulary=38, temperature=2.0).save(tmp_path / "teacher.safetensors")
    kept = TeacherTokens.load(tmp_path / "teacher.safetensors")
    assert (kept.vocabulary, kept.temperature) == (38, 2.0)
    found = kept.of(batch_of([rows()[2], rows()[0]]))
    assert torch.equal(found.tokens, likely.tokens[[5, 0, 1]])
    assert torch.equal(found.log_rest, likely.log_rest[[5, 0, 1]])
    with pytest.raises(InputError, match="1 of the 2 rows of a batch are none that it was asked for"):
        kept.of(batch_of([rows()[0], {"input_ids": [1, 2], "labels": [-100, 2]}]))
    with pytest.raises(InputError, match="kept at 2"):
        Distillation(kept, temperature=1.0)
    with pytest.raises(InputError, match="3 rows with 6 learned positions, and 5 kept"):
        TeacherTokens(keys, counts, Likely.of(TEACHER[:5], 5), vocabulary=38)
    (tmp_path / "other.safetensors").write_bytes(b"no tensors")
    with pytest.raises(InputError, match=r"other.safetensors: damaged"):
        TeacherTokens.load(tmp_path / "other.safetensors")
