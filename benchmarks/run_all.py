"""All benchmarks of adapters, each in a process of its own, and one page of tables made from their JSON files.

    python benchmarks/run_all.py                 # quick: some 20 minutes of CPU time
    python benchmarks/run_all.py --full          # more rounds, and whole models with gradient checkpointing too
    python benchmarks/run_all.py --tables        # the page again from the JSON files that are there

Writes results/*.json and RESULTS.md. A machine with a load above 1.5 a core, or whose host takes more than 10 % of the
time away ("steal"), is flagged: ratios repeat there, but less well.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import aims
import initialisation
from common import RESULTS, markdown

HERE = Path(__file__).parent
LOAD_LIMIT, STEAL_LIMIT = 1.5, 0.10
STARTS = [name for name in initialisation.CASES if name != "CorDA (retain)"]
QUICK = {
    "layer": ["layer.py", "--rounds", "9"],
    "model": ["model.py", "--rounds", "3"],
    "serving": ["serving.py", "--rounds", "3"],
    "files": ["files.py"],
    "initialisation": ["initialisation.py", "--patience", "300", "--cases", *STARTS],
}
FULL = {
    "layer": ["layer.py", "--rounds", "15"],
    "model": ["model.py", "--rounds", "9"],
    "model-checkpointing": ["model.py", "--rounds", "5", "--checkpointing", "--name", "model-checkpointing"],
    "serving": ["serving.py", "--rounds", "15"],
    "files": ["files.py"],
    "initialisation": ["initialisation.py", "--patience", "600"],
    "initialisation-layer": ["initialisation.py", "--layer"],
    "initialisation-block": ["initialisation.py", "--block"],
    "job": ["job.py"],
}
BOTH = ["--bases", "float32", "bfloat16"]
SMALL = ["--rounds", "1", "--hidden", "64", "--layers", "1", *BOTH]
TINY = {
    "layer": ["layer.py", "--rounds", "1", "--tokens", "16", "--width", "64", *BOTH],
    "model": ["model.py", *SMALL, "--rows", "2", "--length", "8", "--no-peaks", "--no-slow"],
    "serving": ["serving.py", *SMALL, "--rows", "4", "--length", "4"],
    "files": ["files.py", "--adapters", "4", "--hidden", "64", "--layers", "1"],
    "initialisation": ["initialisation.py", "--here", "--model", "tiny", "--tokens", "64", "--rank", "4"],
}
HEADINGS = {
    "layer": "One layer",
    "model": "A training step of whole small models",
    "model-checkpointing": "A training step with gradient checkpointing",
    "serving": "Mixed batches",
    "files": "Files: one adapter each",
    "initialisation": "Starting SC-LoRA, on the same tokens of SmolLM2-135M",
    "initialisation-layer": "Starting one layer 4096 → 11008, its statistics given",
    "initialisation-block": "Starting one block of a 7B Llama",
    "job": "The whole job: a fine-tune of SmolLM2-135M, and what it cost",
}


def times_of_all_cores() -> tuple[int, int]:
    """Ticks since the machine began: those that the host took away (steal), and all; 0, 0 where it is not told."""
    path = Path("/proc/stat")
    if not path.exists():
        return 0, 0
    ticks = [int(word) for word in path.read_text(encoding="ascii").splitlines()[0].split()[1:9]]
    return ticks[7], sum(ticks)


def run(plan: dict[str, list[str]], results: Path, threads: int) -> dict[str, Any]:
    """Run each benchmark; what the machine did meanwhile.

    Raises:
        SystemExit: one failed; its message stands above.
    """
    stolen, ticks, began = *times_of_all_cores(), time.monotonic()
    loads, failed = [os.getloadavg()[0]], []
    for name, (script, *arguments) in plan.items():
        print(f"\n## {name}", flush=True)
        command = [sys.executable, str(HERE / script), *arguments, "--threads", str(threads), "--results", str(results)]
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        if subprocess.run(command, check=False, env=environment).returncode:  # noqa: S603 -- our own scripts
            failed.append(name)
        loads.append(os.getloadavg()[0])
    later_stolen, later_ticks = times_of_all_cores()
    steal = (later_stolen - stolen) / max(1, later_ticks - ticks)
    found = {"loads": loads, "steal": steal, "cores": os.cpu_count(), "seconds": time.monotonic() - began}
    (results / "run.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if failed:
        raise SystemExit(f"{', '.join(failed)} failed; see above. No page was written.")
    return found


def flags(meanwhile: dict[str, Any]) -> list[str]:
    """What speaks against figures of time."""
    found = []
    limit = LOAD_LIMIT * (meanwhile["cores"] or 1)
    if max(meanwhile["loads"]) > limit:
        found.append(f"the load reached {max(meanwhile['loads']):.1f}, above {limit:.1f} (1.5 a core)")
    if meanwhile["steal"] > STEAL_LIMIT:
        found.append(f"the host took {meanwhile['steal']:.0%} of the processors' time, above {STEAL_LIMIT:.0%}")
    return found


def page(results: Path) -> str:
    """The page of tables, from the JSON files alone."""
    records = {
        name: json.loads((results / f"{name}.json").read_text(encoding="utf-8"))
        for name in HEADINGS
        if (results / f"{name}.json").exists()
    }
    if not records:
        raise SystemExit(f"{results} holds no results; run the benchmarks first.")
    meanwhile = json.loads((results / "run.json").read_text(encoding="utf-8"))
    first = next(iter(records.values()))["machine"]
    versions = ", ".join(f"{package} {number}" for package, number in first["versions"].items())
    flagged = flags(meanwhile)
    lines = [
        "# What adapters cost", "",
        "Made by `python benchmarks/run_all.py` from the files in results/; do not edit. Ratios are of CPU time in one",
        "process, the cases in turn: the median of the ratios of each round, and the ratio of the least times.", "",
        f"{versions}. {first['threads']} thread(s) of {meanwhile['cores']}; {first['cpu']}; GPU:",
        f"{first['gpu'] or 'none'}. Load {min(meanwhile['loads']):.1f} to {max(meanwhile['loads']):.1f};",
        f"{meanwhile['steal']:.1%} of the processors' time taken by the host; {meanwhile['seconds'] / 60:.0f} minutes.",
        *_left_out(records), "", f"**Flagged: {'; '.join(flagged)}.**" if flagged else "Not flagged.",
        "", "## Aims", "", markdown(aims.judged(records), aims.COLUMNS),
    ]  # fmt: skip
    for name, record in records.items():
        settings = "; ".join(f"{key} {_plain(value)}" for key, value in record["settings"].items())
        lines += ["", f"## {HEADINGS[name]}", "", f"{name}: {settings}.", ""]
        lines += [markdown(record["rows"], record["columns"]), "", *_checks(record)]
    return "\n".join(lines).rstrip() + "\n"


def _left_out(records: dict[str, Any]) -> list[str]:
    """A line where bfloat16 was not measured, because the processor has no units for it."""
    timed = [record["settings"]["bases"] for record in records.values() if "bases" in record["settings"]]
    if not timed or any("bfloat16" in bases for bases in timed):
        return []
    told = "Without bfloat16, for which this processor has no units; on a GPU it was"
    return ["", f"{told} [measured](README.md#on-a-gpu-benchmarksgpush)."]


def _plain(value: Any) -> str:
    return " and ".join(value) if isinstance(value, list) else "as inputs" if value is None else str(value)


def _checks(record: dict[str, Any]) -> list[str]:
    made = [check for check in record["gate"] if "skipped" not in check]
    lines = [f"Checked first: {len(made)} equalities, {'all hold' if record['passed'] else '**NOT ALL HOLD**'}."]
    skipped = {check["check"]: check["skipped"] for check in record["gate"] if "skipped" in check}
    return lines + [f"Left out: {name}: {why}." for name, why in {**skipped, **record.get("left_out", {})}.items()]


def main(arguments: list[str] | None = None) -> None:
    """Run, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="more rounds, and gradient checkpointing")
    parser.add_argument("--tiny", action="store_true", help="sizes at which times mean nothing: does it all work?")
    parser.add_argument("--tables", action="store_true", help="only make the page again")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--page", type=Path, default=HERE / "RESULTS.md")
    asked = parser.parse_args(arguments)
    asked.results.mkdir(parents=True, exist_ok=True)
    if not asked.tables:
        run(TINY if asked.tiny else FULL if asked.full else QUICK, asked.results, asked.threads)
    text = page(asked.results)
    asked.page.write_text(text, encoding="utf-8")
    print(text[: text.index("\n## One layer")] if "\n## One layer" in text else text)


if __name__ == "__main__":
    main()
