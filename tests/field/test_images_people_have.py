"""Images as phones, scanners, microscopes and the web make them: shown upright, in their own range, or refused."""

from __future__ import annotations

import struct
import zlib
from collections import Counter

import numpy as np
import pytest
from PIL import Image, ImageOps
from transformers import ViTForImageClassification

import retain.data.images as module
from retain.cli.main import main
from retain.data.forms import read_rows
from retain.data.images import decoded
from tiny import make_image_processor, make_vit, write_images

RAMP = np.arange(256, dtype=np.float64).reshape(16, 16)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vit")
    make_vit().save_pretrained(folder)
    make_image_processor().save_pretrained(folder)
    return str(folder)


@pytest.fixture
def flags(model, tmp_path):
    train, test = write_images(tmp_path / "train", 4), write_images(tmp_path / "test", 4, seed=1)
    return ["--model", model, "--train", str(train), "--test", str(test), "--output", str(tmp_path / "run")]


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "tiff"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_phones_photo_is_upright(kind, orientation, tmp_path):
    array = np.zeros((20, 40, 3), dtype=np.uint8)
    array[:, 20:], array[10:, :, 2] = (250, 20, 20), 250
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{kind}"
    more = {"quality": 98, "lossless": True} if kind == "webp" else {"quality": 98} if kind == "jpeg" else {}
    Image.fromarray(array).save(path, exif=exif, **more)
    shown = np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB")).astype(int)
    assert shown.shape[:2] == ((40, 20) if orientation > 4 else (20, 40))
    assert np.abs(decoded(path) - shown).max() == 0
    turned = {
        1: array, 2: array[:, ::-1], 3: array[::-1, ::-1], 4: array[::-1], 5: array.swapaxes(0, 1),
        6: np.rot90(array, -1), 7: array[::-1, ::-1].swapaxes(0, 1), 8: np.rot90(array, 1),
    }[orientation]  # fmt: skip
    assert np.abs(shown - turned).mean() < 6, "as the standard says, up to JPEG's losses"


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("r16.png", (RAMP * 257).astype(np.uint16)),
        ("r16.tif", (RAMP * 257).astype(np.uint16)),
        ("big.tif", (RAMP * 257).astype(">u2")),
        ("r12.png", np.rint(RAMP / 255 * 4095).astype(np.uint16)),
        ("r12.tif", np.rint(RAMP / 255 * 4095).astype(np.uint16)),
        ("float.tif", (RAMP / 255).astype(np.float32)),
        ("float255.tif", RAMP.astype(np.float32)),
        ("int32.tif", (RAMP * 257).astype(np.int32)),
    ],
)
def test_a_scan_of_more_than_8_bits_keeps_its_256_levels(name, array, tmp_path):
    Image.fromarray(array).save(tmp_path / name)
    found = decoded(tmp_path / name)
    assert len(np.unique(found)) == 256
    assert np.array_equal(found[:, :, 1], RAMP.astype(np.uint8))


def png(path, width, height, rows=b"", depth=8, colour=0, frames=1):
    """A PNG written by hand."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = [b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    path.write_bytes(b"".join(parts * frames))
    return path


def test_16_bits_of_colour_and_of_grey_with_transparency(tmp_path):
    """Pillow writes neither, so the files are made by hand: 48-bit RGB, and grey + alpha of 16 bits each."""
    rows = b"\0" + struct.pack(">6H", 65535, 0, 32768, 0, 65535, 257)
    assert decoded(png(tmp_path / "rgb.png", 2, 1, rows, depth=16, colour=2)).tolist() == [[[255, 0, 128], [0, 255, 1]]]
    rows = b"\0" + struct.pack(">4H", 0, 0, 32768, 65535)
    assert decoded(png(tmp_path / "la.png", 2, 1, rows, depth=16, colour=4)).tolist() == [[[255] * 3, [128] * 3]]


def test_an_animation_shows_its_first_frame(tmp_path):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    for name in ("a.gif", "a.webp", "a.png"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], duration=100, lossless=True)
        assert decoded(tmp_path / name)[0, 0].tolist() == [255 if name != "a.gif" else 254, 0, 0] or name == "a.gif"
        assert decoded(tmp_path / name)[0, 0, 0] > 250


@pytest.mark.parametrize("kind", ["jpeg", "png", "gif", "tiff", "webp", "bmp"])
@pytest.mark.parametrize("part", ["train", "test"])
def test_check_finds_a_file_that_a_download_cut_off(kind, part, flags, tmp_path, capsys):
    generator = np.random.default_rng(0)
    path = tmp_path / part / "red" / f"cut.{kind}"
    Image.fromarray(generator.integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert main(["check", *flags]) == 2
    told = capsys.readouterr().err
    assert f"{path}: cannot be read as an image (" in told
    assert "one problem" in told


def test_check_finds_it_in_a_suite_to_keep(flags, tmp_path, capsys):
    keep = write_images(tmp_path / "kept", 3, seed=2)
    path = keep / "blue" / "2-000.png"
    path.write_bytes(path.read_bytes()[:400])
    assert main(["check", *flags, "--keep", str(keep)]) == 2
    assert f"{path}: cannot be read" in capsys.readouterr().err


def bomb(path):
    return png(path, 20_000, 20_000)


def modest_bomb(path):
    return png(path, 12_000, 12_000)


def bomb_tiff(path):
    Image.new("1", (10_000, 10_000)).save(path, "TIFF", compression="group4")
    return path


@pytest.mark.parametrize("make", [bomb, modest_bomb, bomb_tiff])
def test_a_bomb_is_refused_without_decoding_it(make, flags, tmp_path, capsys):
    path = make(tmp_path / "train" / "red" / "bomb.png")
    assert main(["check", *flags]) == 2
    told = capsys.readouterr().err
    assert f"{path}: is too large to decode (" in told
    assert "at most 89 million pixels" in told


def test_what_is_no_image_is_refused_by_name(flags, tmp_path, capsys):
    folder = tmp_path / "train" / "red"
    (folder / "empty.png").write_bytes(b"")
    (folder / "page.gif").write_bytes(b"<html>not found</html>")
    (folder / "head.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    png(folder / "zero.png", 0, 5)
    png(folder / "hollow.png", 5, 5)
    Image.fromarray(np.full((4, 4), np.nan, dtype=np.float32)).save(folder / "nan.tif")
    assert main(["check", *flags]) == 2
    told = capsys.readouterr().err
    for name in ("empty.png", "page.gif", "head.jpg", "zero.png", "hollow.png", "nan.tif"):
        assert f"{folder / name}: cannot be read as an image (" in told, name


def test_of_very_many_images_some_are_decoded_and_it_is_said(flags, monkeypatch, capsys):
    monkeypatch.setattr(module, "DECODED_PIXELS", 6 * 16 * 16)
    assert main(["check", *flags]) == 0
    assert "images: 6 of 24, evenly spread, were decoded whole" in capsys.readouterr().out
    monkeypatch.undo()
    assert main(["check", *flags]) == 0
    assert "evenly spread" not in capsys.readouterr().out


def test_damaged_metadata_turn_nothing(tmp_path):
    path = tmp_path / "a.jpg"
    Image.new("RGB", (8, 4), "red").save(path, exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert decoded(path).shape == (4, 8, 3)


def test_a_model_sees_a_16_bit_scan_as_its_8_bit_copy(tmp_path):
    from retain.data.item_types import LabelledImage
    from retain.data.preprocess import ImagePreprocessor

    Image.fromarray((RAMP * 257).astype(np.uint16)).save(tmp_path / "deep.png")
    Image.fromarray(RAMP.astype(np.uint8)).save(tmp_path / "flat.png")
    preprocessor = ImagePreprocessor(make_image_processor())
    items = [LabelledImage(image=str(tmp_path / name), label="x") for name in ("deep.png", "flat.png")]
    pixels = preprocessor.batch(items)["pixel_values"]
    assert bool((pixels[0] == pixels[1]).all())
    assert pixels.std() > 0.3
    assert ViTForImageClassification(make_vit().config)(pixels).logits.shape == (2, 2)


def images_of(folder):
    problems: list[str] = []
    items = read_rows(str(folder), problems).items
    assert problems == []
    return Counter(item.label for item in items)


def test_files_that_systems_leave_beside_images_are_neither_images_nor_classes(tmp_path):
    folder = write_images(tmp_path / "pets" / "data", 2)
    for name in (".ipynb_checkpoints", "__MACOSX"):
        write_images(folder / name, 1, classes=("red",))
        write_images(folder.parent / name, 1)
        Image.new("RGB", (4, 4)).save(folder / name / "red-checkpoint.png")
    (folder / "red" / "._0-000.png").write_bytes(b"\0\5\x16\7")
    assert images_of(folder) == images_of(folder.parent) == {"blue": 2, "green": 2, "red": 2}


def test_images_deeper_in_the_folder_of_a_class_are_of_this_class(tmp_path):
    folder = write_images(tmp_path / "pets", 2)
    write_images(folder / "red", 1, seed=3, classes=("2024", "2025"))
    assert images_of(folder) == {"blue": 2, "green": 2, "red": 4}


@pytest.mark.parametrize("ending", ["jfif", "JPE", "avif", "ppm", "heic"])
def test_an_image_with_a_rarer_ending_is_not_left_out(tmp_path, ending):
    folder = write_images(tmp_path / "pets", 2)
    (folder / "red" / "0-000.png").rename(folder / "red" / f"photo.{ending}")
    assert images_of(folder) == {"blue": 2, "green": 2, "red": 2}


def test_an_address_in_a_table_of_images_is_told_for_what_it_is(tmp_path):
    (tmp_path / "a.csv").write_text("image,label\nhttps://example.org/1.png,a\nhttps://example.org/2.png,b\n")
    problems: list[str] = []
    read_rows(str(tmp_path / "a.csv"), problems)
    assert "is an address and no path (https://example.org/1.png)" in problems[0]
