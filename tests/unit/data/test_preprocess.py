"""From items to inputs: what a model sees does not depend on what else is in its batch."""

import numpy as np
import torch
from PIL import Image

from retain.data.item_types import LabelledImage, LabelledText
from retain.data.preprocess import ImagePreprocessor, TextPreprocessor
from tiny import make_image_processor, make_text_tokenizer, make_tokenizer

ALONE = LabelledText(text="a b c", label="x")
PAIRED = LabelledText(text="a b", text_pair="c d e f", label="y")


def test_texts_are_padded_on_the_right_also_where_the_tokenizer_pads_on_the_left():
    tokenizer = make_tokenizer()
    tokenizer.padding_side = "left"
    batch = TextPreprocessor(tokenizer, 60).batch(["a b", "c"])
    assert batch["attention_mask"].tolist() == [[1, 1], [1, 0]]
    assert batch["input_ids"][1, 1] == tokenizer.pad_token_id


def test_a_pair_stays_a_pair_beside_a_text_alone():
    preprocessor = TextPreprocessor(make_text_tokenizer(), 60)
    together = preprocessor.batch([ALONE, PAIRED])
    for row, item in enumerate((ALONE, PAIRED)):
        alone = preprocessor.batch([item])
        length = alone["input_ids"].shape[1]
        for key, value in alone.items():
            assert together[key][row, :length].tolist() == value[0].tolist()
    assert together["token_type_ids"][1].sum() == 5  # the second text and its end
    assert together["attention_mask"][0].sum() == 5


def test_what_is_too_long_is_cut_and_counted():
    preprocessor = TextPreprocessor(make_text_tokenizer(), 6)
    items = [LabelledText(text=" ".join("abcdefgh"), label="x"), ALONE]
    assert preprocessor.batch(items)["input_ids"].shape == (2, 6)
    assert preprocessor.lengths(items) == [10, 5]
    assert preprocessor.lengths([]) == []


def save(path, array, mode=None):
    Image.fromarray(array, mode).save(path)
    return LabelledImage(image=str(path), label="x")


def test_pixels_are_what_the_processor_says(tmp_path):
    array = np.random.default_rng(0).integers(0, 255, (16, 16, 3), dtype=np.uint8)
    found = ImagePreprocessor(make_image_processor()).batch([save(tmp_path / "a.png", array)] * 2)["pixel_values"]
    by_hand = torch.from_numpy((array / 255 - 0.5) / 0.5).permute(2, 0, 1).float()
    assert found.shape == (2, 3, 16, 16)
    torch.testing.assert_close(found[1], by_hand, atol=1e-6, rtol=0)


def test_pictures_of_every_size_and_colour_mode_become_one_shape(tmp_path):
    generator = np.random.default_rng(0)
    items = [
        save(tmp_path / "grey.png", generator.integers(0, 255, (9, 30), dtype=np.uint8)),
        save(tmp_path / "clear.png", generator.integers(0, 255, (40, 7, 4), dtype=np.uint8)),
        save(tmp_path / "thin.png", generator.integers(0, 255, (3, 1, 3), dtype=np.uint8)),
        save(tmp_path / "photo.jpg", generator.integers(0, 255, (20, 20, 3), dtype=np.uint8)),
    ]
    Image.open(items[0].image).convert("P").save(tmp_path / "palette.gif")
    items.append(LabelledImage(image=str(tmp_path / "palette.gif"), label="x"))
    assert ImagePreprocessor(make_image_processor()).batch(items)["pixel_values"].shape == (5, 3, 16, 16)
