"""A feature-space method is added by its folder and one row, and nothing else in src: done here, from outside."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
TESTS = HERE.parent
CONTRACT = [f"contract/test_contract_{name}.py" for name in ("layer", "saving", "scaling")]
CHOSEN = "story_of_a_method or (unifa and llama and not compiles and not fresh_process)"
"""Without what takes a compiler or one more process, which the methods of the table go through."""


def test_a_folder_and_a_row_are_enough(tmp_path):
    """In processes of its own, each with the row: PEFT keeps what was once registered."""
    shutil.copytree(HERE / "outside" / "unifa", tmp_path / "unifa")
    starts = (TESTS / "light_start" / "sitecustomize.py", HERE / "outside" / "row_of_unifa.py")
    first = "\n".join(path.read_text(encoding="utf-8") for path in starts)
    (tmp_path / "sitecustomize.py").write_text(first, encoding="utf-8")  # what Python runs before all else
    path = os.pathsep.join(map(str, (tmp_path, TESTS.parent / "src")))
    environment = {**os.environ, "PYTHONPATH": path, "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    command += [str(HERE / "outside" / "story_of_a_method.py"), *(str(TESTS / name) for name in CONTRACT)]
    command += ["-k", CHOSEN, "--basetemp", str(tmp_path / "temporary")]
    done = subprocess.run(command, cwd=TESTS.parent, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    passed = int(re.search(r"(\d+) passed", done.stdout)[1])
    assert passed >= 4 + 12, "the contract did not run over the added row"
