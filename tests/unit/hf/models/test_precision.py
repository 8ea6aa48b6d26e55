"""A base in 16 bits on a processor that must imitate them, as most hub checkpoints are on a desktop's."""

import pytest
import torch
from tests.tiny import make_llama

from retain.hf.models import placement, precision
from retain.hf.models.placement import computing_device
from retain.hf.models.precision import imitates, precision_note, weights_dtype
from retain.jobs.inputs.loading import device_of
from retain.recipe import Recipe

DESKTOP = {"architecture": "x86_64", "avx2": True, "avx512_bf16": False, "amx_bf16": False}


@pytest.fixture
def processor(monkeypatch):
    def has(capabilities, device="cpu"):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
        for module in (precision, placement):
            monkeypatch.setattr(module, "current_device", lambda: torch.device(device))

    return has


@pytest.mark.parametrize(
    ("dtype", "capabilities", "expected"),
    [
        (torch.bfloat16, DESKTOP, True),
        (torch.float16, DESKTOP, True),
        (torch.float32, DESKTOP, False),
        (torch.bfloat16, DESKTOP | {"avx512_bf16": True}, False),
        (torch.bfloat16, {"architecture": "arm64", "bf16": True}, False),
        (torch.float16, {"architecture": "arm64", "fp16_arith": True}, False),
        (torch.float16, {"architecture": "x86_64", "amx_bf16": True}, True),
        (torch.bfloat16, {}, False),
    ],
)
def test_sixteen_bits_are_imitated_where_no_unit_computes_in_them(dtype, capabilities, expected):
    assert imitates(dtype, capabilities) is expected


def test_the_note_names_the_type_and_the_cure_and_is_silent_elsewhere(processor):
    model = make_llama()
    processor(DESKTOP)
    assert precision_note(model) == []
    (note,) = precision_note(model.half())
    assert "float16" in note
    assert "--dtype float32" in note
    (note,) = precision_note(model.bfloat16())
    assert "no units for bfloat16" in note
    processor(DESKTOP, "cuda")
    assert precision_note(model) == []
    processor(DESKTOP | {"amx_bf16": True})
    assert precision_note(model) == []


def test_the_note_on_a_structure_is_of_the_type_that_is_asked_for(processor):
    """A structure has its checkpoint's type, whatever the weights are loaded in."""
    processor(DESKTOP)
    assert precision_note(make_llama().bfloat16(), "float32") == []
    (note,) = precision_note(make_llama(), "bfloat16")
    assert "no units for bfloat16" in note
    assert precision_note(make_llama(), "auto") == []


def test_a_torch_that_does_not_tell_its_processor_gives_no_note(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert precision_note(make_llama().bfloat16()) == []


@pytest.mark.parametrize(
    ("capabilities", "device", "expected"),
    [
        (DESKTOP, "cpu", "float32"),
        (DESKTOP | {"avx512_bf16": True}, "cpu", "bfloat16"),
        ({"architecture": "arm64", "bf16": True}, "cpu", "bfloat16"),
        ({}, "cpu", "float32"),
        (DESKTOP, "mps", "float32"),
        (DESKTOP, "xpu", "bfloat16"),
    ],
)
def test_fast_is_what_the_device_computes_in(processor, capabilities, device, expected):
    processor(capabilities, device)
    assert weights_dtype("fast") == expected
    assert weights_dtype("float16") == "float16"


@pytest.mark.parametrize("has_units", [True, False])
def test_fast_asks_a_gpu(processor, monkeypatch, has_units):
    processor(DESKTOP, "cuda")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has_units or including_emulation)
    assert weights_dtype("fast") == ("bfloat16" if has_units else "float32")


def test_fast_is_float32_where_the_processor_is_not_told(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    monkeypatch.setattr(precision, "current_device", lambda: torch.device("cpu"))
    assert weights_dtype("fast") == "float32"


@pytest.mark.parametrize(
    ("device_map", "expected"),
    [
        ("cpu", "float32"),
        ({"": "cpu"}, "float32"),
        ({"model": "cpu", "lm_head": "disk"}, "float32"),
        ({"model": 0, "lm_head": "cpu"}, "bfloat16"),
        ("auto", "bfloat16"),
        ({}, "bfloat16"),
        (None, "bfloat16"),
    ],
)
def test_fast_asks_the_processor_of_a_model_that_is_kept_there(processor, monkeypatch, device_map, expected):
    processor(DESKTOP, "cuda")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)
    assert weights_dtype("fast", computing_device(device_map)) == expected


@pytest.mark.parametrize("fields", [{"device_map": "cpu"}, {"training": {"use_cpu": True}}])
def test_a_recipe_that_keeps_off_the_gpu_is_told_of_its_processor(processor, monkeypatch, fields):
    processor(DESKTOP, "cuda")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)
    recipe = Recipe(model="m", train="t.jsonl", test="e.jsonl", output="o", **fields)
    assert weights_dtype("fast", device_of(recipe)) == "float32"
    assert precision_note(make_llama().bfloat16(), device=device_of(recipe))
    assert not precision_note(
        make_llama().bfloat16(), device=device_of(Recipe(model="m", train="t.jsonl", test="e.jsonl", output="o"))
    )
