"""Figures of statistics against numpy on the very inputs, of adapters against their note; and what is refused."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import retain
from calibration import batches, gpt2, sentences
from retain.activations import collect
from retain.compare.inspection_rows import StartView, StatisticsView
from retain.errors import InputError
from retain.events import SILENT
from retain.jobs import inspect as module
from retain.jobs.inspect import inspect
from tiny import make_llama

LEARN, KEEP = batches(sentences(40)), batches(sentences(40, seed=1))
RANK = 4


def look(path, rank=RANK):
    return inspect(path, rank, SILENT)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What `retain calibrate` writes for a tiny Llama."""
    made = tmp_path_factory.mktemp("statistics")
    for name, rows in (("learn", LEARN), ("keep", KEEP)):
        collect(make_llama(), rows, folder=made / name, name=name)
    return made


@pytest.fixture(scope="module")
def adapter(tmp_path_factory):
    """An adapter of sc-lora as it is saved."""
    made = tmp_path_factory.mktemp("run") / "adapter"
    model = retain.sc_lora(make_llama(), retain.SCLoRAConfig(r=3), learn=LEARN, keep=KEEP)
    model.save_pretrained(made)
    return made


@pytest.fixture
def copied(adapter, tmp_path):
    return shutil.copytree(adapter, tmp_path / "adapter")


def inputs_of(layer, rows):
    """The inputs of a layer over the tokens that count (T, n), seen by a hook of our own; a matrix a sequence."""
    model, seen = make_llama(), []
    model.get_submodule(layer).register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    found = []
    with torch.no_grad():
        for batch in rows:
            model(**batch)
            found += [x[m.bool()].double().numpy() for x, m in zip(seen.pop(), batch["attention_mask"], strict=True)]
    return found


# Statistics -----------------------------------------------------------------------------------------------------------


def test_there_is_a_row_for_each_distinct_input(folder):
    view = look(folder)
    assert isinstance(view, StatisticsView)
    assert [row.kind for row in view.rows] == [
        "q_proj, k_proj, v_proj",
        "o_proj",
        "gate_proj, up_proj",
        "down_proj",
    ] * 2
    assert [row.depth for row in view.rows] == [0] * 4 + [1] * 4
    assert [row.n for row in view.rows] == [32, 32, 32, 48] * 2
    assert view.rows[0].layers == tuple(f"model.layers.0.self_attn.{name}_proj" for name in "qkv")
    assert {name: record.sequences for name, record in view.sets.items()} == {"learn": 40, "keep": 40}


@pytest.mark.parametrize("layer", ["model.layers.0.self_attn.q_proj", "model.layers.1.mlp.down_proj"])
def test_the_figures_are_those_of_the_inputs_themselves(layer, folder):
    row = next(row for row in look(folder).rows if layer in row.layers)
    spaces = {}
    for name, rows in (("learn", LEARN), ("keep", KEEP)):
        samples = inputs_of(layer, rows)
        x = np.concatenate(samples)
        _, singular, right = np.linalg.svd(x, full_matrices=False)
        squares = singular**2
        spaces[name] = right[:RANK]
        facts = row.sets[name]
        assert facts.tokens == len(x)
        assert facts.mean_square == pytest.approx((x**2).mean(), rel=1e-5)
        assert facts.top_share == pytest.approx(squares[0] / squares.sum(), rel=1e-5)
        assert facts.effective_rank == pytest.approx(squares.sum() ** 2 / (squares**2).sum(), rel=1e-5)
        assert facts.spectrum == pytest.approx(squares / squares.sum(), abs=1e-6)
        assert facts.largest_sample == pytest.approx(max((s**2).sum() for s in samples) / (x**2).sum(), rel=1e-5)
    shared = np.linalg.svd(spaces["learn"] @ spaces["keep"].T, compute_uv=False)
    assert row.overlap == pytest.approx((shared**2).mean(), abs=1e-4)
    assert row.random == RANK / row.n


def test_equal_data_overlap_wholly_and_are_found(folder, tmp_path):
    for name in ("learn", "keep"):
        shutil.copytree(folder / "learn", tmp_path / name)
    view = look(tmp_path)
    assert [row.overlap for row in view.rows] == pytest.approx([1] * 8)
    assert any("learn and keep share 40 of 40 sequences" in finding for finding in view.findings)


def test_one_set_has_no_overlap(folder, tmp_path):
    view = look(folder / "keep")
    assert list(view.sets) == ["keep"]
    assert {row.overlap for row in view.rows} == {None}
    assert view.rows[0].random is None
    shutil.copytree(folder / "keep", tmp_path / "keep")
    assert look(tmp_path).rows == view.rows


def test_a_run_s_own_statistics_are_found_by_the_beginning_of_their_names(folder, tmp_path):
    shutil.copytree(folder / "learn", tmp_path / "learn-0123456789ab")
    shutil.copytree(folder / "keep", tmp_path / "keep-0123456789ab")
    assert look(tmp_path).rows == look(folder).rows
    shutil.copytree(folder / "keep", tmp_path / "keep-ba9876543210")
    with pytest.raises(InputError, match="several sets of texts to keep"):
        look(tmp_path)


def test_a_large_input_is_solved_as_a_small_one(folder, monkeypatch):
    dense = look(folder, rank=2)
    monkeypatch.setattr(module, "DENSE_LIMIT", 0)
    for row, other in zip(look(folder, rank=2).rows, dense.rows, strict=True):
        assert row.overlap == pytest.approx(other.overlap, abs=1e-6)
        for name, facts in row.sets.items():
            assert facts.spectrum == pytest.approx(other.sets[name].spectrum, abs=1e-9)


def test_no_more_directions_are_compared_than_there_are(folder, tmp_path):
    assert {row.rank for row in look(folder, rank=1000).rows} == {32, 48}
    few = [{"input_ids": torch.tensor([[5, 6, 7]]), "attention_mask": torch.ones(1, 3, dtype=torch.long)}]
    shutil.copytree(folder / "learn", tmp_path / "learn")
    collect(make_llama(), few, folder=tmp_path / "keep", name="keep")
    assert {row.rank for row in look(tmp_path).rows} == {3}


def test_sets_of_different_models_are_not_compared(folder, tmp_path):
    shutil.copytree(folder / "learn", tmp_path / "learn")
    collect(make_llama(seed=1), KEEP, folder=tmp_path / "keep", name="keep")
    view = look(tmp_path)
    assert "different models" in view.findings[0]
    assert {row.overlap for row in view.rows} == {None}


def test_a_layer_that_one_set_lacks_has_the_other_s_figures(folder, tmp_path):
    shutil.copytree(folder / "learn", tmp_path / "learn")
    collect(make_llama(), KEEP, targets={"target_modules": ["q_proj", "v_proj"]}, folder=tmp_path / "keep")
    rows = look(tmp_path).rows
    assert [(row.layers[0].split(".", 3)[-1], list(row.sets)) for row in rows[:3]] == [
        ("self_attn.q_proj", ["learn", "keep"]),
        ("self_attn.k_proj", ["learn"]),
        ("self_attn.o_proj", ["learn"]),
    ]
    assert rows[0].overlap is not None
    assert rows[1].overlap is None


def test_inputs_that_are_all_zero_are_told_as_such(tmp_path):
    model = make_llama()
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight.zero_()  # down_proj then reads zeros
    for name in ("learn", "keep"):
        collect(model, LEARN, folder=tmp_path / name, name=name)
    row = next(row for row in look(tmp_path).rows if row.layers == ("model.layers.0.mlp.down_proj",))
    assert row.overlap is None
    assert row.sets["learn"].model_dump() | {"tokens": 0} == {
        "tokens": 0, "mean_square": 0, "top_share": 0, "effective_rank": 0, "largest_sample": 0, "spectrum": ()
    }  # fmt: skip


def test_biases_scaled_samples_and_two_layers_of_one_name(tmp_path):
    collect(gpt2(), LEARN, folder=tmp_path, name="learn", sample_norm="max")
    view = look(tmp_path)
    assert [row.kind for row in view.rows[:4]] == ["c_attn", "attn.c_proj", "c_fc", "mlp.c_proj"]
    assert view.rows[0].n == 16, "the input itself, without the 1 for the bias"
    assert next(iter(view.sets.values())).sample_norm == "max"


# Adapters -------------------------------------------------------------------------------------------------------------


def test_an_adapter_s_rows_are_those_of_its_note(adapter):
    view = look(adapter)
    assert isinstance(view, StartView)
    note = json.loads((adapter / "retain_initialisation.json").read_text("utf-8"))
    own = {"kind", "depth", "outputs"}
    assert [json.loads(row.model_dump_json(exclude=own)) for row in view.rows] == note["layers"]
    assert list(view.findings) == note["findings"]
    assert (view.rank, view.settings, view.data) == (3, note["config"], note["data"])
    weights = load_file(adapter / "adapter_model.safetensors")
    assert [row.outputs for row in view.rows] == [
        len(weights[f"base_model.model.{row.layer}.lora_B.weight"]) for row in view.rows
    ]
    assert {row.kind for row in view.rows} == {f"{name}_proj" for name in ("q", "k", "v", "o", "gate", "up", "down")}


def test_a_run_s_adapter_is_found_in_it(adapter):
    assert look(adapter.parent) == look(adapter)


def test_weights_are_not_needed(copied):
    (copied / "adapter_model.safetensors").unlink()
    assert {row.outputs for row in look(copied).rows} == {None}
    (copied / "adapter_model.safetensors").write_bytes(b"no weights")
    assert {row.outputs for row in look(copied).rows} == {None}


def test_a_relative_without_rows_is_refused(tmp_path):
    config = retain.SCLoRAConfig(r=2, initialisation="milora")
    retain.sc_lora(make_llama(), config).save_pretrained(tmp_path)
    with pytest.raises(InputError, match="milora.*keeps no account"):
        look(tmp_path)


@pytest.mark.parametrize("damage", [
    lambda note: note["layers"][0].pop("overlap"),
    lambda note: note["layers"][0].update(layer=3),
    lambda note: note["layers"][0].update(share_learn=float("nan")),
    lambda note: note["layers"][0].update(more=1),
    lambda note: note.update(layers=7),
    lambda note: note.update(layers=["x"]),
    lambda note: note.pop("config"),
    lambda note: note["config"].update(r=None),
    lambda note: note.pop("findings"),
])  # fmt: skip
def test_a_damaged_note_is_refused(copied, damage):
    path = copied / "retain_initialisation.json"
    note = json.loads(path.read_text("utf-8"))
    damage(note)
    path.write_text(json.dumps(note), encoding="utf-8")
    with pytest.raises(InputError, match=r"retain_initialisation.json: .*damaged.*(make the adapter again|remove it)"):
        look(copied)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"schema": "retain.initialisation/9"}'])
def test_a_note_of_another_kind_is_refused(copied, text):
    (copied / "retain_initialisation.json").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"retain_initialisation.json"):
        look(copied)


# Bad input ------------------------------------------------------------------------------------------------------------


def test_what_is_neither_is_refused_with_what_to_try(tmp_path, copied):
    with pytest.raises(InputError, match="no such folder"):
        look(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="neither statistics nor an adapter"):
        look(tmp_path / "empty")
    (copied / "retain_initialisation.json").unlink()
    for place in (copied, copied.parent):
        with pytest.raises(InputError, match=r"without retain_initialisation.json.*retain measure --tuned"):
            look(place)
    with pytest.raises(InputError, match="rank=0"):
        look(tmp_path, rank=0)


@pytest.mark.parametrize("text", ["{", "{}", '{"schema_": "retain.activations/1"}'])
def test_a_damaged_manifest_is_refused(folder, tmp_path, text):
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / "keep" / "manifest.json").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="calibrate"):
        look(tmp_path)


def test_damaged_sums_are_refused(folder, tmp_path):
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / "keep" / "moments-00000.safetensors").write_bytes(b"damaged")
    with pytest.raises(InputError, match="damaged"):
        look(tmp_path)


def test_sums_that_are_not_finite_are_refused():
    made = collect(make_llama(), LEARN)
    made.moments("model.layers.0.mlp.down_proj").gram[3] = float("nan")
    with pytest.raises(InputError, match=r"sums of model.layers.0.mlp.down_proj are not finite"):
        module._facts(made, "model.layers.0.mlp.down_proj", 4)


def test_an_interrupted_calibration_is_named(folder, tmp_path):
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / "keep" / "manifest.json").rename(tmp_path / "keep" / "unfinished-0.json")
    for place in (tmp_path, tmp_path / "keep"):
        with pytest.raises(InputError, match="interrupted"):
            look(place)
