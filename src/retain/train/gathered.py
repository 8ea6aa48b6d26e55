"""The whole weights of a model whose own are in pieces, one in each process (FSDP2, DeepSpeed ZeRO-3)."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.fsdp import FSDPModule


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
        state: dict[str, Any] = get_model_state_dict(model, options=options)
        return dict(state)
    if any(hasattr(parameter, "ds_id") for parameter in model.parameters()):
        return _of_deepspeed(model)
    return None


def _of_deepspeed(model: nn.Module) -> dict[str, Tensor]:
    from deepspeed import zero  # type: ignore[import-not-found]  # noqa: PLC0415 -- an optional package

    found: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            gathering: Any = zero.GatheredParameters([parameter])
            with gathering:  # one after another, so that no process holds them all on its device
                found[name] = parameter.detach().cpu().clone()
    return found
