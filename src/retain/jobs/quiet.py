"""The silence of libraries: they print errors only, and retain itself reports what matters."""

from __future__ import annotations

import logging
import os
import warnings


def quiet_libraries() -> None:
    """Let libraries print errors only; retain itself reports what matters to the user."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    warnings.filterwarnings("ignore", module=r"(torch|transformers|peft|accelerate|datasets)\b")
    import torch  # noqa: F401, PLC0415 -- heavy, and only for who has work to do; it sets its own level as it is imported

    for name in ("peft", "accelerate", "torch", "torchao"):
        logging.getLogger(name).setLevel(logging.ERROR)
    import datasets  # noqa: PLC0415 -- likewise; these two import torchao where it is installed, which warns as it is
    import transformers  # noqa: PLC0415 -- likewise

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    datasets.disable_progress_bars()
