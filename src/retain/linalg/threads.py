"""The number of threads that decompose small matrices: one. Several spend longer on waiting than they save.

What a layer's decomposition is made of are many short products, factorisations and LAPACK calls, each of which wakes
its threads and waits for the last of them. Measured on two cores, seconds a square layer with one thread and with two
(`retain.sc_lora`, rank 32): .04 and .12 at width 512, .21 and .27 at 1024, 1.5 and .94 at 2048, 4.9 and 2.4 at 3072.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

SMALL = 1536
"""The largest width, in entries, that one thread decomposes at least as quickly as two."""


@contextmanager
def threads_for(*widths: int) -> Iterator[None]:
    """Work with one thread inside, on the CPU, where no width is above `SMALL`; afterwards with as many as before.

    Args:
        widths: of the matrices that are decomposed.

    Examples:
        >>> with threads_for(576, 192):
        ...     torch.get_num_threads()
        1
    """
    before = torch.get_num_threads()
    if max(widths) > SMALL or before == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
