"""Image files as arrays: whatever their format, and corrupted in the same way wherever they lie."""

import numpy as np
import pytest
from PIL import Image

from retain.data.images import broken_images, read_image
from retain.data.item_types import LabelledImage, LabelledText
from retain.errors import InputError
from tiny import write_images

TEXT = LabelledText(text="a b c", label="x")


def save(path, array, mode=None):
    Image.fromarray(array, mode).save(path)
    return LabelledImage(image=str(path), label="x")


def test_what_is_transparent_is_white(tmp_path):
    array = np.zeros((4, 4, 4), dtype=np.uint8)
    array[:2, :, 3] = 255
    found = read_image(save(tmp_path / "a.png", array))
    assert found[:2].max() == 0
    assert found[2:].min() == 255


def test_an_image_is_corrupted_in_the_same_way_wherever_it_lies(tmp_path):
    one = write_images(tmp_path / "one", 1) / "red" / "0-000.png"
    two = write_images(tmp_path / "two", 1) / "red" / "0-000.png"
    found = [
        read_image(LabelledImage(image=str(path), label="red", corruption=("gaussian_noise", severity, 0)))
        for path, severity in ((one, 3), (two, 3), (one, 5))
    ]
    plain = read_image(LabelledImage(image=str(one), label="red"))
    assert np.array_equal(found[0], found[1])
    distances = [np.abs(each.astype(float) - plain).mean() for each in found]
    assert 0 < distances[0] < distances[2]


def test_a_file_that_is_no_image_is_told(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"no image")
    broken = LabelledImage(image=str(path), label="x")
    with pytest.raises(InputError, match="a.png: cannot be read as an image"):
        read_image(broken)
    whole = save(tmp_path / "b.png", np.zeros((4, 4, 3), dtype=np.uint8))
    assert broken_images([whole, TEXT]) == []
    assert len(broken_images([whole, broken, broken])) == 1


def test_many_broken_images_are_counted(tmp_path):
    items = []
    for number in range(14):
        (tmp_path / f"{number}.png").write_bytes(b"x")
        items.append(LabelledImage(image=str(tmp_path / f"{number}.png"), label="x"))
    told = broken_images(items)
    assert len(told) == 11
    assert told[-1].startswith("and 4 more")
