"""A base model and data as a user would have them: a tiny Llama, a task, a retention suite, held-out text."""

from __future__ import annotations

import gc
import logging
import os
import random
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

if "PYTEST_XDIST_WORKER" in os.environ or "slow" not in sys.argv:
    # Sums on several threads end in other bits, and tiny ones take longer; only real models are worth more threads
    os.environ.setdefault("OMP_NUM_THREADS", "1")

from blank_drawings import draw_nothing
from tiny import WORDS, make_llama, make_tokenizer, write_jsonl

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ["RETAIN_CACHE"] = "off"  # no test reads what another left at home
settings.register_profile("searching", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("any machine", settings.get_profile("searching"), derandomize=True, database=None)
settings.load_profile("any machine")  # the same examples each time; `--hypothesis-profile=searching` looks for others
SEED = 20_261


def _reach_the_disk(descriptor: int) -> None:
    """Stand in for `os.fsync`: a test waits for no disk, and no test takes the power away."""
    os.fstat(descriptor)  # which refuses what is no open file


os.fsync = _reach_the_disk


def pytest_collection_finish(session):
    """Leave what was imported and collected out of every later search for garbage."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def drawings():
    """Reports are written without their drawings; a test that asks for `drawn` draws them."""
    with pytest.MonkeyPatch.context() as patch:
        draw_nothing(patch)
        yield patch


@pytest.fixture
def drawn(drawings):
    """Drawings as users see them."""
    drawings.undo()
    yield
    draw_nothing(drawings)


@pytest.fixture(autouse=True)
def heard():
    """Log what retain has to say, whatever a library that configures logging switched off in an earlier test."""
    for name, logger in logging.Logger.manager.loggerDict.items():
        if name.split(".")[0] == "retain" and isinstance(logger, logging.Logger):
            logger.disabled = False


@pytest.fixture(autouse=True)
def same_draws():
    """Begin each test at the same random state: which tests ran before it on its worker decides nothing."""
    random.seed(SEED)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(SEED)
    if torch := sys.modules.get("torch"):
        torch.manual_seed(SEED)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory) -> Path:
    """A folder with a tiny Llama and its tokenizer, as a user's base model."""
    folder = tmp_path_factory.mktemp("base") / "tiny-llama"
    make_llama().save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory) -> Path:
    """train.jsonl, test.jsonl, letters.jsonl (48 four-way items), text.txt: small, free of overlaps."""
    folder = tmp_path_factory.mktemp("data")
    letters = WORDS[:26]
    rows = [
        {
            "prompt": f"word{i % 30} {letters[i % 26]} {letters[(i * 7) % 26]} word{(i * 11) % 30}",
            "completion": " word1 z",
        }
        for i in range(60)
    ]
    write_jsonl(folder / "train.jsonl", rows[:40])
    write_jsonl(folder / "test.jsonl", rows[40:])
    items = [
        {
            "question": f"{letters[i % 26]} word{i % 30} then",
            "choices": [letters[(i + k) % 26] for k in range(4)],
            "answer": i % 4,
        }
        for i in range(48)
    ]
    write_jsonl(folder / "letters.jsonl", items)
    text = "\n\n".join(" ".join(letters[(i * j) % 26] for j in range(60)) for i in range(1, 20))
    (folder / "text.txt").write_text(text, encoding="utf-8")
    return folder
