"""The silence of libraries: they print errors only, and retain itself reports what matters."""

from __future__ import annotations

import logging
import os
import warnings

from wrapt import register_post_import_hook


def quiet_libraries() -> None:
    """Let libraries print errors only; retain itself reports what matters to the user.

    Nothing is imported for it. What must wait for a library is done the moment that it is imported, so this can be said
    before a verb imports what it needs: torchao and bitsandbytes warn while they are imported.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    warnings.filterwarnings("ignore", module=r"(torch|transformers|peft|accelerate|datasets)\b")
    for name in ("peft", "accelerate", "torchao", "bitsandbytes"):
        logging.getLogger(name).setLevel(logging.ERROR)
    register_post_import_hook(_quiet_torch, "torch")
    register_post_import_hook(_quiet_transformers, "transformers")
    register_post_import_hook(_quiet_datasets, "datasets")


def _quiet_torch(_: object) -> None:
    logging.getLogger("torch").setLevel(logging.ERROR)  # it sets its own level as it is imported


def _quiet_transformers(_: object) -> None:
    import transformers  # noqa: PLC0415 -- heavy, and here already; it puts another module in its place

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()


def _quiet_datasets(_: object) -> None:
    import datasets  # noqa: PLC0415 -- likewise

    datasets.disable_progress_bars()
