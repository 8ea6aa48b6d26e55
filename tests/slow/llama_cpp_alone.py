"""llama.cpp's own converter and loader, on a base that is made on the spot."""

from __future__ import annotations

import contextlib
import io
import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from served_samples import INNER, KEYS, LAYERS, VOCABULARY, WIDTH

LOAD = """
import sys, xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.n_ctx, params.n_parallel, params.warmup = sys.argv[1], 64, 1, False
params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(sys.argv[2], 1.0)]
server = xllamacpp.Server(params)
answer = server.handle_completions({"prompt": [5, 6, 7], "n_predict": 1, "temperature": 0, "n_probs": 1})
print("ANSWERED", flush=True)
import os
os._exit(0)
"""


def convert(checkout: Path, adapter: Path, base: Path | None, place: Path) -> str:
    """Convert an adapter, and return why it was refused; empty where it was not."""
    words = [str(checkout / "convert_lora_to_gguf.py"), "--outfile", str(place), str(adapter)]
    before, path = sys.argv, list(sys.path)
    sys.argv = [*words, *(["--base", str(base)] if base is not None else [])]
    sys.path[:0] = [str(checkout), str(checkout / "gguf-py")]
    os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as error:
        return f"exit {error.code}"
    except Exception as error:  # noqa: BLE001 -- whatever the converter raises is a refusal
        return f"{type(error).__name__}: {error}"
    finally:
        sys.argv, sys.path[:] = before, path
    return ""


def loads(python: str, base: Path, adapter: Path) -> bool:
    """Tell whether llama.cpp loads a GGUF adapter on a GGUF base and answers.

    Args:
        python: an interpreter that has xllamacpp.
        base: of the model.
        adapter: of the adapter.
    """
    command = [python, "-c", LOAD, str(base), str(adapter)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    return "ANSWERED" in done.stdout


def write_base(checkout: Path, path: Path, *, tied: bool) -> Path:
    """Write a small Llama with a vocabulary as a GGUF file."""
    sys.path.insert(0, str(checkout / "gguf-py"))
    import gguf

    writer: Any = gguf.GGUFWriter(str(path), "llama")
    writer.add_block_count(LAYERS)
    writer.add_context_length(256)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_dimension_count(WIDTH // 4)
    writer.add_vocab_size(VOCABULARY)
    writer.add_tokenizer_model("llama")
    writer.add_token_list([b"<unk>", b"<s>", b"</s>", *(b"w%d" % number for number in range(VOCABULARY - 3))])
    writer.add_token_scores([0.0] * VOCABULARY)
    writer.add_token_types([2, 3, 3] + [1] * (VOCABULARY - 3))
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    draws = np.random.default_rng(0)
    shapes = {"token_embd": (VOCABULARY, WIDTH)} | ({} if tied else {"output": (VOCABULARY, WIDTH)})
    norms = ["output_norm"]
    for number in range(LAYERS):
        block = f"blk.{number}"
        shapes |= {
            f"{block}.attn_q": (WIDTH, WIDTH),
            f"{block}.attn_k": (KEYS, WIDTH),
            f"{block}.attn_v": (KEYS, WIDTH),
        }
        shapes |= {f"{block}.attn_output": (WIDTH, WIDTH), f"{block}.ffn_gate": (INNER, WIDTH)}
        shapes |= {f"{block}.ffn_up": (INNER, WIDTH), f"{block}.ffn_down": (WIDTH, INNER)}
        norms += [f"{block}.attn_norm", f"{block}.ffn_norm"]
    for name, shape in shapes.items():
        writer.add_tensor(f"{name}.weight", (draws.standard_normal(shape) * 0.3).astype(np.float32))
    for name in norms:
        writer.add_tensor(f"{name}.weight", np.ones(WIDTH, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
