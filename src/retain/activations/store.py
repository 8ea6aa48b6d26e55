"""Second moments of one data set on one model: their manifest, their files, and the check whether they fit a model.

Their folder is `manifest.json` and one or more `moments-*.safetensors`, each whole or not there.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from retain.activations import moments as sums
from retain.activations.moments import Moments
from retain.errors import InputError
from retain.hf.tuners.base_weight import features
from retain.linalg.matrices import pack_symmetric, unpack_symmetric
from retain.records.files import write_bytes, write_text
from retain.records.lock import output_folder
from retain.records.manifest import check_unchanged, remove
from retain.records.paths import expanded
from retain.records.reading import read_json

SCHEMA: Literal["retain.activations/1"] = "retain.activations/1"
MANIFEST = "manifest.json"


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Layer(_Value):
    """One linear layer (out = m, in = n), and the layer under whose name the sums over its input lie."""

    leader: str
    inputs: int
    outputs: int
    bias: bool


class Source(_Value):
    """Sums under one leader: Σ w, tokens, Σ w‖x‖² and the most of it from one sample; the file and its hash, if any."""

    weight: float
    tokens: int
    square: float
    energy: float
    file: str = ""
    digest: str = ""


class Manifest(_Value):
    """The facts by which second moments are known to fit a model and a data set.

    `data_hash` is that of the set of sequences, whatever their order, batches and padding; `sequences` holds the first
    eight bytes of each one's own hash.
    """

    schema_: Literal["retain.activations/1"] = SCHEMA
    name: str = ""
    model: str
    model_hash: str
    data_hash: str
    tokens: int
    sequences: tuple[str, ...]
    dtype: str
    sample_norm: Literal["none", "max"] = "none"
    layers: dict[str, Layer]
    sources: dict[str, Source] = {}
    notes: tuple[str, ...] = ()
    versions: dict[str, str] = {}


@dataclass
class Statistics:
    """Second moments of the inputs of linear layers over one data set; kept in memory or read from their folder."""

    manifest: Manifest
    folder: Path | None = None
    held: dict[str, Moments] = field(default_factory=dict)
    _recent: tuple[tuple[str, bool], Tensor] | None = field(default=None, repr=False, compare=False)

    @property
    def tokens(self) -> int:
        """The number of tokens that were summed."""
        return self.manifest.tokens

    def moments(self, layer: str) -> Moments:
        """The sums over the input of a layer.

        Raises:
            InputError: there are none for that layer, or the file is damaged.
        """
        leader = self._layer(layer).leader
        if leader not in self.held and self.folder is not None:
            inputs, dtype = self.manifest.layers[leader].inputs, dtype_named(self.manifest.dtype)
            return _read(self.folder, leader, self.manifest.sources[leader], inputs, dtype)
        return self.held[leader]

    def second_moment(self, layer: str) -> Tensor:
        """E[x̃ x̃ᵀ] a token of a layer's input, float64; x̃ = (x, 1) where the layer has a bias, else x."""
        key = (self._layer(layer).leader, self._layer(layer).bias)
        if self._recent is None or self._recent[0] != key:  # neighbours read one tensor: q, k, v; gate, up
            self._recent = (key, sums.second_moment(self.moments(layer), bias=key[1]))
        return self._recent[1]

    def _layer(self, name: str) -> Layer:
        if name not in self.manifest.layers:
            raise InputError(f"{self._name}: no statistics of layer {name}; they are of {self._few_layers()}.")
        return self.manifest.layers[name]

    def save(self, folder: str | Path) -> None:
        """Write all files into a folder; the manifest last, so that a folder with a manifest is complete.

        Raises:
            InputError: files of these names are there, which retain did not write.
        """
        folder = expanded(folder)
        if self.folder is not None and folder.resolve() == self.folder.resolve():
            return
        leaders = list(self.manifest.sources)
        sources = dict(self.manifest.sources)
        parts = {
            _file_of(start): leaders[start : start + LEADERS_A_FILE] for start in range(0, len(leaders), LEADERS_A_FILE)
        }
        with output_folder(folder, [MANIFEST, *parts]):
            remove(folder / MANIFEST)  # its files are overwritten
            for file, part in parts.items():
                digest = write_moments(folder / file, {leader: self._source(leader) for leader in part})
                sources |= {
                    leader: sources[leader].model_copy(update={"file": file, "digest": digest[leader]})
                    for leader in part
                }
            write_manifest(folder, self.manifest.model_copy(update={"sources": sources}))

    def _source(self, leader: str) -> Moments:
        return self.held[leader] if leader in self.held else self.moments(leader)

    @property
    def _name(self) -> str:
        return str(self.folder or self.manifest.name or "statistics")

    def _few_layers(self) -> str:
        names = list(self.manifest.layers)
        return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")

    def misfits(self, model_hash: str, layers: dict[str, tuple[int, int, bool]]) -> list[str]:
        """Reasons why these second moments cannot be used for a model; empty if they can.

        Args:
            model_hash: of the model at hand.
            layers: the layers that are needed: (inputs, outputs, whether there is a bias).
        """
        found = []
        if model_hash != self.manifest.model_hash:
            found.append(
                f"{self._name}: of another model ({self.manifest.model}, weights {self.manifest.model_hash[:8]}; "
                f"this model's are {model_hash[:8]}). Calibrate this model."
            )
        known = self.manifest.layers
        if missing := [name for name in layers if name not in known]:
            found.append(
                f"{self._name}: no statistics of {len(missing)} of the {len(layers)} layers to adapt, {missing[0]} "
                f"first; they are of {self._few_layers()}. Calibrate with the same target_modules."
            )
        for name, shape in layers.items():
            if name in known and (known[name].inputs, known[name].outputs, known[name].bias) != shape:
                found.append(f"{self._name}: layer {name} has another shape in this model. Calibrate this model.")
                break
        return found


LEADERS_A_FILE = 16


def _file_of(start: int) -> str:
    """The name of the file whose first leader has that number."""
    return f"moments-{start // LEADERS_A_FILE:05d}.safetensors"


def load(folder: str | Path) -> Statistics:
    """Open a folder of second moments; sums are read when they are used.

    Raises:
        InputError: there are none, their schema is unknown, or a file is missing.
    """
    folder = expanded(folder)
    path = folder / MANIFEST
    try:
        found = read_json(path)
    except InputError as error:
        raise InputError(f"{folder}: no statistics here ({error}) Make them with `retain calibrate`.") from error
    if not isinstance(found, dict) or found.get("schema_") != SCHEMA:
        raise InputError(f"{path}: not statistics of schema {SCHEMA!r}; calibrate again.")
    try:
        manifest = Manifest.model_validate(found)
    except ValidationError as error:
        raise InputError(f"{path}: damaged ({error.error_count()} problems); calibrate again.") from error
    if odd := [key for key, layer in manifest.layers.items() if layer.leader not in manifest.sources]:
        raise InputError(f"{path}: damaged (no sums of {odd[0]}); calibrate again.")
    files = {source.file for source in manifest.sources.values()}
    if missing := sorted(file for file in files if not _inside(folder, file)):
        raise InputError(f"{folder}: {missing[0]} is missing; calibrate again.")
    check_unchanged(path)
    return Statistics(manifest, folder)


def merge(left: Statistics, right: Statistics) -> Statistics:
    """Merge the second moments of two data sets, in memory.

    Raises:
        InputError: they are not of the same model, layers and settings.
    """
    a, b = left.manifest, right.manifest
    same = ("model_hash", "layers", "dtype", "sample_norm")
    if odd := [name for name in same if getattr(a, name) != getattr(b, name)]:
        raise InputError(f"these statistics cannot be merged: they differ in {', '.join(odd)}.")
    held = {leader: sums.merge(left._source(leader), right._source(leader)) for leader in a.sources}  # noqa: SLF001 -- own class
    combined = (int(a.data_hash, 16) + int(b.data_hash, 16)) % HASHES
    manifest = a.model_copy(
        update={
            "data_hash": f"{combined:064x}",
            "tokens": a.tokens + b.tokens,
            "sequences": a.sequences + b.sequences,
            "sources": {leader: source_of(m) for leader, m in held.items()},
            "notes": tuple(dict.fromkeys(a.notes + b.notes)),
        }
    )
    return Statistics(manifest, None, held)


HASHES = 2**256
"""Sequence hashes are summed modulo this number: the hash of a set, whatever its order."""


def source_of(moments: Moments, file: str = "", digest: str = "") -> Source:
    """The manifest's entry for sums."""
    square = float(moments.gram.diagonal().sum(dtype=torch.float64))
    return Source(
        weight=moments.weight, tokens=moments.tokens, square=square, energy=moments.energy, file=file,
        digest=digest,
    )  # fmt: skip


def write_moments(path: Path, held: dict[str, Moments]) -> dict[str, str]:
    """Write sums, the symmetric ones as their upper triangle; return their SHA-256 by leader."""
    tensors = {f"{leader}.gram": pack_symmetric(m.gram).cpu().contiguous() for leader, m in held.items()}
    tensors |= {f"{leader}.total": m.total.cpu().contiguous() for leader, m in held.items()}
    write_bytes(path, save(tensors, metadata={"format": "pt"}))
    return {leader: digest_of(tensors[f"{leader}.gram"], tensors[f"{leader}.total"]) for leader in held}


def digest_of(*tensors: Tensor) -> str:
    """SHA-256 of the bytes of some tensors on the CPU, one after another."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.view(torch.uint8).numpy().data)
    return digest.hexdigest()


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest, which completes the folder."""
    write_text(folder / MANIFEST, manifest.model_dump_json(indent=1) + "\n")


def own_tensor(file: Any, name: str) -> Tensor:
    """A tensor of an open safetensors file, in memory that torch allocated.

    A tensor of safetensors lies wherever the file has it. BLAS rounds differently at another alignment on some
    processors, so sums that go on from there would not have the bits of sums that were never interrupted.
    """
    tensor: Tensor = file.get_tensor(name)
    return tensor.clone()


def _read(folder: Path, leader: str, source: Source, inputs: int, dtype: torch.dtype) -> Moments:
    try:
        with safe_open(str(folder / source.file), framework="pt") as file:
            gram, total = own_tensor(file, f"{leader}.gram"), own_tensor(file, f"{leader}.total")
    except (OSError, SafetensorError) as error:
        raise InputError(f"{folder / source.file}: damaged ({error}); calibrate again.") from error
    alike = gram.shape == (inputs * (inputs + 1) // 2,) and total.shape == (inputs,) and gram.dtype == dtype
    if not alike or digest_of(gram, total) != source.digest:  # the digest is of the bytes alone
        raise InputError(f"{folder / source.file}: damaged (not what the manifest tells of); calibrate again.")
    return Moments(unpack_symmetric(gram), total, source.weight, source.tokens, source.energy)


def _inside(folder: Path, file: str) -> bool:
    return Path(file).name == file and (folder / file).is_file()


def shape_of(layer: nn.Module) -> tuple[int, int, bool]:
    """Inputs, outputs, and whether there is a bias."""
    inputs, outputs = features(layer)
    return inputs, outputs, getattr(layer, "bias", None) is not None


def dtype_named(name: Any) -> torch.dtype:
    """float32 or float64.

    Raises:
        InputError: anything less precise, or unknown.
    """
    known = {"float32": torch.float32, "float64": torch.float64, torch.float32: torch.float32}
    known[torch.float64] = torch.float64
    if name not in known:
        raise InputError(f"dtype={name!r}: moments are summed in float32 or float64.")
    return known[name]
