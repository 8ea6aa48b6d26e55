"""The whole weights of a model whose own are in pieces, one in each process (FSDP2, DeepSpeed ZeRO-3)."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.fsdp import FSDPModule

from retain.train.ranks import rank_and_world


def whole_state(model: nn.Module) -> dict[str, Tensor] | None:
    """Put the trained weights together, on the CPU of the first process; all processes must call it.

    Args:
        model: as it was trained.

    Returns:
        The weights by name, without frozen ones; empty in all but the first process. None where each process has whole
        weights of its own.
    """
    if isinstance(model, FSDPModule):
        options = StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=True)
        whole: dict[str, Tensor] = get_model_state_dict(model, options=options)  # type: ignore[assignment]  # no optimizer's
        return whole
    if any(hasattr(parameter, "ds_id") for parameter in model.parameters()):
        return _of_deepspeed(model)
    return None


def _of_deepspeed(model: nn.Module) -> dict[str, Tensor]:
    from deepspeed import zero  # type: ignore[import-not-found]  # noqa: PLC0415 -- an optional package

    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    gathering: Any = zero.GatheredParameters([p for p in model.parameters() if p.requires_grad])
    with gathering:
        whole = model.state_dict()  # a residual LoRA makes its factors of what is trained
        if rank_and_world()[0]:
            return {}
        return {name: value.detach().cpu().clone() for name, value in whole.items() if name not in frozen}
