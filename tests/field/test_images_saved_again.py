"""One picture in training and test, saved again: as JPEG, smaller, lighter, with transparency, turned by a tag."""

import numpy as np
import pytest
from PIL import Image

from retain.data.item_types import LabelledImage
from retain.data.near_images import find_near_images
from tiny import write_images


def picture(seed, side=96):
    """Something like a photograph: smooth shapes of all sizes, every seed another."""
    generator = np.random.default_rng(seed)
    layers = [
        np.asarray(
            Image.fromarray(generator.integers(0, 255, (cells, cells, 3), dtype=np.uint8)).resize(
                (side, side), Image.Resampling.BICUBIC
            ),
            dtype=float,
        )
        for cells in (3, 6, 12, 24)
    ]
    shades = 128 + 1.6 * (np.average(layers, axis=0, weights=(8, 4, 2, 1)) - 128)
    return Image.fromarray(np.clip(shades, 0, 255).astype(np.uint8))


def tagged(image):
    """The image on its side, with a tag by which viewers turn it back."""
    tags = Image.Exif()
    tags[0x0112] = 6
    return image.rotate(90, expand=True), {"exif": tags}


AGAIN = {
    "jpeg": ("jpg", lambda image: (image, {"quality": 40})),
    "half": ("png", lambda image: (image.resize((48, 48)), {})),
    "larger jpeg": ("jpg", lambda image: (image.resize((150, 150)), {"quality": 75})),
    "lighter": ("png", lambda image: (image.point(lambda value: value // 2 + 100), {})),
    "transparent": ("png", lambda image: (image.convert("RGBA"), {})),
    "on its side": ("jpg", tagged),
    "webp": ("webp", lambda image: (image, {"quality": 50})),
}


def items_in(folder, count, first=0):
    folder.mkdir(exist_ok=True)
    items = []
    for seed in range(first, first + count):
        picture(seed).save(folder / f"{seed}.png")
        items.append(LabelledImage(image=str(folder / f"{seed}.png"), label="a"))
    return items


@pytest.mark.parametrize("way", AGAIN)
def test_a_test_image_that_is_a_training_image_saved_again_is_told(tmp_path, way):
    train, test = items_in(tmp_path / "train", 6), items_in(tmp_path / "test", 5, first=6)
    ending, change = AGAIN[way]
    image, options = change(picture(2))
    image.save(tmp_path / "test" / f"again.{ending}", **options)
    test.append(LabelledImage(image=str(tmp_path / "test" / f"again.{ending}"), label="a"))
    (told,) = find_near_images(train, test, {})
    assert told.startswith("1 of 6 images of test look like training images saved in another way")
    assert f"again.{ending}" in told
    assert str(tmp_path / "train" / "2.png") in told


def test_each_retention_suite_is_told_of_with_its_name(tmp_path):
    train, keep = items_in(tmp_path / "train", 3), items_in(tmp_path / "keep", 2, first=1)
    for item in keep:
        with Image.open(item.image) as image:
            image.resize((64, 64)).save(item.image)
    (told,) = find_near_images(train, [], {"birds": keep})
    assert told.startswith("2 of 2 images of retention suite 'birds'")


def test_other_pictures_blank_ones_and_tiny_ones_are_not_alike(tmp_path):
    assert find_near_images(items_in(tmp_path / "a", 40), items_in(tmp_path / "b", 40, first=40), {}) == []
    noisy = write_images(tmp_path / "noise", 12)
    paths = sorted(noisy.rglob("*.png"))
    items = [LabelledImage(image=str(path), label="a") for path in paths]
    assert find_near_images(items[::2], items[1::2], {}) == []
    for name, size, colour in [("w", 64, 255), ("v", 64, 254), ("s", 8, 0), ("t", 8, 1)]:
        Image.new("L", (size, size), colour).save(tmp_path / f"{name}.png")
    blank = [LabelledImage(image=str(tmp_path / f"{name}.png"), label="a") for name in "wvst"]
    assert find_near_images(blank[::2], blank[1::2], {}) == []


def test_a_broken_image_is_passed_over(tmp_path):
    train = items_in(tmp_path / "train", 2)
    (tmp_path / "cut.png").write_bytes((tmp_path / "train" / "0.png").read_bytes()[:400])
    assert find_near_images(train, [LabelledImage(image=str(tmp_path / "cut.png"), label="a")], {}) == []


def test_where_there_are_too_many_to_compare_it_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr("retain.data.images.DECODED_PIXELS", 96 * 96 * 3)
    train, test = items_in(tmp_path / "train", 4), items_in(tmp_path / "test", 2, first=4)
    assert find_near_images(train, test, {}) == ["images: 3 of 6, evenly spread, were compared for near-duplicates."]
