"""The fused forms beside the reference forms on a GPU: the checks of benchmarks/gpu.py, at small sizes."""

import pytest
import torch

MODES = ("as it is", "autocast", "checkpointing", "compiled")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("mode", MODES)
def test_the_fused_forms_are_the_reference_forms(device, monkeypatch, mode, dtype):
    if mode == "autocast" and dtype != "float32":
        pytest.skip("autocast chooses its types itself")
    from common import DEVICE

    import gpu
    import retain.kernels  # noqa: F401 -- what is tested

    monkeypatch.setenv(DEVICE, device)
    backend = "inductor" if device == "cuda" else "aot_eager"
    sizes = {"minutes": 10, "tokens": 48, "width": 64, "hidden": 64, "layers": 1, "length": 16, "rows": 2}
    given = [word for name, size in sizes.items() for word in (f"--{name}", str(size))]
    given += ["--device", device, "--backend", backend, "--bases", dtype, "--modes", mode]
    asked = gpu.parsed(given)
    with torch._dynamo.config.patch(recompile_limit=64):  # each case is another module of one class
        found = list(gpu.checks(asked, gpu.Minutes(10)))
    assert len(found) >= 4
    assert [gpu._told(check) for check in found if not check.get("passed", "skipped" in check)] == []
