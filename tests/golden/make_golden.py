"""Compute the reference numbers of golden.json in plain numpy float64, from the equations alone: no code of retain.

    python tests/golden/make_golden.py

VeFA:  y = W0 ((1 + λ) ⊙ x) + b,        W = W0 diag(1 + λ),        dL/dλ = Σ_t x_t ⊙ (W0ᵀ g_t)
LoRFA: y = W0 (x + s B A x) + b,        W = W0 (I + s B A),
       dL/dA = s Bᵀ W0ᵀ G Xᵀ,           dL/dB = s W0ᵀ G (A X)ᵀ     with X (n, N), G = dL/dY (m, N), L = Σ y²/2, G = Y
"""

import json
from pathlib import Path

import numpy as np

ROWS, INSIDE, OUTSIDE, RANK, ALPHA = 3, 5, 7, 2, 6.0


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
    }
    plain = {part: {k: np.asarray(v).tolist() for k, v in values.items()} for part, values in numbers.items()}
    Path(__file__).with_name("golden.json").write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
