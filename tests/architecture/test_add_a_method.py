"""A feature-space method is added by its folder and one row, and nothing else in src: done here, from outside."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
TESTS, SOURCE = HERE.parent, HERE.parents[1] / "src"
CONTRACT = [f"contract/test_contract_{name}.py" for name in ("layer", "saving", "scaling")]
CHOSEN = "story_of_a_method or (unifa and llama and not compiles and not fresh_process)"
"""Without what takes a compiler or one more process, which the methods of the table go through."""


def test_a_folder_and_a_row_are_enough(tmp_path):
    """In processes of its own, each with the row: PEFT keeps what was once registered."""
    shutil.copytree(HERE / "outside" / "unifa", tmp_path / "unifa")
    shutil.copy(HERE / "outside" / "row_of_unifa.py", tmp_path / "sitecustomize.py")  # what Python runs before all else
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (tmp_path, SOURCE))), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    command += [str(HERE / "outside" / "story_of_a_method.py"), *(str(TESTS / name) for name in CONTRACT)]
    command += ["-k", CHOSEN, "--basetemp", str(tmp_path / "temporary")]
    done = subprocess.run(command, cwd=TESTS.parent, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    passed = int(re.search(r"(\d+) passed", done.stdout)[1])
    assert passed >= 4 + 12, "the contract did not run over the added row"
