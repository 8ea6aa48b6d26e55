"""Each tool's own judgement of each pair, with its defaults, as a user at the shell gets it.

Run: python studies/related-tools/run_tools.py TOOL PAIR --environment FOLDER

Run it after `make_pairs.py`, for each tool and pair; it writes `results/TOOL-PAIR.json`. Each tool has
an environment of its own, outside of the repository:

    python -m venv FOLDER
    FOLDER/bin/pip install torch==2.13.0
    FOLDER/bin/pip install transformers==5.23.0 peft==0.21.2 accelerate datasets finetunecheck==2.0.2
                                                          (or pyrecall==0.12.1, or soup-cli==0.77.0)

Where a default takes too long on two cores, or a tool cannot do what is asked, `DEPARTURES` says what was done instead.
Nothing that a tool asked a model or that a model answered is kept: scores and the tool's own words only.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BASE = ROOT / ".assets" / "smollm2-135m-instruct"
RESULTS = Path(__file__).parent / "results"
PAIRS = ("collapsed", "harmless", "null")
VERSIONS = {"finetunecheck": "2.0.2", "pyrecall": "0.12.1", "soup-cli": "0.77.0"}
DEPARTURES = {
    "finetunecheck": "None: `ftcheck quick`, the command for a first look; `ftcheck run` asks 100 items a category. "
    "Null: the base itself is given as the tuned model, its answers taken from the tool's cache.",
    "pyrecall": "It cannot read an adapter: the adapter is merged, both models are given to `pyrecall snapshot`, and "
    "`pyrecall check` compares the snapshots. Texts that it generates and does not score are left out, to save time.",
    "soup-cli": "Three of the eight bundled suites, to save time. The task: 16 held-out rows of the pair's own. "
    "Null: not run; its verdict is of the base's scores on both sides, by `--evidence`.",
}
SILENT = """
import sys
from pyrecall import model
from pyrecall.cli import app
model.Model.generate = lambda *asked, **options: ""
sys.argv[0] = "pyrecall"
app()
"""
"""The program `pyrecall`, but for the texts that it generates and does not score."""
CACHED = """
import sys
from finetunecheck.cli import app
from finetunecheck.eval.runner import EvalRunner
evaluate = EvalRunner._evaluate_model
EvalRunner._evaluate_model = lambda self, *asked, use_cache=False: evaluate(self, *asked, use_cache=True)
sys.argv[0] = "ftcheck"
app()
"""
"""The program `ftcheck`, but that the second model's answers too may come from its cache of the base's."""
SUITES = "mini_mmlu,mini_common_sense,mini_arithmetic"
HEADLINE = r'^[^.!?"*\n]{8,70}$'
"""What `soup` is told that a headline looks like: one line, no full stop, not long."""
LONGEST = 6000
"""Seconds that one command of a tool may take."""


def main() -> None:
    """Run one tool on one pair, and keep what it said."""
    parser = argparse.ArgumentParser(description="A tool's judgement of a pair.")
    parser.add_argument("tool", choices=VERSIONS)
    parser.add_argument("pair", choices=PAIRS)
    parser.add_argument("--environment", type=Path, required=True, help="the tool's virtual environment")
    parser.add_argument("--pairs", type=Path, default=ROOT / "runs" / "related-tools", help="what make_pairs.py wrote")
    asked = parser.parse_args()
    judge = {"finetunecheck": finetunecheck, "pyrecall": pyrecall, "soup-cli": soup}[asked.tool]
    scratch = asked.pairs.resolve() / "work" / asked.tool
    scratch.mkdir(parents=True, exist_ok=True)
    shell = Shell(asked.environment.absolute() / "bin", scratch)
    found = {"tool": asked.tool, "version": VERSIONS[asked.tool], "pair": asked.pair}
    found |= judge(shell, asked.pairs.resolve(), asked.pair)
    found |= {"departures": DEPARTURES[asked.tool], "commands": shell.commands}
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps(found, indent=1, ensure_ascii=False) + "\n"
    (RESULTS / f"{asked.tool}-{asked.pair}.json").write_text(text, encoding="utf-8")
    sys.stdout.write(text)


class Shell:
    """Runs a tool's commands in its scratch folder, offline and on one core, and notes what each took."""

    def __init__(self, programs: Path, folder: Path) -> None:
        """Remember where the tool's programs are, and where it may write."""
        self.programs, self.folder = programs, folder
        self.commands: list[dict[str, object]] = []

    def run(self, program: str, *arguments: object) -> str:
        """What the tool printed; its command, exit code and seconds go to `commands` (exit code None: out of time)."""
        words = [str(argument) for argument in arguments]
        settings = {"HOME": self.folder, "HF_HUB_OFFLINE": 1, "OMP_NUM_THREADS": 1, "COLUMNS": 100, "NO_COLOR": 1}
        environment = os.environ | {key: str(value) for key, value in settings.items()} | {"PYTHONWARNINGS": "ignore"}
        begun, used = time.perf_counter(), processor_seconds()
        try:
            done = subprocess.run(  # noqa: S603 -- the user's own tools, words from this file
                [str(self.programs / program), *words],
                cwd=self.folder,
                env=environment,
                capture_output=True,
                text=True,
                timeout=LONGEST,
                check=False,
            )
            code, said = done.returncode, done.stdout
            (self.folder / "errors.txt").write_text(done.stderr, encoding="utf-8")
        except subprocess.TimeoutExpired as late:
            code, said = None, (late.stdout or b"").decode("utf-8", "replace")
        seconds = {"wall_seconds": time.perf_counter() - begun, "processor_seconds": processor_seconds() - used}
        line = " ".join([program, *words])
        for script, name in ((SILENT, "pyrecall"), (CACHED, "ftcheck")):
            line = line.replace(f"python -c {script}", name)
        line = self.clean(line)
        self.commands.append(
            {"command": line, "exit_code": code, **{key: round(took) for key, took in seconds.items()}}
        )
        return self.clean(said)

    def clean(self, text: str) -> str:
        """Without this machine's folders, colours and empty ends of lines."""
        text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
        for path, name in ((self.folder, "."), (BASE, "BASE"), (self.folder.parents[1], "PAIRS"), (ROOT, "ROOT")):
            text = text.replace(str(path), name)
        return "\n".join(line.rstrip() for line in text.splitlines() if line.strip())


def processor_seconds() -> float:
    """What the commands that have ended took of the processor; on a busy machine a fairer measure than the clock."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def finetunecheck(shell: Shell, pairs: Path, pair: str) -> dict[str, object]:
    """`ftcheck quick`: 10 items of each of four categories, answers of both models."""
    report = shell.folder / f"{pair}.html"
    judged, program = (BASE, ("python", "-c", CACHED)) if pair == "null" else (pairs / pair, ("ftcheck",))
    said = shell.run(*program, "quick", BASE, judged, "--report", report, "--device", "cpu")
    said = said.split("Recommendations")[0]
    verdict = re.search(r"Verdict: ([A-Z ]+?) +\|", said)
    rows = re.findall(r"│\s*(\w+)\s*│\s*([\d.]+|N/A)\s*│\s*([\d.]+|N/A)\s*│", said)
    scores = {name: {"base": before, "tuned": after} for name, before, after in rows}
    return {"verdict": verdict and verdict[1], "scores": scores, "screen": said.splitlines()}


def pyrecall(shell: Shell, pairs: Path, pair: str) -> dict[str, object]:
    """Snapshots of the base and of the merged model, and `pyrecall check` of the two."""
    if not list(shell.folder.glob(".pyrecall/**/base/")):
        snapshot(shell, "base", BASE)
    merged = shell.folder / "merged" / pair
    if not merged.exists():
        merge(pairs / pair, merged)
    snapshot(shell, pair, merged)
    check = ("check", "--before", "base", "--after", pair)
    screen = shell.run("pyrecall", *check)
    report = json.loads(shell.run("pyrecall", *check, "--json"))
    kept = ("category", "score_before", "score_after", "delta", "cohen_d", "severity")
    rows = [{key: row[key] for key in kept if key in row} for row in report.get("comparisons", [])]
    forgotten = report.get("degraded_skills")
    verdict = None if forgotten is None else f"{len(forgotten)} skills forgotten" if forgotten else "no forgetting"
    return {"verdict": verdict, "forgotten": forgotten, "scores": rows, "screen": screen.splitlines()}


def snapshot(shell: Shell, name: str, model: Path) -> None:
    """Score a model with the default benchmarks.

    `init` takes hub ids only and keeps the snapshots of each id apart, so all models stand in turn at one such name.
    """
    place = shell.folder / "models" / "judged"
    place.parent.mkdir(exist_ok=True)
    place.unlink(missing_ok=True)
    place.symlink_to(model)
    (shell.folder / ".pyrecall.json").unlink(missing_ok=True)
    shell.run("pyrecall", "init", "--model", "models/judged")
    shell.run("python", "-c", SILENT, "snapshot", name)


def merge(adapter: Path, merged: Path) -> None:
    """Write the base with the adapter added to its weights."""
    from peft import PeftModel  # noqa: PLC0415 -- the other tools need no model here
    from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: PLC0415 -- likewise

    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(BASE), adapter)
    model.merge_and_unload().save_pretrained(merged)
    AutoTokenizer.from_pretrained(BASE).save_pretrained(merged)


def soup(shell: Shell, pairs: Path, pair: str) -> dict[str, object]:
    """`soup ship`: better at the task, and no more than 0.05 lost on any general suite."""
    if pair == "null":
        return soup_null(shell)
    lines = (pairs / "data" / f"{pair}-test.jsonl").read_text("utf-8").splitlines()[:16]
    rows = [json.loads(line) for line in lines]
    expected = [
        {"expected": row["completion"], "scoring": "exact"}
        if pair == "collapsed"
        else {"expected": HEADLINE, "scoring": "regex"}
        for row in rows
    ]
    tasks = [json.dumps({"prompt": row["prompt"]} | how) for row, how in zip(rows, expected, strict=True)]
    (shell.folder / "tasks.jsonl").write_text("\n".join(tasks) + "\n", encoding="utf-8")
    told = ("--base", BASE, "--adapter", pairs / pair, "--task-eval", "tasks.jsonl", "--general-suite", SUITES)
    output = shell.folder / f"{pair}.json"
    output.unlink(missing_ok=True)
    return soup_verdict(shell.run("soup", "ship", *told, "--device", "cpu", "--output", output.name), output)


def soup_null(shell: Shell) -> dict[str, object]:
    """The base's scores of the harmless pair on both sides: decoding is greedy, and B = 0 adds nothing to any layer."""
    known = json.loads((RESULTS / "soup-cli-harmless.json").read_text("utf-8"))["scores"]
    task = {"mode": "metric"} | dict.fromkeys(("base", "tuned"), known["task_win"]["base"])
    suites = {row["name"]: dict.fromkeys(("base", "tuned"), row["base"]) for row in known["benchmark_deltas"]}
    evidence, output = shell.folder / "evidence.json", shell.folder / "null.json"
    evidence.write_text(json.dumps({"task": task, "benchmarks": suites}), encoding="utf-8")
    output.unlink(missing_ok=True)
    return soup_verdict(shell.run("soup", "ship", "--evidence", evidence.name, "--output", output.name), output)


def soup_verdict(screen: str, output: Path) -> dict[str, object]:
    """What `soup ship` printed and wrote."""
    scores = json.loads(output.read_text("utf-8")) if output.exists() else {}
    verdict = re.search(r"DON'T SHIP|SHIP", screen)
    return {"verdict": verdict and verdict[0], "scores": scores, "screen": screen.splitlines()}


if __name__ == "__main__":
    main()
