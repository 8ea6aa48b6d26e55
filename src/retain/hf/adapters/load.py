"""Load a saved adapter onto a base model, with errors that name the fault of the files."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from peft import PeftConfig, PeftModel
from peft.utils import CONFIG_NAME
from safetensors import SafetensorError
from torch import nn

from retain.errors import InputError, RetainError
from retain.hf.adapters.attach import known_methods
from retain.hf.adapters.initialise import read_note, restore_initialised
from retain.records.reading import read_json_mapping

_LOADING_ERRORS = (
    OSError,
    ValueError,
    TypeError,
    KeyError,
    RuntimeError,
    SafetensorError,
    HFValidationError,
    HfHubHTTPError,
)


def load_adapter(base: nn.Module, path: str | Path, *, trainable: bool = False) -> PeftModel:
    """Load a saved adapter of any PEFT method onto a base model.

    Args:
        base: the model that the adapter was trained on.
        path: a folder with an adapter, or a hub id.
        trainable: leave it trainable, to go on training.

    Returns:
        The model with the adapter, in evaluation mode unless trainable.

    Raises:
        InputError: the folder holds no adapter, its method is unknown, or it does not fit the model.

    Examples:
        >>> loaded = retain.load_adapter(base, "runs/first/adapter", trainable=True)
        >>> loaded.active_adapter
        'default'
    """
    folder = Path(path).expanduser()
    if folder.is_dir():
        _check_config(folder / CONFIG_NAME)
    source = str(folder if folder.exists() else path)
    note = read_note(source)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            places = {} if note is None else _places(base)
            model = PeftModel.from_pretrained(base, source, is_trainable=trainable, **places)
    except RetainError:
        raise
    except _LOADING_ERRORS as error:
        raise InputError(f"{path}: this adapter cannot be loaded onto this model: {_brief(error)}") from error
    missing = [str(warning.message) for warning in caught if "missing adapter keys" in str(warning.message)]
    if missing:  # PEFT only warns, and what is missing stays as if it had never been trained
        raise InputError(
            f"{path}: this adapter was made for another model: layers that it should change have no weights in it "
            f"({missing[0][:200]}…). Give the base that it was trained on."
        )
    if note is not None:
        restore_initialised(model, "default", note)
    return model


def _places(base: nn.Module) -> dict[str, Any]:
    """The device map of a base that is spread over devices and disk, so that PEFT leaves its parts there."""
    places = getattr(base, "hf_device_map", None)
    if places is None:
        return {}
    return {"device_map": {f"base_model.model.{name}".removesuffix("."): place for name, place in places.items()}}


def _brief(error: Exception) -> str:
    """The first lines of an error; torch lists every layer."""
    lines = [line.strip() for line in str(error).splitlines()]
    return " ".join(lines[:2]) + (" …" if len(lines) > 2 else "")


def is_adapter(path: str | Path) -> bool:
    """Tell whether a folder, or else a hub repository, holds a PEFT adapter rather than a full model."""
    folder = Path(path).expanduser()
    if folder.exists():
        return Path(folder, str(CONFIG_NAME)).is_file()
    try:
        PeftConfig._get_peft_type(str(path))  # noqa: SLF001 -- PEFT's own look at a hub repository
    except (OSError, ValueError, KeyError, HFValidationError, HfHubHTTPError):
        return False
    return True


def _check_config(path: Path) -> None:
    if not path.is_file():
        raise InputError(f"{path.parent}: no adapter here ({path.name} is missing).")
    try:
        method = str(read_json_mapping(path)["peft_type"]).lower()
    except (InputError, KeyError) as error:
        raise InputError(f"{path}: not the configuration of a PEFT adapter ({error}).") from error
    if method not in known_methods():
        raise InputError(f"{path}: method {method!r} is unknown; PEFT knows {', '.join(known_methods())}.")
