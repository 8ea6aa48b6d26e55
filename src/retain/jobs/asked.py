"""A base and what is put to it: all that its predictions depend on, as a hash."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache, cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from retain.data.preprocess import Preprocessor
from retain.evaluate.predictions import engine
from retain.evaluate.suites.suite import Settings, Suite
from retain.evaluate.tasks.table import task_type_of
from retain.hf.models.inference import device_of
from retain.hf.models.placement import offloaded
from retain.hf.models.sides import root_of
from retain.jobs.inputs.data import suite_hash
from retain.jobs.state_files import hash_of
from retain.recipe.marks import fields_where

LIBRARIES = (
    *("bitsandbytes", "torchao", "kernels", "flash-attn", "optimum", "gptqmodel", "compressed-tensors"),
    *("mamba-ssm", "causal-conv1d", "flash-linear-attention", "tokenizers", "jinja2", "pillow", "torchvision"),
)
"""Libraries that compute in a model's place where it is quantised or its attention is another, or make its inputs."""


@dataclass(frozen=True)
class Asked:
    """A base, what is put to it, and how.

    Attributes:
        base: without an adapter, or with it off.
        base_hash: of its weights.
        preprocessor: makes its inputs.
        suites: the items.
        settings: how items become inputs.
    """

    base: Any
    base_hash: str
    preprocessor: Preprocessor
    suites: tuple[Suite, ...]
    settings: Settings

    def parts(self) -> list[Any]:
        """All that predictions depend on within a run: weights, configurations, preprocessor, suites, settings."""
        suites = [[suite.name, suite_hash(suite)] for suite in self.suites]
        deciding = fields_where(Settings, lambda decides: decides.part in {"answers", "predictions"})
        settings = {name: value for name, value in asdict(self.settings).items() if name in deciding}
        root: Any = root_of(self.base)
        attention = root.config._attn_implementation  # noqa: SLF001 -- transformers has no public name for it
        ends = getattr(root, "generation_config", None)
        configured = [root.config.to_json_string(), "" if ends is None else ends.to_json_string()]
        computing = [*configured, attention, str(root.dtype), engine(), device_of(self.base).type]
        reading = [self.preprocessor.identity(), self.preprocessor.max_length]
        return [self.base_hash, computing, reading, suites, settings]

    @cached_property
    def key(self) -> str:
        """A hash of these and of what one run has one of: this code, the device, the libraries."""
        return hash_of(*self.parts(), self._surroundings(), [suite.part for suite in self.suites], code_hash())

    @property
    def may_be_kept(self) -> bool:
        """False where what no hash here covers may decide (code of a model's own, a judge), and of what is withheld."""
        computing = (root_of(self.base), self.preprocessor.tokenizer, getattr(self.preprocessor, "processor", None))
        own_code = any(one is not None and not _is_transformers(one) for one in computing)
        withheld = self.settings.store_answers and any(task_type_of(suite).withheld for suite in self.suites)
        return not (own_code or offloaded(self.base) or self.settings.judge or withheld)

    def _surroundings(self) -> list[Any]:
        device = device_of(self.base)
        on_gpu = device.type == "cuda"
        place = torch.cuda.get_device_name(device) if on_gpu else torch.backends.cpu.get_cpu_capability()
        tokenizer = self.preprocessor.tokenizer
        told_the_day = "strftime_now" in str(getattr(tokenizer, "chat_template", ""))
        return [
            place,
            torch.get_float32_matmul_precision(),
            torch.backends.cudnn.allow_tf32 if on_gpu else None,
            {name: _version(name) for name in LIBRARIES},
            today() if told_the_day else "",
        ]


def _is_transformers(one: Any) -> bool:
    return type(one).__module__.partition(".")[0] == "transformers"


@cache
def code_hash() -> str:
    """A hash of retain's own code: another version may put an item to a model otherwise."""
    root, digest = Path(__file__).parents[1], hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root)} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def today() -> str:
    """The day, in UTC."""
    return datetime.now(UTC).date().isoformat()


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return ""
