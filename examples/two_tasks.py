"""Two LoRAs of one base in one model: routed by token (PEFT's Arrow) or merged, measured on both tasks and suites.

Run: python examples/two_tasks.py BASE ADAPTER_1 TEST_1 ADAPTER_2 TEST_2 --keep SUITE … [--no-adapter 0.1]

Arrow sends each token in each layer to the adapter whose strongest input direction it lies along most; like SMILE it
always takes one. With --no-adapter T the base alone answers where no direction has a cosine of T or more with it. The
adapters are LoRAs of one rank on the same layers, or runs of `retain tune` with such, or of tasks in a row
(`retain sequence`), where the second was trained on the same base.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from arrow_router import checked, opened, routed
from peft import PeftModel
from transformers import AutoTokenizer

import retain
from retain.records.scores import KeepScore, TaskScore


def merged(base: str, adapters: list[str], share: float = 1.0) -> PeftModel:
    """The base with the sum of LoRAs, each counted by its share, as one adapter."""
    model = PeftModel.from_pretrained(opened(base), adapters[0], adapter_name="0")
    for place, adapter in enumerate(adapters[1:], start=1):
        model.load_adapter(adapter, adapter_name=str(place))
    names = [str(place) for place in range(len(adapters))]
    model.add_weighted_adapter(names, [share] * len(names), "merged", combination_type="cat")
    model.set_adapter("merged")
    return model.eval()


def main() -> None:
    """Measure each adapter alone, the routed and the merged model on both tasks and all kept suites, and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("base", "first", "first_test", "second", "second_test"):
        parser.add_argument(name)
    parser.add_argument("--keep", nargs="*", default=[], help="retention suites")
    parser.add_argument("--no-adapter", type=float, help="least cosine for an adapter; below it the base answers")
    given = parser.parse_args()
    if given.no_adapter is not None and not 0 < given.no_adapter < 1:
        parser.error(f"--no-adapter {given.no_adapter:g}: it is a cosine, between 0 and 1")
    adapters = checked([given.first, given.second])
    models: dict[str, Callable[[], PeftModel]] = {
        "first alone": lambda: merged(given.base, adapters[:1]),
        "second alone": lambda: merged(given.base, adapters[1:]),
        "routed": lambda: routed(given.base, adapters),
        "merged, sum": lambda: merged(given.base, adapters),
        "merged, mean": lambda: merged(given.base, adapters, 0.5),
    }
    if given.no_adapter is not None:
        models["routed or none"] = lambda: routed(given.base, adapters, given.no_adapter)
    tokenizer = AutoTokenizer.from_pretrained(given.base)
    print(f"{'model':15} {'data':30} {'metric':20} base → this model (of cross-entropy less is better)")
    for name, made in models.items():
        model = made()
        for test, keep in ((given.first_test, given.keep or None), (given.second_test, None)):
            result = retain.measure(model, tokenizer=tokenizer, test=test, keep=keep, drift=False, show_progress=False)
            scores: list[TaskScore | KeepScore] = [*result.task, *result.keep]
            for score in scores:
                change = "not scored" if score.base is None else f"{score.base:.3f} → {score.tuned:.3f}"
                print(f"{name:15} {score.name:30} {score.metric.title:20} {change}")


if __name__ == "__main__":
    try:
        main()
    except retain.RetainError as error:
        sys.exit(str(error))
