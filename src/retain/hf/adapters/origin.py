"""Of which base an adapter is, and which files belong together: `retain_adapter.json`, written beside the adapter.

Two models of one shape take each other's adapters without an error. The note holds digests of evenly drawn values of
the base's weights, once for each usual dtype, so that a base which was loaded in another dtype is known again. It holds
the hash of the adapter's own files, so that a damaged or swapped one is found. Software that does not know the note
passes over it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import CONFIG_NAME, SAFETENSORS_WEIGHTS_NAME
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from retain.errors import InputError
from retain.hf.adapters.base_values import drawn_values, is_quantised, of_one_base
from retain.hf.models.describe import base_tensors
from retain.hf.models.head import head_names
from retain.hf.models.sides import mutates_base, root_of
from retain.records.files import write_text
from retain.records.reading import read_json_mapping, read_model

ORIGIN_NOTE = "retain_adapter.json"
"""The note's name, beside the adapter's own files."""

_SCHEMA = "retain.adapter/1"
_DRAWN = 256
"""Values drawn of each of the base's tensors."""
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_FREE = ("base_model_name_or_path", "revision", "inference_mode", "task_type", "auto_mapping", "peft_version")
"""Fields of `adapter_config.json` that may be edited: they do not change what the adapter does."""


class Origin(BaseModel):
    """The note.

    Attributes:
        schema_name: which form it has.
        weights: SHA-256 of the file of weights.
        config: the same of the configuration, but for fields that change nothing.
        dtype: the narrowest that holds the base's weights exactly, whatever it was loaded in; empty where the base has
            no digest (quantised, offloaded, rewritten).
        base: digests of values of the base by the dtype that they were rounded to.
        values: some values of the base, for bases that have no digest to compare; empty where it was rewritten.
        quantised: whether the base was quantised.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_name: str = _SCHEMA
    weights: str
    config: str
    dtype: str = ""
    base: dict[str, str] = {}
    values: str = ""
    quantised: bool = False


def write_origin(folder: Path, model: nn.Module) -> None:
    """Write the note beside an adapter that was just saved.

    Args:
        folder: where the adapter lies.
        model: the model that carries it.
    """
    merged = any(isinstance(module, BaseTunerLayer) and module.merged for module in model.modules())
    rewritten = merged or mutates_base(model) is not None
    dtype, digests = ("", {}) if rewritten else base_digests(model)
    note = Origin(
        weights=_hash_of(folder),
        config=_hash_of_config(folder),
        dtype=dtype,
        base=digests,
        values="" if rewritten else drawn_values(model),
        quantised=is_quantised(model),
    )
    write_text(folder / ORIGIN_NOTE, note.model_dump_json(indent=1) + "\n")


def check_origin(folder: Path, base: nn.Module) -> None:
    """Compare an adapter's files and its base with the note beside it, where there is one.

    Args:
        folder: where the adapter lies.
        base: the model that it is to be put on, without adapters.

    Raises:
        InputError: the files or the base are others.
    """
    path = folder / ORIGIN_NOTE
    if not path.is_file():
        return
    note = read_model(path, Origin)
    found = {
        str(SAFETENSORS_WEIGHTS_NAME): (note.weights, _hash_of(folder)),
        str(CONFIG_NAME): (note.config, _hash_of_config(folder)),
    }
    if changed := [name for name, (written, now) in found.items() if written != now]:
        raise InputError(
            f"{folder}: {' and '.join(changed)} changed since retain wrote this adapter ({ORIGIN_NOTE} holds the "
            "hashes), so it is damaged or another one. Take a good copy; remove that file only if you changed the "
            "adapter yourself."
        )
    if is_same_base(note, base) is False:
        raise InputError(
            f"{folder}: this adapter was trained on another base: the names are the same, the weights are others. "
            f"Give the base that it was trained on; remove {ORIGIN_NOTE} beside it only if you mean to put it on this "
            "one."
        )


def origin_notes(folder: Path, base: nn.Module) -> list[str]:
    """Notes on a base that may not be the one that an adapter of retain's was trained on, or is it with other weights.

    Args:
        folder: where the adapter lies.
        base: the model that it is to be put on, without adapters.
    """
    path = folder / ORIGIN_NOTE
    if not path.is_file():
        return []
    note = read_model(path, Origin)
    if is_same_base(note, base) is not None:
        return _quantised_otherwise(note, base)
    told = (
        "Whether the base is the one that the adapter was trained on could not be compared: the values of one of them "
        "cannot be read (it is offloaded, or its initialisation rewrote it), or the adapter's note is of an older "
        "version."
    )
    return [told]


def _quantised_otherwise(note: Origin, base: nn.Module) -> list[str]:
    """A note where the base of training and this one are the same but for how they are quantised."""
    quantised = is_quantised(base)
    if not (note.quantised or quantised):
        return []
    if note.quantised and quantised and of_one_base(note.values, drawn_values(base), quantised=False) is not False:
        return []
    before, now = (f"is {'' if one else 'not '}quantised" for one in (note.quantised, quantised))
    found = f"a base that {before}, and the base here {now}"
    if note.quantised and quantised:
        found = "a base that is quantised in another way than the base here"
    told = (
        f"The adapter was trained beside {found}: what is shown is the adapter beside these weights, as it would be "
        "served so, and not what its training did. Load the base as it was trained (--quantization) to see that."
    )
    return [told]


def is_same_base(note: Origin, base: nn.Module) -> bool | None:
    """Tell whether a base is the one of a note; None where that cannot be told.

    Values of one base, loaded in two dtypes, agree when both are rounded to one of the two. Of bfloat16 and float16
    neither is rounded to the other, and a quantised base is rounded in its own way: there some values are compared.
    """
    dtype, digests = base_digests(base)
    if digests and note.base:
        dtypes = {dtype, note.dtype}
        same = any(digests[one] == note.base.get(one) for one in dtypes & digests.keys())
        twice = len({*dtypes, str(getattr(base, "dtype", "")).removeprefix("torch.")} & {"bfloat16", "float16"}) == 2
        if same or not twice:
            return same
    quantised = note.quantised or is_quantised(base)
    return of_one_base(note.values, drawn_values(base) if note.values else "", quantised=quantised)


@torch.no_grad()
def base_digests(model: nn.Module) -> tuple[str, dict[str, str]]:
    """The dtype of a model's base, and digests of values of its weights by the dtype that they are rounded to.

    The dtype is the narrowest that holds the values: a base that was saved in bfloat16 is one, however it is loaded.

    Embeddings and heads are left out, for their sizes change with the vocabulary and the task.

    Returns:
        Nothing of a base that is quantised, offloaded or of another dtype.
    """
    root = root_of(model)
    hidden = _left_out(root)
    drawn: list[tuple[str, Tensor]] = []
    for name, tensor in sorted(base_tensors(root)):
        if name.startswith(hidden) or tensor.ndim < 2:
            continue
        if type(tensor.data) is not Tensor or tensor.device.type == "meta" or not tensor.is_floating_point():
            return "", {}
        flat = tensor.detach().reshape(-1)
        places = torch.linspace(0, flat.numel() - 1, min(_DRAWN, flat.numel()), dtype=torch.float64).long()
        drawn.append((f"{name} {tuple(tensor.shape)}", flat[places.to(flat.device)].cpu()))
    dtypes = {str(values.dtype).removeprefix("torch.") for _, values in drawn}
    if len(dtypes) != 1 or not dtypes <= _DTYPES.keys():
        return "", {}
    holding = [name for name in ("bfloat16", "float16") if all(_holds(values, name) for _, values in drawn)]
    return [*holding, dtypes.pop()][0], {name: _digest(drawn, dtype) for name, dtype in _DTYPES.items()}


def _holds(values: Tensor, dtype: str) -> bool:
    return torch.equal(values.to(_DTYPES[dtype]).float(), values.float())


def _left_out(root: Any) -> tuple[str, ...]:
    names = {module: name for name, module in root.named_modules()}
    found = [f"{name}." for name in head_names(root)]
    for get in ("get_input_embeddings", "get_output_embeddings"):
        try:
            module = getattr(root, get)()
        except (AttributeError, NotImplementedError):  # a model without any
            continue
        if module in names:
            found.append(f"{names[module]}.".replace(".base_layer.", ".").replace(".original_module.", "."))
    return tuple(found)


def _digest(drawn: list[tuple[str, Tensor]], dtype: torch.dtype) -> str:
    digest = hashlib.sha256()
    for name, values in drawn:
        digest.update(name.encode())
        digest.update(values.to(dtype).contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _hash_of(folder: Path) -> str:
    try:
        with (folder / str(SAFETENSORS_WEIGHTS_NAME)).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{folder}: {SAFETENSORS_WEIGHTS_NAME} cannot be read ({error.strerror}).") from error


def _hash_of_config(folder: Path) -> str:
    values: Mapping[str, Any] = read_json_mapping(folder / str(CONFIG_NAME))
    effective = {
        key: sorted(value) if isinstance(value, list) and all(isinstance(one, str) for one in value) else value
        for key, value in values.items()
        if key not in _FREE and value is not None
    }
    return hashlib.sha256(json.dumps(effective, sort_keys=True).encode()).hexdigest()
