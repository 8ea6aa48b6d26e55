"""The steps of action.yml, run as GitHub runs them: its scripts, in their order, against a server in its place."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import yaml

from fake_github import environment_of, fake_github
from tiny import write_jsonl

ROOT = Path(__file__).parents[2]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
STEPS = {step["name"]: step for step in ACTION["runs"]["steps"] if "run" in step}


def test_every_input_is_used_and_every_variable_of_a_script_is_set():
    text = (ROOT / "action.yml").read_text(encoding="utf-8")
    used = set(re.findall(r"inputs\.([\w-]+)", text))
    assert used == set(ACTION["inputs"])
    for step in STEPS.values():
        script = ROOT / re.search(r"scripts/action/\w+\.sh", step["run"])[0]
        asked = set(re.findall(r"\$\{?([A-Z][A-Z_]+)", script.read_text(encoding="utf-8")))
        given = {"RUNNER_TEMP", "GITHUB_OUTPUT", "GITHUB_ACTION_PATH"}
        assert asked - given <= set(step["env"])
        assert not re.search(r"\$\{\{", step["run"])  # an input in a script could be a command


def test_a_lost_suite_fails_the_step_after_it_was_told(tmp_path):
    rows = [{"id": k, "prompt": f"question {k}", "correct": k % 9 != 0} for k in range(200)]
    write_jsonl(tmp_path / "base log.jsonl", rows)
    write_jsonl(tmp_path / "tuned.jsonl", [{**row, "correct": row["id"] % 2 == 0} for row in rows])
    python = tmp_path / "retain" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    with fake_github() as github:
        job = {
            **os.environ,
            **environment_of(github, tmp_path),
            "RUNNER_TEMP": str(tmp_path),
            "GITHUB_OUTPUT": str(tmp_path / "outputs"),
            "GITHUB_ACTION_PATH": str(ROOT),
            "PYTHONPATH": str(ROOT / "src"),
        }
        inputs = {name: str(one.get("default", "")) for name, one in ACTION["inputs"].items()}
        inputs |= {
            "base": "base log.jsonl",
            "tuned": "tuned.jsonl",
            "arguments": "--suites items\n  --chance 0.25\n",
            "junit": "verdict.xml",
        }

        def run(name, **outputs):
            given = {"inputs." + key: value for key, value in inputs.items()} | outputs
            named = STEPS[name]["env"].items()
            set_here = {
                key: given[re.fullmatch(r"\$\{\{ (\S+) \}\}", value)[1]]
                for key, value in named
                if key != "GITHUB_TOKEN"
            }
            command = ["bash", "-c", STEPS[name]["run"]]
            return subprocess.run(
                command, cwd=tmp_path, env={**job, **set_here}, check=False, capture_output=True, text=True
            )

        assert run("Judge").returncode == 0
        outputs = dict(line.split("=", 1) for line in (tmp_path / "outputs").read_text(encoding="utf-8").splitlines())
        assert outputs == {"exit-code": "3", "verdict": "lost or changed format"}
        told = run("Tell the verdict", **{"steps.judge.outputs.exit-code": outputs["exit-code"]})
        assert told.returncode == 3, told.stderr
        assert "pull request 7 has a comment" in told.stdout
        assert "lost on items" in github.comments[0]["body"]
    assert "lost on items" in (tmp_path / "summary.md").read_text(encoding="utf-8")
    assert "<testsuites" in (tmp_path / "verdict.xml").read_text(encoding="utf-8")
    assert (tmp_path / "retain-verdict" / "report.html").is_file()
    assert '"chance": 0.25' in (tmp_path / "retain-verdict" / "result.json").read_text(encoding="utf-8")
