"""A folder of statistics: whole or not there, read again without the model, refused where it does not fit."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from calibration import batches, gpt2, llama, same_moments, sentences
from retain.activations import collect, load, merge, store
from retain.errors import InputError
from retain.hf.models.describe import model_hash

ROWS, OTHERS = sentences(10), sentences(10, seed=5)


@pytest.fixture
def folder(tmp_path):
    collect(llama(), batches(ROWS), folder=tmp_path / "kept", name="letters")
    return tmp_path / "kept"


def manifest(folder):
    return json.loads((folder / "manifest.json").read_text())


def refuses_to_run(model):
    def hook(*_):
        raise AssertionError("the model was run")

    for module in model.modules():
        module.register_forward_pre_hook(hook)
    return model


def test_it_is_written_whole_with_nothing_beside(folder):
    assert sorted(path.name for path in folder.iterdir()) == [
        ".retain.jsonl",
        "manifest.json",
        "moments-00000.safetensors",
    ]


def test_its_manifest_says_what_made_it(folder):
    found, model = manifest(folder), llama()
    assert found["schema_"] == "retain.activations/1"
    assert found["model_hash"] == model_hash(model)
    assert found["data_hash"] == collect(model, batches(ROWS)).manifest.data_hash
    assert found["tokens"] == sum(map(len, ROWS))
    assert len(found["sequences"]) == len(ROWS)
    assert (found["name"], found["dtype"], found["sample_norm"]) == ("letters", "float32", "none")
    assert set(found["versions"]) == {"retain", "torch", "transformers"}
    attention = found["layers"]["model.layers.0.self_attn.v_proj"]
    assert attention == {"leader": "model.layers.0.self_attn.q_proj", "inputs": 16, "outputs": 8, "bias": False}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_is_read_is_what_was_collected(tmp_path, dtype):
    written = collect(llama(), batches(ROWS), dtype=dtype, folder=tmp_path / "new")
    memory = collect(llama(), batches(ROWS), dtype=dtype)
    memory.save(tmp_path / "saved")
    for found in (written, load(tmp_path / "new"), load(str(tmp_path / "saved"))):
        assert found.tokens == memory.tokens
        assert found.moments("model.layers.0.mlp.down_proj").gram.dtype == getattr(torch, dtype)
        same_moments(found, memory, atol=1e-6 if dtype == "float32" else 1e-13)


def test_a_finished_folder_is_read_without_running_the_model(folder):
    found = collect(refuses_to_run(llama()), batches(ROWS, 3, "left"), folder=folder)
    same_moments(found, load(folder), atol=0)


def test_statistics_in_a_folder_can_be_merged(folder):
    both = merge(load(folder), collect(llama(), batches(OTHERS)))
    same_moments(both, collect(llama(), batches(ROWS + OTHERS)), atol=1e-5)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"batches": batches(OTHERS)}, "other data"),
        ({"batches": batches(ROWS[:-1])}, "other data"),
        ({"dtype": "float64"}, "other settings"),
        ({"sample_norm": "max"}, "other settings"),
        ({"targets": {"target_modules": ["lm_head"]}}, "no statistics of 1 of the 1 layers"),
        ({"model": llama(attention_bias=True)}, "another model"),
        ({"model": gpt2()}, "another model"),
    ],
)
def test_a_finished_folder_of_something_else_is_refused(folder, fields, said):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(InputError, match=said):
        collect(**{"model": llama(), "batches": batches(ROWS), **fields}, folder=folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_finished_folder_serves_fewer_layers_too(folder):
    found = collect(llama(), batches(ROWS), folder=folder, targets={"target_modules": ["v_proj"]})
    assert found.second_moment("model.layers.1.self_attn.v_proj").shape == (16, 16)


def cut(path):
    path.write_bytes(path.read_bytes()[:-40])


def replaced(path):
    save_file({name: tensor[:-1].clone() for name, tensor in load_file(path).items()}, path)


def emptied(path):
    save_file({"something": torch.zeros(2)}, path)


def flipped(path):
    content = bytearray(path.read_bytes())
    content[-9] ^= 0x40
    path.write_bytes(content)


def read_all(folder):
    found = load(folder)
    return [found.moments(layer) for layer in found.manifest.layers]


@pytest.mark.parametrize("tamper", [cut, replaced, emptied, flipped])
def test_sums_that_were_tampered_with(folder, tamper):
    tamper(folder / "moments-00000.safetensors")
    with pytest.raises(InputError, match="moments-00000.safetensors.*calibrate again"):
        read_all(folder)


CHANGED = {
    "no JSON": (lambda found: "{", "no statistics here"),
    "no mapping": (lambda found: "[]", "schema"),
    "a later schema": (lambda found: json.dumps(found | {"schema_": "retain.activations/9"}), "schema"),
    "no number": (lambda found: json.dumps(found | {"tokens": "many"}), "damaged"),
    "a field less": (lambda found: json.dumps({k: v for k, v in found.items() if k != "model_hash"}), "damaged"),
    "a field more": (lambda found: json.dumps(found | {"unknown": 1}), "damaged"),
    "layers without sums": (lambda found: json.dumps(found | {"sources": {}}), "damaged"),
    "a file elsewhere": (lambda found: json.dumps(found).replace("moments-00000", "../kept/moments-00000"), "missing"),
}


@pytest.mark.parametrize("kind", CHANGED)
def test_a_manifest_that_was_tampered_with(folder, kind):
    change, said = CHANGED[kind]
    (folder / "manifest.json").write_text(change(manifest(folder)))
    with pytest.raises(InputError, match=f"(?s){said}.*calibrat"):
        load(folder)


def test_what_is_missing_is_named(folder, tmp_path):
    (folder / "moments-00000.safetensors").unlink()
    with pytest.raises(InputError, match="moments-00000.safetensors is missing"):
        load(folder)
    with pytest.raises(InputError, match="no statistics here.*retain calibrate"):
        load(tmp_path / "nowhere")


def test_statistics_saved_into_their_own_folder_stay_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "LEADERS_A_FILE", 3)
    memory = collect(llama(), batches(ROWS))
    collect(llama(), batches(ROWS), folder=tmp_path).save(tmp_path)
    same_moments(load(tmp_path), memory, atol=1e-6)


def test_a_save_that_was_interrupted_leaves_no_manifest_of_other_sums(folder, monkeypatch):
    def full(*_):
        raise OSError("the disk is full")

    others = collect(llama(), batches(OTHERS))
    monkeypatch.setattr(store, "write_manifest", full)
    with pytest.raises(OSError, match="disk"):
        others.save(folder)
    with pytest.raises(InputError):
        load(folder)


def test_only_statistics_of_one_kind_are_merged():
    one = collect(llama(), batches(ROWS))
    for other, said in (
        (collect(gpt2(), batches(ROWS)), "model_hash, layers"),
        (collect(llama(), batches(ROWS), dtype="float64"), "dtype"),
        (collect(llama(), batches(ROWS), sample_norm="max", share_inputs=False), "layers, sample_norm"),
    ):
        with pytest.raises(InputError, match=f"cannot be merged.*{said}"):
            merge(one, other)
