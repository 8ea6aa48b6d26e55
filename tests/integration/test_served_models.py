"""What is served, by llama.cpp's own server in its own process: the right model, and each wrong one by its name."""

import math
import re
from types import SimpleNamespace

import pytest
import torch

from retain.cli.main import main
from retain.records.result import read_result
from retain.served.gguf_server import serving
from tiny import WORDS, write_jsonl

pytest.importorskip("xllamacpp")
pytest.importorskip("gguf")

from tiny_gguf import make_byte_llama, make_byte_tokenizer, write_gguf

OTHER_TEMPLATE = (
    "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant] {% endif %}"
)
FEW = ["--held-out-tokens", "200", "--generate", "4", "--max-new-tokens", "6", "--max-length", "96"]


def merged(rank=4, scale=1.0, noise=0.0):
    """The base with the adapter merged into it; with a lower rank, another scale, or noise on all weights."""
    model = make_byte_llama(make_byte_tokenizer())
    generator, other = torch.Generator().manual_seed(5), torch.Generator().manual_seed(6)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith("proj.weight"):
                b = torch.randn(weight.shape[0], 4, generator=generator) * 0.015
                a = torch.randn(4, weight.shape[1], generator=generator)
                weight.add_(scale * b[:, :rank] @ a[:rank])
            weight.add_(noise * weight.std() * torch.randn(weight.shape, generator=other))
    return model


@pytest.fixture(autouse=True)
def briefly(monkeypatch):
    """Ten prompts of eight tokens are enough for effects as large as these."""
    monkeypatch.setattr("retain.jobs.served.acting.PROMPTS", 10)
    monkeypatch.setattr("retain.evaluate.served.acting.TOKENS", 8)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Base, tuned model, GGUF files and data in one folder."""
    folder = tmp_path_factory.mktemp("served")
    tokenizer, base = make_byte_tokenizer(), make_byte_llama(make_byte_tokenizer())
    for name, model in {"base": base, "tuned": merged()}.items():
        model.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    write_gguf(merged(), tokenizer, folder / "tuned.gguf")
    write_jsonl(
        folder / "test.jsonl",
        [{"prompt": f"word{i} the question", "completion": f" word{i * 7 % 30} answer"} for i in range(12)],
    )
    choices = [
        {"question": f"word{i} then", "choices": [f"word{(i + k) % 30}" for k in range(3)], "answer": i % 3}
        for i in range(12)
    ]
    write_jsonl(folder / "keep.jsonl", choices)
    (folder / "text.txt").write_text(" ".join(f"{WORDS[i % 26]} word{i * i % 40} of the question" for i in range(60)))
    return SimpleNamespace(folder=folder, tokenizer=tokenizer, base=str(folder / "base"), tuned=str(folder / "tuned"))


def checked(made, source, capsys):
    """Exit code and words of the check of what is served."""
    code = main(["measure", "--model", made.base, "--tuned", str(source), "--adapter", made.tuned, "--only-check"])
    return code, capsys.readouterr().out


def data(made):
    return [
        "--test", f"{made.folder}/test.jsonl", "--keep", f"{made.folder}/keep.jsonl",
        "--held-out-text", f"{made.folder}/text.txt", *FEW,
    ]  # fmt: skip


def test_what_is_served_is_measured_as_the_same_model_here(made, tmp_path, capsys):
    here, there = tmp_path / "here", tmp_path / "there"
    assert main(["measure", "--model", made.base, "--tuned", made.tuned, "--output", str(here), *data(made)]) == 0
    with serving(f"{made.folder}/tuned.gguf", "tuned", context=256) as address:
        code = main(
            ["measure", "--model", made.base, "--tuned", address, "--adapter", made.tuned, "--output", str(there),
             *data(made), "--concurrency", "3"]
        )  # fmt: skip
        assert code == 0, capsys.readouterr().err
    one, other = read_result(here / "result.json"), read_result(there / "result.json")
    for ours, theirs in zip((*one.task[:1], *one.keep), (*other.task[:1], *other.keep), strict=True):
        assert (ours.base, ours.n) == (theirs.base, theirs.n)
        assert ours.tuned is None or math.isclose(ours.tuned, theirs.tuned, abs_tol=0.02)  # llama.cpp keeps 16 bits
    assert math.isclose(one.drift.ce_drift_nats_per_token, other.drift.ce_drift_nats_per_token, abs_tol=0.02)
    assert other.acting.verdict == "acts"
    assert other.acting.same_answers > 0.8 * other.acting.answers
    served = other.served["tuned"]
    assert (served.address, served.cautions) == (address, ())
    assert served.likelihood.startswith("token by token")
    assert other.drift.kl_nats_per_token is None
    assert "served model cannot be seen" in other.drift.note
    assert not list(there.glob("served-answers*"))
    assert "The adapter acts" in (there / "report.md").read_text()
    assert main(["gate", str(there)]) == main(["gate", str(here)])


def test_a_gguf_file_is_measured_and_the_base_in_its_place_is_seen(made, capsys):
    assert checked(made, made.folder / "tuned.gguf", capsys)[0] == 0
    write_gguf(make_byte_llama(made.tokenizer), made.tokenizer, made.folder / "base.gguf")
    code, words = checked(made, made.folder / "base.gguf", capsys)
    assert code == 3
    assert "does not act: The adapter does not act, the base is served" in words


@pytest.mark.parametrize(
    ("wrong", "verdict", "words"),
    [
        (lambda: merged(rank=2), "acts in part", "A lower rank, another scale"),
        (lambda: merged(scale=0.5), "acts in part", "by 5[0-9]% of its effect|by 4[0-9]% of its effect"),
        (lambda: merged(noise=0.065), "acts under noise", "A finer quantisation"),
        (lambda: make_byte_llama(make_byte_tokenizer(), seed=7), "another model", "neither the adapter nor its base"),
    ],
    ids=["rank cut", "another scale", "noise", "another model"],
)
def test_each_wrong_model_is_told_by_its_name(made, tmp_path, capsys, wrong, verdict, words):
    path = write_gguf(wrong(), made.tokenizer, tmp_path / "served.gguf")
    code, told = checked(made, path, capsys)
    assert code == 3, told
    assert f"{verdict}: " in told, told
    assert re.search(words, told), told


def test_another_template_is_told_though_the_adapter_acts(made, tmp_path, capsys):
    path = write_gguf(merged(), made.tokenizer, tmp_path / "template.gguf", template=OTHER_TEMPLATE)
    code, told = checked(made, path, capsys)
    assert code == 3
    assert "acts: The adapter acts" in told
    assert "Another chat template: the server renders 3 of 3 conversations otherwise" in told


def test_a_short_context_is_told_and_a_stated_length_beyond_it_refused(made, tmp_path, capsys):
    with serving(f"{made.folder}/tuned.gguf", "tuned", context=256) as address:
        asked = ["measure", "--model", made.base, "--tuned", address, "--output", str(tmp_path / "x"), *data(made)]
        assert main([*asked, "--max-length", "300"]) == 2
    assert "max_length: the server reads at most 256 tokens at once" in capsys.readouterr().err


def test_a_model_of_another_name_is_refused_before_any_weights_are_loaded(made, tmp_path, capsys):
    with serving(f"{made.folder}/tuned.gguf", "tuned", context=64) as address:
        code = main(
            ["measure", "--model", made.base, "--tuned", address, "--tuned-model", "mine", "--output",
             str(tmp_path / "x"), *data(made)]
        )  # fmt: skip
    assert code == 2
    assert "has no model 'mine'; it has tuned.gguf" in capsys.readouterr().err


def test_what_training_changed_and_what_a_conversion_changed_add_up(made, tmp_path):
    noisy = write_gguf(merged(noise=0.065), made.tokenizer, tmp_path / "noisy.gguf")
    asked = ["measure", "--model", made.base, "--tuned", made.tuned, *data(made)]
    assert main([*asked, "--converted", str(noisy), "--output", str(tmp_path / "three")]) == 0
    result = read_result(tmp_path / "three" / "result.json")
    assert (result.acting.verdict, list(result.served)) == ("acts under noise", ["converted"])
    scores = {(score.part, score.metric.name): score for score in result.conversion.scores}
    assert {("task", "cross_entropy_nats_per_token"), ("held-out", "cross_entropy_nats_per_token")} <= scores.keys()
    for score in scores.values():
        assert math.isclose(score.training.change + score.conversion.change, score.total.change, abs_tol=1e-12)
        assert math.isclose(score.converted - score.base, score.total.change, abs_tol=1e-12)
    task = scores["task", "cross_entropy_nats_per_token"]
    assert math.isclose(task.training.change, result.task[0].tuned - result.task[0].base, abs_tol=1e-12)
    assert task.conversion.change != 0
    assert "Training and conversion" in (tmp_path / "three" / "report.md").read_text()


def test_a_folder_that_is_the_tuned_model_again_changes_nothing_more(made, tmp_path):
    asked = ["measure", "--model", made.base, "--tuned", made.tuned, *data(made), "--drift", "false"]
    assert main([*asked, "--converted", made.tuned, "--output", str(tmp_path / "three")]) == 0
    result = read_result(tmp_path / "three" / "result.json")
    assert {score.conversion.change for score in result.conversion.scores} == {0.0}
    assert (result.served, result.acting) == ({}, None)
