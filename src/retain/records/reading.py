"""JSON and YAML from files that may be damaged or hostile: one reader, with limits of size, depth and digits.

Whatever is wrong with a file becomes one `InputError` that names the file and the reason.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from retain.errors import InputError

MOST_BYTES = 256 * 2**20
"""The largest file that is read at once. Records of large runs have some megabytes."""

DEEPEST = 64
"""The deepest nesting of lists and mappings. Records, recipes and configurations have fewer than twelve levels."""

MOST_DIGITS = 40
"""The most characters of a whole number; 2^64 has twenty digits."""

SHOWN = 40
"""The most characters of a value that a message shows."""

MOST_NODES = 200_000
"""The most values of a YAML document, each alias counted as often as it stands for its values."""

Model = TypeVar("Model", bound=BaseModel)


def read_json(path: Path, *, most_bytes: int = MOST_BYTES) -> Any:
    """Read a JSON file.

    Raises:
        InputError: the file is missing, too large, no UTF-8 text, or no JSON within the limits.
    """
    return parse_json(_bytes_of(path, most_bytes), str(path))


def parse_json(content: str | bytes, place: str, *, finite: bool = True) -> Any:
    """The value of a JSON text.

    Args:
        content: the text, or its bytes in UTF-8, with or without the mark that Windows puts first.
        place: names the text in messages: a file, or a file and its line.
        finite: refuse NaN and Infinity, which Python writes and JSON does not have; else they are numbers.

    Raises:
        InputError: it is no JSON, is nested too deeply, or holds a key twice in one object, a number with too many
            digits, a value that is not finite, or a character that UTF-8 cannot hold.
    """
    try:
        text = content if isinstance(content, str) else content.decode("utf-8-sig")
        value = (_STRICT if finite else _AS_PYTHON).decode(text)
        _check(value)
    except RecursionError as error:
        raise InputError(f"{place}: is nested more than {DEEPEST} levels deep.") from error
    except UnicodeError as error:
        raise InputError(f"{place}: is no UTF-8 text ({error}).") from error
    except ValueError as error:
        raise InputError(f"{place}: is no JSON that can be used ({error}).") from error
    return value


class DoubledKeyError(ValueError):
    """An object of JSON has a key twice."""


class Doubled(dict[str, Any]):
    """An object of JSON in which a key stands twice: which of the two is meant cannot be known.

    Attributes:
        twice: a clause that names the key and both values.
    """

    def __init__(self, pairs: Sequence[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        key = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        values = [value for name, value in pairs if name == key]
        self.twice = f"{_short(key)} stands there twice, as {_short(values[0])} and as {_short(values[1])}"


def doubled_clause(value: Any) -> str:
    """A clause on the first object with a key twice in a value that `decode_json` read; empty where there is none."""
    if isinstance(value, Doubled):
        return value.twice
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return next((clause for one in inner if (clause := doubled_clause(one))), "")


def decode_json(text: str, start: int = 0, *, doubled: bool = False) -> tuple[Any, int]:
    """The first JSON value of a text that goes on behind it, and where it ends; for files of many rows.

    Args:
        text: the text.
        start: where the value begins.
        doubled: lets an object with a key twice pass, as a `Doubled`, for a look at the shape of a text.

    Raises:
        DoubledKeyError: as a clause, which key stands twice in one object.
        ValueError: as a clause, what is no JSON within the limits.
    """
    try:
        value, end = (_LENIENT if doubled else _STRICT).raw_decode(text, start)
        if text.count("[", start, end) + text.count("{", start, end) > DEEPEST:
            _check_depth(value)
    except RecursionError as error:
        raise ValueError(f"it is nested more than {DEEPEST} levels deep") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"{error.msg}, at character {error.pos - start + 1}") from error
    return value, end


def read_json_mapping(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds one object.

    Raises:
        InputError: as `read_json`, or it holds something else.
    """
    value = read_json(path)
    if not isinstance(value, dict):
        raise InputError(f"{path}: expected a JSON object, found {type(value).__name__}.")
    return value


def read_model(path: Path, model: type[Model]) -> Model:
    """Read a JSON file as a validated record.

    Raises:
        InputError: as `read_json`, or a field is missing, unknown or of a wrong type; the first such field is named.
    """
    value = read_json(path)
    try:
        return model.model_validate_json(json.dumps(value))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(map(str, first["loc"])) or "the record"
        raise InputError(f"{path}: {field}: {first['msg']}.") from error


def read_yaml(path: Path) -> Any:
    """Read a YAML file: plain values only, no tag that makes an object, no key twice, no alias that multiplies.

    Raises:
        InputError: the file is missing, too large, no UTF-8 text, or no YAML within the limits.
    """
    return parse_yaml(_bytes_of(path, MOST_BYTES), str(path))


def parse_yaml(content: str | bytes, place: str) -> Any:
    """The value of a YAML text; see `read_yaml`.

    Raises:
        InputError: as `read_yaml`.
    """
    try:
        text = content if isinstance(content, str) else content.decode("utf-8-sig")
        loader = _PlainLoader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _count(node, {})
            value = loader.construct_document(node)
        finally:
            loader.dispose()
        _check(value)
    except RecursionError as error:
        raise InputError(f"{place}: is nested more than {DEEPEST} levels deep.") from error
    except UnicodeError as error:
        raise InputError(f"{place}: is no UTF-8 text ({error}).") from error
    except (yaml.YAMLError, ValueError, TypeError, OverflowError) as error:
        raise InputError(f"{place}: is no YAML that can be used ({' '.join(str(error).split())}).") from error
    return value


_INT = "tag:yaml.org,2002:int"
_FLOAT = "tag:yaml.org,2002:float"
_READ_OTHERWISE = {_INT, _FLOAT, "tag:yaml.org,2002:timestamp"}


class _PlainLoader(yaml.SafeLoader):
    """Safe YAML that refuses a key that stands twice and numbers with too many digits.

    Numbers are those of YAML 1.2: 1e-3 is one, 010 is not eight, 1:30 is not ninety, and a date is text.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = Counter(str(key.value) for key, _ in node.value if not key.tag.endswith(":merge"))
        twice = sorted(key for key, count in keys.items() if count > 1)
        if twice:
            raise ValueError(f"line {node.start_mark.line + 1}: {', '.join(twice)} stands there twice")
        return super().construct_mapping(node, deep=deep)

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        if len(node.value) > MOST_DIGITS:
            raise ValueError(f"line {node.start_mark.line + 1}: a number of {len(node.value)} digits")
        return int(super().construct_yaml_int(node))


_PlainLoader.yaml_implicit_resolvers = {
    first: [pair for pair in pairs if pair[0] not in _READ_OTHERWISE]
    for first, pairs in _PlainLoader.yaml_implicit_resolvers.items()
}
_PlainLoader.add_constructor(_INT, _PlainLoader.construct_yaml_int)
_PlainLoader.add_implicit_resolver(
    _INT, re.compile(r"[-+]?(0|[1-9][0-9_]*)$|0o[0-7]+$|0x[0-9a-fA-F]+$"), list("-+0123456789")
)
_PlainLoader.add_implicit_resolver(
    _FLOAT,
    re.compile(
        r"[-+]?([0-9][0-9_]*\.[0-9_]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?$"
        r"|[-+]?\.(inf|Inf|INF)$|\.(nan|NaN|NAN)$"
    ),
    list("-+.0123456789"),
)


def _count(node: yaml.Node, known: dict[int, int], depth: int = 0) -> int:
    """The number of values below a node, aliases written out."""
    if depth > DEEPEST:
        raise RecursionError
    if id(node) not in known:
        known[id(node)] = MOST_NODES + 1  # an alias of a node inside itself never ends
        inner = [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else node.value
        parts = inner if isinstance(node, yaml.CollectionNode) else []
        known[id(node)] = 1 + sum(_count(part, known, depth + 1) for part in parts)
    if known[id(node)] > MOST_NODES:
        raise ValueError(f"it holds more than {MOST_NODES:,} values when its aliases are written out")
    return known[id(node)]


def _bytes_of(path: Path, most: int) -> bytes:
    try:
        size = path.stat().st_size
        if size > most:
            raise InputError(f"{path}: has {size:,} bytes; at most {most:,} are read.")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        reason = error.strerror or str(error) if isinstance(error, OSError) else str(error)
        raise InputError(f"{path}: cannot be read ({reason}).") from error


def _whole_number(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    return found if len(found) == len(pairs) else Doubled(pairs)


def _object_of_unlike_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = _object(pairs)
    if isinstance(found, Doubled):
        raise DoubledKeyError(found.twice)
    return found


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"


_LENIENT = json.JSONDecoder(parse_int=_whole_number, parse_constant=_refuse_constant, object_pairs_hook=_object)
_STRICT = json.JSONDecoder(
    parse_int=_whole_number, parse_constant=_refuse_constant, object_pairs_hook=_object_of_unlike_keys
)
_AS_PYTHON = json.JSONDecoder(parse_int=_whole_number, object_pairs_hook=_object_of_unlike_keys)


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(DEEPEST):
        level = [inner for outer in level if not isinstance(outer, str) for inner in _inside(outer)]
        if not level:
            return
    raise RecursionError


def _check(value: Any) -> None:
    """Refuse what is nested too deeply and text that UTF-8 cannot hold."""
    level = [value]
    for _ in range(DEEPEST):
        level = [inner for outer in level for inner in _inside(outer)]
        if not level:
            return
    raise RecursionError


def _inside(value: Any) -> Iterator[Any]:
    if isinstance(value, str):
        value.encode("utf-8")
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield key
            yield inner
    elif isinstance(value, (list, tuple)):
        yield from value
