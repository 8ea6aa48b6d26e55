"""llama.cpp's converters: found, missing, failing; everything said in one sentence."""

import sys

import pytest

from retain import InputError
from retain.exporting.llama_cpp import ConverterError, find_llama_cpp

PACKAGES = ("gguf", "sentencepiece")
FAILING = """
import sys
print("INFO:hf-to-gguf:Loading model: base", file=sys.stderr)
print("Traceback (most recent call last):", file=sys.stderr)
print("NotImplementedError: Architecture 'TinyForCausalLM' not supported!", file=sys.stderr)
sys.exit(1)
"""
COPYING = """
import pathlib, sys
place = pathlib.Path(sys.argv[sys.argv.index("--outfile") + 1])
place.write_text(" ".join(sys.argv[1:]))
"""


@pytest.fixture
def checkout(tmp_path):
    """A folder that looks like llama.cpp's."""
    folder = tmp_path / "llama.cpp"
    folder.mkdir()
    (folder / "convert_hf_to_gguf.py").write_text(COPYING)
    (folder / "convert_lora_to_gguf.py").write_text(COPYING)
    return folder


@pytest.fixture(autouse=True)
def nothing_else_here(monkeypatch):
    """No other llama.cpp on this machine, and the package gguf."""
    monkeypatch.setenv("PATH", "")
    real = sys.modules["importlib.util"].find_spec
    monkeypatch.setattr(
        "retain.exporting.llama_cpp.importlib.util.find_spec",
        lambda name: None if name == "llama_cpp" else object_with_no_places() if name in PACKAGES else real(name),
    )


def object_with_no_places():
    return type("Spec", (), {"submodule_search_locations": []})()


def test_a_checkout_is_found_and_run(checkout, tmp_path):
    found = find_llama_cpp(str(checkout), "q8_0", adapter=False)
    found.convert_model(tmp_path, tmp_path / "model.gguf", "q8_0")
    assert (tmp_path / "model.gguf").read_text().endswith("model.gguf --outtype q8_0")
    found.convert_adapter(tmp_path, tmp_path / "base", tmp_path / "adapter.gguf", "f16")
    assert f"--base {tmp_path / 'base'}" in (tmp_path / "adapter.gguf").read_text()


def test_a_type_that_the_converter_does_not_write_is_made_of_its_16_bits(checkout, tmp_path):
    with pytest.raises(InputError, match="q4_k_m is made by llama-quantize, which is neither in .* nor on the PATH"):
        find_llama_cpp(str(checkout), "q4_k_m", adapter=False)
    program = checkout / "build" / "bin" / "llama-quantize"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!{sys.executable}\nimport sys\nopen(sys.argv[2], 'w').write(sys.argv[3])\n")
    program.chmod(0o755)
    find_llama_cpp(str(checkout), "q4_k_m", adapter=False).convert_model(tmp_path, tmp_path / "m.gguf", "q4_k_m")
    assert (tmp_path / "m.gguf").read_text() == "Q4_K_M"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["llama.cpp", "m.gguf"]


def test_its_own_words_are_passed_on(checkout, tmp_path):
    (checkout / "convert_hf_to_gguf.py").write_text(FAILING)
    with pytest.raises(
        ConverterError, match=r"convert_hf_to_gguf.py failed \(exit code 1\): NotImplementedError: Arch"
    ):
        find_llama_cpp(str(checkout), "f16", adapter=False).convert_model(tmp_path, tmp_path / "m.gguf", "f16")


def test_what_is_missing_is_told_at_once(tmp_path):
    with pytest.raises(InputError) as refusal:
        find_llama_cpp(str(tmp_path), "q5_9", adapter=True)
    assert [problem.partition(":")[0] for problem in refusal.value.problems] == ["outtype", "llama_cpp"]
    with pytest.raises(InputError, match=r"convert_hf_to_gguf.py was not found on this machine; give llama.cpp as"):
        find_llama_cpp(None, "f16", adapter=False)
