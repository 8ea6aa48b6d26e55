"""Compute the reference numbers of golden.json in plain numpy float64, from the equations alone: no code of retain.

    python tests/golden/make_golden.py

VeFA:  y = W0 ((1 + λ) ⊙ x) + b,        W = W0 diag(1 + λ),        dL/dλ = Σ_t x_t ⊙ (W0ᵀ g_t)
LoRFA: y = W0 (x + s B A x) + b,        W = W0 (I + s B A),
       dL/dA = s Bᵀ W0ᵀ G Xᵀ,           dL/dB = s W0ᵀ G (A X)ᵀ     with X (n, N), G = dL/dY (m, N), L = Σ y²/2, G = Y
Rotation: y = W0 (x R) + b, x a row,   W = W0 Rᵀ,   R = Q₁ ⊗ Q₂ or diag(Q₁, Q₂), Q = (I − K)(I + K)⁻¹ by numpy
       dL/dK by central differences of L in float64 (step 1e-5), to 1e-8
"""

import json
from pathlib import Path

import numpy as np

ROWS, INSIDE, OUTSIDE, RANK, ALPHA = 3, 5, 7, 2, 6.0


SIZES = {"rotation_block": (3, 3), "rotation_kronecker": (2, 3)}
WIDTH = 6


def rotation(form: str, values: np.ndarray) -> np.ndarray:
    """R (6, 6) from the upper triangles of its K, row by row, one matrix after the other."""
    matrices, taken = [], 0
    for size in SIZES[form]:
        K, count = np.zeros((size, size)), size * (size - 1) // 2
        K[np.triu_indices(size, 1)] = values[taken : taken + count]
        K, taken = K - K.T, taken + count
        matrices.append((np.eye(size) - K) @ np.linalg.inv(np.eye(size) + K))
    if form == "rotation_kronecker":
        return np.kron(*matrices)
    return np.block([[matrices[0], np.zeros((3, 3))], [np.zeros((3, 3)), matrices[1]]])


def rotated(form: str) -> dict[str, np.ndarray]:
    """A layer 6 → 7 of its own, with the gradient of K by differences."""
    draw = np.random.default_rng(20240524).standard_normal
    x, weight, bias = draw((ROWS, WIDTH)), draw((OUTSIDE, WIDTH)), draw(OUTSIDE)
    values = 0.4 * draw(sum(size * (size - 1) // 2 for size in SIZES[form]))

    def output(v: np.ndarray) -> np.ndarray:
        return x @ rotation(form, v) @ weight.T + bias

    steps = 1e-5 * np.eye(len(values))
    gradient = [((output(values + s) ** 2).sum() - (output(values - s) ** 2).sum()) / 4e-5 for s in steps]
    return {
        "x": x, "W0": weight, "bias": bias, "K": values, "y": output(values),
        "weight": weight @ rotation(form, values).T, "grad_K": np.asarray(gradient),
    }  # fmt: skip


def main() -> None:
    draw = np.random.default_rng(20251019).standard_normal
    x, weight, bias = draw((ROWS, INSIDE)), draw((OUTSIDE, INSIDE)), draw(OUTSIDE)
    lam, A, B = 0.3 * draw(INSIDE), draw((RANK, INSIDE)), 0.3 * draw((INSIDE, RANK))
    scale = ALPHA / RANK

    vefa_weight = weight @ np.diag(1 + lam)
    vefa_y = x @ vefa_weight.T + bias
    lorfa_weight = weight @ (np.eye(INSIDE) + scale * B @ A)
    lorfa_y = x @ lorfa_weight.T + bias
    pulled_back = weight.T @ lorfa_y.T
    numbers = {
        "input": {"x": x, "weight": weight, "bias": bias, "lam": lam, "A": A, "B": B, "alpha": ALPHA},
        "vefa": {"y": vefa_y, "weight": vefa_weight, "grad_lam": (x * (vefa_y @ weight)).sum(axis=0)},
        "lorfa": {
            "y": lorfa_y,
            "weight": lorfa_weight,
            "grad_A": scale * B.T @ pulled_back @ x,
            "grad_B": scale * pulled_back @ (A @ x.T).T,
        },
        **{form: rotated(form) for form in SIZES},
    }
    plain = {part: {k: np.asarray(v).tolist() for k, v in values.items()} for part, values in numbers.items()}
    Path(__file__).with_name("golden.json").write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
