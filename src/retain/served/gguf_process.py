"""The process that serves a GGUF file: it prints its address, and ends when its standard input does."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path


def main(arguments: list[str]) -> None:
    """Serve a file until whoever started this is gone.

    Args:
        arguments: the file, and the tokens of prompt and answer at most.
    """
    import xllamacpp  # noqa: PLC0415 -- an extra, asked for where it is used

    path, context = arguments
    params = xllamacpp.CommonParams()
    params.model.path = path
    params.model_alias = {Path(path).name}
    params.n_ctx = int(context)
    params.n_parallel = 1  # the slots share the context
    params.hostnames = ["127.0.0.1"]
    params.port = _free_port()
    params.warmup = False
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = _threads()
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)  # noqa: T201 -- the way in which its parent learns it
    sys.stdin.buffer.read()
    os._exit(0)


def _threads() -> int:
    """As many as OMP_NUM_THREADS says, or as there are cores for this process."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return int(asked) if asked.isdigit() and int(asked) else cores


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


if __name__ == "__main__":
    main(sys.argv[1:])
