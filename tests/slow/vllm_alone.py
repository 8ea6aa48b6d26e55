"""vLLM's own loading of a LoRA, from its sources and without its kernels: the rest of vLLM is put aside."""

from __future__ import annotations

import ast
import logging
import re
import sys
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
EMBEDDINGS = ["embed_tokens", "lm_head"]
READ_ALONE = {"parse_fine_tuned_lora_name", "is_base_embedding_weights", "get_lora_id"}


class _Logger(logging.Logger):
    def info_once(self, *_: Any) -> None:
        """Say nothing."""

    warning_once = info_once


@dataclass
class _LoRAConfig:
    max_lora_rank: int


class VLLM:
    """The parts of vLLM that read an adapter."""

    def __init__(self, sources: Path) -> None:
        packages = (
            "vllm",
            "vllm.config",
            "vllm.lora",
            "vllm.model_executor",
            "vllm.model_executor.models",
            "vllm.utils",
        )
        for name in packages:
            self._put(name).__path__ = []
        self._put("vllm.logger", init_logger=_Logger)
        self._put("vllm.config.lora", LoRAConfig=_LoRAConfig)
        self._put("vllm.utils.torch_utils", PIN_MEMORY=False)
        self._put("vllm.model_executor.models.utils", WeightsMapper=object)
        sys.modules.setdefault("regex", re)
        lora = sources / "vllm" / "lora"
        self.helper = self._run("vllm.lora.peft_helper", lora / "peft_helper.py").PEFTHelper
        self._run("vllm.lora.utils", lora / "utils.py", only=READ_ALONE)
        self._run("vllm.lora.lora_weights", lora / "lora_weights.py")
        self.model = self._run("vllm.lora.lora_model", lora / "lora_model.py").LoRAModel

    def load(self, folder: Path, most: int, *, embeddings: bool, vocabulary: int) -> None:
        """Load an adapter as a server of a Llama does.

        Raises:
            Exception: whatever vLLM raises where it refuses it.
        """
        helper = self.helper.from_local_dir(str(folder), 256)
        helper.validate_legal(_LoRAConfig(most))
        expected = {*LINEAR, *(EMBEDDINGS if embeddings else [])}
        options: dict[str, Any] = {"lora_model_id": 1, "device": "cpu", "model_vocab_size": vocabulary}
        loaded = self.model.from_local_checkpoint(str(folder), expected, helper, **options)
        next(iter(loaded.loras))  # as LoRAModelManager._create_merged_loras_inplace takes the first

    def _put(self, name: str, **values: Any) -> types.ModuleType:
        module = types.ModuleType(name)
        module.__dict__.update(values)
        sys.modules[name] = module
        return module

    def _run(self, name: str, path: Path, only: set[str] | None = None) -> Any:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if only is not None:
            future = ast.parse("from __future__ import annotations").body
            chosen = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name in only]
            tree = ast.Module([*future, *chosen], [])
        module = self._put(name, _GLOBAL_LORA_ID=0)
        exec(compile(tree, str(path), "exec"), module.__dict__)  # noqa: S102 -- the user's own copy of vLLM's sources
        return module
