"""What keeps a tracker from reporting, told before anything is loaded: an unknown name, a package that is missing."""

from __future__ import annotations

import difflib
from importlib.util import find_spec
from typing import Any

from transformers.integrations import get_reporting_integration_callbacks
from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

from retain.train.trackers.table import TRACKERS
from retain.train.trackers.tracker import Tracker


def trackers_named(report_to: Any) -> list[str]:
    """The trackers that `report_to` names: one, several divided by commas, or a list; none of another type.

    Each counts once: two callbacks would report every figure twice.
    """
    if isinstance(report_to, str):
        report_to = [name for part in report_to.split(",") if (name := part.strip())]
    return list(dict.fromkeys(map(str, report_to))) if isinstance(report_to, list | tuple) else []


def tracker_problems(report_to: Any) -> list[str]:
    """A sentence for each tracker that cannot be reported to.

    Args:
        report_to: as `trackers_named` takes it; another type is told of elsewhere.
    """
    reasons = [_reason(name) for name in trackers_named(report_to) if name not in {"none", "all"}]
    return [f"training.report_to: {reason}" for reason in reasons if reason]


def _reason(name: str) -> str:
    """The reason why a tracker cannot be reported to; empty where nothing is known against it."""
    if name not in INTEGRATION_TO_CALLBACK:
        near = difflib.get_close_matches(name, INTEGRATION_TO_CALLBACK, n=2)
        known = f"known are {', '.join(sorted(INTEGRATION_TO_CALLBACK))}, all, none."
        hint = f"did you mean {' or '.join(near)}?" if near else known
        return f"there is no tracker {name!r}; {hint}"
    row = TRACKERS.get(name, Tracker())
    missing = [names for names in row.packages if not any(map(_is_installed, names.split("|")))]
    if missing:
        packages = " and ".join(names.replace("|", " or ") for names in missing)
        return (
            f"{name} needs the package {packages}, which is not installed; install it, or leave report_to out (the "
            "curve of the loss is in the report anyway)."
        )
    try:
        (callback,) = get_reporting_integration_callbacks([name])
        callback()
    except Exception as error:  # noqa: BLE001 -- whatever a tracker raises: it cannot be reported to
        return f"{name} cannot be used: {' '.join(str(error).split()) or type(error).__name__}"
    return f"{name}: {reason}" if (reason := row.problem()) else ""


def _is_installed(package: str) -> bool:
    try:
        return find_spec(package.replace("-", ".")) is not None
    except ModuleNotFoundError:  # of a part, the whole
        return False
