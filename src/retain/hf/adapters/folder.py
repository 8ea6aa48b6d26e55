"""Find the folder of an adapter, and look at its tensors: safetensors only, nothing is run.

Every tensor must hold numbers that a weight can be: floats (or indices, where a method has some), finite, and small
enough that their squares are finite too.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from peft import PeftConfig
from peft.utils import CONFIG_NAME, SAFETENSORS_WEIGHTS_NAME
from peft.utils import WEIGHTS_NAME as PICKLE_NAME
from safetensors import SafetensorError, safe_open

from retain.errors import InputError
from retain.records.paths import expanded, may_be_hub_adapter

_FILES = [str(CONFIG_NAME), str(SAFETENSORS_WEIGHTS_NAME), "*.json"]


class Stored(NamedTuple):
    """A tensor as it stands in a file."""

    shape: tuple[int, ...]
    is_float: bool


def is_adapter(path: str | Path) -> bool:
    """Tell whether a folder, or else a hub repository, holds a PEFT adapter rather than a full model."""
    folder = expanded(path)
    if folder.exists():
        return Path(folder, str(CONFIG_NAME)).is_file()
    if not may_be_hub_adapter(path):
        return False
    try:
        PeftConfig._get_peft_type(str(path))  # noqa: SLF001 -- PEFT's own look at a hub repository
    except (OSError, ValueError, KeyError, HFValidationError, HfHubHTTPError):
        return False
    return True


def inner_adapters(folder: Path) -> list[Path]:
    """The adapters one level below a folder, where PEFT puts those that are not called `default`."""
    if not folder.is_dir():
        return []
    return sorted(child for child in folder.iterdir() if (child / str(CONFIG_NAME)).is_file())


def adapter_folder(source: str | Path) -> Path:
    """The folder of an adapter; one on the hub is fetched, its small files and its safetensors only.

    Args:
        source: a folder, or a hub id.

    Raises:
        InputError: there is no such folder and no such repository, or no adapter in it.
    """
    folder = expanded(source)
    if not folder.is_dir():
        if folder.exists() or not may_be_hub_adapter(source):
            raise InputError(
                f"{source}: there is no such folder; give the folder of an adapter, or a hub id, OWNER/NAME."
            )
        try:
            folder = Path(snapshot_download(str(source), allow_patterns=_FILES))
        except (OSError, ValueError, HFValidationError, HfHubHTTPError) as error:
            raise InputError(
                f"{source}: there is no folder of this name here, and no adapter of it could be fetched from the hub "
                f"({' '.join(str(error).split())[:200]})."
            ) from error
    if (folder / str(CONFIG_NAME)).is_file():
        return folder
    inner = inner_adapters(folder)
    cure = f"; give one of the adapters inside it: {', '.join(map(str, inner[:5]))}" if inner else ""
    raise InputError(f"{source}: no adapter here ({CONFIG_NAME} is missing){cure}.")


def stored_shapes(folder: Path) -> dict[str, Stored]:
    """The tensors of an adapter's file by name, from its head alone; none where it cannot be read."""
    try:
        with safe_open(str(folder / str(SAFETENSORS_WEIGHTS_NAME)), framework="pt") as file:
            names = list(file.keys())
            slices = {name: file.get_slice(name) for name in names}
            return {name: Stored(tuple(one.get_shape()), "F" in one.get_dtype()) for name, one in slices.items()}
    except (OSError, SafetensorError):
        return {}


def stored_tensors(folder: Path) -> dict[str, Stored]:
    """The tensors of an adapter's file by name; each is read once and looked at.

    Raises:
        InputError: the file is missing, a pickle, damaged or empty, or a tensor holds what no weight can be.
    """
    path = folder / str(SAFETENSORS_WEIGHTS_NAME)
    if not path.is_file():
        raise InputError(_missing(folder))
    found, problems = {}, []
    try:
        with safe_open(str(path), framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 -- no mapping
                tensor = file.get_tensor(name)
                found[name] = Stored(tuple(tensor.shape), tensor.is_floating_point())
                if fault := value_fault(tensor):
                    problems.append(f"{path}: {name} {fault}.")
    except (OSError, SafetensorError, ValueError, RuntimeError, KeyError) as error:
        raise InputError(
            f"{path}: this adapter cannot be loaded: its file of weights is damaged ({error}); save it again."
        ) from error
    if not found:
        raise InputError(f"{path}: there are no weights in it; save the adapter again.")
    if problems:
        more = [f"{path}: and {len(problems) - 3} more tensors like these."] if len(problems) > 3 else []
        raise InputError([*problems[:3], *more])
    return found


def _missing(folder: Path) -> str:
    if (folder / str(PICKLE_NAME)).is_file():
        return (
            f"{folder}: its weights lie in {PICKLE_NAME}, a pickle, which can run code when it is read, so it is not; "
            f"save the adapter as {SAFETENSORS_WEIGHTS_NAME} where you trust it: load it with PEFT there and call "
            "model.save_pretrained(folder)."
        )
    return f"{folder}: this adapter cannot be loaded: {SAFETENSORS_WEIGHTS_NAME} is missing."


def value_fault(tensor: torch.Tensor) -> str | None:
    """The reason why a tensor is no weight, as the end of a sentence; None where it can be one."""
    if tensor.is_complex() or tensor.dtype == torch.bool:
        return f"holds {str(tensor.dtype).removeprefix('torch.')}, which no weight is"
    if not tensor.is_floating_point() or not tensor.numel():
        return None
    values = tensor.float()
    if not bool(torch.isfinite(values).all()):
        return "holds values that are not finite: the training diverged, or the file is damaged"
    if not bool(torch.isfinite(values.square()).all()):
        return "holds values too large for a weight: the training diverged, or the file is damaged"
    return None
