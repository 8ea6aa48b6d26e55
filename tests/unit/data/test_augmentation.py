"""Augmentation: parts of the image and its mirror image, by seed, epoch and row alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tests.tiny import make_image_processor

from retain.data.augmentation import AREA, AUGMENTATIONS, View, Views, _part, augmentation_problems, augmented
from retain.data.item_types import LabelledImage
from retain.data.preprocess import ImagePreprocessor

SIDES = st.integers(1, 40)


def ramp(height, width):
    """Every pixel has a colour of its own: its row in red, its column in green."""
    rows, columns = np.indices((height, width), dtype=np.uint8)
    return np.stack([rows, columns, np.zeros_like(rows)], axis=-1)


@pytest.fixture
def items(tmp_path):
    for number in range(3):
        Image.fromarray(np.roll(ramp(32, 48) * 4, number * 5, axis=1)).save(tmp_path / f"{number}.png")
    return [LabelledImage(image=str(tmp_path / f"{number}.png"), label="a") for number in range(3)]


@given(SIDES, SIDES, st.integers(0, 2**32))
def test_an_augmented_image_has_the_size_and_only_colours_between_those_of_the_image(height, width, seed):
    image = ramp(height, width)
    seen = augmented(image, AUGMENTATIONS, np.random.default_rng(seed))
    assert seen.shape == image.shape
    assert seen.dtype == np.uint8
    assert (seen <= image.max(axis=(0, 1))).all()


@given(st.integers(8, 200), st.integers(8, 200), st.integers(0, 2**32))
def test_a_part_lies_within_the_image_and_has_the_area_and_shape_that_were_asked_for(height, width, seed):
    part = _part(height, width, np.random.default_rng(seed))
    if part is not None:
        left, top, right, bottom = part
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
        wide, high = right - left, bottom - top
        assert wide * high <= height * width
        assert (3 / 4) * (high - 1) - 1 <= wide <= (4 / 3) * (high + 1) + 1
        if max(height / width, width / height) < 1.3:  # nearly square: some part is found within ten draws
            assert wide * high >= AREA[0] * height * width - (wide + high + 1) / 2


def test_an_image_is_mirrored_in_half_of_the_cases_and_nothing_else_happens_to_it():
    image = ramp(6, 5)
    seen = [augmented(image, ("flip",), np.random.default_rng(seed)) for seed in range(400)]
    mirrored = sum(np.array_equal(one, image[:, ::-1]) for one in seen)
    assert mirrored + sum(np.array_equal(one, image) for one in seen) == 400
    assert 160 < mirrored < 240


def test_nothing_happens_where_nothing_is_asked_for():
    assert augmented(ramp(6, 5), (), np.random.default_rng(0)) is not None
    assert np.array_equal(augmented(ramp(6, 5), (), np.random.default_rng(0)), ramp(6, 5))


def test_epochs_rows_and_seeds_see_images_otherwise_and_each_again_alike(items):
    preprocessor = ImagePreprocessor(make_image_processor())

    def seen(seed, epoch, row):
        views = Views(items, ("crop", "flip"), seed)
        views.begin_epoch(epoch)
        return preprocessor.pixels(views[row])

    first = seen(0, 0, 0)
    assert (first == seen(0, 0, 0)).all()
    for other in (seen(1, 0, 0), seen(0, 1, 0), seen(0, 0, 1)):
        assert (first != other).any()
    assert (preprocessor.pixels(items[0]) != first).any()


def test_views_are_rows_of_the_same_classes(items):
    views = Views(items, ("flip",), 3)
    assert len(views) == 3
    assert [view.label for view in views] == ["a", "a", "a"]
    assert views[-1] == View(items[-1], ("flip",), (3, 0, 2))
    with pytest.raises(IndexError):
        views[3]


def test_kinds_that_there_are_not_are_told():
    assert augmentation_problems(("crop", "flip")) == []
    assert augmentation_problems(("rotate",)) == ["augment: expected crop or flip (found 'rotate')."]
