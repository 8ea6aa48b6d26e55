"""The rules of what servers refuse or ignore: each fires where it should, and nowhere else."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from safetensors.numpy import save_file

from retain.exporting.servers.judge import ALL, judge
from retain.exporting.servers.open_served import open_served
from retain.exporting.servers.rules import PROBLEMS, rules, rules_of, servers
from retain.recipe.serving_options import ServerName
from served_samples import CASES, LLAMA, Case, write, write_gguf
from serving_rules_page import PAGE, page

MODEL_FILES = ("tokenizer.json", "chat_template.jinja")


def problems_of(path: Path) -> dict[str, set[str]]:
    """The rules at a level of loss that hold, by server."""
    return {
        one.server.name: {finding.rule for finding in one.findings if finding.level in PROBLEMS}
        for one in judge(open_served(str(path)), [ALL])
    }


@pytest.mark.parametrize("name", CASES)
def test_what_each_server_refuses_ignores_or_changes_of_an_adapter(name, tmp_path):
    found = problems_of(write(CASES[name], tmp_path))
    assert found == {server: set(CASES[name].expected.get(server, ())) for server in servers()}


def models(place: Path) -> list[Path]:
    """Whole models and GGUF files, each with something that a server minds."""
    weights = {"model.embed_tokens.weight": np.zeros((4, 2), np.float16)}
    unmerged = {"model.layers.0.self_attn.q_proj.base_layer.weight": np.zeros((2, 2), np.float16)}
    quantised = {**weights, "model.layers.0.mlp.up_proj.weight.absmax": np.zeros(2, np.float16)}
    quantisation = {"quantization_config": {"quant_method": "bitsandbytes"}}
    told = {
        "good": (LLAMA, weights, MODEL_FILES),
        "unmerged": (LLAMA, unmerged, MODEL_FILES),
        "empty": (LLAMA, None, MODEL_FILES),
        "bare": (LLAMA, weights, ()),
        "other": ({**LLAMA, "architectures": ["OddForCausalLM"]}, weights, MODEL_FILES),
        "quantised": ({**LLAMA, **quantisation}, quantised, MODEL_FILES),
    }
    for name, (config, tensors, files) in told.items():
        folder = place / name
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(config))
        for file in files:
            (folder / file).write_text("{}")
        if tensors is not None:
            save_file(tensors, folder / "model.safetensors")
    adapter = {"general.type": "adapter", "general.architecture": "llama", "tokens": ["a", "b"], "alpha": 16.0}
    ggufs = [
        write_gguf(place / "a.gguf", {**adapter, "adapter.type": "lora"}, {"blk.0.attn_q.weight.lora_a": (8, 32)}),
        write_gguf(place / "b.gguf", {**adapter, "adapter.type": "control"}, {}),
        write_gguf(place / "c.gguf", {"general.type": "model", "general.file_type": 1}, {"output.weight": (4, 2)}),
    ]
    return [place / name for name in told] + ggufs


def test_what_each_server_does_with_whole_models_and_gguf_files(tmp_path):
    found = {path.name: problems_of(path) for path in models(tmp_path)}
    assert not any(found["good"].values())
    assert all(rules_held == {"unmerged"} for rules_held in found["unmerged"].values())
    assert all(rules_held == {"model_without_weights"} for rules_held in found["empty"].values())
    assert all(rules_held == {"model_without_tokenizer"} for rules_held in found["bare"].values())
    assert found["other"]["ollama"] == {"ollama_model"}
    assert found["other"]["llama.cpp"] == {"llama_cpp_architecture"}
    assert not found["other"]["vllm"]
    assert found["quantised"]["llama.cpp"] == found["quantised"]["ollama"] == {"quantised_model"}
    assert found["a.gguf"]["vllm"] == {"gguf_adapter_elsewhere"}
    assert not found["a.gguf"]["llama.cpp"]
    assert found["b.gguf"]["llama.cpp"] == {"gguf_not_lora"}
    assert found["c.gguf"]["tgi"] == {"gguf_model_elsewhere"}
    assert not found["c.gguf"]["ollama"]


def test_every_rule_fires_on_one_of_the_samples(tmp_path):
    folders = [write(case, tmp_path / str(number)) for number, case in enumerate(CASES.values())]
    (tmp_path / "models").mkdir()
    judged = [judge(open_served(str(one)), [ALL]) for one in [*folders, *models(tmp_path / "models")]]
    fired = {(one.server.name, finding.rule) for found in judged for one in found for finding in one.findings}
    assert fired == {(server, rule.name) for server in servers() for rule in rules_of(server)}


def test_every_rule_says_where_it_was_read_and_what_to_do():
    for server in servers().values():
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", str(server.dated)), server.name
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", str(server.read)), server.name
        assert server.version, server.name
        assert server.proof, server.name
    for rule in rules():
        assert all(rule.places.values()), rule.name
        assert rule.says.endswith((".", '."', ").")), rule.name
        assert rule.cure, rule.name
        assert (rule.level == "flag") or not rule.flag, rule.name


def test_recipes_know_the_servers_that_the_rules_know():
    assert {*servers(), ALL} == set(get_args(ServerName))


def test_vllm_is_told_the_next_rank_that_it_takes(tmp_path):
    for rank, flag in ((17, "32"), (64, "64"), (200, "256"), (257, "320")):
        case = Case(config={"r": rank}, tensors={})
        judged = judge(open_served(str(write(case, tmp_path / str(rank)))), ["vllm"])[0]
        assert f"--max-lora-rank {flag}" in [finding.flag for finding in judged.findings]


def test_the_page_of_rules_is_the_one_that_the_file_makes():
    """Make it anew with `python tests/serving_rules_page.py` where this fails."""
    assert PAGE.read_text(encoding="utf-8") == page()
