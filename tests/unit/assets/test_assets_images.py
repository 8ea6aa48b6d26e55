import gzip
import io
import json
import struct
import tarfile

import numpy as np
import pytest
from PIL import Image
from retain_assets.digits import chosen, halves, make_fashion, read_idx
from retain_assets.emoji import emoji, make, split
from retain_assets.fetch import AssetError
from retain_assets.images import on_white
from retain_assets.onnx_weights import Product, read_weights
from retain_assets.vit import named


def png(color):
    buffer = io.BytesIO()
    Image.new("RGBA", (4, 4), color).save(buffer, format="PNG")
    return buffer.getvalue()


def record(code, category="Food & Drink", **changes):
    own = {"unified": code, "category": category, "short_name": f"n{code}", "image": f"{code.lower()}.png"}
    return own | {"has_img_google": True, "has_img_twitter": True} | changes


def test_what_is_transparent_becomes_white():
    picture = Image.open(io.BytesIO(on_white(png((0, 0, 0, 0)))))
    assert picture.mode == "RGB"
    assert picture.getpixel((0, 0)) == (255, 255, 255)


def test_flags_joined_codes_and_pictures_of_one_style_are_left_out():
    records = [
        record("1F350"),
        record("1F1E6", "Flags"),
        record("1F3C3-200D-2640-FE0F", "People & Body"),
        record("1F600", has_img_twitter=False),
    ]
    assert [(each.code, each.category) for each in emoji(records)] == [("1F350", "food-drink")]


def test_the_parts_of_the_emoji_are_disjoint_and_the_test_is_balanced():
    found = emoji([record(f"{n:X}", "Objects" if n % 3 else "Symbols") for n in range(60)])
    train, test = split(found, 30, 5)
    assert not {each.code for each in train} & {each.code for each in test}
    assert [sum(each.category == name for each in test) for name in ("objects", "symbols")] == [5, 5]
    assert [sum(each.category == name for each in train) for name in ("objects", "symbols")] == [30, 15]
    assert split(found[::-1], 30, 5) == (train, test)


def package(path, style, records, color):
    with tarfile.open(path, "w:gz") as archive:
        files = {"package/emoji.json": json.dumps(records).encode()}
        files |= {f"package/img/{style}/64/{each['image']}": png(color) for each in records}
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def test_both_styles_are_written_and_the_tables_name_their_pictures(tmp_path):
    records = [record(f"{n:X}") for n in range(30)]
    google = package(tmp_path / "google.tgz", "google", records, "red")
    twitter = package(tmp_path / "twitter.tgz", "twitter", records, "blue")
    counts = make(google, twitter, tmp_path)
    assert counts == {"categories": 1, "google-train": 5, "google-test": 25, "twitter-test": 25}
    for table, color in (("google-train", (255, 0, 0)), ("twitter-test", (0, 0, 255))):
        for line in (tmp_path / "emoji" / f"{table}.jsonl").read_text(encoding="utf-8").splitlines():
            picture = Image.open(tmp_path / "emoji" / json.loads(line)["image"])
            assert picture.getpixel((0, 0)) == color


def test_a_missing_picture_is_named(tmp_path):
    records = [record("1F350")]
    google = package(tmp_path / "google.tgz", "google", records, "red")
    with pytest.raises(FileNotFoundError, match="1f350"):
        make(google, package(tmp_path / "twitter.tgz", "other", records, "blue"), tmp_path)


def test_halves_hold_every_label_equally_and_no_picture_twice():
    labels = [str(n % 5) for n in range(100)]
    bank, test = halves(chosen(labels, 8), labels)
    assert not set(bank) & set(test)
    for part in (bank, test):
        assert [sum(labels[index] == label for index in part) for label in "01234"] == [4] * 5


def idx(values):
    return b"\0\0\x08" + bytes([values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


def test_idx_files_are_read_back():
    values = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    assert np.array_equal(read_idx(idx(values)), values)
    with pytest.raises(ValueError, match="IDX"):
        read_idx(b"\0\0\x0d\x01")


def test_clothes_come_with_their_names(tmp_path):
    folder = tmp_path / "package" / "usr/share/datasets/fashion-mnist"
    folder.mkdir(parents=True)
    numbers = np.repeat(np.arange(10, dtype=np.uint8), 50)
    images = np.broadcast_to(numbers[:, None, None], (500, 28, 28)).astype(np.uint8)
    for part in ("train", "t10k"):
        for kind, values in (("images-idx3", images), ("labels-idx1", numbers)):
            (folder / f"{part}-{kind}-ubyte.gz").write_bytes(gzip.compress(idx(values)))
    assert make_fashion(tmp_path / "package", tmp_path) == {"bank": 500, "test": 500}
    rows = [json.loads(line) for line in (tmp_path / "fashion" / "test.jsonl").read_text(encoding="utf-8").splitlines()]
    shown = {row["label"]: Image.open(tmp_path / "fashion" / row["image"]).getpixel((3, 3)) for row in rows}
    assert (shown["t-shirt"], shown["sneaker"], shown["ankle-boot"]) == (0, 7, 9)


def varint(value):
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def counted(number, content):
    return varint(number << 3 | 2) + varint(len(content)) + content


def tensor(name, values, *, packed=False):
    sizes = b"".join(map(varint, values.shape))
    shape = counted(1, sizes) if packed else b"".join(varint(1 << 3) + varint(size) for size in values.shape)
    return counted(5, shape + varint(2 << 3) + b"\x01" + counted(8, name.encode()) + counted(9, values.tobytes()))


def product(name, *inputs):
    content = b"".join(counted(1, each.encode()) for each in inputs)
    return counted(1, content + counted(3, name.encode()) + counted(4, b"MatMul"))


@pytest.mark.parametrize("packed", [False, True])
def test_weights_and_products_are_read_from_an_onnx_file(packed):
    values = np.random.default_rng(0).standard_normal((3, 200), dtype=np.float32)
    graph = product("/a/MatMul", "x", "w") + tensor("w", values, packed=packed)
    found = read_weights(varint(1 << 3) + varint(7) + counted(7, graph))
    assert found.products == [Product("/a/MatMul", ("x", "w"))]
    assert np.array_equal(found.tensors["w"], values)


def test_what_is_no_onnx_file_is_refused():
    with pytest.raises(ValueError, match="ONNX"):
        read_weights(b"\x3a\xff\x01cut short")


def test_a_vit_with_too_few_matrices_is_refused():
    graph = product("/backbone/encoder/layer.0/mlp/fc1/MatMul", "x", "w") + tensor("w", np.ones((2, 3), np.float32))
    with pytest.raises(AssetError, match=r"(?s)72 matrices.*Found: 1\n"):
        named(read_weights(counted(7, graph)))
