"""What servers would do with a run's result, told before it is trained: for every method that a recipe can name."""

from __future__ import annotations

import pytest
import torch

from retain.exporting.servers.judge import judge
from retain.exporting.servers.rules import PROBLEMS, servers
from retain.jobs.serving import delivered_told, planned, planned_judgements
from retain.methods.table import rows
from retain.recipe import Recipe
from served_samples import CASES, write
from tiny import make_llama, make_tokenizer

LORA = {"ollama": {"ollama_order_of_heads"}}
REFUSED = {"vefa": "vefa", "lorfa": "lorfa", "ia3": "ia3", **dict.fromkeys(("rotation", "sparse"), "other_methods")}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("serving") / "base"
    make_llama().save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def structure(base):
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(base))


def recipe(base, **fields):
    return Recipe(model=str(base), train="a.jsonl", test="b.jsonl", output="out", **{"serve": "all", **fields})


@pytest.mark.parametrize("name", [row.name for row in rows()])
def test_every_method_is_judged_before_it_is_trained(name, base, structure):
    served = planned(
        recipe(base, method=name, rank=None if name in {"vefa", "rotation", "ia3", "full"} else 16), structure
    )
    found = {
        one.server.name: {finding.rule for finding in one.findings if finding.level in PROBLEMS}
        for one in judge(served, ["all"])
    }
    if name in REFUSED:
        assert found == {server: {REFUSED[name]} for server in servers()}
    elif name == "full":
        assert not any(found.values())
    else:
        assert found["vllm"] == found["sglang"] == found["tgi"] == found["llama.cpp"] == set()


def test_an_initialised_lora_is_planned_at_twice_its_rank(base, structure):
    served = planned(recipe(base, method="sc-lora", rank=16), structure)
    assert served.largest_rank == 32
    assert set(served.ranks.values()) == {32}
    [(_, [judgement])] = planned_judgements(recipe(base, method="sc-lora", rank=16, serve="vllm"), structure)
    assert "--max-lora-rank 32" in judgement.start


def test_a_method_that_a_field_changes_is_told_in_time(base, structure):
    run = recipe(base, method={"name": "lora", "use_dora": True, "target_modules": ["q_proj"]})
    judgements = {one.server.name: one for one in judge(planned(run, structure), ["all"])}
    assert "dora" in {finding.rule for finding in judgements["vllm"].findings}
    assert {"ranks_padded"}.isdisjoint(finding.rule for finding in judgements["tgi"].findings)


def test_a_recipe_that_names_no_server_is_told_nothing(base, structure):
    run = recipe(base, serve=())
    assert planned_judgements(run, structure) == []
    assert delivered_told(run, base) == []


def test_what_was_delivered_is_told_without_its_path(base, tmp_path):
    adapter = write(CASES["rslora"], tmp_path)
    told = delivered_told(recipe(base, method="lora"), adapter)
    assert any(sentence.startswith("llama.cpp: changed: use_rslora is true") for sentence in told)
    assert not any(str(tmp_path) in sentence for sentence in told)
