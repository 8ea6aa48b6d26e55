"""What the documentation's code blocks take for granted: a tiny model, its data, a trained run, a trainer."""

from __future__ import annotations

import io
import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from pages import ROOT

from tiny import TEMPLATE, WORDS, make_tokenizer, write_jsonl

ELIDED = ["--model", "MODEL", "--tuned", "ADAPTER_OR_MODEL", "--output", "runs/elided"]
"""What `…` stands for in a command."""


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Tiny products on several threads cost more in waiting than in work, most of all beside other tests."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module", autouse=True)
def nothing_drawn():
    """Reports take half of the time and have tests of their own: a run leaves its record and items here, no pages."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("retain.jobs.record.write_run_report", lambda *_: [])
        yield


@pytest.fixture(scope="session")
def small_folder(tmp_path_factory) -> Path:
    """A folder with a Llama wide enough for rank 32, and its tokenizer."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=70,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=256,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=None,
        tie_word_embeddings=False,
    )
    folder = tmp_path_factory.mktemp("docs") / "small-llama"
    LlamaForCausalLM(config).save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def prepared(tmp_path_factory, small_folder, tiny_data) -> Path:
    """A folder as a reader of the pages has it: data, recipes, a finished run."""
    folder = tmp_path_factory.mktemp("workspace")
    for name in ("train.jsonl", "test.jsonl"):
        shutil.copy(tiny_data / name, folder)
    letters = WORDS[:26]
    items = [
        {
            "question": f"{letters[i % 26]} word{i % 30} word{i % 7} then",
            "choices": [letters[(i + k) % 26] for k in range(4)],
            "answer": i % 4,
        }
        for i in range(168)
    ]
    for name, number in {"capitals": 168, "facts": 48, "control": 84}.items():  # 59 are the least for 5 points
        write_jsonl(folder / f"{name}.jsonl", items[:number])
    paragraphs = [" ".join(f"word{(i * j + i) % 30}" for j in range(1, 110)) for i in range(1, 45)]
    for name, number in {"text": 44, "held-out": 8, "control": 22}.items():  # 18 blocks are the least for a limit of KL
        (folder / f"{name}.txt").write_text("\n\n".join(paragraphs[:number]), encoding="utf-8")
    kept = [{"text": " ".join(letters[(i * i + j) % 26] for j in range(40))} for i in range(60)]
    write_jsonl(folder / "keep_text.jsonl", kept)
    rivers = [f"River {i},Sea {i % 9},{90 + i},land" for i in range(60)]
    (folder / "rivers.csv").write_text("\n".join(["river,sea,length_km,continent", *rivers]), encoding="utf-8")
    (folder / "mine.jinja").write_text(TEMPLATE, encoding="utf-8")
    recipe = (
        f"model: {small_folder}\ntrain: train.jsonl\ntest: test.jsonl\nkeep: [capitals.jsonl]\n"
        "held_out_text: [text.txt]\nmax_steps: 2\ngenerate: 2\nmax_new_tokens: 2\nheld_out_tokens: 4096\n"
    )
    for name in ("recipe", "second"):
        (folder / f"{name}.yaml").write_text(f"{recipe}output: runs/{name}\n", encoding="utf-8")
    shutil.copy(folder / "recipe.yaml", folder / "RECIPE.yaml")
    shutil.copytree(ROOT / "recipes", folder / "recipes")
    (folder / "runs" / "advice").mkdir(parents=True)
    shutil.copy(folder / "recipe.yaml", folder / "runs" / "advice" / "advice.yaml")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("retain.jobs.record.write_run_report", lambda *_: [])
        _run(["tune", "recipe.yaml", "--method", "lora", "--output", "runs/first"])
    shutil.copytree(folder / "runs" / "first", folder / "runs" / "vefa")
    return folder


@pytest.fixture
def workspace(prepared, tmp_path, monkeypatch) -> Path:
    """A copy of the prepared folder, in which the test runs."""
    folder = tmp_path / "workspace"
    shutil.copytree(prepared, folder)
    monkeypatch.chdir(folder)
    return folder


def _run(words: list[str]) -> int:
    from retain.cli.main import main

    code = main(words)
    assert code in {0, 3, 4}
    return code


class ValidatedError(BaseException):  # no Exception, which the entry point would report
    """A recipe was read and found to be right."""


@pytest.fixture
def retain(small_folder, workspace, monkeypatch):
    """The command line on tiny things: parse a command and validate its recipe, or run it."""
    adapter = next((workspace / "runs" / "first").rglob("adapter_config.json")).parent
    tiny = {"MODEL": str(small_folder), "BASE": str(small_folder), "ADAPTER_OR_MODEL": str(adapter)}

    def replaced(words):
        given = [part for word in words for part in (ELIDED if word == "…" else [word])]
        return [tiny.get(word, word) for word in given]

    def parse(words):
        from retain.cli.main import main
        from retain.cli.verbs import VERBS
        from retain.recipe import load_recipe

        verb = VERBS[words[0]]
        serves = "--serve" in words and not any(word.endswith(".yaml") for word in words)  # an adapter, no recipe
        reader = next((name for name in ("load_recipe", "load_what_can_be") if hasattr(verb, name)), None)
        if reader is None or serves:
            verb.make_parser().parse_args(replaced(words)[1:])
            return

        def validate(*given):
            load_recipe(*given)
            raise ValidatedError

        with monkeypatch.context() as patched:
            patched.setattr(verb, reader, validate)
            with pytest.raises(ValidatedError):  # where it is wrong, main prints the problems and returns 2
                main(replaced(words))

    def run(words):
        if words[0] == "gate":  # of a run that an earlier command of the page makes
            shutil.copytree("runs/first", words[1])
        return _run(replaced(words))

    def load_suite(name, text):
        from retain.evaluate.suites.loading import load_suite

        (workspace / f"{name}.yaml").write_text(text, encoding="utf-8")
        problems: list[str] = []
        suite = load_suite(f"{name}.yaml", problems)
        assert problems == []
        assert len(suite.items) > 0

    return SimpleNamespace(parse=parse, run=run, load_suite=load_suite)


@pytest.fixture
def namespace(small_folder, workspace, monkeypatch, capsys):
    """The names that a page's Python blocks take for granted; `__finish__` is called after the last block."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer, DataCollatorForSeq2Seq, Trainer, TrainingArguments

    def base():
        return AutoModelForCausalLM.from_pretrained(small_folder)

    def nothing():
        pass

    def make(page):
        tokenizer = AutoTokenizer.from_pretrained(small_folder)
        names = {"__name__": "__main__", "__finish__": nothing, "tokenizer": tokenizer, "path": str(small_folder)}
        if page == "docs/concepts/safety.md":
            (workspace / "my_model.py").write_text("def classify(prompt, answer):\n    return 'refusal'\n")
            monkeypatch.syspath_prepend(workspace)
            monkeypatch.setattr(sys, "stdin", io.StringIO('{"prompt": "a", "answer": "I cannot"}\n'))
            names["__finish__"] = lambda: _same(json.loads(capsys.readouterr().out), {"refused": True})
            return names
        texts = [" ".join(WORDS[(i * j) % 26] for j in range(1, 60)) for i in range(1, 20)]
        batches = [dict(tokenizer(texts[i : i + 4], return_tensors="pt")) for i in range(0, 16, 4)]
        rows = [{"input_ids": tokenizer.encode(text), "labels": tokenizer.encode(text)} for text in texts]
        model = get_peft_model(base(), LoraConfig(target_modules="all-linear"))
        with torch.no_grad():  # an update that does something
            for name, parameter in model.named_parameters():
                if "lora_B" in name:
                    parameter.normal_(0, 0.01)
        trainer = Trainer(
            model,
            TrainingArguments(str(workspace / "trainer"), max_steps=2, report_to="none", save_strategy="no"),
            train_dataset=rows,
            data_collator=DataCollatorForSeq2Seq(tokenizer),
            processing_class=tokenizer,
        )
        names |= {"base": base(), "fresh_base": base(), "model": model, "trainer": trainer, "batches": batches}
        names |= {"batches_plus": batches[:2], "batches_minus": batches[2:]}
        names |= {"texts": texts, "other_texts": [text[::-1] for text in texts], "task_loss": torch.tensor(1.0)}
        names |= {"task_rows": rows, "keep_rows": rows[:4], "features": torch.randn(20, 8)}
        if page == "docs/guides/regularisation.md":
            names["__finish__"] = trainer.train  # with all that the page attached
        return names

    return make


def _same(found, expected):
    assert found == expected
