"""What an adapter on one linear layer costs beside the frozen layer and beside PEFT's LoRA.

    python benchmarks/layer.py                        # 1024 → 1024, 2,048 tokens, rank 8; writes results/layer.json
    python benchmarks/layer.py --tokens 64 --width 32 --rounds 1

The layer's input requires a gradient, as in the middle of a model. Time is that of the forward and of the backward
pass, the cases in turn, the median of the
ratios of each round, and the ratio of the least times. `saved` is what autograd keeps beyond the
frozen layer, with and without the layer's own input. `roofline` is the time of the two bare products that the frozen
layer needs, y = x W' and dx = g W, as a share of the case's time. "frozen, in blocks" is a second reference: both
products in blocks of 512 rows. Equal mathematics must first give equal numbers.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from cases import CASES, FROZEN, LORA, equal_mathematics, fused_equals_reference, make_all, passed
from common import DTYPES, device, finish, in_turn, markdown, options, prepare, ratios, saved_storages, timed, trainable
from torch import Tensor, nn
from torch.autograd import Function
from torch.utils.flop_counter import FlopCounterMode

MIB = 2**20
COLUMNS = {
    "base": "base", "case": "case", "time / frozen": "ratio", "of the least": "ratio_least", "forward": "ratio_forward",
    "backward": "ratio_backward", "time / LoRA": "ratio_lora", "saved beyond frozen, MiB": "saved_mib",
    "without the input": "saved_without_input_mib", "operations / frozen": "flops_ratio", "roofline": "roofline",
    "trained": "trainable",
}  # fmt: skip
MATMUL = "bare products"
FROZEN_BLOCKED, ROWS = "frozen, in blocks", 512


class OneLayer(nn.Module):
    """The smallest model with a linear layer n → m."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.layer = nn.Linear(inputs, outputs, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(T, n) to (T, m)."""
        result: Tensor = self.layer(x)
        return result


class _InBlocks(Function):
    """The frozen layer, some rows at a time."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(weight)
        return _products(x, weight.T)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:
        (weight,) = ctx.saved_tensors
        return _products(g, weight), None


def _products(rows: Tensor, matrix: Tensor) -> Tensor:
    out = rows.new_empty(len(rows), matrix.shape[1])
    for part, place in zip(torch.split(rows, ROWS), torch.split(out, ROWS), strict=True):
        torch.mm(part, matrix, out=place)
    return out


class FrozenInBlocks(OneLayer):
    """The frozen layer whose products are made in blocks of rows."""

    def forward(self, x: Tensor) -> Tensor:
        """(T, n) to (T, m)."""
        result: Tensor = _InBlocks.apply(x, self.layer.weight)  # type: ignore[no-untyped-call]  # torch's
        return result


def in_blocks(layer: OneLayer) -> FrozenInBlocks:
    """The second reference for a frozen layer, with its weight."""
    outputs, inputs = layer.layer.weight.shape
    found = FrozenInBlocks(inputs, outputs)
    found.layer = layer.layer
    return found


def base(width: int, outputs: int, dtype: torch.dtype) -> OneLayer:
    """A frozen layer."""
    torch.manual_seed(0)
    return OneLayer(width, outputs).to(device=device(), dtype=dtype).requires_grad_(requires_grad=False)


def tensors(tokens: int, width: int, outputs: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The layer's input, a leaf that requires a gradient, and the gradient of its output."""
    generator = torch.Generator().manual_seed(1)
    x, g = (
        torch.randn(tokens, size, generator=generator, dtype=torch.float64).to(device(), dtype)
        for size in (width, outputs)
    )
    return x.requires_grad_(), g


def both_passes(model: Any, x: Tensor, g: Tensor) -> tuple[float, float]:
    """Seconds of the forward and of the backward pass."""
    forward, y = timed(lambda: model(x))
    backward, _ = timed(lambda: y.backward(g))
    _clear(model, x)
    return forward, backward


def outcome(model: Any, x: Tensor, g: Tensor) -> dict[str, Tensor]:
    """The output and all gradients."""
    _clear(model, x)
    y = model(x)
    y.backward(g)
    found = {"output": y.detach(), "input": x.grad.clone() if x.grad is not None else torch.zeros(0)}
    found |= {key: p.grad.clone() for key, p in model.named_parameters() if p.grad is not None}
    _clear(model, x)
    return found


def _clear(model: Any, x: Tensor) -> None:
    x.grad = None
    for parameter in model.parameters():
        parameter.grad = None


def gate(asked: argparse.Namespace) -> list[dict[str, Any]]:
    """What must be equal before time counts."""
    width, outputs = asked.width, asked.outputs or asked.width
    checks: list[dict[str, Any]] = []
    for dtype in (torch.float64, *(DTYPES[name] for name in asked.bases)):
        layer, (x, g) = base(width, outputs, dtype), tensors(asked.tokens, width, outputs, dtype)
        if dtype == torch.float64:
            checks += equal_mathematics(layer, asked.rank, partial(outcome, x=x, g=g))
        checks += fused_equals_reference(layer, asked.rank, partial(outcome, x=x, g=g))
    return checks


def still(model: Any, x: Tensor, g: Tensor) -> dict[str, Any]:
    """What does not depend on time: saved bytes, operations, trained parameters."""
    saved = saved_storages(lambda: model(x), model)
    own = x.untyped_storage().data_ptr()
    with FlopCounterMode(display=False) as counter:
        model(x).backward(g)
    _clear(model, x)
    return {
        "saved_bytes": sum(saved.values()),
        "saved_bytes_without_input": sum(size for address, size in saved.items() if address != own),
        "flops": int(counter.get_total_flops()),
        "trainable": trainable(model),
    }


def measure(asked: argparse.Namespace, dtype_name: str) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """All cases over a base of one precision; the cases left out."""
    dtype, outputs = DTYPES[dtype_name], asked.outputs or asked.width
    layer, (x, g) = base(asked.width, outputs, dtype), tensors(asked.tokens, asked.width, outputs, dtype)
    models, left_out = make_all(layer, asked.rank, tuple(dict.fromkeys([FROZEN, LORA, *asked.cases])))
    models = {FROZEN: models.pop(FROZEN), FROZEN_BLOCKED: in_blocks(layer), **models}
    W, bare_x = layer.layer.weight, x.detach()
    jobs: dict[str, Callable[[], tuple[float, float]]] = {
        name: partial(both_passes, model, x, g) for name, model in models.items()
    }
    jobs[MATMUL] = lambda: (timed(lambda: bare_x @ W.T)[0], timed(lambda: g @ W)[0])
    times = in_turn(jobs, asked.rounds)
    total = {name: [sum(one) for one in each] for name, each in times.items()}
    fixed = {name: still(model, x, g) for name, model in models.items()}
    rows = []
    for name in models:
        frozen, mine = fixed[FROZEN], fixed[name]
        ratio, least = ratios(total[name], total[FROZEN])
        parts = [ratios([one[k] for one in times[name]], [one[k] for one in times[FROZEN]])[0] for k in (0, 1)]
        row = {
            "base": dtype_name, "case": name, "ratio": ratio, "ratio_least": least,
            "ratio_forward": parts[0], "ratio_backward": parts[1], "ratio_lora": ratios(total[name], total[LORA])[0],
            "roofline": ratios(total[MATMUL], total[name])[0],
            "forward_seconds": statistics.median(one[0] for one in times[name]),
            "backward_seconds": statistics.median(one[1] for one in times[name]),
            "seconds_each_round": total[name],
            "saved_mib": (mine["saved_bytes"] - frozen["saved_bytes"]) / MIB,
            "saved_without_input_mib": (
                (mine["saved_bytes_without_input"] - frozen["saved_bytes_without_input"]) / MIB
            ),
            "flops_ratio": mine["flops"] / frozen["flops"], **mine,
        }  # fmt: skip
        rows.append(row)
    return rows, left_out


def main(arguments: list[str] | None = None) -> None:
    """Check, measure, write."""
    parser = options(str(__doc__), rounds=9)
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--width", type=int, default=1024, help="inputs n, and outputs m if not given (%(default)s)")
    parser.add_argument("--outputs", type=int, default=None)
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES), metavar="CASE", help="which")
    asked = parser.parse_args(arguments)
    prepare(asked.threads)
    checks = gate(asked)
    rows: list[dict[str, Any]] = []
    left_out: dict[str, str] = {}
    if passed(checks):
        for name in asked.bases:
            found, left_out = measure(asked, name)
            rows += found
        print(markdown(rows, COLUMNS))
    content = {"gate": checks, "left_out": left_out, "columns": COLUMNS, "rows": rows}
    finish("layer", asked, content, passed=passed(checks))


if __name__ == "__main__":
    main()
