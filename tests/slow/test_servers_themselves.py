"""The rules of vLLM and llama.cpp against those projects' own loaders, on every adapter of `served_samples`.

Needs their sources: RETAIN_VLLM_SOURCES, the folder of a source distribution of vLLM; RETAIN_LLAMA_CPP, a checkout of
llama.cpp; RETAIN_XLLAMACPP, an interpreter that has the package xllamacpp, for the loading of what was converted. What
is not given is skipped.

Run on 29 November 2026 on a processor: of 56 adapters vLLM 0.33.0 refused or took 54 as the rules say, llama.cpp
(0c1e570; loader: xllamacpp 2026.10.11549) 53 of 57, of which it converted 35 and loaded 29. The others are `OTHERWISE`.
Two minutes for llama.cpp, ten seconds for vLLM.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from llama_cpp_alone import convert, loads, write_base
from vllm_alone import VLLM

from retain.exporting.servers.judge import Judgement, judge
from retain.exporting.servers.open_served import open_served
from served_samples import CASES, LLAMA, VOCABULARY, Case, lora_tensors, write, zeros

pytestmark = pytest.mark.slow

OTHERWISE = {
    "vllm": {
        "a pickle": "the sample is no true pickle",
        "experts": "what a model's experts are called is not asked here",
    },
    "llama.cpp": {
        "a base that is not at hand": "told as a flag of the converter",
        "a base by its hub id": "it is not in the cache",
        "a quantised base": "told as a flag of the converter",
        "a pickle": "the sample is no true pickle",
    },
}
"""Samples on which a loader does something else than the rule says, and why that is right."""


def judged(folder: Path, server: str) -> Judgement:
    return judge(open_served(str(folder)), [server])[0]


def is_refused(judgement: Judgement) -> bool:
    return any(finding.level == "refused" for finding in judgement.findings)


def given(name: str) -> str:
    if not (value := os.environ.get(name)):
        pytest.skip(f"{name} is not given")
    return value


def test_vllm_refuses_what_the_rules_say_and_nothing_else(tmp_path):
    server = VLLM(Path(given("RETAIN_VLLM_SOURCES")))
    differing = {}
    for number, (name, case) in enumerate(CASES.items()):
        folder = write(case, tmp_path / str(number))
        told = judged(folder, "vllm")
        flags = [finding.flag.split() for finding in told.findings if "max-lora-rank" in finding.flag]
        architecture = open_served(str(folder)).architecture
        try:
            embeddings = architecture in {None, *LLAMA["architectures"]}
            server.load(folder, int(flags[0][1]) if flags else 16, embeddings=embeddings, vocabulary=VOCABULARY)
            reason = ""
        except Exception as error:  # noqa: BLE001 -- whatever vLLM raises is a refusal
            reason = f"{type(error).__name__}: {error}"
        if is_refused(told) != bool(reason):
            differing[name] = reason
    assert set(differing) == set(OTHERWISE["vllm"]), differing


def test_llama_cpp_refuses_what_the_rules_say_and_nothing_else(tmp_path):
    checkout, python = Path(given("RETAIN_LLAMA_CPP")), os.environ.get("RETAIN_XLLAMACPP")
    bases = {tied: write_base(checkout, tmp_path / f"{tied}.gguf", tied=tied) for tied in (True, False)}
    head = {"lm_head.lora_A.weight": (8, 32), "lm_head.lora_B.weight": (VOCABULARY, 8)}
    tied_head = {name: tensor for part, shape in head.items() for name, tensor in zeros(part, shape=shape).items()}
    tied = Case(base={**LLAMA, "tie_word_embeddings": True}, tensors={**lora_tensors(["v_proj"]), **tied_head})
    differing, converted, loaded = {}, 0, 0
    for number, (name, case) in enumerate({**CASES, "a tied head of a Llama": tied}.items()):
        folder = write(case, tmp_path / str(number))
        told = judged(folder, "llama.cpp")
        place = tmp_path / f"{number}.gguf"
        reason = convert(checkout, folder, folder.parent / "base" if case.base else None, place)
        converted += not reason
        is_llama = case.base is not None and case.base["architectures"] == LLAMA["architectures"]
        if not reason and python and is_llama:
            ties = bool((case.base or {}).get("tie_word_embeddings"))
            reason = "" if loads(python, bases[ties], place) else "not loaded"
            loaded += not reason
        elif not reason:
            continue  # converted for a model of which there is no base here
        if is_refused(told) != bool(reason):
            differing[name] = reason
    assert converted > 30
    assert not python or loaded > 25
    assert not set(differing) - set(OTHERWISE["llama.cpp"]), differing
