"""Rows in memory as people hold them: lists, tables of pandas, Polars or Arrow, data sets, columns, whatever counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from retain.data.arrow_rows import rows_of, twice_told
from retain.data.folders import choose


class NotRowsError(ValueError):
    """What was given are no rows; says as a clause why. Errors of a user's own iterator are others."""


def are_rows(given: Any) -> bool:
    """True for what rows can be taken of, one by one or by their numbers."""
    return isinstance(given, Iterable) or hasattr(given, "to_pylist") or hasattr(given, "collect") or _is_counted(given)


def are_columns(given: Any) -> bool:
    """True for a mapping of columns, two at least, with their values, and not of names with rows or paths."""
    if not isinstance(given, Mapping) or len(given) < 2:
        return False
    listed = [value for value in given.values() if isinstance(value, list | tuple) or getattr(value, "ndim", 0) == 1]
    return len(listed) == len(given) and not any(isinstance(next(iter(value), None), Mapping) for value in listed)


def rows_in_memory(given: Any, obvious: str | None = None) -> list[Any]:
    """Rows, or names, as a list.

    Args:
        given: see `are_rows`; a table's rows are its records, with null where it lacks a value.
        obvious: the split that is meant where a data set has several.

    Raises:
        NotRowsError: it is none of these, or there are several splits, columns of one name or of unequal
            length.
    """
    if not are_rows(given):
        raise NotRowsError(f"{type(given).__name__} was given, and a path, a suite's name or rows are expected")
    if _is_splits(given):
        given = _split_of(given, obvious)
    if isinstance(given, Mapping):
        return _records(given) if are_columns(given) else [given]
    if hasattr(given, "cast_column") and hasattr(given, "with_format"):  # of datasets
        return _of_datasets(given)
    names = getattr(given, "column_names", getattr(given, "columns", None))  # of Arrow, of pandas and Polars
    if names is not None and (twice := twice_told(list(names))):
        raise NotRowsError(twice)
    if hasattr(given, "iterrows"):  # pandas
        return list(given.astype(object).where(given.notna(), None).to_dict("records"))
    if not isinstance(given, Iterable) and hasattr(given, "collect"):  # Polars, not yet read
        given = given.collect()
    method = next((name for name in ("to_dicts", "to_pylist") if hasattr(given, name)), None)  # Polars, Arrow
    if method is not None:
        return list(getattr(given, method)())
    return [given[number] for number in range(len(given))] if _is_counted(given) else list(given)


def _of_datasets(given: Any) -> list[Any]:
    if not hasattr(given, "num_rows"):  # a stream
        return list(given)
    try:
        return list(rows_of(given))
    except ValueError as error:
        raise NotRowsError(str(error)) from error


def plain(value: Any) -> Any:
    """A value of a row as files have it: arrays as lists, numbers of NumPy as Python's, names of columns as text."""
    if isinstance(value, Mapping):
        return {name if isinstance(name, str) else str(name): plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return value.tolist() if hasattr(value, "tolist") else value


def _is_counted(given: Any) -> bool:
    """True for what gives rows by their numbers alone, as torch's data sets do."""
    return not isinstance(given, Iterable) and hasattr(given, "__getitem__") and hasattr(given, "__len__")


def _is_splits(given: Any) -> bool:
    """True for data sets of `datasets` by the names of their splits."""
    return isinstance(given, Mapping) and bool(given) and all(hasattr(one, "cast_column") for one in given.values())


def _split_of(splits: Mapping[str, Any], obvious: str | None) -> Any:
    try:
        return choose(splits, None, obvious, "data")
    except ValueError as error:
        raise NotRowsError(
            f"it holds several splits ({', '.join(splits)}); give one, as data[{next(iter(splits))!r}]"
        ) from error


def _records(columns: Mapping[str, Any]) -> list[dict[str, Any]]:
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise NotRowsError(f"its columns are of unequal length ({told})")
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
