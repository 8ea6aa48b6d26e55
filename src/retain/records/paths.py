"""Paths as people write them: `~` stands for a home, and what can be no path is refused before it is looked at."""

from __future__ import annotations

import errno
import re
from pathlib import Path

from retain.errors import InputError

_NO_PATHS = {
    errno.ENAMETOOLONG: "it, or a part of it, has more characters than a name may have",
    errno.ELOOP: "links in it lead back to themselves",
}
"""Why the system knows nothing at a place and can put nothing there, by the number of its error."""

_PATH = re.compile(r"(?<![\w.:/~-])(?:[A-Za-z]:)?(?:~?/(?!/)[^\s'\"`:,;()\[\]{}<>]+/?)")


class PathError(InputError, ValueError):
    """Nothing can lie at a path. Also a `ValueError`, as all that is wrong with a field or a row."""


def expanded(path: str | Path) -> Path:
    """A path with a home in place of its `~`; whether anything lies there is another question.

    Raises:
        PathError: there is no such place: the home is nobody's, a name is too long, links go in a circle, or it holds
            a NUL character.
    """
    try:
        found = Path(path).expanduser()
        found.lstat()  # of a link that leads nowhere, too
        found.exists()
    except RuntimeError as error:
        raise _no_place(path, f"nobody's home is {Path(path).parts[0]}") from error
    except ValueError as error:
        raise _no_place(path, "it holds a NUL character") from error
    except OSError as error:
        if error.errno in _NO_PATHS:
            raise _no_place(path, _NO_PATHS[error.errno]) from error
        return found
    return found


def is_path(source: str | Path) -> bool:
    """Tell whether a text can only be a path: a hub id is `name` or `owner/name` and begins with neither . / nor ~."""
    text = str(source)
    return isinstance(source, Path) or text.startswith((".", "/", "~")) or text.count("/") > 1 or "\\" in text


def may_be_hub_adapter(source: str | Path) -> bool:
    """Tell whether a text may be an adapter's id on the hub: OWNER/NAME, where no folder OWNER is here.

    Nothing else need be looked for there, which takes long where there is no network.
    """
    return not is_path(source) and "/" in str(source) and not expanded(source).parent.is_dir()


def _no_place(path: str | Path, reason: str) -> PathError:
    text = str(path).replace("\0", "\\0")
    shown = text if len(text) <= 200 else f"{text[:80]}…{text[-40:]}"
    return PathError(f"there is no such file or folder as {shown} ({reason})")


def without_paths(text: str) -> str:
    """A text in which every absolute path is its last part alone."""
    return _PATH.sub(lambda match: _last(match.group()), text)


def _last(path: str) -> str:
    parts = [part for part in path.split("/") if part not in {"", "~"}]
    return parts[-1] if len(parts) > 1 or path.startswith("~") else path
