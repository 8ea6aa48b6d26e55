"""Files of second moments: what they hold, and each way in which they are refused."""

import json

import pytest
import torch

from calibration import batches, llama, same_moments, sentences
from retain.activations import collect, load, merge
from retain.activations.store import MANIFEST, dtype_named, shape_of
from retain.errors import InputError
from retain.hf.models.describe import model_hash
from retain.records.manifest import MANIFEST as LOG

ROWS = sentences(6)
Q, K = (f"model.layers.0.self_attn.{name}_proj" for name in "qk")


@pytest.fixture(scope="module")
def made():
    return collect(llama(), batches(ROWS), targets={"target_modules": ["q_proj", "k_proj"]}, name="letters")


@pytest.fixture
def folder(made, tmp_path):
    made.save(tmp_path / "kept")
    return tmp_path / "kept"


def change(folder, **fields):
    path = folder / MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **fields}), encoding="utf-8")


def test_saved_moments_are_read_again(made, folder):
    found = load(folder)
    assert found.tokens == made.tokens
    same_moments(found, made)
    found.save(folder)
    assert load(folder).manifest == found.manifest


def test_layers_that_share_are_computed_once(made):
    assert made.second_moment(Q) is made.second_moment(K)


def test_a_layer_without_moments_is_refused(made):
    with pytest.raises(InputError, match=r"letters: no statistics of layer lm_head; they are of .* and 1 more"):
        made.moments("lm_head")


def test_a_model_fits_or_the_reasons_are_named(made):
    model = llama()
    layers = {name: shape_of(model.get_submodule(name)) for name in (Q, K)}
    assert made.misfits(model_hash(model), layers) == []
    other, missing, shape = made.misfits("0" * 64, {Q: (1, 2, False), "lm_head": (1, 1, False)})
    assert "of another model" in other
    assert "no statistics of 1 of the 2 layers to adapt, lm_head first" in missing
    assert f"layer {Q} has another shape" in shape


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda folder: (folder / MANIFEST).unlink(), "no statistics here"),
        (lambda folder: (folder / MANIFEST).write_text("{"), "no statistics here"),
        (lambda folder: change(folder, schema_="other/1"), "not statistics of schema"),
        (lambda folder: change(folder, tokens="many"), "damaged .1 problems"),
        (lambda folder: change(folder, sources={}), "damaged .no sums of"),
        (lambda folder: (folder / "moments-00000.safetensors").unlink(), "is missing"),
    ],
)
def test_a_damaged_folder_is_refused(folder, damage, problem):
    (folder / LOG).unlink()  # with it, any change is refused at once
    damage(folder)
    with pytest.raises(InputError, match=problem):
        load(folder)


def test_changed_sums_are_refused_when_they_are_read(folder):
    path = folder / "moments-00000.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    found = load(folder)
    with pytest.raises(InputError, match="not what the manifest tells of"):
        [found.moments(name) for name in (Q, Q.replace("0", "1"))]
    path.write_bytes(b"nothing")
    with pytest.raises(InputError, match="damaged"):
        load(folder).moments(Q)


def test_merged_moments_are_those_of_both_data_sets(made):
    other = sentences(5, seed=8)
    targets = {"target_modules": ["q_proj", "k_proj"]}
    both = merge(made, collect(llama(), batches(other), targets=targets))
    expected = collect(llama(), batches([*ROWS, *other]), targets=targets)
    same_moments(both, expected, atol=1e-5)
    assert both.manifest.data_hash == expected.manifest.data_hash
    assert both.tokens == expected.tokens
    with pytest.raises(InputError, match="they differ in layers"):
        merge(made, collect(llama(), batches(other), targets={"target_modules": ["q_proj"]}))


def test_sums_are_held_in_32_bits_or_more():
    assert dtype_named("float64") is dtype_named(torch.float64) is torch.float64
    with pytest.raises(InputError, match="float32 or float64"):
        dtype_named("bfloat16")


def test_the_shape_of_a_layer():
    assert shape_of(torch.nn.Linear(3, 2)) == (3, 2, True)
    assert shape_of(torch.nn.Linear(3, 2, bias=False)) == (3, 2, False)
