"""A Ray cluster of this machine, and what two comparisons differ in."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from children import light
from interruptions import outcome

TIMES = {"train_seconds", "measure_seconds", "peak_rss_bytes", "step_seconds", "seconds"}
SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_AUTH_MODE": "disabled",  # else what lies in the user's home decides
}


@contextlib.contextmanager
def local_cluster(log: Path, cpus: int = 2) -> Iterator[str]:
    """Start a cluster of so many processors on this machine; its address. Nothing of it is left at the end."""
    place = Path("/tmp") / f"rt{os.getpid()}"  # noqa: S108 -- Ray's sockets need a short path
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    flags = ["--head", "--block", f"--num-cpus={cpus}", "--include-dashboard=false", "--disable-usage-stats"]
    os.environ["RAY_AUTH_MODE"] = SETTINGS["RAY_AUTH_MODE"]  # read when ray is loaded here
    flags += [f"--port={port}", f"--temp-dir={place}", "--no-monitor", "--include-log-monitor=false"]
    with log.open("wb") as file:
        process = subprocess.Popen(
            [str(Path(sys.executable).with_name("ray")), "start", *flags], stdout=file, stderr=file,
            env={**light(), **SETTINGS}, start_new_session=True,
        )  # fmt: skip
        try:
            until = time.monotonic() + 120
            while b"Ray runtime started" not in log.read_bytes():
                assert process.poll() is None and time.monotonic() < until, log.read_text(encoding="utf-8")  # noqa: PT018
                time.sleep(0.1)
            yield f"127.0.0.1:{port}"
        finally:
            for one in [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    one.kill()
            process.wait(60)
            shutil.rmtree(place, ignore_errors=True)


def alike(one: Path, other: Path) -> list[str]:
    """What two comparisons differ in, without times."""
    first, second = outcome(one), outcome(other)
    found = sorted(name for name in first.keys() | second.keys() if first.get(name, 0) != second.get(name, 0))
    tables = [_without_times(json.loads((place / "summary.json").read_bytes())) for place in (one, other)]
    return found + ([] if tables[0] == tables[1] else ["summary.json"])


def _without_times(value):
    if isinstance(value, dict):
        return {key: _without_times(inner) for key, inner in value.items() if key not in TIMES}
    return [_without_times(inner) for inner in value] if isinstance(value, list) else value
