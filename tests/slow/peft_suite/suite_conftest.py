"""Copied into PEFT's tests as conftest.py: keeps the rows of LoRA, VeFA and LoRFA, and writes down how each ended."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from tests import retain_cases


def pytest_collection_modifyitems(config, items):
    """Keep what is run with one of our methods, or with LoRA in a row of ours."""
    kept, dropped = [], []
    for item in items:
        given = item.callspec.params if hasattr(item, "callspec") else {}
        wanted = given.get("config_cls") in retain_cases.ALL
        alone = "config_kwargs" not in given and "config_kwargs_1" not in given
        (kept if wanted and not (alone and given["config_cls"].__name__ == "LoraConfig") else dropped).append(item)
    items[:] = kept
    config.hook.pytest_deselected(items=dropped)


@pytest.fixture(autouse=True)
def asleep(request):
    """Adapters begin as PEFT's tests ask: those of several at once away from the identity, by a field of LoRA's."""
    given = request.node.callspec.params if hasattr(request.node, "callspec") else {}
    retain_cases.AWAKE["now"] = "config_kwargs_1" in given
    yield
    retain_cases.AWAKE["now"] = False


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if not (report.when == "call" or report.outcome != "passed"):
        return
    given = dict(item.callspec.params)
    method = given.pop("config_cls").__name__
    case = {key: str(value) for key, value in given.items() if "kwargs" not in key and key != "tuner_method"}
    row = {
        "test": f"{Path(item.fspath).stem}::{item.function.__qualname__}",
        "method": method,
        "case": case,
        "outcome": report.outcome,
        "message": str(call.excinfo.value)[:1000] if call.excinfo and report.failed else "",
        "kind": call.excinfo.typename if call.excinfo else "",
    }
    with Path(os.environ["RETAIN_SUITE_OUTCOMES"]).open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
