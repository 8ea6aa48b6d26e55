"""PEFT's own behavioural tests, of the version that is installed, with our two methods in its tables.

The source distribution is fetched through pip, and its tests run in a process of their own on tiny models under the
hub's names. Every row of LoRA that means plain linear layers is run with LoRA, VeFA and LoRFA. A failure is ours unless
LoRA fails the same row too, or `ALLOWED` says why not.

Measured with PEFT 0.21.2 and transformers 5.23, in 13 minutes of two cores that eight processes shared: VeFA and LoRFA
each 647 passed, none failed, 107 skipped; LoRA 690 passed, 1 failed (`test_weighted_combination_of_adapters` on
the tiny Llama), 53 skipped.
"""

import contextlib
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
HERE = Path(__file__).parent
SUITE = HERE / "peft_suite"
SRC = HERE.parents[1] / "src"
TABLES = {
    "test_custom_models": ("TEST_CASES", "MULTIPLE_ACTIVE_ADAPTERS_TEST_CASES"),
    "test_decoder_models": ("ALL_CONFIGS",),
    "test_feature_extraction_models": ("ALL_CONFIGS",),
    "test_seq_classifier": ("ALL_CONFIGS",),
    "test_encoder_decoder_models": ("ALL_CONFIGS",),
}
NO_DIFFUSERS = "def __getattr__(name):\n    return type(name, (), {})\n"
"""In place of a package that PEFT's helpers import for tests that are not run here."""
MINUTES = int(os.environ.get("RETAIN_PEFT_SUITE_MINUTES", "60"))

ALLOWED: dict[str, str] = {}
"""Regular expressions of "test: message" of failures that are none of ours, each with its reason."""


def fetched(folder: Path) -> Path:
    """PEFT's source distribution, unpacked."""
    version = importlib.metadata.version("peft")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-build-isolation"]
    command += ["--no-binary", ":all:", "--dest", str(folder), f"peft=={version}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        pytest.skip(f"pip cannot fetch PEFT's source distribution: {error}")
    archives = list(folder.glob("peft-*.tar.gz"))
    if done.returncode or not archives:
        pytest.skip(f"pip cannot fetch PEFT's source distribution: {done.stderr.strip()[-200:]}")
    with tarfile.open(archives[0]) as archive:
        archive.extractall(folder, filter="data")
    return archives[0].with_suffix("").with_suffix("")


def with_our_rows(source: Path, folder: Path) -> None:
    """PEFT's tests in a folder, with our rows in their tables and tiny models beside them."""
    from peft_suite.tiny_hub import write_all

    shutil.copytree(source / "tests", folder / "tests")
    tests = folder / "tests"
    (tests / "__init__.py").touch()
    shutil.copy(SUITE / "retain_cases.py", tests / "retain_cases.py")
    shutil.copy(SUITE / "suite_conftest.py", tests / "conftest.py")
    for name, tables in TABLES.items():
        text = (tests / f"{name}.py").read_text(encoding="utf-8")
        for table in tables:
            text, count = re.subn(
                rf"(?ms)^({table} = \[\n.*?^\]\n)",
                rf"\1from tests import retain_cases\n{table} = retain_cases.with_ours({table})\n",
                text,
                count=1,
            )
            assert count == 1, f"{name} has no table {table}; look at how this version of PEFT names it"
        (tests / f"{name}.py").write_text(text, encoding="utf-8")
    helper = tests / "testing_utils.py"
    more = (
        "\n\n_theirs = set_init_weights_false\n\n\ndef set_init_weights_false(config_cls, kwargs):\n"
        "    from tests import retain_cases\n\n"
        "    ours = config_cls in retain_cases.OURS.values()\n"
        "    return retain_cases.awake(kwargs) if ours else _theirs(config_cls, kwargs)\n"
    )
    helper.write_text(helper.read_text(encoding="utf-8") + more, encoding="utf-8")
    (folder / "diffusers.py").write_text(NO_DIFFUSERS, encoding="utf-8")
    write_all(folder)


def outcomes(folder: Path, only: str = "") -> list[dict]:
    """How each test ended, as far as the time allows."""
    written = folder / "outcomes.jsonl"
    written.touch()
    environment = {**os.environ, "RETAIN_SUITE_OUTCOMES": str(written), "PYTHONPATH": f"{SRC}{os.pathsep}{folder}"}
    environment |= {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    files = [f"tests/{name}.py" for name in TABLES if only in name]
    command = [sys.executable, "-m", "pytest", *files, "-q", "-p", "no:cacheprovider", "-W", "ignore", "--tb=no"]
    log, limit = folder / "log.txt", 60 * MINUTES
    late = contextlib.suppress(subprocess.TimeoutExpired)  # what ran by then is judged
    with log.open("w", encoding="utf-8") as file, late:
        subprocess.run(command, cwd=folder, env=environment, stdout=file, stderr=file, timeout=limit, check=False)
    rows = [json.loads(line) for line in written.read_text(encoding="utf-8").splitlines()]
    assert rows, log.read_text(encoding="utf-8")[-3000:]
    return rows


def place(row: dict) -> tuple:
    """The row of a table, whichever method is in it."""
    return row["test"], tuple(sorted(row["case"].items()))


def judged(rows: list[dict]) -> tuple[dict[str, dict[str, int]], list[str]]:
    """Counts by method and outcome, and our failures that nothing excuses."""
    counts: dict[str, dict[str, int]] = {}
    for row in rows:
        of_method = counts.setdefault(row["method"], {})
        of_method[row["outcome"]] = of_method.get(row["outcome"], 0) + 1
    of_all = {place(row) for row in rows if row["method"] == "LoraConfig" and row["outcome"] == "failed"}
    ours = []
    for row in rows:
        if row["outcome"] != "failed" or row["method"] == "LoraConfig" or place(row) in of_all:
            continue
        line = f"{row['test']}: {row['kind']}: {row['message'].strip()}"
        if not any(re.search(pattern, line, re.DOTALL) for pattern in ALLOWED):
            ours.append(f"{row['method']} {row['case']} {line}")
    return counts, ours


def test_no_failure_of_pefts_own_tests_is_ours(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(HERE))
    with_our_rows(fetched(tmp_path), tmp_path / "suite")
    counts, ours = judged(outcomes(tmp_path / "suite", os.environ.get("RETAIN_PEFT_SUITE_ONLY", "")))
    assert not ours, f"{len(ours)} failures of {counts}:\n" + "\n".join(ours[:40])
    assert all(counts[name].get("passed", 0) > 50 for name in ("VeFAConfig", "LoRFAConfig"))
