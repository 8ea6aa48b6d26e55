"""From items to inputs: what a model sees does not depend on what else is in its batch."""

import numpy as np
import pytest
import torch
from PIL import Image
from tokenizers import normalizers
from transformers import AutoTokenizer

from retain.data.examples import Example
from retain.data.item import PlainText
from retain.data.item_types import LabelledImage, LabelledText
from retain.data.lengths import NO_CUTS, Cuts
from retain.data.preprocess import TOKENS_PER_IMAGE, ImagePreprocessor, TextPreprocessor, padded_batches
from retain.errors import InputError
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


def test_sequences_are_batched_by_length():
    first, second = padded_batches([[1, 2, 3], [4], [5, 6]], 2, pad_id=0)
    assert first["input_ids"].tolist() == [[4, 0], [5, 6]]
    assert first["attention_mask"].tolist() == [[1, 0], [1, 1]]
    assert second["input_ids"].tolist() == [[1, 2, 3]]


def test_examples_and_labelled_texts_that_are_cut_are_counted():
    words = TextPreprocessor(make_tokenizer(), 4)
    examples = [Example(prompt="a b", completion=" c"), Example(prompt="a b c", completion=" d")]
    assert words.cuts(examples) == Cuts(1, prompts=1, longest=4, limit=4)
    assert [row.truncated for row in words.encode(examples)] == [False, True]
    pairs = TextPreprocessor(make_text_tokenizer(), 6)
    assert pairs.cuts([ALONE, PAIRED]).items == sum(length > 6 for length in pairs.lengths([ALONE, PAIRED])) == 1


def test_calibration_rows_are_windows_or_beginnings():
    text, example = PlainText(text="a b c d e"), Example(prompt="a", completion=" b")
    preprocessor = TextPreprocessor(make_tokenizer(), 3)
    windows = preprocessor.calibration_rows([text, example], 100, in_windows=True)
    assert [preprocessor.tokenizer.decode(row) for row in windows] == ["a b c", "d e", "a b <eos>"]
    assert sum(map(len, preprocessor.calibration_rows([text, example], 4, in_windows=True))) == 4
    (beginning,) = preprocessor.calibration_rows([text], 100, in_windows=False)
    assert preprocessor.tokenizer.decode(beginning) == "a b c"


def test_rows_of_one_token_predict_nothing_and_the_others_are_cut():
    preprocessor = TextPreprocessor(make_tokenizer(), 60)
    rows = preprocessor.predicting_rows([[5], [6, 7, 8, 9], [6, 7]])
    assert rows == [[6, 7, 8, 9], [6, 7]]
    (batch,) = preprocessor.row_batches(rows, 4, longest=3)
    assert batch["attention_mask"].tolist() == [[1, 1, 0], [1, 1, 1]]
    assert preprocessor.row_content((6, 7)) == [6, 7]


def test_images_are_rows_as_they_are(tmp_path):
    generator = np.random.default_rng(0)
    items = [save(tmp_path / f"{k}.png", generator.integers(0, 255, (16, 16, 3), dtype=np.uint8)) for k in range(3)]
    preprocessor = ImagePreprocessor(make_image_processor())
    assert preprocessor.calibration_rows(items, 2 * TOKENS_PER_IMAGE, in_windows=True) == items[:2]
    assert preprocessor.calibration_rows(items, 0, in_windows=True) == items[:1]
    assert preprocessor.predicting_rows(items) == items
    assert [len(batch["pixel_values"]) for batch in preprocessor.row_batches(items, 2)] == [2, 1]
    assert preprocessor.row_content(items[0]) == items[0].content()
    assert preprocessor.cuts(items) == NO_CUTS
    assert preprocessor.tokenizer is preprocessor.max_length is None
    with pytest.raises(InputError, match="reads images"):
        preprocessor.encode([Example(prompt="a", completion="b")])


@pytest.mark.parametrize("made", [make_tokenizer, make_text_tokenizer])
def test_what_is_saved_is_read_as_the_same_tokenizer(tmp_path, made):
    preprocessor = TextPreprocessor(made(), 60)
    preprocessor.save(tmp_path)
    again = TextPreprocessor(AutoTokenizer.from_pretrained(tmp_path), 60)
    assert again.identity() == preprocessor.identity()


@pytest.mark.parametrize(
    ("name", "value"),
    [("eos_token", "b"), ("bos_token", "b"), ("clean_up_tokenization_spaces", True), ("split_special_tokens", True)],
)
def test_a_tokenizer_that_ends_or_writes_texts_otherwise_has_another_identity(name, value):
    tokenizer, same, other = make_tokenizer(), make_tokenizer(), make_tokenizer()
    same(["a", "a a"], padding=True, truncation=True, max_length=1)  # leaves its wishes in the rules
    same.pad_token = same.eos_token
    setattr(other, name, value)
    one, alike, another = (TextPreprocessor(each, 60).identity() for each in (tokenizer, same, other))
    assert one == alike
    assert one != another


def test_another_rule_is_another_identity():
    one, other = make_tokenizer(), make_tokenizer()
    other.backend_tokenizer.normalizer = normalizers.Replace("d", "e")  # not in the text that is tried
    assert TextPreprocessor(one, 60).identity() != TextPreprocessor(other, 60).identity()


def test_another_vocabulary_template_or_processor_is_another_identity():
    one, other = make_tokenizer(), make_tokenizer()
    other.chat_template = "{{ messages }}"
    names = {TextPreprocessor(each, 60).identity() for each in (one, other, make_text_tokenizer())}
    assert len(names) == 3
    processor = make_image_processor()
    before = ImagePreprocessor(processor).identity()
    processor.image_mean = [0.4] * 3
    assert ImagePreprocessor(processor).identity() != before
