"""Make `logs/`: what lm-evaluation-harness 0.4.13 and inspect_ai 0.3.285 write, small, for tests of `retain judge`.

    python tests/golden/make_logs.py lm-eval      # in an environment with lm-eval[hf] and this repository
    python tests/golden/make_logs.py inspect      # in one with inspect_ai

Both sides are made without a network: a tiny Llama of random weights, and inspect_ai's mock model. Paths of the machine
and its environment are taken out of what was written; nothing else is changed.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

HERE = Path(__file__).parent / "logs"
LETTERS = "abcdefghijklmnopqrstuvwxyz"
COMMON = """
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
metadata: {{version: 1.0}}
"""
TASKS = {
    "letters": """
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_choice: "{{choices}}"
doc_to_target: "{{answer}}"
metric_list: [{metric: acc}, {metric: acc_norm}]
""",
    "spell": """
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: "{{choices[answer]}}"
generation_kwargs: {until: ["z"], max_gen_toks: 4}
filter_list:
  - {name: strict-match, filter: [{function: regex, regex_pattern: "^ ?([a-z]) "}, {function: take_first}]}
  - {name: flexible-extract, filter: [{function: regex, regex_pattern: "([a-z])"}, {function: take_first}]}
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
""",
    "flow": """
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{question}}"
metric_list: [{metric: word_perplexity}, {metric: bits_per_byte}]
""",
}


def make_lm_eval() -> None:
    """Two sides of three tasks, asked with the harness's own command."""
    sys.path.insert(0, str(HERE.parents[1]))
    from tiny import make_llama, make_tokenizer

    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        rows = [
            {
                "question": f"{LETTERS[i]} word{i} then",
                "choices": [LETTERS[(i + k * 3) % 26] for k in range(4)],
                "answer": i % 4,
            }
            for i in range(8)
        ]
        (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        (folder / "tasks").mkdir()
        for name, task in TASKS.items():
            text = f"task: {name}\n{COMMON.format(data=folder / 'rows.jsonl')}{task}"
            (folder / "tasks" / f"{name}.yaml").write_text(text, encoding="utf-8")
        for seed, side in enumerate(("base", "tuned")):
            make_llama(seed).save_pretrained(folder / side)
            make_tokenizer().save_pretrained(folder / side)
            run = [
                sys.executable,
                "-m",
                "lm_eval",
                "run",
                "--model",
                "hf",
                "--model_args",
                f"pretrained={folder / side},dtype=float32",
            ]
            run += ["--tasks", *TASKS, "--include_path", str(folder / "tasks"), "--device", "cpu", "--log_samples"]
            subprocess.run([*run, "--output_path", str(folder / "out" / side)], check=True)
            (written,) = (folder / "out" / side).iterdir()
            _put(written, HERE / "lm-eval" / side / "tiny-llama", str(folder))


def _put(written: Path, place: Path, private: str) -> None:
    """Copy what was written, without paths and environment."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    for file in written.iterdir():
        text = re.sub(r"__[a-z_A-Z0-9]*tmp[a-zA-Z0-9_]*__", "", file.read_text(encoding="utf-8").replace(private, "."))
        if file.suffix == ".json":
            results = json.loads(text)
            for key in ("pretty_env_info", "git_hash", "upper_git_hash"):
                results.pop(key, None)
            text = json.dumps(results, indent=1, ensure_ascii=False) + "\n"
        (place / file.name).write_text(text, encoding="utf-8")


def make_inspect() -> None:
    """Two sides of two tasks, one with two epochs, as `.eval` and as `.json`."""
    import tiktoken
    from inspect_ai import Task, eval  # noqa: A004
    from inspect_ai.dataset import Sample
    from inspect_ai.model import ModelOutput, get_model
    from inspect_ai.scorer import choice, includes, match
    from inspect_ai.solver import generate, multiple_choice, system_message

    class Words:
        """Stands for the tokenizer, which inspect_ai would fetch to count tokens."""

        def encode(self, text: str, **_: object) -> list[str]:
            return text.split()

    tiktoken.get_encoding = tiktoken.encoding_for_model = lambda *_, **__: Words()

    def answering(side: str, wrong: int):
        def reply(messages, _tools, _choice, _config) -> ModelOutput:
            number = int(re.findall(r"number (\d+)", messages[-1].text)[0])
            right = number % wrong != 0
            if "ANSWER" in messages[-1].text:
                return ModelOutput.from_content("mock", f"ANSWER: {'ABCD'[(number + (not right)) % 4]}")
            return ModelOutput.from_content("mock", f"Sea {number % 3}" if right else "I do not know")

        return get_model(f"mockllm/{side}", custom_outputs=reply, memoize=False)

    rivers = [
        Sample(id=f"r{k}", input=f"Which sea does river number {k} reach?", target=f"Sea {k % 3}") for k in range(4)
    ]
    letters = [
        Sample(id=k, input=f"Which is letter number {k}?", choices=["a", "b", "c", "d"], target="ABCD"[k % 4])
        for k in range(4)
    ]
    tasks = [
        Task(
            dataset=rivers,
            name="rivers",
            solver=[system_message("The sea alone."), generate()],
            scorer=[match(), includes()],
        ),
        Task(dataset=letters, name="letters", solver=multiple_choice(), scorer=choice(), epochs=2),
    ]
    for side, wrong in (("base", 4), ("tuned", 2)):
        for form in ("eval", "json"):
            place = HERE / "inspect" / form / side
            shutil.rmtree(place, ignore_errors=True)
            eval(
                tasks,
                model=answering(side, wrong),
                log_dir=str(place),
                log_format=form,
                display="none",
                temperature=0.0,
            )
            for file in place.iterdir():
                _check(file)


def _check(file: Path) -> None:
    """Refuse a log that did not end well, or names a path."""
    text = (
        file.read_bytes()
        if file.suffix == ".json"
        else b"".join(map(zipfile.ZipFile(file).read, zipfile.ZipFile(file).namelist()))
    )
    for bad in (b'"status": "error"', b'"status":"error"', b"/home/", b"/root/", b"/tmp/", b"site-packages"):
        if bad in text:
            raise SystemExit(f"{file}: {bad!r}")


if __name__ == "__main__":
    {"lm-eval": make_lm_eval, "inspect": make_inspect}[sys.argv[1]]()
