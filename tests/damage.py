"""Damage to files as disks, editors, mixed-up copies and hostile people do it, drawn by a seed."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path


def damage(folder: Path, other: Path, drawn: random.Random) -> str:
    """Damage one file of a folder; say which, and how.

    Args:
        folder: the folder.
        other: the same of another run, from which files are swapped in.
        drawn: decides.
    """
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix not in {".png", ".html"}]
    path = drawn.choice(files)
    kinds = [flip, flip, cut, empty, delete, swap, lengthen]
    if path.suffix in {".json", ".jsonl"}:
        kinds += [nest, retype, not_a_number, many_digits, half_a_character, without_a_key]
    if path.suffix == ".safetensors":
        kinds += [flip_header, flip_values, flip_values, not_finite]
    kind = drawn.choice(kinds)
    kind(path, other / path.relative_to(folder), drawn)
    return f"{path.relative_to(folder)}: {kind.__name__}"


def flip(path, _, drawn):
    _flip(path, drawn, 0, path.stat().st_size)


def flip_header(path, _, drawn):
    _flip(path, drawn, 0, min(400, path.stat().st_size))


def flip_values(path, _, drawn):
    _flip(path, drawn, path.stat().st_size // 2, path.stat().st_size)


def _flip(path, drawn, low, high):
    content = bytearray(path.read_bytes())
    if high > low:
        content[drawn.randrange(low, high)] ^= 1 << drawn.randrange(8)
    path.write_bytes(content)


def cut(path, _, drawn):
    content = path.read_bytes()
    path.write_bytes(content[: drawn.randrange(len(content) or 1)])


def empty(path, *_):
    path.write_bytes(b"")


def delete(path, *_):
    path.unlink()


def swap(path, other, drawn):
    if other.is_file():
        shutil.copyfile(other, path)
    else:
        delete(path, other, drawn)


def lengthen(path, _, drawn):
    path.write_bytes(path.read_bytes() + bytes(drawn.randrange(256) for _ in range(9)))


def not_finite(path, *_):
    from safetensors.torch import load_file, save_file

    held = load_file(path)
    name = next((name for name, value in held.items() if value.is_floating_point()), None)
    if name is not None:
        held[name].view(-1)[0] = float("nan")
    save_file(held, path, metadata={"format": "pt"})


def nest(path, *_):
    path.write_text("[" * 100_000 + "]" * 100_000, encoding="utf-8")


def _edited(path, drawn, edit):
    """Edit a drawn place of a JSON document, or of a line of JSON."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.suffix == ".jsonl" else [path.read_text("utf-8")]
    number = drawn.randrange(len(lines)) if lines else 0
    try:
        value = json.loads(lines[number])
    except (ValueError, IndexError):
        return
    place, inner = value, value
    while isinstance(inner, (dict, list)) and inner:
        place, key = inner, drawn.choice(list(inner) if isinstance(inner, dict) else range(len(inner)))
        inner = place[key]
        if drawn.random() < 0.3:
            break
    if place:
        edit(place, key)
    lines[number] = json.dumps(value)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def retype(path, _, drawn):
    values = (None, [], {}, "text", -1, 1e300, True, [[1]])
    _edited(path, drawn, lambda place, key: place.__setitem__(key, drawn.choice(values)))


def not_a_number(path, _, drawn):
    _edited(path, drawn, lambda place, key: place.__setitem__(key, float("nan")))


def many_digits(path, _, drawn):
    _edited(path, drawn, lambda place, key: place.__setitem__(key, 10**4000))


def half_a_character(path, _, drawn):
    _edited(path, drawn, lambda place, key: place.__setitem__(key, "\ud800"))


def without_a_key(path, _, drawn):
    _edited(path, drawn, lambda place, key: place.pop(key))
