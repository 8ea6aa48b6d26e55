"""Prefetching: batches are made while the step before them runs, since decoding photographs outlasts a step on a GPU.

By threads, not by the worker processes of torch's `DataLoader`: decoding, resizing and tokenising let other threads
run, so threads read nearly as many images a second as processes do. They need no fork (tokenizers and Python warn,
and a lock that another thread holds stays locked), no new Python for each epoch (macOS), no `__main__` guard in
scripts, and no shared memory (sandboxes). Where processes are wanted, the user names their number. Figures:
docs/concepts/speed.md.
"""

from __future__ import annotations

import itertools
import os
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import torch
from accelerate.utils import send_to_device  # type: ignore[import-untyped]  # accelerate ships no types
from torch import Tensor
from torch.utils.data import DataLoader

from retain.train.lean_loss import LeanTrainer

Batch = dict[str, Tensor]

USERS_OWN = {"dataloader_num_workers", "accelerator_config"}
"""Settings under `training` with which a user decides how batches are loaded."""

MOST_THREADS = 4
"""Beside an accelerator, where processor cores have little else to do."""


def prefetching_threads(settings: Mapping[str, Any], *, pictures: bool) -> int:
    """The number of threads that make batches in the background; 0 where the user says how batches are loaded.

    One where the model itself runs on the processor, and for texts, since a tokenizer serves one thread at a time.

    Args:
        settings: what the recipe gives under `training`.
        pictures: whether images are read.
    """
    if not USERS_OWN.isdisjoint(settings):
        return 0
    return max(1, min(MOST_THREADS, _cores() - 1)) if pictures and torch.accelerator.is_available() else 1


class PrefetchingTrainer(LeanTrainer):
    """`LeanTrainer` that prefetches: its collator works in the background, one optimizer step or more ahead.

    The Trainer's data loader chooses and fetches the rows as ever, in the main thread and in the same order, so batches
    and random numbers are those without threads bit for bit, also in a run that goes on from a checkpoint. What fails
    in a batch is raised as it is when that batch is due. The threads end with `train`, however it ends; a batch that is
    being made then is waited for.

    Args:
        *args: as `LeanTrainer`.
        threads: how many make batches; 0 makes each when it is due. Above 1 the collator must serve several at once.
        **kwargs: as `LeanTrainer`.
    """

    data_collator: Any  # transformers is untyped here

    def __init__(self, *args: Any, threads: int = 0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._threads = threads
        self._pool: ThreadPoolExecutor | None = None
        self._promises: Iterator[Future[Batch]] | None = None
        self._pending: deque[Future[Batch]] = deque()

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """As transformers' Trainer."""
        if not self._threads:
            return super().train(*args, **kwargs)
        # One thread of torch's own in each: more would be a second team beside the model's, which slows that one down.
        pool = ThreadPoolExecutor(self._threads, "retain-batches", torch.set_num_threads, (1,))
        try:
            self._pool = pool
            return super().train(*args, **kwargs)
        finally:
            self._pool, self._promises, self._pending = None, None, deque()
            pool.shutdown(cancel_futures=True)
            torch.set_num_threads(torch.get_num_threads())  # a new thread has again what this one has

    def get_train_dataloader(self) -> DataLoader[Any]:
        """The Trainer's own; while training, one of promises of batches."""
        collator: Any = self.data_collator
        if self._pool is not None:
            self.data_collator = partial(self._pool.submit, collator)
        try:
            loader: DataLoader[Any] = super().get_train_dataloader()
        finally:
            self.data_collator = collator
        return loader

    def get_batch_samples(self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device) -> Any:
        """The batches of one optimizer step, on the device, and how many items the loss is divided by."""
        if self._pool is not None:
            epoch_iterator = self._made(epoch_iterator, num_batches, device)
        return super().get_batch_samples(epoch_iterator, num_batches, device)

    def _made(self, promises: Iterator[Future[Batch]], number: int, device: torch.device) -> Iterator[Batch]:
        """The next batches of an epoch, when as many more are being made."""
        if promises is not self._promises:
            self._promises, self._pending = promises, deque()
        wanted = number + max(number, self._threads)
        self._pending.extend(itertools.islice(promises, wanted - len(self._pending)))
        for _ in range(min(number, len(self._pending))):
            yield send_to_device(self._pending.popleft().result(), device)


def _cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
