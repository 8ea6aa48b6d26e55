"""From items to inputs: what a model sees does not depend on what else is in its batch."""

import numpy as np
import pytest
import torch
from PIL import Image

from retain.data.items import Labelled, Picture
from retain.data.preprocess import PictureReader, TextReader, broken_pictures, labels_of, read_picture
from retain.errors import InputError
from tiny import make_picture_processor, make_text_tokenizer, make_tokenizer, write_pictures

ALONE = Labelled(text="a b c", label="x")
PAIRED = Labelled(text="a b", text_pair="c d e f", label="y")


def test_texts_are_padded_on_the_right_also_where_the_tokenizer_pads_on_the_left():
    tokenizer = make_tokenizer()
    tokenizer.padding_side = "left"
    batch = TextReader(tokenizer, 60).batch(["a b", "c"])
    assert batch["attention_mask"].tolist() == [[1, 1], [1, 0]]
    assert batch["input_ids"][1, 1] == tokenizer.pad_token_id


def test_a_pair_stays_a_pair_beside_a_text_alone():
    reader = TextReader(make_text_tokenizer(), 60)
    together = reader.batch([ALONE, PAIRED])
    for row, item in enumerate((ALONE, PAIRED)):
        alone = reader.batch([item])
        length = alone["input_ids"].shape[1]
        for key, value in alone.items():
            assert together[key][row, :length].tolist() == value[0].tolist()
    assert together["token_type_ids"][1].sum() == 5  # the second text and its end
    assert together["attention_mask"][0].sum() == 5


def test_what_is_too_long_is_cut_and_counted():
    reader = TextReader(make_text_tokenizer(), 6)
    items = [Labelled(text=" ".join("abcdefgh"), label="x"), ALONE]
    assert reader.batch(items)["input_ids"].shape == (2, 6)
    assert reader.lengths(items) == [10, 5]
    assert reader.lengths([]) == []


def save(path, array, mode=None):
    Image.fromarray(array, mode).save(path)
    return Picture(image=str(path), label="x")


def test_pixels_are_what_the_processor_says(tmp_path):
    array = np.random.default_rng(0).integers(0, 255, (16, 16, 3), dtype=np.uint8)
    found = PictureReader(make_picture_processor()).batch([save(tmp_path / "a.png", array)] * 2)["pixel_values"]
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
    items.append(Picture(image=str(tmp_path / "palette.gif"), label="x"))
    assert PictureReader(make_picture_processor()).batch(items)["pixel_values"].shape == (5, 3, 16, 16)


def test_what_is_transparent_is_white(tmp_path):
    array = np.zeros((4, 4, 4), dtype=np.uint8)
    array[:2, :, 3] = 255
    found = read_picture(save(tmp_path / "a.png", array))
    assert found[:2].max() == 0
    assert found[2:].min() == 255


def test_a_picture_is_spoilt_in_the_same_way_wherever_it_lies(tmp_path):
    one = write_pictures(tmp_path / "one", 1) / "red" / "0-000.png"
    two = write_pictures(tmp_path / "two", 1) / "red" / "0-000.png"
    found = [
        read_picture(Picture(image=str(path), label="red", corruption=("gaussian_noise", severity, 0)))
        for path, severity in ((one, 3), (two, 3), (one, 5))
    ]
    plain = read_picture(Picture(image=str(one), label="red"))
    assert np.array_equal(found[0], found[1])
    distances = [np.abs(each.astype(float) - plain).mean() for each in found]
    assert 0 < distances[0] < distances[2]


def test_a_file_that_is_no_picture_is_told(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"no picture")
    broken = Picture(image=str(path), label="x")
    with pytest.raises(InputError, match="a.png: cannot be read as a picture"):
        read_picture(broken)
    whole = save(tmp_path / "b.png", np.zeros((4, 4, 3), dtype=np.uint8))
    assert broken_pictures([whole, ALONE]) == []
    assert len(broken_pictures([whole, broken, broken])) == 1


def test_many_broken_pictures_are_counted(tmp_path):
    items = []
    for number in range(14):
        (tmp_path / f"{number}.png").write_bytes(b"x")
        items.append(Picture(image=str(tmp_path / f"{number}.png"), label="x"))
    told = broken_pictures(items)
    assert len(told) == 11
    assert told[-1].startswith("and 4 more")


def test_classes_are_named_once_and_sorted():
    assert labels_of([PAIRED, ALONE, PAIRED, "text"]) == ["x", "y"]
