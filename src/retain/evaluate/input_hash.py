"""One hash of all inputs of a model: two sides with the same inputs have the same."""

from __future__ import annotations

import hashlib

import torch


class InputHash:
    """A running SHA-256 over every tensor that was put to a model: name, shape, dtype and content, in order."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def add(self, **inputs: torch.Tensor) -> None:
        """Note one call's inputs."""
        for name, tensor in sorted(inputs.items()):
            plain = tensor.detach().to("cpu").contiguous()
            self._digest.update(f"{name} {tuple(plain.shape)} {plain.dtype}".encode())
            self._digest.update(plain.reshape(-1).view(torch.uint8).numpy().tobytes() if plain.numel() else b"")

    def hash(self) -> str:
        """The hash so far."""
        return self._digest.hexdigest()
