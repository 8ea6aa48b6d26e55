"""The packaged real model and the demo's data: what only a real model can show."""

import contextlib
from pathlib import Path

import pytest

from retain.cli.main import main
from retain.kernels import reference_only
from retain.records.result import read_result

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch):
    if not (ROOT / ".assets" / "smollm2-135m-instruct").is_dir():
        pytest.skip("no packaged model here: make assets")
    monkeypatch.chdir(ROOT)


def test_the_demo_recipe_is_whole(capsys):
    assert main(["check", "recipes/headlines.yaml"]) == 0
    assert "100 items" in capsys.readouterr().out


def test_a_few_steps_teach_headlines_and_the_base_knows_capitals(tmp_path):
    flags = [
        "--method",
        "vefa",
        "--max-steps",
        "6",
        "--generate",
        "2",
        "--held-out-tokens",
        "512",
        "--test-items",
        "24",
    ]
    assert main(["tune", "recipes/headlines.yaml", *flags, "--output", str(tmp_path / "run")]) == 0
    result = read_result(tmp_path / "run" / "result.json")
    headline, capitals = result.task[0], result.keep[0]
    assert headline.gain > 0.5
    assert headline.interval[1] < 0
    assert capitals.status == "measured"
    assert 0.6 < capitals.base < 0.8
    assert 0 < result.drift.kl_nats_per_token < 0.5
    assert result.parameters.trainable == 30 * (576 * 6 + 1536)


@pytest.mark.parametrize("method", ["vefa", "lorfa", "lora"])
def test_a_real_fine_tune_ends_in_the_same_curve_with_and_without_the_fast_forms(method, tmp_path):
    """In float32 to 1e-5 of the loss; PEFT's LoRA accelerated beside PEFT's own."""
    common = [
        *("recipes/headlines.yaml", "--method", method, "--dtype", "float32", "--max-steps", "6", "--drift", "false"),
        *("--generate", "0", "--held-out-tokens", "512", "--test-items", "8", "--keep-items", "8"),
        *(
            "--training.logging_steps",
            "1",
            "--learning-rate",
            {"vefa": "3e-3", "lorfa": "5e-4", "lora": "3e-3"}[method],
        ),
    ]
    for name, how in (("fast", contextlib.nullcontext()), ("plain", reference_only())):
        switch = ["--accelerate", "true"] if method == "lora" and name == "fast" else []
        with how:
            assert main(["tune", *common, *switch, "--output", str(tmp_path / name)]) == 0
    fast, slow = (read_result(tmp_path / name / "result.json") for name in ("fast", "plain"))
    assert len(fast.curve) == len(slow.curve) == 6
    assert fast.curve[-1].loss < fast.curve[0].loss - 0.1
    for one, other in zip(fast.curve, slow.curve, strict=True):
        assert one.loss == pytest.approx(other.loss, rel=1e-5)
