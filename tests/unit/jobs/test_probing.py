"""A feature penalty in a run: contexts that CLIP's own text tower names, and centres of images to keep."""

import json

import pytest
import torch
from transformers import CLIPConfig, CLIPModel

from retain.events import SILENT
from retain.jobs.adapt import train_or_load
from retain.jobs.inputs.prepare import prepare
from retain.jobs.run import Run
from retain.recipe import Recipe
from retain.train.regularise.probes import CONTEXTS
from tiny import make_image_processor, make_text_tokenizer, write_images


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {**sizes, "vocab_size": 64, "max_position_embeddings": 32, "eos_token_id": 1, "bos_token_id": 2}
    config = CLIPConfig(text_config=text, vision_config={**sizes, "image_size": 16, "patch_size": 8}, projection_dim=12)
    CLIPModel(config).save_pretrained(folder / "clip")
    make_text_tokenizer().save_pretrained(folder / "clip")
    make_image_processor().save_pretrained(folder / "clip")
    for seed, name in enumerate(("train", "test")):
        write_images(folder / name, 6, seed)
    return folder


def test_contexts_of_the_text_tower_hold_the_features_of_images(place, tmp_path):
    given = {"model": str(place / "clip"), "train": str(place / "train"), "test": str(place / "test"), "max_steps": 2}
    recipe = Recipe(**given, output=str(tmp_path / "run"), method="lora", rank=2, drift=False, feature_weight=1.0)
    run = Run.of(recipe, prepare(recipe), SILENT)
    model, done = train_or_load(run, run.base(), "weights")
    kept = json.loads(next((tmp_path / "run").glob("probe-*.json")).read_text())
    assert (len(kept["directions"]), len(kept["projection"]), len(kept["projection"][0])) == (len(CONTEXTS), 12, 16)
    assert any(f"what {len(CONTEXTS)} contexts of the text tower say" in note for note in done.notes)
    assert {name for name, p in model.named_parameters() if "vision_model" in name and "lora" in name}


def test_images_to_keep_have_centres_of_their_own_and_are_what_the_penalty_reads(place, tmp_path):
    write_images(place / "kept", 10, 7)
    given = {"model": str(place / "clip"), "train": str(place / "train"), "test": str(place / "test"), "max_steps": 2}
    given |= {"method": "lora", "rank": 2, "drift": False, "feature_weight": 1.0, "feature_probe": "centres"}
    centres = {}
    for on in ("batch", "keep"):
        recipe = Recipe(**given, output=str(tmp_path / on), feature_on=on, calibrate_keep=str(place / "kept"))
        run = Run.of(recipe, prepare(recipe), SILENT)
        _, done = train_or_load(run, run.base(), "weights")
        [file] = (tmp_path / on).glob("probe-*.json")
        centres[on] = json.loads(file.read_text())["directions"]
        assert all(point.feature_kl_nats is not None for point in done.curve)
    assert len(centres["batch"]) == 9  # half of 18 training items
    assert len(centres["keep"]) == 15
    assert any("of the base's own of what is to be kept" in note for note in done.notes)
