"""Tasks of lm-evaluation-harness as suites: both sides answer them through its own code, and are paired item by item.

lm-evaluation-harness (EleutherAI, MIT) is an extra. Its tasks are YAML files too; one's own and those that come with it
may run Python code that lies beside them.
"""

from __future__ import annotations

import copy
import logging
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from retain.errors import InputError
from retain.evaluate.pair import Pair
from retain.hf.models.inference import evaluating
from retain.hf.models.placement import random_states_kept
from retain.jobs.harness.samples import HarnessSuite, paired

INSTALL = "pip install 'retain[lm-eval]'"


@dataclass(frozen=True)
class HarnessSettings:
    """The settings of the harness, the same for both sides.

    Attributes:
        limit: items of each task at most. [all]
        num_fewshot: examples shown before each question. [what the task says]
        include_path: folder with task files of one's own.
        batch_size: sequences scored at once.
        max_length: longest sequence, in tokens. [what the model says]
        chat: whether questions go through the chat template.
        seed: of the examples shown and of whatever a task draws.
    """

    limit: int | None = None
    num_fewshot: int | None = None
    include_path: str | Path | None = None
    batch_size: int = 32
    max_length: int | None = None
    chat: bool = False
    seed: int = 0


def run_tasks(
    pair: Pair, tokenizer: Any, tasks: Sequence[str], settings: HarnessSettings = HarnessSettings()
) -> list[HarnessSuite]:
    """Put tasks to base and tuned model: the base is seen as everywhere, with the adapter off or as a second model.

    Args:
        pair: the two sides.
        tokenizer: that of the base; it is not changed.
        tasks: names of tasks or groups; a group gives its tasks.
        settings: those of the harness.

    Raises:
        InputError: lm-evaluation-harness is not installed, or there is no such task, or its data cannot be loaded.
        RetainError: the two sides did not get the same requests.
    """
    with pair.base() as model:
        base = run_harness(model, tokenizer, tasks, settings)
    with pair.tuned() as model:
        tuned = run_harness(model, tokenizer, tasks, settings)
    return [paired(name, base, tuned) for name in base["samples"]]


def run_harness(model: Any, tokenizer: Any, tasks: Sequence[str], settings: HarnessSettings) -> Mapping[str, Any]:
    """Run the harness on one model and keep every sample.

    Model and random states come back as they were.

    Args:
        model: a causal language model, loaded, with or without adapters.
        tokenizer: its tokenizer.
        tasks: names of tasks or groups.
        settings: those of the harness.

    Raises:
        InputError: see `run_tasks`.
    """
    try:
        from lm_eval import simple_evaluate  # noqa: PLC0415  (an extra)
        from lm_eval.models.huggingface import HFLM  # noqa: PLC0415
    except ImportError as error:
        raise InputError(
            f"tasks of lm-evaluation-harness were asked for, which is not installed ({error}): {INSTALL}"
        ) from error
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    manager = _manager(tasks, settings.include_path)
    with _unchanged(model):
        preprocessor = HFLM(
            pretrained=model,
            tokenizer=copy.deepcopy(tokenizer),
            batch_size=settings.batch_size,
            max_length=settings.max_length,
        )
        try:
            found = simple_evaluate(
                model=preprocessor,
                tasks=list(tasks),
                task_manager=manager,
                num_fewshot=settings.num_fewshot,
                limit=settings.limit,
                apply_chat_template=settings.chat,
                log_samples=True,
                bootstrap_iters=0,
                random_seed=settings.seed,
                numpy_random_seed=settings.seed,
                torch_random_seed=settings.seed,
                fewshot_random_seed=settings.seed,
            )
        except (OSError, ValueError, KeyError, AssertionError) as error:
            raise InputError(f"tasks {', '.join(tasks)}: lm-evaluation-harness cannot run them ({error}).") from error
    if found is None:
        raise InputError("lm-evaluation-harness gives no result on this process; run it on one process.")
    result: Mapping[str, Any] = found
    return result


def _manager(tasks: Sequence[str], include_path: str | Path | None) -> Any:
    """The harness's list of tasks; its own thousands are read only where one of them is asked for.

    Raises:
        InputError: there is no such folder or task.
    """
    from lm_eval.tasks import TaskManager  # noqa: PLC0415  (an extra)

    if include_path is not None and not Path(include_path).is_dir():
        raise InputError(f"include_path: there is no folder {include_path}.")
    path = None if include_path is None else str(include_path)
    own = TaskManager(include_path=path, include_defaults=False)
    manager = own if set(tasks) <= set(own.all_tasks) else TaskManager(include_path=path)
    unknown = sorted(set(tasks) - set(manager.all_tasks))
    if unknown:
        raise InputError(
            f"tasks: lm-evaluation-harness knows no {', '.join(unknown)}; `lm_eval --tasks list` shows those that come "
            "with it, include_path names a folder with your own."
        )
    return manager


@contextmanager
def _unchanged(model: Any) -> Iterator[None]:
    """Evaluate; leave the mode of the model and the random states of Python, NumPy and torch as they were."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002  (the harness seeds the global one)
    try:
        with random_states_kept(), evaluating(model):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
