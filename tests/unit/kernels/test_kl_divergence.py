import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from retain.errors import InputError
from retain.kernels.kl_divergence import chunked_kl, logits_kl

N, D, V = 5, 4, 23


def direct(teacher, student, weight, bias, mask, own=None):
    """KL from its definition, over whole logits."""
    own_weight, own_bias = own or (weight.detach(), None if bias is None else bias.detach())
    p = torch.softmax(teacher @ own_weight.T + (0 if own_bias is None else own_bias), -1)
    q = torch.softmax(student @ weight.T + (0 if bias is None else bias), -1)
    return (p * (p / q).log()).sum(-1)[mask].mean()


def parts(dtype=torch.float64, *, bias=True, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    teacher, student, weight = draw(2, N, D), draw(2, N, D), draw(V, D)
    mask = torch.tensor([[1, 1, 1, 1, 0], [1, 1, 0, 0, 0]])
    return teacher, student, weight, draw(V) if bias else None, mask


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("chunk", [1, 7, V, 100])
def test_value_and_gradients_are_those_of_the_definition_whatever_the_chunk(bias, chunk):
    teacher, student, weight, b, mask = parts(bias=bias)
    wanted = [part for part in (student, weight, b) if part is not None]
    for part in wanted:
        part.requires_grad_()
    expected = direct(teacher, student, weight, b, mask.bool())
    found = chunked_kl(teacher, student, weight, b, mask=mask, chunk=chunk)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    for mine, theirs in zip(
        torch.autograd.grad(3 * found, wanted), torch.autograd.grad(3 * expected, wanted), strict=True
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-12)


def test_gradcheck():
    teacher, student, weight, bias, mask = parts()
    own = weight.clone()
    for part in (student, weight, bias):
        part.requires_grad_()

    def function(student, weight, bias):
        return chunked_kl(
            teacher, student, weight, bias, mask=mask, chunk=5, teacher_weight=own, teacher_bias=bias.detach()
        )

    assert torch.autograd.gradcheck(lambda s: chunked_kl(teacher, s, own, mask=mask, chunk=5), (student,))
    assert torch.autograd.gradcheck(lambda w: function(student, w, bias), (weight,))


def test_another_head_for_the_teacher():
    teacher, student, weight, bias, mask = parts()
    own = torch.randn(V, D, dtype=torch.float64, generator=torch.Generator().manual_seed(9))
    found = chunked_kl(teacher, student, weight, bias, mask=mask, chunk=6, teacher_weight=own)
    torch.testing.assert_close(found, direct(teacher, student, weight, bias, mask.bool(), (own, None)))
    with pytest.raises(InputError, match="different vocabularies"):
        chunked_kl(teacher, student, weight, bias, mask=mask, teacher_weight=own[:-1])


def test_equal_sides_give_exactly_nothing():
    teacher, _, weight, bias, mask = parts(torch.float32)
    student = teacher.clone().requires_grad_()
    found = chunked_kl(teacher, student, weight, bias, mask=mask, chunk=6)
    found.backward()
    assert found.item() == 0
    assert student.grad.abs().max() == 0


def test_large_logits_do_not_overflow():
    teacher, student, weight, bias, mask = parts(torch.float32)
    found = chunked_kl(400 * teacher, 400 * student, weight, bias, mask=mask, chunk=4)
    wide = [part.double() for part in (400 * teacher, 400 * student, weight, bias)]
    p, q = (torch.log_softmax(side @ wide[2].T + wide[3], -1) for side in wide[:2])
    torch.testing.assert_close(found.double(), (p.exp() * (p - q)).sum(-1)[mask.bool()].mean(), rtol=1e-5, atol=1e-3)


def test_bfloat16_is_summed_in_float32_under_autocast_too():
    teacher, student, weight, bias, mask = parts(torch.bfloat16)
    student.requires_grad_()
    wide = [part.detach().double().requires_grad_() for part in (teacher, student, weight, bias)]
    expected = direct(*wide, mask.bool())
    with torch.autocast("cpu", torch.bfloat16):
        found = chunked_kl(teacher, student, weight, bias, mask=mask, chunk=5)
    found.backward()
    assert found.dtype is torch.float32
    assert student.grad.dtype is torch.bfloat16
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)
    slope = torch.autograd.grad(expected, wide[1])[0]
    torch.testing.assert_close(student.grad.double(), slope, rtol=1e-2, atol=1e-3)


class Largest(TorchDispatchMode):
    """The most elements of any tensor made that is no view."""

    def __init__(self):
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        for one in made if isinstance(made, (tuple, list)) else [made]:
            if isinstance(one, torch.Tensor) and one._base is None and function is not torch.ops.aten.detach.default:
                self.elements = max(self.elements, one.numel())
        return made


def test_no_tensor_grows_with_the_vocabulary():
    largest, saved = {}, []
    for vocabulary in (512, 4096):
        teacher, student = torch.randn(40, 8), torch.randn(40, 8, requires_grad=True)
        weight = torch.randn(vocabulary, 8)
        with (
            Largest() as seen,
            torch.autograd.graph.saved_tensors_hooks(lambda part: saved.append(tuple(part.shape)) or part, lambda x: x),
        ):
            chunked_kl(teacher, student, weight, mask=torch.ones(40), chunk=64).backward()
        largest[vocabulary] = seen.elements
    assert largest[512] == largest[4096] <= 40 * 64
    assert saved
    assert all(shape[-1:] not in {(512,), (4096,)} for shape in saved)


def test_nothing_to_compare():
    teacher, student, weight, bias, mask = parts()
    with pytest.raises(InputError, match="no position"):
        chunked_kl(teacher, student, weight, bias, mask=0 * mask)
    with pytest.raises(InputError, match="different vocabularies"):
        logits_kl(torch.zeros(2, 3), torch.zeros(2, 4))


def test_kl_of_logits_is_that_of_the_definition():
    teacher, student, weight, bias, mask = parts()
    z, y = teacher @ weight.T + bias, (student @ weight.T + bias).requires_grad_()
    found = logits_kl(z, y, mask)
    torch.testing.assert_close(found, direct(teacher, student, weight, bias, mask.bool()))
    slope = torch.autograd.grad(found, y)[0]
    expected = (y.softmax(-1) - z.softmax(-1)) * mask[..., None] / mask.sum()
    torch.testing.assert_close(slope, expected.detach())
    torch.testing.assert_close(
        logits_kl(z[:, 0], y[:, 0]), direct(teacher[:, 0], student[:, 0], weight, bias, slice(None))
    )
