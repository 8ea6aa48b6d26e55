"""Verbs run in forked children that are killed before a chosen file operation, and what must be the same afterwards."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_TRUNC
CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate"}
PASSING = {"created", "command", "versions", "notes"}
"""Parts of a record that differ between two runs of the same command, beside its costs."""


class Child:
    """What became of a child: its exit code (negative: the signal that ended it), its output, its file operations."""

    def __init__(self, code: int, text: str, operations: int) -> None:
        self.code, self.text, self.operations = code, text, operations

    @property
    def has_traceback(self) -> bool:
        return "Traceback" in self.text

    @property
    def hung(self) -> bool:
        return self.code == -signal.SIGALRM


def in_child(
    work: Callable[[], int], root: Path, log: Path, *, kill_at: int | None = None, seconds: int = 600, when: str = ""
) -> Child:
    """Run work in a forked child that is killed before its n-th file operation under a folder.

    Args:
        work: gives the exit code.
        root: operations on files under it are counted.
        log: receives output and errors.
        kill_at: the number of the operation, from 1; None: it is not killed.
        seconds: after which the child is ended; that counts as a hang.
        when: only operations on paths with this text count.
    """
    count = log.with_suffix(".count")
    count.unlink(missing_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        _work(work, root, log, kill_at, seconds, when)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    operations = int(count.read_text(encoding="ascii")) if count.is_file() else 0
    return Child(code, log.read_text(encoding="utf-8", errors="replace"), operations)


def _work(work: Callable[[], int], root: Path, log: Path, kill_at: int | None, seconds: int, when: str) -> None:
    code = 99
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(seconds)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.stdout, sys.stderr = (os.fdopen(os.dup(output), "w", errors="replace") for _ in range(2))
        done = _count_operations(str(root), kill_at, when)
        code = work()
        sys.stdout.flush()
        sys.stderr.flush()
        log.with_suffix(".count").write_text(str(done()), encoding="ascii")
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:  # noqa: BLE001 -- what a user would see
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _count_operations(root: str, kill_at: int | None, when: str) -> Callable[[], int]:
    counted = 0

    def operation(*paths: object) -> None:
        nonlocal counted
        if any(
            isinstance(path, (str, os.PathLike)) and os.fspath(path).startswith(root) and when in os.fspath(path)
            for path in paths
        ):
            counted += 1
            if counted == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    def hook(event: str, args: tuple) -> None:
        if event in CHANGES:
            operation(*args)
        elif event == "open" and isinstance(args[2], int) and args[2] & WRITES:
            operation(args[0])

    sync = os.fsync

    def counted_sync(descriptor: int) -> None:
        with contextlib.suppress(OSError):
            operation(Path(f"/proc/self/fd/{descriptor}").readlink())
        sync(descriptor)

    os.fsync = counted_sync
    sys.addaudithook(hook)
    return lambda: counted


def outcome(folder: Path) -> dict[str, object]:
    """All that a folder holds when a verb is done, without times and costs; weights and moments by their bytes."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_dir() or path.name.startswith(".retain"):
            continue
        if path.suffix == ".safetensors" or path.name in {
            "items.jsonl",
            "apart.json",
            "scaling.json",
            "adapter_config.json",
        }:
            found[name] = path.read_bytes()
        elif path.name == "result.json":
            found[name] = _without_costs(json.loads(path.read_text(encoding="utf-8")))
        else:
            found[name] = None  # its name only
    return found


def _without_costs(record: dict) -> dict:
    kept = {key: value for key, value in record.items() if key != "cost"}
    kept["provenance"] = {key: value for key, value in record["provenance"].items() if key not in PASSING}
    kept["cost"] = {key: record["cost"][key] for key in ("steps", "tokens", "final_train_loss")}
    return kept


def differences(one: dict[str, object], other: dict[str, object]) -> list[str]:
    """What two outcomes differ in: names of files, and fields of a record."""
    found = sorted(name for name in one.keys() | other.keys() if one.get(name, 0) != other.get(name, 0))
    records = one.get("result.json") or {}, other.get("result.json") or {}
    fields = [key for key in records[0] if records[0][key] != records[1].get(key)] if "result.json" in found else []
    return [*found, *(f"{key}: {records[0][key]} / {records[1].get(key)}"[:600] for key in fields)]
