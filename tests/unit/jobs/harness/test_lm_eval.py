"""Tasks of lm-evaluation-harness, paired: on a tiny Llama, with tasks and data of the test's own, offline."""

import random
import sys

import numpy as np
import pytest
import torch

pytest.importorskip("lm_eval")

from peft import LoraConfig, get_peft_model

from retain.errors import InputError, RetainError
from retain.evaluate.pair import Pair
from retain.evaluate.scores.without_reading import best, of_choices
from retain.jobs.harness.lm_eval import HarnessSettings, paired, run_harness, run_tasks
from tiny import make_llama, make_tokenizer, write_jsonl

LETTERS = "abcdefghijklmnopqrstuvwxyz"
ROWS = [
    {
        "question": f"{LETTERS[i]} word{i} then",
        "choices": [LETTERS[(i + k * 3) % 26] for k in range(4)],
        "answer": i % 4,
    }
    for i in range(12)
]
CHOICE = """
task: letters
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: answer
metric_list:
  - metric: acc
  - metric: acc_norm
metadata: {{version: 3}}
"""
WRITTEN = """
task: writing
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: generate_until
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{choices[answer]}}}}"
generation_kwargs: {{until: ["<eos>"], max_gen_toks: 3, do_sample: false}}
metric_list:
  - metric: exact_match
"""


@pytest.fixture(scope="module")
def adapted():
    """A tiny Llama with a LoRA that changes what it says."""
    torch.manual_seed(1)
    config = LoraConfig(r=4, lora_alpha=64, target_modules="all-linear", init_lora_weights=False)
    return get_peft_model(make_llama(), config).eval()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two task files over one local data file."""
    folder = tmp_path_factory.mktemp("tasks")
    data = write_jsonl(folder / "rows.jsonl", ROWS)
    (folder / "letters.yaml").write_text(CHOICE.format(data=data), encoding="utf-8")
    (folder / "writing.yaml").write_text(WRITTEN.format(data=data), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def suites(adapted, folder):
    settings = HarnessSettings(include_path=folder, batch_size=8)
    return {
        suite.name: suite for suite in run_tasks(Pair.of(adapted), make_tokenizer(), ["letters", "writing"], settings)
    }


@torch.no_grad()
def likeliest(model, row) -> str:
    """The choice with the largest log-likelihood, one forward pass a choice, no padding."""
    tokenizer = make_tokenizer()
    scores = []
    for choice in row["choices"]:
        ids = tokenizer(f"{row['question']} {choice}", return_tensors="pt").input_ids
        scores.append(torch.log_softmax(model(ids).logits[0, -2], -1)[ids[0, -1]].item())
    return row["choices"][int(np.argmax(scores))]


def test_each_side_answers_as_its_own_logits_say(suites, adapted):
    suite = suites["letters"]
    with adapted.disable_adapter():
        expected = [likeliest(adapted, row) for row in ROWS]
    assert [side.answer for side in suite.base] == expected
    assert [side.answer for side in suite.tuned] == [likeliest(adapted, row) for row in ROWS]
    assert expected != [side.answer for side in suite.tuned], "the adapter changes something, or the test shows nothing"
    right = [row["choices"][row["answer"]] for row in ROWS]
    assert [side.scores["acc"] for side in suite.base] == [float(a == b) for a, b in zip(expected, right, strict=True)]
    assert [item.expected for item in suite.items] == right
    assert [item.question for item in suite.items] == [row["question"] for row in ROWS]


def test_what_a_task_is_comes_along(suites):
    letters, writing = suites["letters"], suites["writing"]
    assert (letters.metric.name, letters.version) == ("acc", "3")
    unread = best(of_choices([row["choices"] for row in ROWS], [row["answer"] for row in ROWS])).mean
    assert letters.chance == pytest.approx(unread)
    assert unread > 0.25  # a letter is a right option more often than a wrong one
    assert letters.metric.right_or_wrong
    assert letters.metric.higher_is_better
    assert set(letters.base[0].scores) == {"acc", "acc_norm"}
    assert (writing.metric.name, writing.chance) == ("exact_match", 0.25)  # one answer is right three times of twelve


@torch.no_grad()
def test_a_written_answer_is_what_greedy_decoding_gives(suites, adapted):
    tokenizer = make_tokenizer()
    ids = tokenizer(ROWS[0]["question"], return_tensors="pt")
    written = adapted.generate(**ids, max_new_tokens=3, do_sample=False)[0, ids["input_ids"].shape[1] :]
    said = suites["writing"].tuned[0].answer
    assert said.split() == tokenizer.decode(written, skip_special_tokens=True).split()
    assert suites["writing"].items[0].expected == ROWS[0]["choices"][ROWS[0]["answer"]]


def random_states():
    numpy = np.random.get_state()[1].tolist()  # noqa: NPY002  (the global state is what is looked at)
    return random.getstate(), numpy, torch.get_rng_state().tolist()


def test_model_tokenizer_and_random_states_come_back(adapted, folder):
    tokenizer = make_tokenizer()
    tokenizer.pad_token = None
    adapted.train()
    before = random_states()
    weights = {name: value.clone() for name, value in adapted.state_dict().items()}
    found = run_harness(adapted, tokenizer, ["letters"], HarnessSettings(include_path=folder, limit=2))
    assert len(found["samples"]["letters"]) == 2
    assert adapted.training
    assert tokenizer.pad_token is None
    assert random_states() == before
    assert all(torch.equal(value, weights[name]) for name, value in adapted.state_dict().items())
    adapted.eval()


def test_two_models_without_an_adapter_are_paired_too(folder):
    base, tuned = make_llama(0), make_llama(1)
    (suite,) = run_tasks(
        Pair(tuned, base), make_tokenizer(), ["letters"], HarnessSettings(include_path=folder, limit=5)
    )
    assert len(suite.items) == len(suite.base) == len(suite.tuned) == 5
    assert [side.answer for side in suite.tuned] == [likeliest(tuned, row) for row in ROWS[:5]]


def test_an_unknown_task_or_folder_is_said(adapted, folder, tmp_path, monkeypatch):
    import lm_eval.tasks

    class OwnTasksOnly(lm_eval.tasks.TaskManager):  # its own thousands take half a minute to list
        def __init__(self, include_path=None, include_defaults=True):
            super().__init__(include_path=include_path, include_defaults=False)

    monkeypatch.setattr(lm_eval.tasks, "TaskManager", OwnTasksOnly)
    with pytest.raises(InputError, match="knows no leters"):
        run_harness(adapted, make_tokenizer(), ["leters"], HarnessSettings(include_path=folder))
    with pytest.raises(InputError, match="no folder"):
        run_harness(adapted, make_tokenizer(), ["letters"], HarnessSettings(include_path=tmp_path / "nowhere"))


def test_a_missing_extra_names_the_line_to_install_it(adapted, monkeypatch):
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    with pytest.raises(InputError, match=r"pip install 'retain\[lm-eval\]'"):
        run_harness(adapted, make_tokenizer(), ["letters"], HarnessSettings())


def sample(index: int, way: str, **scores):
    return {
        "doc_id": index,
        "filter": way,
        "prompt_hash": f"p{index}",
        "target_hash": "t",
        "arguments": [("question", {})],
        "target": ["one", "two"],
        "filtered_resps": ["one"],
        "metrics": list(scores),
        **scores,
    }


def test_several_ways_of_reading_an_answer_are_told_apart():
    samples = [sample(i, way, exact_match=value) for way, value in (("strict", 0.0), ("loose", 1.0)) for i in (1, 0)]
    suite = paired("x", {"samples": {"x": samples}}, {"samples": {"x": samples}})
    assert len(suite.items) == 2
    assert suite.base[0].scores == {"exact_match,strict": 0.0, "exact_match,loose": 1.0}
    assert suite.items[0].expected == "one / two"


def test_sides_that_were_asked_differently_are_not_paired():
    base, tuned = [sample(0, "none", acc=1.0)], [sample(0, "none", acc=1.0) | {"prompt_hash": "other"}]
    with pytest.raises(RetainError, match="not asked the same"):
        paired("x", {"samples": {"x": base}}, {"samples": {"x": tuned}})


def test_a_metric_that_is_no_number_cannot_be_paired():
    samples = [sample(0, "none", bleu=("reference", "answer"))]
    with pytest.raises(RetainError, match="one number an item"):
        paired("x", {"samples": {"x": samples}}, {"samples": {"x": samples}})


def test_options_with_their_own_contexts_can_be_guessed_and_a_lone_answer_be_repeated():
    """As winogrande: each option stands in a context of its own, the text to be scored is the same."""
    rows = [
        sample(i, "none", acc=1.0) | {"arguments": [("A then", "end"), ("B then", "end")], "target": i % 2}
        for i in range(8)
    ]
    assert paired("x", {"samples": {"x": rows}}, {"samples": {"x": rows}}).chance == 0.5
    letters = [sample(i, "none", exact_match=1.0) | {"target": "AB"[i % 4 == 0]} for i in range(8)]
    assert paired("x", {"samples": {"x": letters}}, {"samples": {"x": letters}}).chance == 0.75


def test_a_continuous_metric_is_not_called_right_or_wrong():
    samples = [sample(0, "none", f1=0.5)]
    assert not paired("x", {"samples": {"x": samples}}, {"samples": {"x": samples}}).metric.right_or_wrong
