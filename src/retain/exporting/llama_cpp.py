"""llama.cpp's own converters: where they are, and how they are run. Nothing is converted here."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from retain.errors import InputError, RetainError
from retain.records.paths import expanded

MODEL_SCRIPT, ADAPTER_SCRIPT, QUANTISE = "convert_hf_to_gguf.py", "convert_lora_to_gguf.py", "llama-quantize"

MODEL_TYPES = ("auto", "f32", "f16", "bf16", "q8_0", "tq1_0", "tq2_0")
"""Types that the converter of models writes itself."""

ADAPTER_TYPES = ("auto", "f32", "f16", "bf16", "q8_0")
"""Types that the converter of LoRAs writes."""

OTHER_TYPES = (
    *("q4_0", "q4_1", "q5_0", "q5_1", "q2_k", "q3_k_s", "q3_k_m", "q3_k_l", "q4_k_s", "q4_k_m", "q5_k_s", "q5_k_m"),
    *("q6_k", "iq4_nl", "iq4_xs"),
)
"""Types that llama-quantize makes of a model in 16 bits."""

_WHERE = (
    "give llama.cpp as --llama-cpp PATH: a checkout (git clone https://github.com/ggml-org/llama.cpp) or an unpacked "
    "release of its sources, which hold the converters"
)


class ConverterError(RetainError):
    """A converter of llama.cpp failed; its own words are in the text."""


@dataclass(frozen=True)
class LlamaCpp:
    """A copy of llama.cpp.

    Attributes:
        folder: holds the converters.
        quantise: the program that makes types which the converters do not write; None where it is not built.
    """

    folder: Path
    quantise: Path | None = None

    def convert_model(self, source: Path, target: Path, outtype: str) -> None:
        """Make a GGUF of a model's folder.

        Raises:
            ConverterError: the converter does not know this model, or fails otherwise.
        """
        if outtype in MODEL_TYPES:
            self._run(MODEL_SCRIPT, [str(source), "--outfile", str(target), "--outtype", outtype])
            return
        whole = target.with_suffix(".f16.partial")
        try:
            self._run(MODEL_SCRIPT, [str(source), "--outfile", str(whole), "--outtype", "f16"])
            _run([str(self.quantise), str(whole), str(target), outtype.upper()], QUANTISE, {})
        finally:
            whole.unlink(missing_ok=True)

    def convert_adapter(self, source: Path, base: Path, target: Path, outtype: str) -> None:
        """Make a GGUF of a LoRA's folder.

        Args:
            source: holds the LoRA.
            base: holds the configuration of its base.
            target: the file.
            outtype: one of `ADAPTER_TYPES`.

        Raises:
            ConverterError: the converter does not know this model, or fails otherwise.
        """
        self._run(ADAPTER_SCRIPT, [str(source), "--base", str(base), "--outfile", str(target), "--outtype", outtype])

    def _run(self, script: str, arguments: Sequence[str]) -> None:
        own = [str(self.folder / "gguf-py"), str(self.folder)]
        before = [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]
        path = os.pathsep.join([*(one for one in own if Path(one).is_dir()), *before])
        _run([sys.executable, str(self.folder / script), *arguments], script, {"PYTHONPATH": path})


def find_llama_cpp(given: str | None, outtype: str, *, adapter: bool) -> LlamaCpp:
    """Find a copy of llama.cpp that can convert.

    Args:
        given: a folder; None: looked for on the PATH and in installed packages.
        outtype: the type that is wanted.
        adapter: whether an adapter is to be converted, and not a model.

    Raises:
        InputError: with every reason why there is none.
    """
    known = ADAPTER_TYPES if adapter else (*MODEL_TYPES, *OTHER_TYPES)
    problems = []
    if outtype not in known:
        what = "an adapter" if adapter else "a model"
        problems.append(f"outtype: llama.cpp makes {', '.join(known)} of {what} (found {outtype!r}).")
    if importlib.util.find_spec("gguf") is None:
        problems.append("--to gguf: needs the package gguf, which is not installed; say pip install 'retain[gguf]'.")
    if not adapter and importlib.util.find_spec("sentencepiece") is None:
        problems.append(
            "--to gguf: llama.cpp's converter of models needs the package sentencepiece, which is not installed; say "
            "pip install 'retain[gguf]'."
        )
    script = ADAPTER_SCRIPT if adapter else MODEL_SCRIPT
    folder = next((place for place in _places(given) if (place / script).is_file()), None)
    if folder is None:
        found = f"{given} does not hold {script}" if given else f"{script} was not found on this machine"
        problems.append(f"llama_cpp: {found}; {_WHERE}.")
    quantise = None if folder is None else _program(folder)
    if folder is not None and outtype in OTHER_TYPES and outtype in known and quantise is None:
        problems.append(
            f"outtype: {outtype} is made by {QUANTISE}, which is neither in {folder} nor on the PATH; build llama.cpp "
            "(cmake -B build && cmake --build build --target llama-quantize), or take f16 or q8_0."
        )
    if problems or folder is None:
        raise InputError(problems)
    return LlamaCpp(folder, quantise)


def _places(given: str | None) -> Iterator[Path]:
    if given is not None:
        start = expanded(given)
        start = start.parent if start.is_file() else start
        yield from (start, start / "vendor" / "llama.cpp", start / "llama.cpp", start / "bin")
        return
    for name in (MODEL_SCRIPT, ADAPTER_SCRIPT):
        if (found := shutil.which(name)) is not None:
            yield Path(found).resolve().parent
    for package in ("llama_cpp", "gguf"):
        spec = importlib.util.find_spec(package)
        for place in (spec.submodule_search_locations or ()) if spec is not None else ():
            inside = Path(place)
            yield from (inside / "vendor" / "llama.cpp", inside, inside.parent / "vendor" / "llama.cpp", inside.parent)


def _program(folder: Path) -> Path | None:
    for place in (folder / "build" / "bin", folder / "bin", folder):
        if os.access(place / QUANTISE, os.X_OK) and (place / QUANTISE).is_file():
            return place / QUANTISE
    found = shutil.which(QUANTISE)
    return None if found is None else Path(found)


def _run(command: Sequence[str], name: str, variables: dict[str, str]) -> None:
    done = subprocess.run(  # noqa: S603 -- the user's own copy of llama.cpp
        command,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        raise ConverterError(
            f"llama.cpp's {name} failed (exit code {done.returncode}): {_said(done.stderr, done.stdout)}"
        )


def _said(*texts: str) -> str:
    """The last sentence of a program that tells of an error, else its last line."""
    lines = [line.strip() for text in texts for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if re.match(r"([\w.]*(Error|Exception)\b|ERROR|error:)", line)]
    return (telling or lines or ["it said nothing"])[-1][:400]
