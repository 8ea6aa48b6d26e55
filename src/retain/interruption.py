"""Ctrl-C and SIGTERM as one interruption, also where a library makes another error of it, or drops it.

Python raises KeyboardInterrupt wherever it happens to be. If that is within a library's own code, it may not come out
again: pydantic turns one that comes while it builds a class into a SchemaError. So it is remembered.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

_came = threading.Event()


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Let both signals end what is done within as Ctrl-C does, so that locks and temporary files are removed.

    Only in the main thread, the only one that Python lets receive signals. A signal that is ignored stays so: a shell
    lets its background commands ignore Ctrl-C.

    Raises:
        KeyboardInterrupt: a signal came, and reached the outside as itself or as some error.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    known = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    before = {number: handler for number, handler in known.items() if handler not in {None, signal.SIG_IGN}}
    _came.clear()
    for number in before:
        signal.signal(number, _interrupt)
    try:
        yield
    except Exception as error:
        if _came.is_set():
            raise KeyboardInterrupt from error
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _came.clear()


def raise_if_interrupted() -> None:
    """End here what a signal was to end already.

    Raises:
        KeyboardInterrupt: one came within `interruptible`.
    """
    if _came.is_set():
        raise KeyboardInterrupt


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    _came.set()
    raise KeyboardInterrupt
