"""Tensors that were measured once and are kept beside a run: a safetensors file that says which schema it follows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from retain.errors import InputError
from retain.records.files import write_bytes
from retain.records.manifest import check_unchanged
from retain.records.paths import expanded


def write_tensors(path: str | Path, tensors: Mapping[str, Tensor], schema: str, told: Mapping[str, str]) -> None:
    """Write tensors by name, with the schema and what else is told of them as metadata.

    Raises:
        InputError: a file is there that retain did not write.
    """
    held = {name: values.cpu().contiguous() for name, values in tensors.items()}
    write_bytes(expanded(path), save(held, metadata={"format": "pt", "schema": schema, **told}))


def read_tensors(path: str | Path, schema: str, what: str, cure: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read what `write_tensors` wrote: the tensors, in memory of their own, and the metadata.

    Args:
        path: of the file.
        schema: that it must follow.
        what: it holds, for errors.
        cure: what happens once it is removed, for errors.

    Raises:
        InputError: it is damaged, or another kind of file.
    """
    path = expanded(path)
    check_unchanged(path)
    try:
        with safe_open(str(path), framework="pt") as file:
            told = file.metadata() or {}
            names = file.keys()
            held = {name: file.get_tensor(name).clone() for name in names} if told.get("schema") == schema else {}
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: damaged ({error}); remove it, and {cure}.") from error
    if not held:
        raise InputError(f"{path}: no {what} of schema {schema!r}; remove it, and {cure}.")
    return held, told
