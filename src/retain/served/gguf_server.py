"""A GGUF file, served on this machine by llama.cpp itself, for as long as it is measured.

llama-cpp-python, whose logits are had without a server, is compiled where it is installed, which takes an hour on two
cores; xllamacpp comes compiled, and has llama.cpp's own server.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from retain.errors import InputError
from retain.records.paths import expanded

PACKAGE = "xllamacpp"


def is_gguf(source: str) -> bool:
    """Tell whether a source is a GGUF file by its name."""
    return source.strip().lower().endswith(".gguf")


def gguf_problems(source: str, field: str) -> list[str]:
    """The reasons why a file cannot be run: it is not there, is no GGUF, or llama.cpp is not installed."""
    path = expanded(source)
    if not path.is_file():
        return [f"{field}: there is no file {source}."]
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            return [f"{field}: {source} is no GGUF file (it does not begin with GGUF)."]
    if importlib.util.find_spec(PACKAGE) is None:
        cure = f"pip install 'retain[llama-cpp]' ({PACKAGE}, comes compiled, some 35 MB)"
        return [
            f"{field}: llama.cpp is needed to run {path.name}: {cure}; or give the address of a server that has it."
        ]
    return []


@contextmanager
def serving(source: str, field: str, *, context: int) -> Iterator[str]:
    """Serve a GGUF file on a free port of this machine, in a process that ends with this one.

    Args:
        source: the file.
        field: of the recipe, for refusals.
        context: tokens of prompt and answer, at most.

    Yields:
        The address of its API.

    Raises:
        InputError: the file cannot be run.
    """
    if problems := gguf_problems(source, field):
        raise InputError(problems)
    path = expanded(source).absolute()
    command = [sys.executable, "-m", "retain.served.gguf_process", str(path), str(context)]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(  # noqa: S603 -- this program's own module, and a path that exists
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, start_new_session=True
        )
        try:
            yield _address(process, log, f"{field}: llama.cpp cannot load {path}")
        finally:
            process.stdin and process.stdin.close()
            process.terminate()
            process.wait()
            process.stdout and process.stdout.close()


def _address(process: subprocess.Popen[bytes], log: IO[bytes], failed: str) -> str:
    """The address that the process prints when its model is loaded.

    Raises:
        InputError: it ended before.
    """
    for line in process.stdout or ():
        if line.startswith(b"http://"):
            return f"{line.decode().strip()}/v1"
    process.wait()
    log.seek(0)
    told = [line.strip() for line in log.read().decode("utf-8", errors="replace").splitlines() if line.strip()]
    raise InputError(f"{failed} ({'; '.join(told[-2:])[:300] or f'it ended with {process.returncode}'}).")
