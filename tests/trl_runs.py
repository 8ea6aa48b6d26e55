"""Every trainer of TRL with every kind of adapter: which combinations train, and which are refused, in which words."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from tiny import WORDS, make_llama, make_tokenizer

TEXTS = [" ".join(WORDS[(i * j) % 26] for j in range(1, 25)) for i in range(1, 9)]
TASK = [f"word{i % 30} {WORDS[i % 26]} word1 z z word1" for i in range(8)]
STEPS = 2
LAYERS = ["q_proj", "v_proj", "down_proj"]

TRAINERS = ("sft", "dpo", "kto", "grpo", "rloo", "reward")
METHODS = ("lora", "vefa", "lorfa", "sc-lora", "lora-null", "milora", "corda-kpm")
MADE_FIRST = frozenset(METHODS[3:])
"""Methods whose adapter is made by `sc_lora` and given in the model; the others are given as `peft_config=`."""
FIRST_TOO = ("vefa", "lorfa")
"""Others that are also given in the model, with DPO: TRL then adds a reference adapter."""


class Cell(NamedTuple):
    """What is known of a combination: `tested`, `refused` (with the sentence's beginning) or `untried` (with why)."""

    state: str
    words: str = ""


UNTRIED = "the same layers as SC-LoRA; tried with dpo"


def cells() -> Mapping[tuple[str, str], Cell]:
    """The state of each (trainer, method). Every one that is not `untried` is run by tests/contract."""
    table = {}
    for trainer in TRAINERS:
        for method in METHODS:
            tried = method not in METHODS[4:] or trainer == "dpo"
            table[trainer, method] = Cell("tested") if tried else Cell("untried", UNTRIED)
    return table


def batches() -> list[dict[str, Any]]:
    """Text to keep, as model inputs."""
    import retain

    return retain.text_batches(make_tokenizer(), TEXTS, length=24, batch_size=4)


def reward_model() -> Any:
    """A Llama with one output, whose padding is known."""
    import torch
    from transformers import LlamaConfig, LlamaForSequenceClassification

    torch.manual_seed(0)
    return LlamaForSequenceClassification(LlamaConfig(**make_llama().config.to_dict() | {"num_labels": 1})).eval()


def adapter(method: Any, base: Any, *, first: bool) -> dict[str, Any]:
    """The model with the method's adapter, or the model and the adapter's configuration, as a trainer takes them."""
    import peft

    import retain

    if not isinstance(method, str):
        return {"model": method}
    rewards = type(base).__name__.endswith("SequenceClassification")
    task = "SEQ_CLS" if rewards else "CAUSAL_LM"
    if method in MADE_FIRST:
        new, old = batches()
        config = retain.SCLoRAConfig(
            r=4,
            target_modules=LAYERS,
            initialisation=method,
            modules_to_save=["score"] if rewards else None,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", retain.CalibrationWarning)
            return {"model": retain.sc_lora(base, config, learn=[new], keep=[old])}
    made = {"lora": peft.LoraConfig, "vefa": retain.VeFAConfig, "lorfa": retain.LoRFAConfig}[method]
    config = made(target_modules=LAYERS, task_type=task)
    return {"model": peft.get_peft_model(base, config)} if first else {"model": base, "peft_config": config}


def trainer(
    name: str,
    method: Any,
    folder: Any,
    *,
    first: bool = False,
    steps: int = STEPS,
    columns: dict[str, Any] | None = None,
    **more: Any,
) -> Any:
    """A trainer of TRL with an adapter, ready to train.

    Args:
        name: of `TRAINERS`.
        method: of `METHODS`, or a model with an adapter.
        folder: where it writes.
        first: the adapter is in the model already; without it PEFT's configuration is given.
        steps: of the optimizer.
        columns: the training data, in place of the trainer's own.
        more: further arguments of the trainer's configuration.
    """
    import datasets
    import torch

    torch.manual_seed(0)
    base = reward_model() if name == "reward" else make_llama()
    build, own = _BUILDERS[name]
    given = {"output_dir": str(folder), "max_steps": steps, "learning_rate": 1e-2, "per_device_train_batch_size": 4}
    given |= {"report_to": [], "logging_steps": 1, "disable_tqdm": True, "use_cpu": True, "save_strategy": "no"}
    given |= {"lr_scheduler_type": "constant", "bf16": False}
    given |= {"gradient_checkpointing": name in ("dpo", "grpo"), **more}  # which is TRL's default, and slow
    return build(
        **adapter(method, base, first=first),
        settings=given,
        train_dataset=datasets.Dataset.from_dict(columns or own),
        processing_class=make_tokenizer(),
    )


def _sft(settings: dict[str, Any], **rest: Any) -> Any:
    from trl import SFTConfig, SFTTrainer

    return SFTTrainer(args=SFTConfig(**settings, max_length=32), **rest)


def _dpo(settings: dict[str, Any], **rest: Any) -> Any:
    from trl import DPOConfig, DPOTrainer

    return DPOTrainer(args=DPOConfig(**settings, max_length=32), **rest)


def _kto(settings: dict[str, Any], **rest: Any) -> Any:
    from trl import KTOConfig, KTOTrainer

    return KTOTrainer(args=KTOConfig(**settings, max_length=32), **rest)


def _grpo(settings: dict[str, Any], **rest: Any) -> Any:
    from trl import GRPOConfig, GRPOTrainer

    written = {"num_generations": 2, "max_completion_length": 4, "beta": 0.1}
    return GRPOTrainer(args=GRPOConfig(**settings | written), reward_funcs=_length, **rest)


def _rloo(settings: dict[str, Any], **rest: Any) -> Any:
    from trl import RLOOConfig, RLOOTrainer

    written = {"num_generations": 2, "max_completion_length": 4, "beta": 0.1}
    return RLOOTrainer(args=RLOOConfig(**settings | written), reward_funcs=_length, **rest)


def _reward(settings: dict[str, Any], **rest: Any) -> Any:
    from trl import RewardConfig, RewardTrainer

    return RewardTrainer(args=RewardConfig(**settings, max_length=32), **rest)


def _length(completions: list[str], **_: Any) -> list[float]:
    """Rewards that differ: how many different words there are."""
    return [float(len(set(text.split()))) + 0.1 * len(text) for text in completions]


_PAIRS = {"prompt": TASK, "chosen": [" z word1 z"] * 8, "rejected": [" a b c"] * 8}
_BUILDERS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "sft": (_sft, {"text": TASK}),
    "dpo": (_dpo, _PAIRS),
    "kto": (_kto, {"prompt": TASK, "completion": [" z word1 z", " a b c"] * 4, "label": [True, False] * 4}),
    "grpo": (_grpo, {"prompt": TASK}),
    "rloo": (_rloo, {"prompt": TASK}),
    "reward": (_reward, {"chosen": [f"{text} z word1" for text in TASK], "rejected": [f"{text} a b" for text in TASK]}),
}
