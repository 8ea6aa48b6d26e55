"""The leading eigenspaces of symmetric, indefinite matrices.

The matrix is M = W C Wᵀ with C = (1 − β) C₊ − β C₋: the second moments of a linear layer's outputs, from those of
its inputs. Its r eigenvectors of *largest signed* eigenvalue span the subspace Q of largest reward trace(Qᵀ M Q). Gaps
between eigenvalues are of the order of 1 %, so single vectors are ill-determined and only the reward and the subspace
are judged. Shifted subspace iteration fails on such matrices: the shift has to exceed the largest negative eigenvalue,
next to which all gaps vanish. Block Lanczos needs no shift.

All computation is in float64, whatever the dtype of the inputs, so devices without it (MPS) cannot be used. Equal
inputs and seeds give equal bits on one machine.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import scipy.linalg
import torch
from threadpoolctl import ThreadpoolController
from torch import Tensor

from retain.linalg.lanczos import (
    EPSILON,
    GUARD,
    Operator,
    checked,
    descending,
    lanczos,
    off,
    random_block,
    relative,
    start_block,
)
from retain.linalg.matrices import add_gram, congruent, mirrored, thin

DENSE_LIMIT = 2048
_CONDITION_LIMIT = 2e4
_NOT_FINITE = "values that are not finite. Check the model and the data behind them."


class Eigenspace(NamedTuple):
    """Eigenvectors of the largest signed eigenvalues of a symmetric M (m, m).

    Attributes:
        vectors: Q (m, r) float64, orthonormal columns; the entry of largest magnitude of each is positive.
        values: (r,) float64, descending, signed: the Rayleigh quotients of the vectors, so that their sum is
            trace(Qᵀ M Q).
        residual: ‖M Q − Q diag(values)‖_F / max(‖values‖, √ε·‖M‖₂), without dimension; 0 for M = 0. ‖M‖₂ is estimated
            by the largest magnitude of an eigenvalue that occurred, and matters only where the values nearly vanish.
        method: "eigh" or "lanczos".
    """

    vectors: Tensor
    values: Tensor
    residual: float
    method: str


def top_eigenspace(
    operator: Operator,
    size: int,
    r: int,
    *,
    seed: int = 0,
    start: Operator | None = None,
    device: torch.device | str | None = None,
) -> Eigenspace:
    """The r eigenvectors of largest signed eigenvalue, by block Lanczos with thick restart.

    Where Lanczos does not converge within its restarts, the matrix is formed and decomposed (method "eigh"), which
    takes size² numbers of memory.

    Args:
        operator: v ↦ M v, (size, k) to (size, k) float64, for a symmetric M and any k.
        size: of M.
        r: the number of eigenvectors, 1 … size.
        seed: of the start block, which is drawn on the CPU so that all devices have the same.
        start: maps the random block (size, k) to the start block (size, k), to search where M does not vanish.
            Directions missing from a rank-deficient one are drawn at random. No constraint: rounding leads out of the
            range of start in the end, where M has larger eigenvalues outside it.
        device: where to compute; the CPU by default.

    Raises:
        ValueError: r is out of range, or the operator gave values that are not finite.
    """
    _check_rank(r, size)
    target = torch.device("cpu" if device is None else device)
    apply = _finite(operator)
    pair = lanczos(apply, size, r, start_block(size, r, seed, start, target))
    if pair is not None:
        return _finished(apply, *pair, "lanczos")
    matrix = apply(torch.eye(size, dtype=torch.float64, device=target))
    values, vectors = descending(matrix)
    return _finished(apply, vectors[:, :r], float(values.abs().max()), "eigh")


def output_eigenspace(
    weight: Tensor, moment: Tensor, r: int, *, seed: int = 0, dense_limit: int = DENSE_LIMIT
) -> Eigenspace:
    """The r eigenvectors of largest signed eigenvalue of M = weight · moment · weightᵀ (m, m).

    The eigenvalue 0 of the complement of weight's columns counts: it is larger than a negative one. Where fewer than r
    eigenvalues are ≥ 0 within those columns, directions of the complement (drawn by the seed) come before negative
    ones. The m × m matrix is never formed when m > n.

    With d = min(m, n): up to dense_limit the answer is that of eigh at size d. Above, it is Lanczos's where that
    converges to eigenvalues ≥ 0, and else that of eigh too.

    Args:
        weight: W (m, n), any floating dtype.
        moment: C (n, n), symmetric, indefinite in general, any floating dtype; its symmetric part is used, on the
            weight's device.
        r: the number of eigenvectors, 1 … m.
        seed: of all random draws.
        dense_limit: the largest d at which eigh is used outright.

    Raises:
        ValueError: shapes do not fit, r is out of range, or values are not finite.
    """
    if weight.ndim != 2 or 0 in weight.shape or moment.shape != (weight.shape[1], weight.shape[1]):
        raise ValueError(
            f"weight (m, n) and moment (n, n) expected, got {tuple(weight.shape)} and {tuple(moment.shape)}. Pass the "
            "moment of the layer's inputs, not of its outputs."
        )
    rows, columns = weight.shape
    _check_rank(r, rows)
    W = weight.detach().to(torch.float64)
    C = moment.detach().to(W.device, torch.float64)
    if dense_limit < min(rows, columns) and r + GUARD <= min(rows, columns):
        if not (torch.isfinite(W).all() and torch.isfinite(C).all()):
            raise ValueError(f"weight or moment holds {_NOT_FINITE}")
        C = (C + C.T) / 2
        iterated = _iterated(W, C, r, seed)
        if iterated is not None:
            return iterated
    outputs = Outputs(W)
    return outputs.top(outputs.moment(C), r, seed=seed)


class Outputs:
    """The outputs h = W x of a linear layer, by coordinates in the space of W's columns: W = U E, UᵀU = 1, z = E x.

    E is (d, n) and U (m, d), d = min(m, n): where m ≤ n, E = W and U = 1. So second moments of outputs are formed once,
    at size d, and everything else is computed from these. Where m > n, E comes from WᵀW = EᵀE (Cholesky), and
    U = W E⁻¹, which takes half the time of a QR decomposition; that one serves where W is ill-conditioned, at which
    U would not be orthonormal to about 10⁻⁷.

    Args:
        weight: W (m, n) float64.
    """

    def __init__(self, weight: Tensor) -> None:
        self._weight = weight
        self._basis: Tensor | None = None
        self._gram: Tensor | None = None
        self._factor = weight
        if weight.shape[0] > weight.shape[1]:
            self._factor_tall()

    def _factor_tall(self) -> None:
        gram = self._weight.new_zeros(self._weight.shape[1], self._weight.shape[1])
        add_gram(gram, self._weight)
        upper, failed = torch.linalg.cholesky_ex(gram, upper=True)
        if not int(failed) and _condition(upper) < _CONDITION_LIMIT:  # also refuses what is not finite
            self._factor, self._gram = upper, mirrored(gram)
        else:
            self._basis, self._factor = torch.linalg.qr(self._weight)

    def moment(self, moment: Tensor) -> Tensor:
        """E C Eᵀ (d, d), symmetric, float64: the second moment of z, of which W C Wᵀ = U (E C Eᵀ) Uᵀ.

        Args:
            moment: C (n, n); its symmetric part is used.

        Raises:
            ValueError: weight or moment holds values that are not finite.
        """
        C = moment.to(self._factor)
        C = (C + C.T) / 2
        if self._factor is self._weight:
            formed = self._factor @ C @ self._factor.T
            formed = (formed + formed.T) / 2
        else:
            formed = congruent(self._factor, C)
        if not torch.isfinite(formed).all():
            raise ValueError(f"weight, moment or their product holds {_NOT_FINITE}")
        return formed

    def trace(self, moment: Tensor) -> float:
        """tr(W C Wᵀ) = E‖h‖², the mean squared length of the outputs, of C (n, n), symmetric."""
        if self._gram is not None:
            return float((self._gram * moment).sum())
        E = self._factor.float()
        return float((E * (E @ moment.to(E))).sum(dtype=torch.float64))

    def rough_operator(self, moment: Tensor) -> Operator:
        """V ↦ E C Eᵀ v in float32, of C (n, n): for a report, not for eigenvectors of a difference."""
        E = self._factor.float()
        return sandwich(E, moment.float(), E.T.contiguous())

    @property
    def size(self) -> int:
        """The number of coordinates, d."""
        return len(self._factor)

    def _lifted(self, z: Tensor) -> Tensor:
        """U z: (d, k) to (m, k)."""
        if self._gram is not None:
            return thin(self._weight, torch.linalg.solve_triangular(self._factor, z, upper=True))
        return z if self._basis is None else self._basis @ z

    def _coordinates(self, v: Tensor) -> Tensor:
        """Uᵀ v: (m, k) to (d, k)."""
        if self._gram is not None:
            solved: Tensor = torch.linalg.solve_triangular(self._factor.T, thin(self._weight.T, v), upper=False)
            return solved
        return v if self._basis is None else self._basis.T @ v

    def top(self, moment: Tensor, r: int, *, seed: int = 0) -> Eigenspace:
        """The r eigenvectors of largest signed eigenvalue of U M Uᵀ (m, m), by eigh at size d.

        Where m = d is large, by Lanczos. The eigenvalue 0 of the complement of W's columns counts, as in
        `output_eigenspace`.

        Args:
            moment: M (d, d), symmetric, such as a difference of two of `moment`'s.
            r: the number of eigenvectors, 1 … m.
            seed: of directions of the complement.
        """
        rows, size = len(self._weight), len(moment)
        if rows == size > DENSE_LIMIT and r + GUARD <= rows:
            return top_eigenspace(moment.matmul, rows, r, seed=seed, device=moment.device)
        norm = float(moment.norm())
        values, mix = _leading(moment, min(r, size))
        good = int((values >= -EPSILON * size * norm).sum()) if rows > size else len(values)
        fill = min(r - good, rows - size)
        vectors = self._lifted(mix[:, : r - fill])
        if rows > size:
            vectors = torch.linalg.qr(vectors).Q  # to the last bit; the spans of leading columns stay
            outside = self._outside(fill, seed)
            vectors = torch.cat([vectors[:, :good], outside, vectors[:, good:]], dim=1)
        return _finished(lambda v: self._lifted(moment @ self._coordinates(v)), vectors, norm, "eigh")

    def _outside(self, count: int, seed: int) -> Tensor:
        """Directions (m, count) off the columns of W, drawn by the seed."""
        if not count:
            return self._weight[:, :0]
        basis = torch.linalg.qr(self._weight).Q if self._basis is None else self._basis
        return off(random_block(len(self._weight), count, seed, self._weight.device), basis)


def _condition(upper: Tensor) -> float:
    """About ‖E‖_F·‖E⁻¹‖_F of a triangular E (n, n): the second norm from E⁻¹ times eight random vectors."""
    probes = random_block(len(upper), 8, 0, upper.device)
    solved = torch.linalg.solve_triangular(upper, probes, upper=True)
    return float(upper.norm() * solved.norm()) / math.sqrt(probes.shape[1])


def _check_rank(r: int, size: int) -> None:
    if not 1 <= r <= size:
        raise ValueError(
            f"{r} eigenvectors were requested of a matrix with {size} rows. Try a rank from 1 to {size}, or leave this "
            "layer out."
        )


def sandwich(W: Tensor, C: Tensor, W_transposed: Tensor) -> Operator:
    """V ↦ W C Wᵀ v. Wᵀ is given as a contiguous copy, with which Wᵀ v is more than twice as fast."""
    return lambda v: W @ (C @ (W_transposed @ v))


def _finite(operator: Operator) -> Operator:
    """The operator, refusing to give values that are not finite."""

    def apply(v: Tensor) -> Tensor:
        return checked(operator(v))

    return apply


def _leading(matrix: Tensor, r: int) -> tuple[Tensor, Tensor]:
    """The r largest signed eigenvalues (r,) and their eigenvectors (n, r) of a symmetric matrix, descending.

    On a CPU only these are computed (LAPACK's syevr), which takes about half the time of all of them.
    """
    size = len(matrix)
    if matrix.device.type != "cpu" or r > size // 2:
        values, vectors = descending(matrix)
        return values[:r], vectors[:, :r]
    symmetric = checked(matrix).numpy().T  # the same matrix, in LAPACK's layout
    try:
        with _blas().limit(limits=torch.get_num_threads()):
            some, chosen = scipy.linalg.eigh(
                symmetric, subset_by_index=[size - r, size - 1], driver="evr", check_finite=False
            )
    except scipy.linalg.LinAlgError:  # rare; another driver computes all of them
        values, vectors = descending(matrix)
        return values[:r], vectors[:, :r]
    return torch.from_numpy(some[::-1].copy()), torch.from_numpy(chosen[:, ::-1].copy())


@lru_cache(maxsize=1)
def _blas() -> ThreadpoolController:
    """The BLAS that scipy brings, which does not know torch's number of threads.

    With as many as there are cores beside other work its threads wait for one another: 30 ms became 300 to 1,600.
    """
    return ThreadpoolController().select(internal_api="openblas")


def _iterated(W: Tensor, C: Tensor, r: int, seed: int) -> Eigenspace | None:
    """The eigenspace of W C Wᵀ by Lanczos, or None where it does not converge or might have missed a zero.

    For m > n it starts in col(W), so that the many zeros outside do not hold up convergence. Those are larger than a
    negative eigenvalue, so one of these refutes the answer; a zero from outside let in by rounding is a right one. A
    transposed copy of W makes Wᵀ v more than twice as fast.
    """
    rows, columns = W.shape
    tall = rows > columns
    block = start_block(rows, r, seed, (lambda v: W @ (W.T @ v)) if tall else None, W.device)
    operator = _finite(sandwich(W, C, W.T.contiguous()))
    vectors = lanczos(operator, rows, r, block)
    if vectors is None:
        return None
    solved = _finished(operator, *vectors, "lanczos")
    negative = float(solved.values[-1]) < -EPSILON * rows * float(solved.values.abs().max())
    return None if tall and negative else solved


def _finished(operator: Operator, vectors: Tensor, norm: float, method: str) -> Eigenspace:
    """Signs, Rayleigh quotients in descending order, and the residual against the operator itself."""
    peaks = vectors.gather(0, vectors.abs().argmax(dim=0, keepdim=True))
    vectors = vectors * torch.where(peaks < 0, -1.0, 1.0)
    images = operator(vectors)
    values, order = (vectors * images).sum(dim=0).sort(descending=True, stable=True)
    vectors, images = vectors[:, order].contiguous(), images[:, order]
    return Eigenspace(vectors, values, relative(images - vectors * values, values, norm), method)
