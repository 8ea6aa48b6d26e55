"""What q, k and v would gain if their adapters read the input that they share once: an upper bound.

    python benchmarks/shared_inputs.py            # 2,048 tokens, three layers 1024 → 1024, rank 8

Only products of the input with thin matrices can be shared (x Aᵀ forward, (∂L/∂c)ᵀ x backward): three of r rows against
one of 3r. The rest of a layer (W0 x, c Bᵀ, what reads its own gradient) is its own. VeFA's three λ scale three W0, or
three copies of x, and its backward pass reads x beside three gradients: nothing to share but x's recomputation, which
is shared already. The time gained is given beside that of three frozen layers, CPU time, the least of all rounds.
"""

from __future__ import annotations

import argparse

import torch
from common import in_turn, prepare, timed

from retain.kernels.thin_products import codes, token_sum


def main(arguments: list[str] | None = None) -> float:
    """Measure, print, and give the share gained."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--layers", type=int, default=3, help="that read one input (%(default)s)")
    parser.add_argument("--rounds", type=int, default=25)
    asked = parser.parse_args(arguments)
    prepare(1)
    torch.manual_seed(0)
    x, W = torch.randn(asked.tokens, asked.width), torch.randn(asked.width, asked.width)
    down = [torch.randn(asked.rank, asked.width) for _ in range(asked.layers)]
    slope = [codes(x, one) for one in down]
    stacked, slopes = torch.cat(down), codes(x, torch.cat(down))
    jobs = {
        "frozen": lambda: timed(lambda: [(x @ W.T, x @ W) for _ in down])[0],
        "apart": lambda: timed(lambda: [(codes(x, A), token_sum(c, x)) for A, c in zip(down, slope, strict=True)])[0],
        "once": lambda: timed(lambda: (codes(x, stacked), token_sum(slopes, x)))[0],
    }
    least = {name: min(times) for name, times in in_turn(jobs, asked.rounds).items()}
    gained: float = (least["apart"] - least["once"]) / least["frozen"]
    print(", ".join(f"{name} {1000 * seconds:.2f} ms" for name, seconds in least.items()))
    print(f"reading the input once would gain {100 * gained:.2f} % of {asked.layers} frozen layers")
    return gained


if __name__ == "__main__":
    main()
