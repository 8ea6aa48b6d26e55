"""Rows of Parquet and Arrow files, of data sets that `datasets` saved, and of data sets on the hub."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from retain.data.entries import Entries, Indices
from retain.data.file_content import Kind
from retain.data.offline import offline_cure
from retain.data.places import Numbered

BATCH = 1000
"""Rows that are made Python values at once."""

FILES = ("Image", "Audio", "Video")
"""Features of `datasets` whose values are whole files; they stay as {bytes, path}."""


def columns_of_file(path: Path, kind: Kind) -> Any:
    """A Parquet or Arrow file as a `datasets.Dataset`.

    Raises:
        ValueError: as a clause, why it cannot be read.
    """
    import datasets  # noqa: PLC0415  (slow to import; only such files need it)
    import pyarrow as pa  # noqa: PLC0415
    from pyarrow import parquet  # noqa: PLC0415

    try:
        if kind == "parquet":
            table = parquet.ParquetFile(path).read()
        else:
            with pa.memory_map(str(path)) as file:
                opened = pa.ipc.open_stream if path.read_bytes()[:4] == b"\xff\xff\xff\xff" else pa.ipc.open_file
                table = opened(file).read_all()
        unknown = [field for field in table.schema if not _has_feature(field.type)]
        if not (told := twice_told(table.column_names)) and not unknown:
            return datasets.Dataset(table)
    except Exception as error:
        raise ValueError(f"it is a damaged {kind.title()} file ({first_line(error)})") from error
    listed = ", ".join(f"{field.name}: {field.type}" for field in unknown)
    raise ValueError(told or f"it has columns of types that are not read ({listed}); leave them out")


def _has_feature(arrow_type: Any) -> bool:
    """True for a type of Arrow that `datasets` knows."""
    from datasets.features.features import generate_from_arrow_type  # noqa: PLC0415  (slow to import)

    try:
        generate_from_arrow_type(arrow_type)
    except ValueError:
        return False
    return True


def twice_told(names: Sequence[str]) -> str:
    """A clause on columns of one name, of which a row can have one only; empty where there are none."""
    twice = sorted(str(name) for name, count in Counter(names).items() if count > 1)
    return f"it has several columns of one name ({', '.join(twice)}); rename all but one" if twice else ""


def saved_splits(folder: Path) -> Any:
    """A folder that `save_to_disk` wrote, as a `Dataset` or a `DatasetDict`.

    Raises:
        ValueError: as a clause, why it cannot be read.
    """
    import datasets  # noqa: PLC0415  (slow to import)

    try:
        return datasets.load_from_disk(str(folder))
    except Exception as error:
        raise ValueError(f"it cannot be loaded as save_to_disk wrote it ({first_line(error)})") from error


def is_saved(folder: Path) -> bool:
    """True for a folder that `Dataset.save_to_disk` or `DatasetDict.save_to_disk` wrote."""
    return (folder / "dataset_dict.json").is_file() or (
        (folder / "state.json").is_file() and (folder / "dataset_info.json").is_file()
    )


def hub_data(name: str, configuration: str | None, split: str, revision: str | None = None) -> Any:
    """A data set of the hub, of its cache, or of a folder that `datasets.load_dataset` reads.

    Raises:
        ValueError: as a clause, why it cannot be loaded.
    """
    import datasets  # noqa: PLC0415  (slow to import)

    try:
        return datasets.load_dataset(name, configuration, split=split, revision=revision)
    except Exception as error:
        if offline := offline_cure(str(error), f"hf download --repo-type dataset {name}"):
            raise ValueError(f"the cache does not hold it; {offline}, or give a file") from error
        raise ValueError(first_line(error)) from error


def entries_of(name: str, data: Any) -> Entries:
    """The rows of a `datasets.Dataset`, each with its number from 1, as the lines of a file have."""

    def sizes() -> Sequence[int]:
        from retain.data.arrow_sizes import sizes_of  # noqa: PLC0415  (slow to import; only large data need it)

        return sizes_of(data)

    def rows(chosen: Indices) -> Iterator[Numbered]:
        found = rows_of(data if chosen is None else data.select(chosen))
        indices = range(len(data)) if chosen is None else chosen
        return ((f"{name}, row {index + 1}", row) for index, row in zip(indices, found, strict=True))

    return Entries(len(data), sizes, rows)


def rows_of(data: Any) -> Iterator[dict[str, Any]]:
    """The rows of a `datasets.Dataset` as plain values.

    Raises:
        ValueError: as a clause, that text in it is none.
    """
    for name, feature in data.features.items():
        if type(feature).__name__ in FILES:
            data = data.cast_column(name, type(feature)(decode=False))
    try:
        for batch in data.with_format(None).iter(BATCH):
            names = list(batch)
            for values in zip(*batch.values(), strict=True):
                yield {name: _without_nulls(value) for name, value in zip(names, values, strict=True)}
    except (UnicodeDecodeError, OSError) as error:
        raise ValueError(f"some of its text is no UTF-8 ({first_line(error)}); write it again from text") from error


def _without_nulls(value: Any) -> Any:
    """A value without the keys that hold nothing, below the row itself.

    A column of Arrow has the keys of all rows: a turn without a tool call gets one that is null, and a tool the
    parameters of all other tools. Templates take a key that is there for one that is meant.
    """
    if isinstance(value, dict):
        return {name: _without_nulls(inner) for name, inner in value.items() if inner is not None}
    return [_without_nulls(inner) for inner in value] if isinstance(value, list) else value


def first_line(error: Exception) -> str:
    """The first line of an error's text; its type where it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
