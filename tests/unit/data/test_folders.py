"""Folders: files by split, the split that is meant, images by class."""

import pytest

from retain.data.folders import choose, files_by_part


def parts(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")
    return {
        part: [path.relative_to(folder).as_posix() for path in files] for part, files in files_by_part(folder).items()
    }


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("train.csv", "test.csv", "sample_submission.csv"), {"train", "test", "sample_submission"}),
        (("data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet", "README.md"), {"train"}),
        (("dev.jsonl", "train.jsonl", ".cache/x.jsonl", "dataset_info.json"), {"validation", "train"}),
        (("easy/train.parquet", "hard/train.parquet"), {"easy/train", "hard/train"}),
        (("part-0001.jsonl", "part-0002.jsonl"), {"train"}),
        (("0000.parquet", "0001.parquet"), {"train"}),
        (("a.jsonl", "b.jsonl"), {"a", "b"}),
        (("train.jsonl", "config.json"), {"train"}),
        (("notes.txt",), set()),
    ],
)
def test_files_are_put_together_by_split(tmp_path, names, expected):
    assert set(parts(tmp_path, *names)) == expected


def test_formats_are_not_mixed(tmp_path):
    with pytest.raises(ValueError, match="several formats"):
        parts(tmp_path, "a.csv", "b.parquet")


def test_the_part_that_is_named_the_only_one_or_the_obvious_one_is_taken():
    both = {"train": 1, "test": 2}
    assert [
        choose(both, "test", "train", "d"),
        choose(both, None, "train", "d"),
        choose({"x": 3}, None, "train", "d"),
    ] == [2, 1, 3]
    with pytest.raises(ValueError, match="say which, as d:train"):
        choose(both, None, None, "d")
    with pytest.raises(ValueError, match="no part 'dev'"):
        choose(both, "dev", None, "d")
